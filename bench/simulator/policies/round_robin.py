"""First come, first served, to each engine in turn."""

from __future__ import annotations

from collections.abc import Sequence

from bench.simulator.policies.at_once import AtOnce
from parrot.core.graph import Generation
from parrot.core.policy import Engine


class RoundRobin(AtOnce):
    """What a plain load balancer does."""

    def __init__(self) -> None:
        super().__init__()
        self._turn = 0

    def choose(self, generation: Generation, engines: Sequence[Engine]) -> Engine:
        self._turn += 1
        return engines[self._turn % len(engines)]
