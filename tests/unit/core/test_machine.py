"""The rules of ServeCore, one by one, in memory."""

from __future__ import annotations

import pytest

from parrot.core.generation_rules import MAX_ERRORS
from parrot.core.limits import Limits
from parrot.criteria import LATENCY
from parrot.wire.to_core import (
    Argument,
    CancelVariable,
    EngineBeat,
    EngineDown,
    GenerationFailed,
    GenerationReturned,
    SetVariable,
    WantVariable,
)
from parrot.wire.to_engine import Cancel
from tests.unit.core.cell import KEYS, Cell, call, close_session, engine_up, open_session, text


@pytest.fixture
def cell() -> Cell:
    cell = Cell()
    cell.tell(open_session(), engine_up())
    return cell


def test_a_call_without_inputs_is_placed_at_once(cell: Cell) -> None:
    cell.tell(call("a", "Say something: {{x}}"))
    (job,) = cell.take_jobs()
    assert (job.variable, job.attempt, job.prompt) == ("a.x", 1, [("text", "Say something: ")])
    assert cell.call("a")["state"] == "placed"
    assert cell.variable("a.x")["engine"] == "e1"
    assert cell.variable("a.x")["why"].startswith("e1 should have it done in ")


def test_a_call_waits_until_its_input_is_published(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"), call("b", "{{i}} B: {{y}}", i="a.x"))
    (first,) = cell.take_jobs()
    assert cell.call("b")["state"] == "waiting"
    cell.tell(cell.publish(first))
    (second,) = cell.take_jobs()
    assert second.prompt == [("variable", "a.x"), ("text", " B: ")]
    assert cell.call("a")["state"] == "done"


def test_a_call_with_two_outputs_becomes_a_chain_of_two_generations(cell: Cell) -> None:
    cell.tell(call("a", "Q: {{q}} think: {{t}} answer: {{x}}", q="=why?"))
    (first,) = cell.take_jobs()
    assert first.variable == "a.t"
    cell.tell(cell.publish(first))
    assert cell.call("a")["state"] == "placed"
    (second,) = cell.take_jobs()
    assert second.variable == "a.x"
    assert [piece.kind for piece in second.prompt] == ["text", "text", "text", "variable", "text"]
    cell.tell(cell.publish(second))
    assert cell.call("a")["state"] == "done"


def test_an_early_output_does_not_wait_for_inputs_that_stand_after_it(cell: Cell) -> None:
    cell.tell(text("late", None), call("a", "think: {{t}} now {{i}}: {{x}}", i="late"))
    (first,) = cell.take_jobs()
    assert first.variable == "a.t"
    cell.tell(cell.publish(first))
    assert cell.take_jobs() == []
    cell.tell(SetVariable(session="s", variable="late", text="here"))
    (second,) = cell.take_jobs()
    assert second.variable == "a.x"


def test_a_prompt_may_start_with_an_output(cell: Cell) -> None:
    cell.tell(call("a", "{{x}} and then {{y}}"))
    (first,) = cell.take_jobs()
    assert first.prompt == []


def test_a_variable_is_set_once(cell: Cell) -> None:
    cell.tell(text("v", None))
    cell.tell(SetVariable(session="s", variable="v", text="first"), SetVariable(session="s", variable="v", text="second"))
    assert cell.variable("v")["value"] == "first"
    assert cell.news() == [("v", "ready")]


def letters(cell: Cell) -> list[tuple[str, str, str]]:
    return [(one["id"], one["code"], one["reason"]) for one in cell.store.streams.get(KEYS.dead, [])]


def test_the_second_value_of_a_variable_is_kept_among_the_dead_letters_unless_it_is_the_first_one_again(cell: Cell) -> None:
    cell.tell(text("v", None), SetVariable(session="s", variable="v", text="first"))
    cell.tell(SetVariable(session="s", variable="v", text="first"), SetVariable(session="s", variable="v", text="second"))
    cell.restart()
    cell.tell(SetVariable(session="s", variable="v", text="first"))
    assert letters(cell) == [("v", "variable", "The variable v was set before; the first value stands.")]
    assert "second" in cell.store.streams[KEYS.dead][0]["entry"]


def test_a_value_for_what_a_call_makes_or_what_was_cancelled_is_kept_among_the_dead_letters(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"), text("v", None), CancelVariable(session="s", variable="v"))
    cell.tell(SetVariable(session="s", variable="a.x", text="mine"), SetVariable(session="s", variable="v", text="late"))
    assert letters(cell) == [
        ("a.x", "variable", "The variable a.x is made by a call."),
        ("v", "variable", "The variable v is cancelled and takes no value any more."),
    ]
    cell.tell(cell.publish(*cell.take_jobs()))
    assert cell.call("a")["state"] == "done"


def test_a_declared_text_is_ready_and_told(cell: Cell) -> None:
    cell.tell(text("v", "hello"))
    assert cell.variable("v")["state"] == "ready"
    assert cell.news() == [("v", "ready")]


def test_a_repeated_submit_is_the_same_call(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"))
    cell.tell(call("a", "A: {{x}}"))
    assert len(cell.take_jobs()) == 1
    assert cell.store.lists[KEYS.calls("s")] == ["a"]


def test_a_repeated_submit_after_the_end_is_the_same_call(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"))
    cell.tell(cell.publish(*cell.take_jobs()))
    cell.tell(call("a", "A: {{x}}"))
    assert cell.take_jobs() == []


def test_a_repeated_event_changes_nothing(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"), call("b", "{{i}} B: {{y}}", i="a.x"))
    done = cell.publish(*cell.take_jobs())
    cell.tell(done)
    cell.take_jobs()
    cell.tell(done)
    assert cell.take_jobs() == []
    assert cell.batch.operations == []


def test_the_least_loaded_engine_takes_the_next_call(cell: Cell) -> None:
    cell.tell(engine_up("e2"))
    cell.tell(*(call(f"c{i}", "A: {{x}}") for i in range(6)))
    assert [engine for engine, _, _ in cell.jobs] == ["e1", "e2"] * 3


def test_a_call_goes_only_to_an_engine_with_its_model(cell: Cell) -> None:
    cell.tell(engine_up("e2", model="other"))
    cell.tell(*(call(f"c{i}", "A: {{x}}", model="other") for i in range(3)))
    assert {engine for engine, _, _ in cell.jobs} == {"e2"}


def test_what_finds_no_room_waits_in_the_core_and_says_so(cell: Cell) -> None:
    cell.tell(*(call(f"c{i}", "A: {{x}}") for i in range(9)))
    jobs = cell.take_jobs()
    assert len(jobs) == 8
    assert cell.call("c8")["state"] == "queued"
    assert "waits for an engine" in cell.call("c8")["why"]
    cell.tell(cell.publish(jobs[0]))
    assert [job.call for job in cell.take_jobs()] == ["c8"]


def test_calls_wait_for_an_engine_that_comes_later() -> None:
    cell = Cell()
    cell.tell(open_session(), call("a", "A: {{x}}"))
    assert cell.take_jobs() == []
    cell.tell(engine_up())
    assert len(cell.take_jobs()) == 1


def test_job_ids_grow_for_ever(cell: Cell) -> None:
    for i in range(5):
        cell.tell(call(f"c{i}", "A: {{x}}"), call(f"d{i}", "A: {{x}}"))
    ids = [tuple(map(int, entry.split("-"))) for _, entry, _ in cell.jobs]
    assert ids == sorted(set(ids))


def test_an_engine_failure_is_tried_again_and_then_fails_the_call_and_its_descendants(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"), call("b", "{{i}} B: {{y}}", i="a.x"), call("c", "{{i}} C: {{z}}", i="b.y"))
    for attempt in range(1, MAX_ERRORS + 1):
        (job,) = cell.take_jobs()
        assert job.attempt == attempt
        cell.tell(GenerationFailed(engine="e1", variable="a.x", attempt=attempt, code="engine", reason="it broke"))
    assert cell.take_jobs() == []
    assert cell.variable("a.x")["error"] == "it broke"
    for name in ("b.y", "c.z"):
        assert cell.variable(name)["error_code"] == "upstream"
        assert cell.variable(name)["error"] == "function_a could not make a.x: it broke"
    assert cell.news() == [("a.x", "failed"), ("b.y", "failed"), ("c.z", "failed")]
    assert cell.store.sets[KEYS.active] == {}


def test_a_bad_request_is_never_tried_again(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"))
    cell.tell(GenerationFailed(engine="e1", variable="a.x", attempt=1, code="context_too_long", reason="4,097 of 4,096 tokens"))
    assert cell.variable("a.x")["error_code"] == "context_too_long"
    assert cell.call("a")["state"] == "failed"


def test_a_call_on_a_failed_input_fails_at_once(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"))
    cell.tell(GenerationFailed(engine="e1", variable="a.x", attempt=1, code="bad_sampling", reason="no"))
    cell.tell(call("b", "{{i}} B: {{y}} more {{z}}", i="a.x"))
    assert cell.variable("b.y")["error"] == cell.variable("b.z")["error"] == "function_a could not make a.x: no"
    assert cell.call("b")["state"] == "failed"


def test_a_returned_job_goes_elsewhere_before_younger_ones(cell: Cell) -> None:
    cell.tell(*(call(f"c{i}", "A: {{x}}") for i in range(9)))
    cell.take_jobs()
    cell.tell(GenerationReturned(engine="e1", variable="c3.x", attempt=1))
    (job,) = cell.take_jobs()
    assert (job.variable, job.attempt) == ("c3.x", 2)


def test_what_a_departed_engine_held_goes_elsewhere(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"))
    cell.take_jobs()
    cell.tell(EngineDown(engine="e1", reason="drained"))
    assert cell.batch.abandoned == ["e1"]
    assert cell.call("a")["state"] == "queued"
    cell.tell(engine_up("e2"))
    (job,) = cell.take_jobs()
    assert job.attempt == 2
    assert KEYS.engine("e1") not in cell.store.hashes


def test_a_silent_engine_is_given_up_when_its_lease_ends(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"))
    cell.now += 2.0
    cell.tell(EngineBeat(engine="e1", running=1))
    cell.now += 2.9
    assert cell.machine.deadline() <= cell.now + 0.1
    cell.tell()
    assert cell.batch.abandoned == []
    cell.now += 0.1
    cell.tell()
    assert cell.batch.abandoned == ["e1"]


def test_a_late_report_of_a_given_up_attempt_changes_nothing(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"))
    cell.tell(EngineDown(engine="e1"))
    cell.tell(engine_up("e2"))
    cell.tell(GenerationFailed(engine="e1", variable="a.x", attempt=1, code="engine", reason="late"))
    assert cell.variable("a.x")["attempt"] == "2"
    assert cell.variable("a.x")["state"] == "pending"


def test_a_publication_of_an_engine_that_was_given_up_counts_while_nobody_else_was_asked(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"), call("b", "{{i}} B: {{y}}", i="a.x"))
    (job,) = cell.take_jobs()
    cell.now += 3.0
    cell.tell()
    assert cell.variable("a.x")["engine"] == ""
    cell.tell(cell.publish(job))
    assert cell.call("a")["state"] == "done"
    cell.tell(engine_up("e2"))
    assert [job.call for job in cell.take_jobs()] == ["b"]


def test_a_publication_that_comes_while_another_engine_is_asked_counts_and_stops_that_one(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"))
    (job,) = cell.take_jobs()
    cell.now += 3.0
    cell.tell()
    event = cell.publish(job)
    cell.tell(engine_up("e2"))
    cell.take_jobs()
    cell.tell(event)
    assert [(engine, order) for engine, _, order in cell.batch.orders] == [("e2", Cancel(variable="a.x", attempt=2))]
    assert cell.call("a")["state"] == "done"
    assert cell.machine.fleet.engines["e2"].holds == {}


def test_an_engine_that_was_given_up_and_did_not_notice_loses_its_job_stream_again(cell: Cell) -> None:
    cell.now += 3.0
    assert cell.tell().abandoned == ["e1"]
    assert cell.tell(EngineBeat(engine="e1")).abandoned == ["e1"]


def test_what_an_engine_held_under_its_former_id_goes_elsewhere_at_once(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"))
    cell.take_jobs()
    cell.tell(engine_up("e2").model_copy(update={"previous": "e1"}))
    assert [(engine, job.attempt) for engine, _, job in cell.jobs] == [("e2", 2)]  # type: ignore[union-attr]
    assert list(cell.machine.fleet.engines) == ["e2"]


def test_a_call_in_an_unknown_session_is_answered_and_leaves_nothing_for_good(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}", session="nowhere"))
    assert "unknown" in cell.variable("a.x")["error"]
    assert KEYS.variable("a.x") in cell.store.expiring
    assert KEYS.news("nowhere") in cell.store.expiring


def test_a_call_with_an_unknown_input_is_answered_and_shown_in_its_session(cell: Cell) -> None:
    cell.tell(call("a", "{{i}} A: {{x}}", i="no-such"))
    assert "no-such of function_a is not a variable" in cell.variable("a.x")["error"]
    assert cell.call("a")["state"] == "failed"
    assert cell.store.lists[KEYS.calls("s")] == ["a"]


@pytest.mark.parametrize("prompt", ["{{x}}{{y}}", "A {{x}} and {{x}}", "nothing"])
def test_a_template_that_no_model_can_run_is_answered(cell: Cell, prompt: str) -> None:
    cell.tell(call("a", prompt))
    assert cell.take_jobs() == []
    assert cell.call("a")["error_code"] == "call"


def test_an_argument_must_say_one_thing(cell: Cell) -> None:
    wrong = call("a", "{{i}} A: {{x}}", i="=t").model_copy(update={"arguments": {"i": Argument()}})
    cell.tell(wrong)
    assert "exactly one of" in cell.variable("a.x")["error"]


def test_a_call_cannot_take_the_output_variable_of_another(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"))
    thief = call("b", "B: {{x}}")
    cell.tell(thief.model_copy(update={"outputs": call("a", "A: {{x}}").outputs}))
    assert cell.variable("a.x")["state"] == "pending"
    assert "exists already" in cell.call("b")["error"]


def test_a_criterion_is_recorded(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"))
    cell.tell(WantVariable(session="s", variable="a.x", criterion=LATENCY))
    assert cell.variable("a.x")["criterion"] == "latency"


def test_a_closed_session_takes_no_calls_but_finishes_those_it_has(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"), close_session())
    cell.tell(call("b", "B: {{x}}"))
    assert "closed" in cell.call("b")["error"]
    assert cell.store.expiring == {}
    cell.tell(cell.publish(*cell.take_jobs()))
    assert cell.call("a")["state"] == "done"


def test_results_of_a_closed_session_expire_with_every_key_of_it() -> None:
    cell = Cell(Limits(results=60))
    cell.tell(open_session(), engine_up(), text("v"), call("a", "{{i}} A: {{x}}", i="v"))
    cell.tell(cell.publish(*cell.take_jobs()))
    cell.tell(close_session())
    everything = {*cell.store.hashes, *cell.store.lists, *cell.store.streams} - {KEYS.engine("e1"), KEYS.core, KEYS.learned}
    streams_of_tokens = {KEYS.tokens("v"), KEYS.tokens("a.x")}
    assert set(cell.store.expiring) - streams_of_tokens == everything
    assert set(cell.store.expiring.values()) == {60}
    cell.now += 60
    cell.tell()
    assert cell.store.sets[KEYS.sessions] == {}
    assert cell.machine.graph.variables == {}


def test_a_session_counts_its_calls(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"), call("b", "B: {{x}}"))
    cell.tell(cell.publish(cell.take_jobs()[0]))
    record = cell.store.hashes[KEYS.session("s")]
    assert (record["calls"], record["ended"]) == ("2", "1")


def test_a_variable_that_is_still_empty_when_its_session_closes_fails_with_all_that_waits_for_it(cell: Cell) -> None:
    cell.tell(text("v", None), call("a", "{{i}} A: {{x}}", i="v"), close_session())
    assert cell.variable("v")["error_code"] == "session"
    assert cell.variable("a.x")["error_code"] == "upstream"
    assert cell.store.hashes[KEYS.session("s")]["expires"]
