"""Deadlines, idleness, and how much is allowed."""

from __future__ import annotations

import pytest

from parrot.core.limits import Limits
from parrot.wire.to_core import EngineBeat
from parrot.wire.to_engine import Cancel
from tests.unit.core.cell import KEYS, Cell, call, engine_up, open_session, text


@pytest.fixture
def cell() -> Cell:
    cell = Cell()
    cell.tell(open_session(), engine_up())
    return cell


def test_a_call_that_misses_its_deadline_fails_and_is_stopped(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}").model_copy(update={"deadline": cell.now + 5}), call("b", "{{i}} B: {{y}}", i="a.x"))
    cell.now += 2.5
    cell.tell(EngineBeat(engine="e1"))
    cell.now += 2.5
    cell.tell()
    assert cell.variable("a.x")["error_code"] == "deadline"
    assert cell.variable("b.y")["error_code"] == "upstream"
    assert isinstance(cell.jobs[-1][2], Cancel)


def test_a_call_that_meets_its_deadline_is_left_alone(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}").model_copy(update={"deadline": cell.now + 5}))
    cell.tell(cell.publish(*cell.take_jobs()))
    cell.now += 10
    cell.tell()
    assert cell.variable("a.x")["state"] == "ready"


def test_the_deadline_of_a_session_counts_for_its_calls_after_a_restart_too() -> None:
    cell = Cell()
    cell.tell(open_session().model_copy(update={"deadline": cell.now + 1}), call("a", "A: {{x}}"))
    cell.restart()
    cell.now += 1
    cell.tell()
    assert cell.variable("a.x")["error_code"] == "deadline"


def test_a_session_that_was_forgotten_is_closed() -> None:
    cell = Cell(Limits(idle=100))
    cell.tell(open_session(), text("v"))
    cell.now += 99
    cell.tell(text("w"))
    cell.now += 99
    cell.tell()
    assert cell.store.hashes[KEYS.session("s")]["state"] == "open"
    cell.now += 1
    cell.tell()
    assert cell.store.hashes[KEYS.session("s")]["state"] == "closed"


@pytest.mark.parametrize(
    ("limits", "code", "says"),
    [
        (Limits(active=2), "overloaded", "2 calls are under way in this cell; 2 are allowed"),
        (Limits(tenant_active=2), "overloaded", "2 calls of default are under way"),
        (Limits(session_calls=2), "limit", "has 2 calls, as many as allowed"),
    ],
)
def test_more_than_is_allowed_is_refused_with_the_figures(limits: Limits, code: str, says: str) -> None:
    cell = Cell(limits)
    cell.tell(open_session(), *(call(f"c{i}", "A: {{x}}") for i in range(3)))
    assert cell.call("c1")["state"] == "queued"
    assert cell.call("c2")["error_code"] == code
    assert says in cell.call("c2")["error"]


def test_a_program_that_is_too_deep_is_refused() -> None:
    cell = Cell(Limits(depth=3))
    cell.tell(open_session(), call("c0", "A: {{x}}"), *(call(f"c{i}", "{{i}} A: {{x}}", i=f"c{i - 1}.x") for i in range(1, 4)))
    assert "step 4 of its program; the limit is 3" in cell.call("c3")["error"]
    assert cell.call("c2")["state"] == "waiting"


def test_a_variable_declared_in_no_session_is_answered(cell: Cell) -> None:
    cell.tell(text("v").model_copy(update={"session": "nowhere"}))
    assert cell.variable("v")["error_code"] == "session"


def test_a_call_that_waits_for_what_nobody_sets_does_not_keep_its_session_for_ever() -> None:
    cell = Cell(Limits(idle=100))
    cell.tell(open_session(), text("v", None), call("a", "{{i}} A: {{x}}", i="v"))
    cell.now += 100
    cell.tell()
    assert cell.variable("a.x")["error_code"] == "upstream"
    assert cell.store.hashes[KEYS.session("s")]["state"] == "closed"
