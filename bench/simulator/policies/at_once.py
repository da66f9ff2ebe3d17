"""What a router does: each request goes to an engine as soon as it comes, and waits there, first come, first served."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence

from parrot.core.graph import Generation
from parrot.core.policy import Decision, Engine
from parrot.wire.to_core import EngineHolds, Usage


class AtOnce(ABC):
    """Implements `parrot.core.policy.Policy`; which engine is up to the router."""

    def __init__(self) -> None:
        self._came: deque[Generation] = deque()

    @abstractmethod
    def choose(self, generation: Generation, engines: Sequence[Engine]) -> Engine:
        """The engine for a request, of those that serve its model."""

    def added(self, generations: Collection[Generation], now: float) -> None:
        return  # routers see no graph

    def changed(self, generations: Collection[Generation], now: float) -> None:
        return  # routers know no objectives

    def ready(self, generation: Generation, now: float) -> None:
        self._came.append(generation)

    def waiting(self) -> Iterator[Generation]:
        return (generation for generation in self._came if not generation.ended)

    def next(self, engines: Mapping[str, Engine], now: float) -> Decision | None:
        while self._came:
            generation = self._came[0]
            model = generation.call.model
            serving = [engine for engine in engines.values() if model is None or engine.about.model == model]
            if not generation.ended and not serving:
                return None
            self._came.popleft()
            if not generation.ended:
                engine = self.choose(generation, serving)
                return Decision(generation, engine, why=type(self).__name__)
        return None

    def awaits(self, generation: Generation) -> str:
        return ""  # it waits in an engine

    def reworded(self) -> Collection[Generation]:
        return ()

    def priority(self, generation: Generation) -> int:
        return 0  # the same for all, unless the router knows more

    def wake(self) -> float | None:
        return None

    def given(self, generation: Generation, engine: Engine, now: float) -> None:
        return  # those that keep books override this and the following

    def left(self, generation: Generation, engine: Engine, usage: Usage | None, now: float) -> None:
        return

    def ended(self, generation: Generation, now: float) -> None:
        return

    def came(self, engine: Engine) -> None:
        return

    def gone(self, engine: Engine) -> None:
        return

    def heard(self, engine: Engine, now: float) -> None:
        return

    def reported(self, report: EngineHolds, now: float) -> bool:
        return True

    def learned(self) -> Mapping[str, str | None]:
        return {}  # what they know are their books, which are empty when they begin anew

    def recall(self, found: Mapping[str, str]) -> None:
        return
