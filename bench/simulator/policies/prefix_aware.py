"""The engine that holds most of the prompt, unless the load is out of balance: the rule of SGLang's cache-aware router."""

from __future__ import annotations

from collections.abc import Sequence

from bench.simulator.policies.watching import Watching
from parrot.core.graph import Generation
from parrot.core.policy import Engine

MATCHED = 0.3  # of a prompt, from which on it goes where that is; these three are that router's defaults
UNBALANCED_BY = 64  # requests between the most and the least loaded engine
UNBALANCED_TIMES = 1.5  # and times


class PrefixAware(Watching):
    """Knows nothing of sessions."""

    def choose(self, generation: Generation, engines: Sequence[Engine]) -> Engine:
        requests = [self.work[engine.id].requests for engine in engines]
        least = min(engines, key=lambda engine: self.work[engine.id].requests)
        if max(requests) - min(requests) > UNBALANCED_BY and max(requests) > UNBALANCED_TIMES * min(requests):
            return least
        names, tokens = self.prompt(generation)
        held, _, best = max((self.held(names, engine), -self.work[engine.id].requests, number) for number, engine in enumerate(engines))
        return engines[best] if held > MATCHED * tokens else least
