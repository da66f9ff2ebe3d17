"""Whatever happens to its processes, a cell keeps its promises; and if it did not, the simulation would find out."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

from parrot.core.batch import Batch
from parrot.wire.to_core import EngineBeat
from tests.simulation.broker import Broker
from tests.simulation.run import Run, broken_promise
from tests.simulation.world import World

SEEDS = 2_000
PORTION = 50
ENOUGH = 400  # seeds in which a broken store must be found out


def broken(first: int) -> list[tuple[int, str]]:
    """The seeds of one portion that break a promise, and how."""
    return [(seed, said) for seed in range(first, first + PORTION) if (said := broken_promise(seed))]


@pytest.mark.timeout(600)
def test_every_seed_keeps_all_promises() -> None:
    """100 calls a seed, under crashes, stops, drains, duplicates, delays, cancelling, deadlines and poison."""
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as pool:
        failures = [failure for portion in pool.map(broken, range(0, SEEDS, PORTION)) for failure in portion]
    told = "\n".join(f"{error}\n  replay: python -m tests.simulation {seed} --trace" for seed, error in failures[:5])
    assert not failures, f"{len(failures)} of {SEEDS} seeds break a promise\n{told}"


def test_a_seed_always_takes_the_same_course() -> None:
    courses: list[list[str]] = [[], []]
    for course in courses:
        Run(7, course.append).go()
    assert courses[0] == courses[1]


class WithoutFence(Broker):
    """Publishes whatever any attempt brings."""

    def current(self, variable: str, attempt: int) -> bool:
        return True


class PastGaps(Broker):
    """Takes parts and values although parts before them are lost."""

    def follows(self, variable: str, number: int) -> bool:
        return True


class WithoutEpochs(Broker):
    """Takes commits of leaders that were superseded."""

    def commit(self, epoch: int, cursors: tuple[int, int], batch: Batch) -> bool:
        return super().commit(self._epoch, cursors, batch)


class Forgetful(Broker):
    """Loses the record of who died while holding what."""

    def _move(self, key: str, *flat: str) -> None:
        at = flat.index("deaths") if "deaths" in flat else len(flat)
        super()._move(key, *flat[:at], *flat[at + 2 :])


class WithoutHoldings(Broker):
    """Does not pass on what engines say of the jobs that they hold."""

    def tell(self, event: Any) -> None:
        super().tell(event.model_copy(update={"holds": None}) if isinstance(event, EngineBeat) else event)


@pytest.mark.parametrize("make_broker", [WithoutFence, PastGaps, WithoutEpochs, Forgetful, WithoutHoldings])
def test_a_broken_store_is_found_out(make_broker: type[Broker]) -> None:
    assert any(broken_promise(seed, make_broker) for seed in range(ENOUGH)), f"{make_broker.__name__} got through {ENOUGH} seeds"


def test_time_passes_in_order_and_only_as_far_as_asked() -> None:
    world, seen = World(0), []
    for seconds in (2.0, 1.0, 9.0):
        world.after(seconds, lambda seconds=seconds: seen.append(seconds))
    assert not world.run(lambda: False, 5)
    assert seen == [1.0, 2.0]
