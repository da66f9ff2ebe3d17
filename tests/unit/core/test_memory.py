"""What is known by name is bounded, and what changes in it is told once."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from parrot.core.memory import Memory

ALL = 1_000_000


@dataclass
class Number:
    value: int

    def text(self) -> str:
        return str(self.value)


def read(text: str) -> Number:
    return Number(int(text))


@pytest.fixture
def memory() -> Memory[Number]:
    return Memory("number:", 3, read)


def known(memory: Memory[Number], names: str) -> dict[str, int]:
    return {name: number.value for name in names if (number := memory.get(name)) is not None}


def test_a_change_is_told_once(memory: Memory[Number]) -> None:
    memory.note("a", Number(1))
    memory.note("a", Number(2))
    assert memory.changes(ALL) == {"number:a": "2"}
    assert memory.changes(ALL) == {}
    memory.note("a", Number(3))
    assert memory.changes(ALL) == {"number:a": "3"}


def test_what_changed_first_is_told_first_and_the_rest_the_next_time(memory: Memory[Number]) -> None:
    for name in "abc":
        memory.note(name, Number(1))
    memory.note("a", Number(2))
    assert [list(memory.changes(2)) for _ in range(3)] == [["number:a", "number:b"], ["number:c"], []]


def test_what_was_noted_least_recently_is_forgotten_and_that_is_told_if_it_was_told_of(memory: Memory[Number]) -> None:
    memory.note("a", Number(1))
    memory.changes(ALL)
    for name in "bcde":
        memory.note(name, Number(2))
    assert known(memory, "abcde") == {"c": 2, "d": 2, "e": 2}
    assert memory.changes(ALL) == {"number:a": None, "number:c": "2", "number:d": "2", "number:e": "2"}


def test_a_successor_knows_what_was_told_of_its_kind(memory: Memory[Number]) -> None:
    memory.note("a", Number(1))
    memory.note("b", Number(2))
    successor = Memory("number:", 3, read)
    successor.recall({name: text or "" for name, text in memory.changes(ALL).items()} | {"other:a": "7", "number": "8"})
    assert known(successor, "ab") == {"a": 1, "b": 2}
    assert successor.changes(ALL) == {}


def test_what_cannot_be_read_is_forgotten(memory: Memory[Number]) -> None:
    memory.recall({"number:a": "1", "number:b": "odd"})
    assert known(memory, "ab") == {"a": 1}
    assert memory.changes(ALL) == {"number:b": None}


def test_of_more_than_may_be_known_the_rest_is_forgotten(memory: Memory[Number]) -> None:
    memory.recall({f"number:{name}": "1" for name in "abcde"})
    assert len(memory) == 3
    assert memory.changes(ALL) == {"number:a": None, "number:b": None}


def test_what_successors_find_is_bounded_however_fast_things_come_and_go() -> None:
    chance, memory, found = random.Random(1), Memory("", 20, read), {}
    for number in range(5_000):
        memory.note(str(chance.randrange(10**9)), Number(number))
        if number % 10 == 0:
            for name, text in memory.changes(3).items():
                found.pop(name, None) if text is None else found.update({name: text})
        assert len(found) <= 40
        assert len(memory._changed) <= 40
    for name, text in memory.changes(ALL).items():
        found.pop(name, None) if text is None else found.update({name: text})
    assert found == {name: number.text() for name, number in memory._known.items()}
