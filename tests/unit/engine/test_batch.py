from __future__ import annotations

import time

import pytest

from parrot.engine.batch import Batch
from tests.unit.engine.test_runner import job


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_the_mean_is_over_the_time_that_a_generation_ran(clock: Clock) -> None:
    batch = Batch()
    first = batch.enter(job("first"))
    clock.now += 2  # alone
    second = batch.enter(job("second"))
    clock.now += 1  # two
    assert batch.mean(second) == 2.0
    assert batch.mean(first) == pytest.approx(4 / 3)
    batch.leave(second)
    clock.now += 1  # alone again
    assert batch.mean(first) == pytest.approx(5 / 4)


def test_a_generation_that_took_no_time_was_in_the_batch_that_it_found(clock: Clock) -> None:
    batch = Batch()
    batch.enter(job("first"))
    assert batch.mean(batch.enter(job("second"))) == 2.0


def test_busy_seconds_are_those_with_something_in_the_engine(clock: Clock) -> None:
    batch = Batch()
    clock.now += 5
    first, second = batch.enter(job("first")), batch.enter(job("second"))
    clock.now += 2
    batch.leave(first)
    clock.now += 1
    assert batch.busy_seconds == 3.0
    batch.leave(second)
    clock.now += 5
    assert batch.busy_seconds == 3.0


def test_it_is_busy_while_anything_runs() -> None:
    batch = Batch()
    running = batch.enter(job("v"))
    assert batch.busy.is_set()
    assert [*batch] == [running]
    batch.leave(running)
    assert not batch.busy.is_set()
    assert len(batch) == 0


def test_a_generation_is_found_by_its_attempt() -> None:
    batch = Batch()
    running = batch.enter(job("v", attempt=2))
    assert batch.find("v", 2) is running
    assert batch.find("v", 1) is None
