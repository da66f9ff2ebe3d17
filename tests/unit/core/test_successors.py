"""A new leader decides as its predecessor would have decided."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from parrot.core.check import check_machine
from parrot.core.urgency import LATER
from parrot.criteria import THROUGHPUT, Criterion
from parrot.wire.to_core import EngineUp, GenerationReturned, OpenSession
from parrot.wire.to_engine import Reorder, TellHoldings
from tests.unit.core.cell import Cell, open_session, text
from tests.unit.core.stage import Stage, ask, map_reduce, up, want, words


def taken_over(*batches: Iterable[Any], engines: Iterable[EngineUp] = ()) -> Cell:
    """A cell that was told this before its leader was replaced."""
    cell = Cell()
    cell.tell(open_session(), *(engines or (up("e1", running=1),)))
    for messages in batches:
        cell.tell(*messages)
    cell.now += 1
    cell.restart()
    cell.tell()
    assert check_machine(cell.machine) == []
    return cell


def objective_of(cell: Cell, name: str) -> tuple[str, str, float | None]:
    producer = cell.machine.graph.variables[f"{name}.x"].producer
    assert producer is not None
    return (*producer.objective[:2], producer.objective.due)


def test_a_successor_keeps_criteria_and_due_times_and_deduces_the_same() -> None:
    due = 1_000_000.0 + 500
    wishes = [want("reduce"), want("c", Criterion.DEADLINE, due), want("d", Criterion.TPOT)]
    cell = taken_over([*map_reduce(2), ask("c"), ask("d"), *wishes])
    assert objective_of(cell, "m0") == ("group", "reduce", None)
    assert objective_of(cell, "reduce") == ("latency", "", None)
    assert objective_of(cell, "c") == ("deadline", "", due)
    assert objective_of(cell, "d") == ("tpot", "", None)


def test_a_successor_sends_no_priority_that_the_engine_knows_and_every_new_one() -> None:
    cell = taken_over([ask("a"), want("a")])
    cell.jobs.clear()
    cell.tell(want("a"))
    assert cell.jobs == []
    cell.tell(want("a", THROUGHPUT))
    assert [order for _, _, order in cell.jobs] == [Reorder(variable="a.x", attempt=1, priority=5)]


def test_a_successor_knows_with_which_priority_engines_were_given_what_they_hold() -> None:
    cell = taken_over([ask("a")])
    cell.jobs.clear()
    cell.tell(want("a"))
    assert [order for _, _, order in cell.jobs] == [Reorder(variable="a.x", attempt=1, priority=0)]


def test_a_successor_goes_on_in_the_same_order() -> None:
    cell = taken_over([ask("busy")], [ask("a"), ask("b"), ask("c"), want("c")])
    order = []
    for _ in range(4):
        (job,) = cell.take_jobs()[-1:]
        order.append(job.call)
        cell.tell(cell.publish(job))
    assert order == ["busy", "c", "a", "b"]


def test_a_successor_counts_what_engines_hold_as_under_way() -> None:
    cell = taken_over([*map_reduce(3), want("reduce")], engines=[up("e1")])
    generation = next(iter(cell.machine.fleet.engines["e1"].holds.values()))
    assert generation.program.whole().active == 3


def test_what_an_engine_held_over_a_change_of_leaders_could_run_since_it_was_first_so() -> None:
    cell = taken_over([ask("a")])
    cell.tell(GenerationReturned(engine="e1", variable="a.x", attempt=1))
    assert cell.variable("a.x")["ready"].startswith("1970-01-12T13:46:40")
    assert cell.machine.fleet.engines["e1"].holds["a.x"].since == cell.now - 1


def test_a_successor_names_prompts_as_its_predecessor_did() -> None:
    cell = Cell()
    cell.tell(open_session(), up("e1"), text("v", words(1_000)), ask("a", "{{t}} {{u}} ", t="v", u="=" + words(500)))
    (before,) = cell.take_jobs()
    cell.restart()
    cell.now += 1
    cell.tell(ask("b", "{{t}} {{u}} ", t="v", u="=" + words(500)))
    (after,) = [job for job in cell.take_jobs() if job.call == "b"]
    assert {mark.name for mark in after.marks[:-1]} <= {mark.name for mark in before.marks}
    assert len(after.marks) >= 3


# The order of what waits ---------------------------------------------------------------------------


def order_of(stage: Stage, restart: bool) -> list[str]:
    """What runs, one after the other, behind what runs now."""
    if restart:
        stage.restart()
    stage.tell()
    stage.run()
    return stage.order[1:]


@pytest.mark.parametrize("restart", [False, True])
def test_who_came_first_is_known_over_a_change_of_leaders(restart: bool) -> None:
    stage = Stage(up("e1", running=1))
    stage.tell(ask("busy"), ask("old"))
    stage.now += 200
    stage.tell(OpenSession(session="t", name="t"), ask("young", most=256, session="t"))
    assert order_of(stage, restart) == ["old", "young"]


@pytest.mark.parametrize("restart", [False, True])
def test_what_nobody_waits_for_does_not_begin_to_wait_anew_with_each_leader(restart: bool) -> None:
    stage = Stage(up("e1", running=1))
    stage.tell(ask("busy"), ask("batch"))
    stage.now += LATER + 60
    if restart:
        stage.restart()
    stage.now += 1
    stage.tell(ask("chat"), want("chat"))
    assert order_of(stage, restart=False) == ["batch", "chat"]


def test_when_it_could_run_is_known_over_a_change_of_leaders() -> None:
    stage = Stage(up("e1", running=1))
    stage.tell(ask("busy"), ask("a"))
    ready = stage.variable("a.x")["ready"]
    stage.now += 300
    stage.restart()
    stage.tell()
    stage.finish("busy")
    assert stage.where["a"] == "e1"
    assert stage.variable("a.x")["ready"] == ready


def test_a_new_leader_asks_engines_what_they_hold() -> None:
    stage = Stage(up("e1"), up("e2"))
    stage.restart()
    stage.tell()
    assert {engine for engine, _, order in stage.batch.orders if isinstance(order, TellHoldings)} == {"e1", "e2"}


def test_a_successor_takes_over_an_engine_that_holds_what_was_given_to_it_hours_apart() -> None:
    stage = Stage(up("e1"))
    stage.tell(ask("first", words(500, "first")))
    stage.tell(ask("late", "{{so}} ", so="first.x"))
    stage.tell(ask("slow", words(500, "slow")))
    stage.now += 7_200.0
    stage.finish("first")
    stage.restart()
    assert sorted(stage.running()["e1"]) == ["late", "slow"]
