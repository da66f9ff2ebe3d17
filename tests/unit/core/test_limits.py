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


def test_the_depth_of_what_ended_before_a_restart_counts_after_it() -> None:
    cell = Cell(Limits(depth=3))
    cell.tell(open_session(), engine_up(), call("c0", "A: {{x}}"), call("c1", "{{i}} A: {{x}}", i="c0.x"))
    for _ in range(2):
        cell.tell(cell.publish(*cell.take_jobs()))
    assert cell.call("c1")["state"] == "done"
    cell.restart()
    cell.tell(call("c2", "{{i}} A: {{x}}", i="c1.x"), call("c3", "{{i}} A: {{x}}", i="c2.x"))
    assert cell.call("c2")["state"] == "placed"
    assert "step 4 of its program; the limit is 3" in cell.call("c3")["error"]


def test_a_tenant_is_counted_as_long_as_it_has_calls_under_way(cell: Cell) -> None:
    cell.tell(open_session("t").model_copy(update={"tenant": "other"}), call("a", "A: {{x}}"), call("b", "B: {{x}}", session="t"))
    core = cell.store.hashes[KEYS.core]
    assert (core["active"], core["tenant:default"], core["tenant:other"]) == ("2", "1", "1")
    first, second = cell.take_jobs()
    cell.tell(cell.publish(first))
    assert (core["active"], core["tenant:other"]) == ("1", "1")
    assert "tenant:default" not in core
    cell.tell(cell.publish(second))
    assert core == {"active": "0", "limit_active": "100000", "limit_tenant": "50000"}


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
