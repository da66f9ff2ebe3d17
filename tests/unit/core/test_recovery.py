"""A successor knows what its predecessor knew."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.core.cell import Cell, call, close_session, engine_up, open_session, text


@pytest.fixture
def cell() -> Cell:
    cell = Cell()
    cell.tell(open_session(), engine_up())
    return cell


def test_a_placed_job_is_sent_again_under_the_same_id(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"))
    assert cell.restart() == cell.jobs


def test_job_ids_go_on_after_a_restart(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"))
    cell.restart()
    cell.tell(call("b", "A: {{x}}"))
    first, second = (tuple(map(int, entry.split("-"))) for _, entry, _ in cell.jobs)
    assert first < second


def test_waiting_and_queued_calls_go_on_in_order() -> None:
    cell = Cell()
    cell.tell(open_session(), call("a", "A: {{x}}"), call("b", "{{i}} B: {{y}}", i="a.x"), call("c", "C: {{x}}"))
    assert cell.restart() == []
    cell.tell(engine_up())
    jobs = cell.take_jobs()
    assert [job.call for job in jobs] == ["a", "c"]
    cell.tell(cell.publish(jobs[0]))
    assert [job.call for job in cell.take_jobs()] == ["b"]


def test_a_publication_that_the_predecessor_was_not_told_of_counts(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"), call("b", "{{i}} B: {{y}}", i="a.x"))
    event = cell.publish(*cell.take_jobs())
    cell.restart()
    cell.tell()
    assert [job.call for job in cell.take_jobs()] == ["b"]
    assert cell.call("a")["state"] == "done"
    cell.tell(event)
    assert cell.take_jobs() == []


def test_a_closed_session_still_expires_after_a_restart(cell: Cell) -> None:
    cell.tell(text("v"), close_session())
    cell.restart()
    cell.now += cell.limits.results
    cell.tell()
    assert cell.machine.graph.sessions == {}


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_program_ends_whenever_the_leader_is_replaced(seed: int) -> None:
    """Random programs, random order of work, a restart at any point between two batches: every call is done once."""
    chance = random.Random(seed)
    cell = Cell()
    cell.tell(open_session(), engine_up("e1", running=3), engine_up("e2", running=2))
    names = [f"c{i}" for i in range(20)]
    for i, name in enumerate(names):
        inputs = {f"i{k}": f"{chance.choice(names[:i])}.x" for k in range(chance.randint(0, 3)) if i}
        prompt = "".join(f"{{{{{slot}}}}} " for slot in inputs) + "go: {{x}}"
        cell.tell(call(name, prompt, **inputs))
    held: dict[str, tuple[str, object]] = {}
    events: list[object] = []
    while any(cell.call(name)["state"] != "done" for name in names):
        for engine, entry, job in cell.jobs:
            held.setdefault(entry, (engine, job))
        cell.jobs.clear()
        step = chance.random()
        if step < 0.2:
            assert {entry for _, entry, _ in cell.restart()} <= set(held)
            cell.tell()
        elif held and step < 0.7:
            engine, job = held.pop(chance.choice(sorted(held)))
            if cell.variable(job.variable)["state"] != "ready":  # type: ignore[attr-defined]
                events.append(cell.publish(job, engine))  # type: ignore[arg-type]
        elif events:
            cell.tell(*events)
            events.clear()
    assert [state for _, state in cell.news()] == ["ready"] * len(names)
