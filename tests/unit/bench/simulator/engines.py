"""A virtual engine alone, and what tests feed it."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

from bench.simulator.cache import BlockCache
from bench.simulator.clock import Clock
from bench.simulator.contents import Contents
from bench.simulator.engine import VirtualEngine
from bench.simulator.profile import Profile
from bench.simulator.sequence import Sequence
from parrot.wire.to_engine import Job, Piece

PROFILE = Profile(
    "test",
    step_seconds=0.01,
    sequence_seconds=0.001,
    kv_token_seconds=0.00001,
    prefill_token_seconds=0.0001,
    running=8,
    budget=100,
    kv_tokens=1000,
    context_tokens=500,
    block_tokens=10,
)


class Stepping(VirtualEngine):
    """Takes each step by itself."""

    def _alike(self) -> int:
        return min(1, super()._alike())


@dataclass
class Bench:
    """One engine and its clock."""

    profile: Profile = PROFILE
    kind: type[VirtualEngine] = VirtualEngine
    clock: Clock = field(default_factory=Clock)
    done: list[Sequence] = field(default_factory=list)
    first: list[Sequence] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.contents = Contents(self.profile.block_tokens)
        cache = BlockCache(self.profile.blocks, self.gone.append)
        self.engine = self.kind(self.clock, self.profile, self.contents, cache, first=self.first.append, done=self.done.append)
        self._arrivals = count()
        self._begin = self.clock.now

    def text(self, name: str, tokens: int) -> Piece:
        return Piece("text", self.contents.write(name, tokens))

    def sequence(self, *prompt: Piece, out: int, name: str = "", priority: int = 0) -> Sequence:
        number = next(self._arrivals)
        variable = name or f"out{number}"
        self.contents.promise(variable, out)
        job = Job(variable=variable, attempt=1, session="s", call="c", function="f", output="o", prompt=list(prompt), priority=priority)
        names, end = self.contents.blocks(prompt)
        return Sequence(job, priority, number, self.contents.tokens(prompt), self.contents.output(variable), names, end)

    def add(self, *prompt: Piece, out: int, name: str = "", priority: int = 0, at: float = 0.0) -> Sequence:
        """A sequence that arrives so many seconds after the beginning."""
        sequence = self.sequence(*prompt, out=out, name=name, priority=priority)
        self.clock.at(self._begin + at, self.engine.add, sequence)
        return sequence

    def at(self, seconds: float, what: object, *arguments: object) -> None:
        self.clock.at(self._begin + seconds, what, *arguments)  # type: ignore[arg-type]

    def run(self) -> None:
        """To the end, with the books checked after each event."""

        def check() -> bool:
            self.engine.check()
            return False

        self.clock.run(check)

    def since(self, moment: float) -> float:
        return moment - self._begin
