"""Messages that are well formed and mean no good: they end in an error for their sender, and change nothing for others."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from parrot.broker.streams import Entry
from parrot.core.loop import PORTION_BYTES, portions
from parrot.core.lowering import MAX_JOB_BYTES, lower
from parrot.criteria import LATENCY
from parrot.errors import LimitExceeded
from parrot.template import MAX_OUTPUTS, MAX_SEGMENTS, Segment
from parrot.wire.to_core import Argument, CancelVariable, Capacity, OpenSession, Output, SetVariable, SubmitCall, WantVariable
from tests.unit.core.cell import KEYS, Cell, call, close_session, engine_up, open_session, text


@pytest.fixture
def cell() -> Cell:
    cell = Cell()
    cell.tell(open_session(), open_session("mine"), engine_up())
    return cell


def test_an_output_that_is_its_own_input_fails(cell: Cell) -> None:
    cell.tell(call("a", "{{i}} A: {{x}}", i="a.x"))
    assert cell.variable("a.x")["error_code"] == "call"
    assert "would wait for itself" in cell.variable("a.x")["error"]


def test_two_outputs_in_one_variable_fail_once_and_their_session_can_be_forgotten(cell: Cell) -> None:
    twice = call("a", "A: {{x}} and {{y}}").model_copy(update={"outputs": {"x": Output(variable="v"), "y": Output(variable="v")}})
    cell.tell(twice, close_session())
    assert cell.news() == [("v", "failed")]
    cell.now += cell.limits.results + 1
    cell.tell()
    assert "s" not in cell.machine.graph.sessions


def test_a_call_id_of_another_session_is_refused_and_the_other_call_stands(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"))
    before = dict(cell.call("a"))
    thief = call("a", "A: {{x}}", session="mine").model_copy(update={"outputs": {"x": Output(variable="stolen")}})
    cell.tell(thief)
    assert cell.call("a") == before
    assert cell.variable("stolen")["error_code"] == "call"
    cell.tell(cell.publish(*cell.take_jobs()))
    assert cell.call("a")["state"] == "done"
    cell.restart()
    cell.tell(thief)
    assert cell.call("a")["state"] == "done"


def test_a_variable_of_another_session_cannot_be_set_wanted_or_cancelled(cell: Cell) -> None:
    cell.tell(text("v", None))
    cell.tell(
        SetVariable(session="mine", variable="v", text="mine"),
        CancelVariable(session="mine", variable="v"),
        WantVariable(session="mine", variable="v", criterion=LATENCY),
    )
    assert cell.variable("v")["state"] == "empty"
    assert "criterion" not in cell.variable("v")


def test_a_text_that_fills_many_slots_is_refused_before_the_job_grows_too_large() -> None:
    template = [Segment("slot", "i")] * (MAX_SEGMENTS - 1) + [Segment("slot", "x")]
    many = call("a", "{{i}} {{x}}", i="=" + "\x00" * (MAX_JOB_BYTES // MAX_SEGMENTS // 5)).model_copy(update={"template": template})
    with pytest.raises(LimitExceeded, match="are allowed"):
        lower(many)
    few = many.model_copy(update={"template": template[-MAX_SEGMENTS // 2 :]})
    assert len(lower(few)) == 1


@pytest.mark.parametrize("figure", [0, -1, 10**9, 10**400])
def test_an_absurd_capacity_is_no_capacity(figure: int) -> None:
    with pytest.raises(ValidationError):
        Capacity(running=figure, kv_tokens=1, context_tokens=1, block_tokens=1)


@pytest.mark.parametrize("moment", [float("nan"), float("inf"), -1.0, 1e300])
def test_a_deadline_is_a_moment_of_the_calendar(moment: float) -> None:
    with pytest.raises(ValidationError):
        OpenSession(session="s", name="s", deadline=moment)


def test_a_call_has_no_more_outputs_than_allowed() -> None:
    outputs = {f"x{i}": Output(variable=f"v{i}") for i in range(MAX_OUTPUTS + 1)}
    with pytest.raises(ValidationError, match="at most"):
        SubmitCall(session="s", call="c", function="f", template=[], outputs=outputs)


def test_an_argument_names_no_key_of_another_type() -> None:
    with pytest.raises(ValidationError):
        Argument(variable="v:tokens")


def test_what_was_read_is_handled_in_portions_of_bounded_size() -> None:
    half = Entry(KEYS.tasks, "1-0", {b"body": b"x" * (PORTION_BYTES // 2)})
    assert [len(portion) for portion in portions([half] * 5)] == [2, 2, 1]
    huge = Entry(KEYS.tasks, "1-0", {b"body": b"x" * (PORTION_BYTES + 1)})
    assert [len(portion) for portion in portions([half, huge, half])] == [1, 1, 1]
    assert list(portions([])) == [[]]
