"""An engine worker in virtual time: orders go in, events come out."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from bench.simulator.cache import BlockCache
from bench.simulator.clock import Clock
from bench.simulator.contents import Contents
from bench.simulator.engine import VirtualEngine
from bench.simulator.holdings import Held, Holdings
from bench.simulator.profile import Profile
from bench.simulator.sequence import Sequence
from parrot.wire.to_core import Capacity, EngineBeat, EngineUp, GenerationDone, Usage
from parrot.wire.to_engine import Cancel, Job, Order, Reorder, TellHoldings

BEAT_SECONDS = 1.0
REPORT_SECONDS = 0.25


class Worker:
    """One engine and its link to ServeCore.

    Args:
        name: the engine's id and name.
        clock: whose time it lives in.
        profile: of its engine.
        contents: what prompts and outputs are in tokens.
        tell: takes its events.
        first: called when a generation has its first token.
        published: called when a generation is done, before ServeCore can know.
        lost: how many of its reports of holdings are lost on the way, from 0 to 1.
        reorders: it gives what waits in it the place of its new priority when it is told one.
        seed: which of them.

    Attributes:
        engine: that it hosts.
        done: the sequences that it has done.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        profile: Profile,
        contents: Contents,
        *,
        tell: Callable[[Any], None],
        first: Callable[[Sequence], None],
        published: Callable[[str, Sequence], None],
        lost: float = 0.0,
        reorders: bool = True,
        seed: int = 0,
    ) -> None:
        self.name = name
        self._clock = clock
        self._profile = profile
        self._contents = contents
        self._tell = tell
        self._first_token = first
        self._published = published
        self._reorders = reorders
        self._lost, self._chance = lost, random.Random(f"{seed} {name}")
        self.holdings = Holdings(name)
        self.engine = VirtualEngine(clock, profile, contents, BlockCache(profile.blocks, self._gone), first=self._first, done=self._done)
        self._arrivals = count()
        self._sequences: dict[tuple[str, int], Sequence] = {}
        self._seen: set[tuple[str, int]] = set()
        self._report_due = False

    def start(self) -> None:
        """Come up."""
        profile = self._profile
        capacity = Capacity(
            running=profile.running,
            kv_tokens=profile.blocks * profile.block_tokens,
            context_tokens=profile.context_tokens,
            block_tokens=profile.block_tokens,
        )
        about = {"kind": "virtual", "model": "virtual", "tokenizer": "virtual", "host": "here", "pid": 1}
        self._tell(EngineUp(engine=self.name, name=self.name, capacity=capacity, **about))
        self._beat()

    def _beat(self) -> None:
        engine = self.engine
        used = 1 - engine.cache.free / engine.cache.capacity
        running, waiting = len(engine.running), len(engine.waiting)
        self._tell(
            EngineBeat.model_construct(
                engine=self.name, running=running, waiting=waiting, kv_used=used, busy_seconds=engine.busy_seconds, draining=False
            )
        )
        self._clock.after(BEAT_SECONDS, self._beat)

    # Orders -----------------------------------------------------------------------------------------

    def take(self, order: Order) -> None:
        """Read one order."""
        if isinstance(order, Job):
            self._begin(order)
        elif isinstance(order, TellHoldings):
            self._tell(self.holdings.report(whole=True))
        elif (sequence := self._sequences.get((order.variable, order.attempt))) is not None:
            if isinstance(order, Cancel):
                del self._sequences[order.variable, order.attempt]
                self.engine.drop(sequence)
            elif isinstance(order, Reorder) and self._reorders:
                self.engine.reorder(sequence, order.priority)

    def _begin(self, job: Job) -> None:
        key = (job.variable, job.attempt)
        if key in self._seen:
            return  # a new leader sends again what its predecessor may not have sent
        self._seen.add(key)
        names, end = self._contents.blocks(job.prompt)
        prompt, output = self._contents.tokens(job.prompt), self._contents.output(job.variable)
        limit = min(self._profile.context_tokens, self._profile.blocks * self._profile.block_tokens)
        if prompt + output.tokens > limit:
            raise ValueError(
                f"{job.function} needs {prompt} + {output.tokens} tokens, and the engine has {limit}: make the workload smaller."
            )
        sequence = self._sequences[key] = Sequence(job, job.priority, next(self._arrivals), prompt, output, names, end)
        self.engine.add(sequence)

    # What comes of them -----------------------------------------------------------------------------

    def _first(self, sequence: Sequence) -> None:
        self._note(sequence)
        self._first_token(sequence)

    def _done(self, sequence: Sequence) -> None:
        job = sequence.job
        del self._sequences[job.variable, job.attempt]
        self._note(sequence)
        self._published(self.name, sequence)
        assert sequence.began is not None
        usage = Usage.model_construct(
            tokens_in=sequence.prompt,
            tokens_cached=sequence.cached,
            tokens_out=sequence.made,
            first_token_seconds=sequence.first - sequence.began,
            seconds=sequence.ended - sequence.began,
            running=sequence.running,
        )
        self._tell(GenerationDone.model_construct(engine=self.name, variable=job.variable, attempt=job.attempt, usage=usage))

    # What its cache holds ---------------------------------------------------------------------------

    def _note(self, sequence: Sequence) -> None:
        """A sequence has filled blocks."""
        self.holdings.hold(self._beginnings(sequence))
        self._plan_report()

    def _beginnings(self, sequence: Sequence) -> Iterator[Held]:
        """The marked beginnings of a sequence that are in the cache."""
        job, size = sequence.job, self._profile.block_tokens
        names = self.engine.names(sequence, sequence.computed)
        whole = [0]
        for piece in job.prompt:
            whole.append(whole[-1] + sum(part.tokens for part in self._contents.parts(piece)))
        for mark in job.marks:
            if mark.piece > len(job.prompt):  # with its output
                full = sequence.computed // size if sequence.made == sequence.output.tokens else 0
            else:
                inside = self._contents.within(job.prompt[mark.piece], mark.characters) if mark.characters else 0
                full = min(sequence.computed, whole[mark.piece] + inside) // size
            if full and names[full - 1] in self.engine.cache:
                yield Held(mark.name, names[full - 1], full * size)

    def _gone(self, block: int) -> None:
        self.holdings.gone(block)
        self._plan_report()

    def _plan_report(self) -> None:
        if self.holdings.changed and not self._report_due:
            self._report_due = True
            self._clock.after(REPORT_SECONDS, self._report)

    def _report(self) -> None:
        self._report_due = False
        report = self.holdings.report()
        if report is not None and self._chance.random() >= self._lost:
            self._tell(report)
