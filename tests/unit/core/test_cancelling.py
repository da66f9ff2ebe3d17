"""What nobody wants any more stops, and takes along what was made for it alone."""

from __future__ import annotations

import pytest

from parrot.criteria import LATENCY
from parrot.wire.to_core import CancelSession, CancelVariable, GenerationRevoked, WantVariable
from parrot.wire.to_engine import Cancel
from tests.unit.core.cell import KEYS, Cell, call, engine_up, open_session
from tests.unit.core.stage import SHARED, Stage, ask, up


@pytest.fixture
def cell() -> Cell:
    cell = Cell()
    cell.tell(open_session(), engine_up())
    return cell


def stopped(cell: Cell) -> list[tuple[str, str]]:
    """Which engines were told to stop what, since the last look."""
    told, cell.jobs = cell.jobs, []
    return [(engine, order.variable) for engine, _, order in told if isinstance(order, Cancel)]


def test_cancelling_a_running_variable_stops_its_engine_and_tells_the_session(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"))
    cell.take_jobs()
    cell.tell(CancelVariable(session="s", variable="a.x"))
    assert stopped(cell) == [("e1", "a.x")]
    assert (cell.variable("a.x")["state"], cell.variable("a.x")["error_code"]) == ("cancelled", "cancelled")
    assert cell.call("a")["state"] == "cancelled"
    assert cell.news() == [("a.x", "cancelled")]


def test_what_depends_on_a_cancelled_variable_is_cancelled(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"), call("b", "{{i}} B: {{y}}", i="a.x"))
    cell.tell(CancelVariable(session="s", variable="a.x"))
    assert cell.variable("b.y")["state"] == "cancelled"
    cell.tell(call("c", "{{i}} C: {{z}}", i="b.y"))
    assert cell.variable("c.z")["error_code"] == "upstream"


def test_what_was_made_for_a_cancelled_variable_alone_is_cancelled(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"), call("b", "{{i}} B: {{y}}", i="a.x"), call("c", "{{i}} C: {{z}}", i="b.y"))
    cell.tell(CancelVariable(session="s", variable="c.z"))
    assert [cell.variable(name)["state"] for name in ("a.x", "b.y", "c.z")] == ["cancelled"] * 3
    assert stopped(cell) == [("e1", "a.x")]


def test_what_somebody_else_needs_or_asked_for_is_not_cancelled(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"), call("b", "{{i}} B: {{y}}", i="a.x"), call("c", "{{i}} C: {{z}}", i="a.x"))
    cell.tell(call("d", "D: {{w}}"), call("e", "{{i}} E: {{v}}", i="d.w"), WantVariable(session="s", variable="d.w", criterion=LATENCY))
    cell.tell(CancelVariable(session="s", variable="c.z"), CancelVariable(session="s", variable="e.v"))
    assert [cell.variable(name)["state"] for name in ("a.x", "b.y", "d.w")] == ["pending"] * 3


def test_a_cancelled_call_that_waits_in_the_core_is_never_placed(cell: Cell) -> None:
    cell.tell(*(call(f"c{i}", "A: {{x}}") for i in range(10)))
    jobs = cell.take_jobs()
    cell.tell(CancelVariable(session="s", variable="c8.x"))
    cell.tell(cell.publish(jobs[0]))
    assert [job.call for job in cell.take_jobs()] == ["c9"]


def test_cancelling_makes_room_for_others(cell: Cell) -> None:
    cell.tell(*(call(f"c{i}", "A: {{x}}") for i in range(9)))
    cell.take_jobs()
    cell.tell(CancelVariable(session="s", variable="c0.x"))
    assert [job.call for job in cell.take_jobs()] == ["c8"]


def test_cancelling_what_has_ended_changes_nothing(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"))
    cell.tell(cell.publish(*cell.take_jobs()))
    cell.tell(CancelVariable(session="s", variable="a.x"), CancelVariable(session="s", variable="no-such"))
    assert cell.variable("a.x")["state"] == "ready"


def test_cancelling_a_session_cancels_all_that_has_not_ended_and_closes_it(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"), call("b", "{{i}} B: {{y}}", i="a.x"), call("d", "D: {{w}}"))
    cell.tell(cell.publish(cell.take_jobs()[0]))
    cell.tell(CancelSession(session="s"))
    assert [cell.variable(name)["state"] for name in ("a.x", "b.y", "d.w")] == ["ready", "cancelled", "cancelled"]
    assert cell.store.sets[KEYS.active] == {}
    assert cell.store.hashes[KEYS.session("s")]["state"] == "closed"


def test_what_an_operator_revokes_is_cancelled_whoever_runs_it(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"), call("b", "{{i}} B: {{y}}", i="a.x"))
    cell.take_jobs()
    cell.tell(GenerationRevoked(engine="another", variable="a.x"))
    assert stopped(cell) == [("e1", "a.x")]
    assert [cell.variable(name)["error"] for name in ("a.x", "b.y")] == ["It was revoked through Celery."] * 2
    assert [cell.call(name)["state"] for name in ("a", "b")] == ["cancelled"] * 2


def test_revoking_what_has_ended_or_was_never_known_changes_nothing(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"))
    cell.tell(cell.publish(*cell.take_jobs()))
    batch = cell.tell(GenerationRevoked(engine="e1", variable="a.x"), GenerationRevoked(engine="e1", variable="no-such"))
    assert (batch.operations, cell.variable("a.x")["state"]) == ([], "ready")


def test_what_is_expected_to_take_no_time_at_all_can_be_cancelled() -> None:
    stage = Stage(up("e1"))
    for number in range(3):
        stage.tell(ask(f"z{number}", SHARED))
        engine, job = stage.job(f"z{number}")
        stage.now += 3.0
        stage.tell(stage.publish(job, engine))  # without a token
    stage.tell(ask("a", SHARED))
    stage.now += 1_000.0
    stage.tell(ask("b", SHARED))
    stage.tell(CancelVariable(session="s", variable="b.x"))
    assert stage.call("b")["state"] == "cancelled"
