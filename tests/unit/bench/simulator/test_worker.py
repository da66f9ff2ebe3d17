"""A worker turns orders into events, and says what its engine's cache holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bench.simulator.clock import Clock
from bench.simulator.contents import Contents
from bench.simulator.profile import Profile
from bench.simulator.worker import REPORT_SECONDS, Worker
from parrot.wire.to_core import EngineBeat, EngineHolds, EngineUp, GenerationDone
from parrot.wire.to_engine import Cancel, Job, Mark, Piece, Reorder, TellHoldings
from tests.unit.bench.simulator.engines import PROFILE


class Desk:
    """A worker and what it says."""

    def __init__(self, profile: Profile = PROFILE, lost: float = 0.0, reorders: bool = True) -> None:
        self.clock, self.contents = Clock(), Contents(profile.block_tokens)
        self.said: list[Any] = []
        self.published: list[str] = []
        self.worker = Worker(
            "e0",
            self.clock,
            profile,
            self.contents,
            tell=self.said.append,
            first=lambda _: None,
            published=lambda _, sequence: self.published.append(sequence.job.variable),
            lost=lost,
            reorders=reorders,
        )

    def job(self, variable: str, *pieces: Piece, out: int = 5, marks: tuple[Mark, ...] = (), priority: int = 0) -> Job:
        self.contents.promise(variable, out)
        return Job(
            variable=variable,
            attempt=1,
            session="s",
            call="c",
            function="f",
            output="o",
            prompt=list(pieces),
            priority=priority,
            marks=list(marks),
        )

    def text(self, name: str, tokens: int) -> Piece:
        return Piece("text", self.contents.write(name, tokens))

    def run(self, seconds: float = 5.0) -> None:
        end = self.clock.now + seconds
        self.clock.run(lambda: self.clock.now >= end or not self.clock._events)

    def events(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.said if isinstance(event, kind)]


def test_a_worker_comes_up_and_beats() -> None:
    desk = Desk()
    desk.worker.start()
    desk.run(3.5)
    (up,) = desk.events(EngineUp)
    assert (up.capacity.running, up.capacity.kv_tokens) == (8, 1000)
    assert len(desk.events(EngineBeat)) == 5


def test_usage_says_what_a_generation_cost() -> None:
    desk = Desk()
    shared = desk.text("shared", 40)
    desk.worker.take(desk.job("a", shared, desk.text("x", 10), out=5))
    desk.run()
    desk.worker.take(desk.job("b", shared, desk.text("y", 10), out=5))
    desk.run()
    first, second = (event.usage for event in desk.events(GenerationDone))
    assert (first.tokens_in, first.tokens_cached, first.tokens_out) == (50, 0, 5)
    assert (second.tokens_in, second.tokens_cached, second.tokens_out) == (50, 40, 5)
    assert first.first_token_seconds == pytest.approx(PROFILE.step(1, 50, 50))
    assert first.seconds == pytest.approx(PROFILE.step(1, 50, 50) + PROFILE.decode(1, 50, 4))
    assert first.running == pytest.approx(1.0)
    assert desk.published == ["a", "b"]


def test_a_job_that_is_sent_again_is_done_once() -> None:
    desk = Desk()
    job = desk.job("a", desk.text("x", 10))
    desk.worker.take(job)
    desk.worker.take(job)
    desk.run()
    desk.worker.take(job)
    desk.run()
    assert desk.published == ["a"]


def test_a_cancelled_job_says_nothing_more() -> None:
    desk = Desk()
    desk.worker.take(desk.job("a", desk.text("x", 10), out=100))
    desk.worker.take(Cancel(variable="a", attempt=1))
    desk.worker.take(Cancel(variable="gone", attempt=1))
    desk.run()
    assert desk.said == []


@pytest.mark.parametrize(("reorders", "first"), [(True, "c"), (False, "a")])
def test_a_job_that_waits_can_be_re_ordered(reorders: bool, first: str) -> None:
    desk = Desk(replace(PROFILE, running=1), reorders=reorders)
    for name in "abc":
        desk.worker.take(desk.job(name, desk.text(name, 10), priority=1))
    desk.worker.take(Reorder(variable="c", attempt=1, priority=0))
    desk.run()
    assert desk.published[0] == first


def test_a_generation_that_never_fits_is_a_mistake_of_the_workload() -> None:
    desk = Desk()
    with pytest.raises(ValueError, match="make the workload smaller"):
        desk.worker.take(desk.job("a", desk.text("x", 450), out=100))


def test_what_is_held_is_told_in_the_names_of_its_marks() -> None:
    desk = Desk()
    shared, own = desk.text("shared", 45), desk.text("own", 38)
    marks = (Mark(1, 0, 1001), Mark(1, len(own.value) // 2, 1002), Mark(2, 0, 1003), Mark(3, 0, 1004))
    desk.worker.take(desk.job("a", shared, own, out=18, marks=marks))
    desk.run()
    stored = [entry for report in desk.events(EngineHolds) for entry in report.stored]
    assert stored == [(1001, 40), (1002, 60), (1003, 80), (1004, 100)]  # 45, 64, 83 and 100 tokens, in full blocks
    assert [report.sequence for report in desk.events(EngineHolds)] == list(range(1, len(desk.events(EngineHolds)) + 1))


def test_what_is_given_up_is_told_as_well() -> None:
    desk = Desk(replace(PROFILE, kv_tokens=100))
    desk.worker.take(desk.job("a", desk.text("x", 50), marks=(Mark(1, 0, 1001),)))
    desk.run()
    desk.worker.take(desk.job("b", desk.text("y", 80), marks=(Mark(1, 0, 1002),)))
    desk.run()
    last = desk.events(EngineHolds)[-1]
    assert (last.stored, last.removed) == ([(1002, 80)], [1001])


def test_a_lost_report_shows_in_the_numbers_and_the_whole_can_be_asked_for() -> None:
    desk = Desk(lost=1.0)
    desk.worker.take(desk.job("a", desk.text("x", 50), marks=(Mark(1, 0, 1001),)))
    desk.run()
    assert not desk.events(EngineHolds)
    desk.worker.take(TellHoldings())
    (whole,) = desk.events(EngineHolds)
    assert (whole.whole, whole.sequence, whole.stored) == (True, 2, [(1001, 50)])


def test_reports_are_not_more_frequent_than_said() -> None:
    desk = Desk()
    for number in range(20):
        job = desk.job(f"a{number}", desk.text(f"x{number}", 20), marks=(Mark(1, 0, 1000 + number),))
        desk.clock.after(number * 0.05, desk.worker.take, job)
    desk.run(3.0)
    assert 1 < len(desk.events(EngineHolds)) <= 2.0 / REPORT_SECONDS
