"""Blocks are conserved."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bench.simulator.cache import BlockCache

CAPACITY = 20


class Blocks(RuleBasedStateMachine):
    """Sequences whose blocks are named by their beginnings, as in an engine."""

    def __init__(self) -> None:
        super().__init__()
        self.gone: list[int] = []
        self.cache = BlockCache(CAPACITY, self.gone.append)
        self.sequences: list[tuple[list[int], int]] = []

    @rule(family=st.integers(0, 3), full=st.integers(0, 6), private=st.integers(0, 3))
    def admit(self, family: int, full: int, private: int) -> None:
        names = [100 * family + place for place in range(full)]
        hits = names[: self.cache.hits(names)]
        needed = len(names) - len(hits) + private
        if needed + self.cache.unused(hits) > self.cache.free:
            return
        self.cache.use(hits)
        self.cache.take(needed)
        for name in names[len(hits) :]:
            self.cache.fill(name)
        self.sequences.append((names, private))

    @precondition(lambda self: self.sequences)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        names, private = self.sequences.pop(data.draw(st.integers(0, len(self.sequences) - 1)))
        self.cache.release(names, private)

    @invariant()
    def adds_up(self) -> None:
        self.cache.check()
        used = {name for names, _ in self.sequences for name in names}
        assert self.cache.free == CAPACITY - len(used) - sum(private for _, private in self.sequences)
        assert all(name in self.cache for name in used)

    @invariant()
    def a_block_is_there_only_with_those_before_it(self) -> None:
        for family in range(4):
            there = [100 * family + place in self.cache for place in range(6)]
            assert there == sorted(there, reverse=True)


TestBlocks = Blocks.TestCase


def test_books_that_do_not_agree_are_found_out() -> None:
    cache = BlockCache(4, lambda _: None)
    cache.take(1)
    cache.release([], 2)
    with pytest.raises(AssertionError):
        cache.check()
