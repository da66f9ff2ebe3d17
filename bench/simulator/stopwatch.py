"""What decisions cost: a policy with a clock at its door."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from statistics import median
from time import thread_time

from parrot.core.graph import Generation
from parrot.core.policy import Decision, Engine, Policy
from parrot.wire.to_core import EngineHolds, Usage


def _empty() -> float:
    """What a measurement of nothing shows: to read this clock takes a while by itself."""
    began = thread_time()
    return thread_time() - began


CLOCK = median(_empty() for _ in range(1_000))  # seconds that are not the policy's


class Stopwatch:
    """Implements `parrot.core.policy.Policy` by asking another one.

    Attributes:
        seconds: of CPU that it has used so far.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.seconds = 0.0

    def added(self, generations: Collection[Generation], now: float) -> None:
        began = thread_time()
        self._policy.added(generations, now)
        self.seconds += thread_time() - began - CLOCK

    def changed(self, generations: Collection[Generation], now: float) -> None:
        began = thread_time()
        self._policy.changed(generations, now)
        self.seconds += thread_time() - began - CLOCK

    def ready(self, generation: Generation, now: float) -> None:
        began = thread_time()
        self._policy.ready(generation, now)
        self.seconds += thread_time() - began - CLOCK

    def awaits(self, generation: Generation) -> str:
        return self._policy.awaits(generation)

    def reworded(self) -> Collection[Generation]:
        return self._policy.reworded()

    def priority(self, generation: Generation) -> int:
        return self._policy.priority(generation)

    def wake(self) -> float | None:
        return self._policy.wake()

    def waiting(self) -> Iterator[Generation]:
        return self._policy.waiting()

    def next(self, engines: Mapping[str, Engine], now: float) -> Decision | None:
        began = thread_time()
        decision = self._policy.next(engines, now)
        self.seconds += thread_time() - began - CLOCK
        return decision

    def given(self, generation: Generation, engine: Engine, now: float) -> None:
        began = thread_time()
        self._policy.given(generation, engine, now)
        self.seconds += thread_time() - began - CLOCK

    def left(self, generation: Generation, engine: Engine, usage: Usage | None, now: float) -> None:
        began = thread_time()
        self._policy.left(generation, engine, usage, now)
        self.seconds += thread_time() - began - CLOCK

    def ended(self, generation: Generation, now: float) -> None:
        began = thread_time()
        self._policy.ended(generation, now)
        self.seconds += thread_time() - began - CLOCK

    def came(self, engine: Engine) -> None:
        self._policy.came(engine)

    def gone(self, engine: Engine) -> None:
        self._policy.gone(engine)

    def heard(self, engine: Engine, now: float) -> None:
        began = thread_time()
        self._policy.heard(engine, now)
        self.seconds += thread_time() - began - CLOCK

    def reported(self, report: EngineHolds, now: float) -> bool:
        began = thread_time()
        known = self._policy.reported(report, now)
        self.seconds += thread_time() - began - CLOCK
        return known

    def learned(self) -> Mapping[str, str | None]:
        began = thread_time()
        changes = self._policy.learned()
        self.seconds += thread_time() - began - CLOCK
        return changes

    def recall(self, found: Mapping[str, str]) -> None:
        self._policy.recall(found)
