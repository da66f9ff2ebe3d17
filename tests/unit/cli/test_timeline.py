"""A call's life in steps: when each came, how long it took, and what the time went into."""

from __future__ import annotations

import pytest

from parrot.broker.entries import CallRecord
from parrot.cli.timeline import Timeline, timelines

from .records import NOW, at, call, ready, record, variable


def life(of: CallRecord, slot: str = "x") -> Timeline:
    return timelines(of, NOW)[slot]


def steps(of: CallRecord, slot: str = "x") -> list[tuple[str, float | None, str]]:
    return [(step.name, step.seconds, step.spent) for step in life(of, slot).steps]


# Of one that has ended ----------------------------------------------------------------------------


def test_a_life_is_told_from_submission_to_the_end():
    assert steps(record(call(), ready())) == [
        ("submitted", None, ""),
        ("ready", 1.0, "for its inputs"),
        ("placed", 0.5, "for an engine"),
        ("started", 0.002, "for its turn there"),
        ("first token", 0.398, "to its first token"),
        ("done", 2.1, "for the rest of its text"),
    ]


def test_each_step_has_its_moment():
    assert [step.at for step in life(record(call(), ready())).steps] == [at(0), at(1), at(1.5), at(1.502), at(1.9), at(4)]


def test_steps_say_where_and_how_much():
    notes = {step.name: step.note for step in life(record(call(), ready())).steps}
    assert notes["started"] == "on e-1"
    assert notes["first token"] == "1,320 tokens in, 64 of them cached"
    assert notes["done"] == "22 tokens out, 100 ms each"


def test_where_a_step_was_never_written_the_time_went_into_both():
    assert steps(record(call(), ready(ready="", first_token=None))) == [
        ("submitted", None, ""),
        ("placed", 1.5, "for its inputs and an engine"),
        ("started", 0.002, "for its turn there"),
        ("done", 2.498, "to generate it"),
    ]


def test_of_a_call_without_any_times_only_the_state_is_known():
    assert steps(record(call(submitted=""), variable(state="ready"))) == []


def test_a_failure_says_why():
    failed = variable(state="failed", ready=at(1), placed=at(2), started=at(3), ended=at(4), engine="e-1", error="It broke.", attempt=1)
    last = life(record(call("failed"), failed)).steps[-1]
    assert (last.name, last.seconds, last.note) == ("failed", 1.0, "It broke.")


def test_one_that_was_cancelled_before_it_could_run_has_two_steps():
    cancelled = variable(state="cancelled", ended=at(4), error="It was cancelled.")
    assert [name for name, _, _ in steps(record(call("cancelled"), cancelled))] == ["submitted", "cancelled"]


def test_clocks_that_differ_are_not_hidden():
    assert ("started", -0.5, "for its turn there") in steps(record(call(), ready(started=at(1))))


# Of several attempts and outputs ------------------------------------------------------------------


def test_the_attempts_before_the_last_are_part_of_the_wait_for_an_engine():
    placed = life(record(call(), ready(attempt=3))).steps[2]
    assert (placed.name, placed.note) == ("placed", "attempt 3; those before came to nothing")


def test_what_an_earlier_attempt_left_behind_is_not_told():
    again = variable(ready=at(1), placed=at(2), started=at(3), attempt=1, why="waits for an engine with room")
    assert [step.name for step in life(record(call("queued"), again)).steps] == ["submitted", "ready", "now"]
    elsewhere = variable(ready=at(1), placed=at(5), started=at(3), attempt=2, engine="e-2")
    assert [step.name for step in life(record(call("placed"), elsewhere)).steps] == ["submitted", "ready", "placed", "now"]
    given_up = variable(state="failed", ready=at(1), placed=at(5), started=at(3), attempt=2, ended=at(7))
    assert [step.name for step in life(record(call("failed"), given_up)).steps] == ["submitted", "ready", "placed", "failed"]


def test_outputs_are_told_in_the_order_of_the_template():
    of = call(outputs={"y": "a.y", "x": "a.x"}, needs={"x": ["text"], "y": ["text", "x"]})
    assert list(timelines(record(of, ready(), ready("a.y", output="y")), NOW)) == ["x", "y"]


def test_an_output_that_is_gone_has_no_timeline():
    assert timelines(record(call()), NOW) == {}


# Of one that goes on ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("standing", "words"),
    [
        (variable(ready=at(1), why="waits for an engine with room"), "waits for an engine"),
        (variable(ready=at(1), attempt=1), "waits for an engine, after attempt 1 came to nothing"),
        (variable(ready=at(1), placed=at(2), engine="e-1", attempt=1), "waits for its turn on e-1"),
        (variable(state="generating", ready=at(1), placed=at(2), started=at(3), engine="e-1", attempt=1), "generates on e-1"),
    ],
)
def test_what_goes_on_says_what_it_does_now(standing, words):
    last = life(record(call("placed"), standing)).steps[-1]
    assert (last.name, last.at, last.note) == ("now", at(10), words)


def test_the_time_since_the_last_step_is_counted():
    assert steps(record(call("placed"), variable(ready=at(1), placed=at(2), engine="e-1")))[-1] == ("now", 8.0, "")


def test_why_there_is_no_engine_is_said():
    assert life(record(call("queued"), variable(why="waits for an engine with room"))).waits_for == ["waits for an engine with room"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (variable("in", state="empty"), "text (in) is empty: the app must set() it"),
        (variable("in", call="b"), "text (in) is pending: it waits for inputs of its own (parrot show --why b)"),
        (variable("in", call="b", why="waits for an engine with room"), "text (in) is pending: it waits for an engine with room"),
        (variable("in", call="b", engine="e-2", why="idle"), "text (in) is pending: it waits for its turn on e-2"),
        (
            variable("in", call="b", state="generating", engine="e-2", started=at(6)),
            "text (in) is generating on e-2, for 4.00 s so far",
        ),
        (variable("in", state="failed", error="It broke."), "text (in) is failed: It broke."),
    ],
)
def test_inputs_that_are_missing_are_named_with_where_they_stand(given, words):
    found = life(record(call("waiting"), variable(), given))
    assert found.waits_for == [words]
    assert found.steps[-1].note == "waits for text"


def test_an_input_that_has_expired_is_said_to_be_gone():
    of = record(call("waiting"), variable())
    del of.variables["in"]
    assert life(of).waits_for == ["text (in) is no longer there"]


def test_a_later_output_waits_for_the_one_before_it_and_an_earlier_one_not_for_what_comes_after():
    of = call(
        "placed",
        arguments={},
        outputs={"x": "a.x", "y": "a.y"},
        needs={"x": [], "y": ["x"]},
    )
    found = record(of, variable(state="generating", engine="e-1", started=at(9)), variable("a.y"))
    assert life(found, "x").waits_for == []
    assert life(found, "y").waits_for == ["x (a.x) is generating on e-1, for 1.00 s so far"]
