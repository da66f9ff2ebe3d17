"""One generation in a virtual engine."""

from __future__ import annotations

from collections.abc import Sequence as Many
from dataclasses import dataclass, field

from bench.simulator.contents import Chain, Part
from parrot.wire.to_engine import Job


@dataclass(slots=True, eq=False)
class Sequence:
    """A prompt and the output that will follow it.

    Attributes:
        job: which it does.
        priority, arrival: lower first, then by arrival.
        prompt: its tokens.
        output: what will be generated.
        names: of the full blocks of the prompt.
        end: of the prompt, from which the blocks of the output follow.
        computed: tokens whose KV is there.
        made: tokens of the output that have come.
        chunk: tokens that the present step takes in.
        shared: names of the blocks that it uses, from the start.
        private: blocks that it has besides.
        cached: prompt tokens that were there when it began first.
        began, first, ended: when it was let into a batch first, had its first and its last token, in seconds since the epoch.
        batched: sequences in the engine's batch, summed over time, when it began.
        running: the same on average over its time, when it has ended.
        preemptions: how often it had to make room.
    """

    job: Job
    priority: int
    arrival: int
    prompt: int
    output: Part
    names: Many[int]
    end: Chain
    computed: int = 0
    made: int = 0
    chunk: int = 0
    shared: list[int] = field(default_factory=list)
    private: int = 0
    cached: int = 0
    began: float | None = None
    first: float = 0.0
    ended: float = 0.0
    batched: float = 0.0
    running: float = 0.0
    preemptions: int = 0

    @property
    def known(self) -> int:
        """Tokens that are there to be computed."""
        return self.prompt + self.made

    @property
    def decoding(self) -> bool:
        return self.made > 0 and self.computed == self.prompt + self.made - 1

    @property
    def blocks(self) -> int:
        return len(self.shared) + self.private

    @property
    def order(self) -> tuple[int, int]:
        return (self.priority, self.arrival)
