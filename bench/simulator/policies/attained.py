"""Programs that have had least go first: program-level attained service (PLAS of Autellix), on the placement of the strong baseline."""

from __future__ import annotations

from collections.abc import Sequence

from bench.simulator.policies.affinity import Affinity
from bench.simulator.surroundings import Surroundings
from parrot.core.graph import Generation
from parrot.core.policy import Engine
from parrot.wire.to_core import Usage


class Attained(Affinity):
    """What a program has had is what its finished calls took in the engines; the engines' queues go by what it had when a call came.

    Args:
        surroundings: where it looks.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self._attained: dict[str, float] = {}  # seconds, by session: what Autellix calls a program
        self._priorities: dict[Generation, int] = {}

    def choose(self, generation: Generation, engines: Sequence[Engine]) -> Engine:
        self._priorities[generation] = int(1000 * self._attained.get(generation.call.session, 0.0))
        return super().choose(generation, engines)

    def priority(self, generation: Generation) -> int:
        return self._priorities.get(generation, 0)  # of what a predecessor gave nothing is known

    def ended(self, generation: Generation, now: float) -> None:
        super().ended(generation, now)
        self._priorities.pop(generation, None)

    def left(self, generation: Generation, engine: Engine, usage: Usage | None, now: float) -> None:
        super().left(generation, engine, usage, now)
        if usage is not None:
            session = generation.call.session
            self._attained[session] = self._attained.get(session, 0.0) + usage.seconds
