"""What decisions cost: a policy with a clock at its door."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from time import perf_counter

from parrot.core.graph import Generation
from parrot.core.policy import Decision, Engine, Policy
from parrot.wire.to_core import EngineHolds, Usage


class Stopwatch:
    """Implements `parrot.core.policy.Policy` by asking another one.

    Attributes:
        seconds: of CPU that it has used so far.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.seconds = 0.0

    def added(self, generations: Collection[Generation], now: float) -> None:
        began = perf_counter()
        self._policy.added(generations, now)
        self.seconds += perf_counter() - began

    def changed(self, generations: Iterable[Generation]) -> None:
        began = perf_counter()
        self._policy.changed(generations)
        self.seconds += perf_counter() - began

    def ready(self, generation: Generation, now: float) -> None:
        began = perf_counter()
        self._policy.ready(generation, now)
        self.seconds += perf_counter() - began

    def waiting(self) -> Iterator[Generation]:
        return self._policy.waiting()

    def next(self, engines: Mapping[str, Engine], now: float) -> Decision | None:
        began = perf_counter()
        decision = self._policy.next(engines, now)
        self.seconds += perf_counter() - began
        return decision

    def given(self, generation: Generation, engine: Engine, now: float) -> None:
        began = perf_counter()
        self._policy.given(generation, engine, now)
        self.seconds += perf_counter() - began

    def left(self, generation: Generation, engine: Engine, usage: Usage | None, now: float) -> None:
        began = perf_counter()
        self._policy.left(generation, engine, usage, now)
        self.seconds += perf_counter() - began

    def ended(self, generation: Generation, now: float) -> None:
        began = perf_counter()
        self._policy.ended(generation, now)
        self.seconds += perf_counter() - began

    def came(self, engine: Engine) -> None:
        self._policy.came(engine)

    def gone(self, engine: Engine) -> None:
        self._policy.gone(engine)

    def reported(self, report: EngineHolds) -> bool:
        began = perf_counter()
        known = self._policy.reported(report)
        self.seconds += perf_counter() - began
        return known
