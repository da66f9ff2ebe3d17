"""The strong baseline: a session stays on its engine unless that is overloaded; else where prefill and load cost least.

The cost is that of NVIDIA Dynamo's KV router: prompt tokens that the engine would have to take in, with those that it already has before
it, and the contexts that it has to read in each step.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.simulator.policies.watching import Watching
from bench.simulator.surroundings import Surroundings
from parrot.core.graph import Generation
from parrot.core.policy import Engine

OVERLOADED_TIMES = 1.5  # the requests of an average engine, from which on a session leaves its own
OVERLOADED_BY = 4  # requests more than that


class Affinity(Watching):
    """Session affinity and exact prefixes.

    Args:
        surroundings: where it looks.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self._homes: dict[str, str] = {}

    def choose(self, generation: Generation, engines: Sequence[Engine]) -> Engine:
        names, tokens = self.prompt(generation)
        session = generation.call.session
        home = next((engine for engine in engines if engine.id == self._homes.get(session)), None)
        if home is None or not self.held(names, home) or self._overloaded(home, engines):
            home = min(engines, key=lambda engine: self._cost(engine, names, tokens))
        self._homes[session] = home.id
        return home

    def _overloaded(self, home: Engine, engines: Sequence[Engine]) -> bool:
        mean = sum(self.work[engine.id].requests for engine in engines) / len(engines)
        return self.work[home.id].requests > OVERLOADED_TIMES * mean + OVERLOADED_BY

    def _cost(self, engine: Engine, names: Sequence[int], tokens: int) -> tuple[float, int]:
        work = self.work[engine.id]
        return (tokens - self.held(names, engine) + work.prefill + work.context + tokens, work.requests)
