"""The scheduler as a whole: what it is made of, and that all of a group runs."""

from __future__ import annotations

from collections import Counter

from parrot.core.prefixes import PrefixIndex
from parrot.core.scheduler import Scheduler
from tests.unit.core.stage import Stage, ask, map_reduce, up, want


def test_an_index_that_is_given_is_used_though_it_is_empty_yet() -> None:
    index = PrefixIndex(most=10)
    assert Scheduler(prefixes=index)._prefixes is index


def test_a_group_larger_than_any_engine_is_split_and_all_of_it_runs() -> None:
    stage = Stage(up("e1", running=3), up("e2", running=4), up("e3", running=2))
    stage.tell(*map_reduce(30), want("reduce"))
    assert sum(map(len, stage.running().values())) == 9
    stage.run()
    assert stage.call("reduce")["state"] == "done"
    assert Counter(stage.order) == Counter([*(f"m{number}" for number in range(30)), "reduce"])
    assert set(stage.where.values()) == {"e1", "e2", "e3"}


def test_members_of_a_group_name_it_and_its_consumer_is_sensitive() -> None:
    stage = Stage(up("e1"))
    stage.tell(*map_reduce(3), want("reduce"))
    stage.run()
    assert [stage.call(f"m{number}")["objective"] for number in range(3)] == ["group"] * 3
    assert [stage.call(f"m{number}")["group"] for number in range(3)] == ["reduce"] * 3
    assert stage.call("reduce")["objective"] == "latency"


def test_what_is_asked_for_after_it_was_placed_is_protected_on_its_engine() -> None:
    """The usual order: a call is placed as soon as it is submitted, and then its reader asks for it."""
    stage = Stage(up("e1"))
    stage.tell(ask("chat"))
    stage.tell(want("chat"))
    assert stage.scheduler._candidates.loads["e1"].sensitive == 1
    stage.finish("chat")
    assert stage.scheduler._candidates.loads["e1"].sensitive == 0
