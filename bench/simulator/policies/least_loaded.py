"""To the engine with the fewest requests."""

from __future__ import annotations

from collections.abc import Sequence

from bench.simulator.policies.at_once import AtOnce
from parrot.core.graph import Generation
from parrot.core.policy import Engine


class LeastLoaded(AtOnce):
    """What a load balancer does that counts requests under way."""

    def choose(self, generation: Generation, engines: Sequence[Engine]) -> Engine:
        return min(engines, key=lambda engine: len(engine.holds))
