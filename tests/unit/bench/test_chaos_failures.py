"""A call that was hit by chance is told from one that should not have failed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.chaos_failures import EXAMPLES, Evidence, Failure, failures, report, violation
from bench.chaos_records import Call, Error, Fault, Life

CALL = Call("c", "s", ("c.x", "c.y"))
POISON = Error("poison", "3 engines died while they ran it, the last one while it ran alone: e1, e2, e3.")
UPSTREAM = Error("upstream", f"short could not make c.x: {POISON.message}")
LIVES = [Life("e1", 1, 0.0), Life("e2", 2, 0.0), Life("e3", 3, 15.0)]
SENT = frozenset({("e1", "c.x"), ("e2", "c.x"), ("e3", "c.x")})
FAULTS = [
    Fault("kill", "worker", "worker-0", 10.0, pid=1, holds=("c.x", "other")),
    Fault("kill", "worker", "worker-0", 20.0, pid=3, holds=("c.x",)),
    Fault("stop", "worker", "worker-1", 12.0, pid=2),
]


def judged(errors: dict[str, Error], evidence: Evidence | None = None, calls: list[Call] | None = None) -> list[Failure]:
    return failures(calls or [CALL], errors, evidence or Evidence(FAULTS, LIVES, SENT))


def test_a_call_that_ended_well_is_no_failure() -> None:
    assert judged({}) == []


def test_a_call_whose_three_engines_were_all_hit_was_blamed_by_chance() -> None:
    (failure,) = judged({"c.x": POISON, "c.y": UPSTREAM})
    assert (failure.variable, failure.doubt) == ("c.x", "")
    assert [(engine, fault.at) for engine, fault in failure.blamed.items()] == [("e1", 10.0), ("e2", 12.0), ("e3", 20.0)]


@pytest.mark.parametrize(
    ("evidence", "doubt"),
    [
        (Evidence(FAULTS[:2], LIVES, SENT), "No fault hit e2."),
        (Evidence(FAULTS, LIVES[1:], SENT), "No fault hit e1."),
        (Evidence(FAULTS, LIVES, SENT - {("e3", "c.x")}), "e3 was never sent it."),
        (
            Evidence([FAULTS[0], FAULTS[2], replace(FAULTS[1], holds=("c.x", "other"))], LIVES, SENT),
            "It did not run alone: at the kill of worker-0 at 20.0 s the engine held 1 others as well.",
        ),
    ],
)
def test_a_call_that_was_blamed_for_what_chance_does_not_explain_must_not_fail(evidence: Evidence, doubt: str) -> None:
    (failure,) = judged({"c.x": POISON}, evidence)
    assert (failure.blamed, failure.doubt) == ({}, doubt)
    assert "The call c must not have failed (poison): 3 engines died" in violation(failure)


def test_fewer_deaths_than_promised_are_no_reason_to_fail() -> None:
    error = Error("poison", "2 engines died while they ran it, the last one while it ran alone: e1, e2.")
    assert judged({"c.x": error})[0].doubt == "It names 2 engines."


def test_a_fault_hits_the_engine_that_its_process_was_at_that_time() -> None:
    lives = [*LIVES[:2], Life("e3", 2, 16.0)]  # e2 was stopped at 12 and came back as e3
    assert judged({"c.x": POISON}, Evidence(FAULTS, lives, SENT))[0].doubt == "No fault hit e3."
    killed = Fault("kill", "worker", "worker-1", 18.0, pid=2, holds=("c.x",))
    (failure,) = judged({"c.x": POISON}, Evidence([*FAULTS, killed], lives, SENT))
    assert [fault.at for fault in failure.blamed.values()] == [10.0, 12.0, 18.0]


def test_what_needed_a_value_may_fail_if_that_one_may() -> None:
    later = Call("d", "s", ("d.x",))
    first, second = judged({"c.x": POISON, "d.x": UPSTREAM}, calls=[later, CALL])
    assert (first.root, first.doubt) == ("c.x", "")
    assert second.blamed


def test_what_needed_a_value_must_not_fail_if_that_one_must_not() -> None:
    (failure,) = judged({"d.x": UPSTREAM}, calls=[Call("d", "s", ("d.x",))])
    assert failure.doubt == "Nor may c.x have failed, which it needed."


@pytest.mark.parametrize("code", ["engine", "overloaded", "cancelled", "internal"])
def test_every_other_failure_is_unexplained(code: str) -> None:
    (failure,) = judged({"c.y": Error(code, "Something.")})
    assert violation(failure) == f"The call c must not have failed ({code}): Something. No fault explains it."


def test_a_report_counts_failures_and_shows_what_was_blamed_by_chance() -> None:
    calls = [CALL, *(Call(f"d{number}", "s", (f"d{number}.x",)) for number in range(EXAMPLES))]
    errors = {"c.x": POISON} | {call.variables[0]: UPSTREAM for call in calls[1:-1]} | {calls[-1].variables[0]: Error("engine", "Broke.")}
    figures = report(judged(errors, calls=calls))
    assert figures["by_code"] == {"upstream": EXAMPLES - 1, "poison": 1, "engine": 1}
    assert (figures["needed_one_of_those"], figures["unexplained"], len(figures["examples"])) == (EXAMPLES - 1, 1, EXAMPLES)
    assert figures["blamed_by_chance"] == [
        {
            "call": "c",
            "session": "s",
            "variable": "c.x",
            "code": "poison",
            "message": POISON.message,
            "engines": {
                "e1": "the kill of worker-0 at 10.0 s: it held this call and 1 others",
                "e2": "the stop of worker-1 at 12.0 s: it had been sent this call, and was not seen to hold it",
                "e3": "the kill of worker-0 at 20.0 s: it held this call and 0 others",
            },
        }
    ]
