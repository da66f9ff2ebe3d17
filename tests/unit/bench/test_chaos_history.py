"""The checker of chaos runs finds what it is there to find."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.chaos_history import History, disordered, lost, quantile, recoveries, report, single, twice
from bench.chaos_records import Call, Error, Fault, Part

CALL = Call("c", "s", ("c.x", "c.y"))
GOOD = History(
    calls=[CALL],
    states={"c.x": "ready", "c.y": "ready"},
    errors={},
    events=["c.x", "c.y"],
    news=["c.y", "c.x"],
    streams={"c.x": [Part(1, "a"), Part(2, "b")]},
    values={"c.x": "ab"},
    lives=[],
    sent=frozenset(),
    faults=[Fault("kill", "worker", "worker-0", 1.0, "3 generations", recovered=3.5)],
    orphans=[],
    findings=[],
    limit=4.0,
)


def test_a_run_in_which_all_went_well_has_no_violations() -> None:
    figures = report(GOOD)
    assert figures["violations"] == []
    assert (figures["calls_acknowledged"], figures["calls_ended"], figures["lost"]) == (1, 1, 0)


@pytest.mark.parametrize("state", ["pending", "generating", None])
def test_a_call_with_an_output_that_has_not_ended_is_lost(state: str | None) -> None:
    states = {"c.x": "ready"} | ({"c.y": state} if state else {})
    assert lost([CALL], states) == ["c"]


def test_a_call_that_failed_is_not_lost() -> None:
    assert lost([CALL], {"c.x": "failed", "c.y": "cancelled"}) == []


def test_a_variable_that_is_told_of_twice_is_found_once() -> None:
    assert twice(["a", "b", "a", "a"]) == ["a"]


@pytest.mark.parametrize(
    "numbers",
    [[1, 3], [1, 2, 2], [2, 1], [2, 3]],
    ids=["gap", "repetition", "step back", "no beginning"],
)
def test_a_stream_whose_numbers_do_not_go_up_one_by_one_is_out_of_order(numbers: list[int]) -> None:
    seen = disordered({"v": [Part(number, "") for number in numbers]}, {})
    assert seen == {"v": f"its parts are numbered {', '.join(map(str, numbers))}"}


def test_a_stream_adds_up_to_the_value_from_its_last_reset_on() -> None:
    parts = [Part(1, "x"), Part(2, "", resets=True), Part(3, "a"), Part(4, "b")]
    assert disordered({"v": parts}, {"v": "ab"}) == {}
    assert disordered({"v": parts}, {"v": "xab"}) == {"v": "its parts say 'ab', the value is 'xab'"}


def test_faults_overlap_if_one_comes_before_the_other_is_recovered_from() -> None:
    first, second, third = (Fault("kill", "worker", name, at, recovered=end) for name, at, end in (("a", 0, 3), ("b", 2, 5), ("c", 6, 7)))
    assert single([first, second, third], 4.0) == ([third], [first, second])


def test_a_fault_whose_end_nobody_saw_reaches_as_far_as_a_recovery_may_take() -> None:
    unseen, near, far = (
        Fault("kill", "worker", "a", 0),
        Fault("kill", "core", "b", 3, recovered=3.5),
        Fault("kill", "core", "c", 9, recovered=9.5),
    )
    assert single([unseen, near, far], 4.0) == ([far], [unseen, near])


def test_faults_that_hit_suspects_count_among_the_single_ones_and_are_shown_once_more() -> None:
    plain, suspected = Fault("kill", "core", "a", 0, recovered=2.5), Fault("kill", "worker", "b", 5, suspects=1, recovered=11.0)
    figures = report(replace(GOOD, faults=[plain, suspected]))
    assert (figures["recovery_single"]["faults"], figures["recovery_single"]["max"]) == (2, 6.0)
    assert (figures["recovery_single_with_suspects"]["faults"], len(figures["violations"])) == (1, 1)


def test_quantiles_are_of_what_was_seen() -> None:
    found = recoveries([*(float(seconds) for seconds in range(1, 101)), None])
    assert (found.faults, found.unseen, found.p50, found.p99, found.max) == (101, 1, 50.0, 99.0, 100.0)
    assert quantile([], 0.5) == 0.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"states": {}}, "has not ended"),
        ({"events": ["c.x", "c.x"]}, "published twice"),
        ({"news": ["c.x", "c.x"]}, "published twice"),
        ({"streams": {"c.x": [Part(2, "a")]}}, "out of order"),
        ({"faults": [Fault("kill", "core", "core-0", 1.0, recovered=6.0)]}, "took 5.00 s; 4 s are allowed"),
        ({"faults": [Fault("stop", "core", "core-0", 1.0)]}, "was not seen to end"),
        ({"errors": {"c.x": Error("engine", "Broke.")}}, "must not have failed (engine): Broke."),
        ({"orphans": ["12 python"]}, "outlived the run"),
        ({"findings": ["A key is left."]}, "A key is left."),
    ],
)
def test_whatever_must_not_happen_is_a_violation(change: dict[str, object], words: str) -> None:
    (violation,) = report(replace(GOOD, **change))["violations"]  # type: ignore[arg-type]
    assert words in violation
