"""An engine without a model: deterministic text, and the times of a real engine by its profile. For development, tests, benchmarks."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from itertools import count

from parrot.config import Settings
from parrot.engine.blocks import BlockCache, Hold, block_names, root_name
from parrot.engine.contexts import ContextTable
from parrot.engine.protocol import CacheNews, Chunk, Load
from parrot.engine.speech import Speech, speak
from parrot.engine.toy_tokenizer import ToyTokenizer
from parrot.errors import ContextTooLong, EngineError
from parrot.sampling import SamplingConfig
from parrot.wire.to_core import Capacity


@dataclass(frozen=True, slots=True)
class Profile:
    """How long a real engine takes.

    Attributes:
        step_seconds: one decoding step, however many sequences are in it.
        sequence_seconds: what each sequence adds to a step.
        prefill_tokens: prompt tokens that are taken in per second.
        kv_token_bytes: KV cache that one token takes.
    """

    step_seconds: float
    sequence_seconds: float
    prefill_tokens: float
    kv_token_bytes: int

    def step(self, running: int, prefill: int) -> float:
        """Seconds of one step of a batch.

        Args:
            running: sequences that get a token.
            prefill: prompt tokens that are taken in before.
        """
        return self.step_seconds + self.sequence_seconds * running + prefill / self.prefill_tokens


SMOLLM2_ON_TWO_CORES = Profile(step_seconds=0.068, sequence_seconds=0.0001, prefill_tokens=2500, kv_token_bytes=23040)
"""Measured on vLLM with SmolLM2-135M, not compiled: 14, 122 and 452 tokens a second for 1, 8 and 32 sequences."""


@dataclass(order=True, slots=True)
class _Sequence:
    """One generation. They are ordered by priority, then by arrival."""

    priority: int
    arrival: int
    prompt: Sequence[int] = field(compare=False)
    speech: Speech = field(compare=False)
    root: int = field(compare=False)
    shared: Sequence[int] = field(compare=False)
    private: int = field(compare=False)
    hold: Hold | None = field(default=None, compare=False)
    made: int = field(default=0, compare=False)
    news: asyncio.Event = field(default_factory=asyncio.Event, compare=False)

    @property
    def done(self) -> bool:
        return self.made >= len(self.speech.tokens)


class SimulatedEngine:
    """Implements `parrot.engine.protocol.Engine` with continuous batching in simulated time.

    Args:
        settings: model name, capacity and speed.
        profile: the times of the engine that it stands for.
    """

    kind = "simulated"

    def __init__(self, settings: Settings, profile: Profile = SMOLLM2_ON_TWO_CORES) -> None:
        self.model = settings.model
        self.tokenizer = ToyTokenizer()
        blocks = max(1, int(settings.kv_gib * 2**30 / profile.kv_token_bytes) // settings.block_tokens)
        self.capacity = Capacity(
            running=settings.max_running,
            kv_tokens=blocks * settings.block_tokens,
            context_tokens=settings.context_tokens,
            block_tokens=settings.block_tokens,
        )
        self._profile = profile
        self._speed = settings.simulated_speed
        self._contexts = ContextTable()
        self._blocks = BlockCache(blocks)
        self._arrivals = count()
        self._waiting: list[_Sequence] = []
        self._running: list[_Sequence] = []
        self._work = asyncio.Event()
        self._clock: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if self._speed:
            self._clock = asyncio.create_task(self._run(), name="simulated engine")
            self._clock.add_done_callback(self._wake_all)

    async def stop(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            await asyncio.wait([self._clock])

    async def fill(self, context: str, parent: str | None, tokens: Sequence[int]) -> None:
        self._contexts.fill(context, parent, tokens)

    async def release(self, context: str) -> None:
        self._contexts.release(context)

    def load(self) -> Load:
        if self._clock is not None and self._clock.done():
            raise EngineError("The simulated engine has stopped.")
        return Load(running=len(self._running) + len(self._waiting), kv_used=self._blocks.used / self._blocks.capacity)

    def cache_news(self) -> CacheNews:
        return self._blocks.changes.take()

    def holds(self, block: int) -> bool:
        return block in self._blocks

    async def generate(self, context: str, sampling: SamplingConfig, priority: int, salt: str = "") -> AsyncIterator[Chunk]:
        """See `Engine.generate`."""
        sequence = self._sequence(self._contexts.tokens(context), sampling, priority, root_name(salt))
        if not self._speed:
            yield self._at_once(sequence)
            return
        heapq.heappush(self._waiting, sequence)
        self._work.set()
        try:
            sent = 0
            while True:
                await self._news(sequence)
                fresh, sent = sequence.speech.tokens[sent : sequence.made], sequence.made
                yield self._chunk(sequence, fresh)
                if sequence.done:
                    return
        finally:
            self._leave(sequence)

    def check(self) -> None:
        """The books of contexts and blocks agree (`parrot.engine.contexts`, `parrot.engine.blocks`)."""
        self._contexts.check()
        self._blocks.check()

    def _sequence(self, prompt: Sequence[int], sampling: SamplingConfig, priority: int, root: int) -> _Sequence:
        whole = len(prompt) + sampling.max_gen_length
        limit = min(self.capacity.context_tokens, self.capacity.kv_tokens)
        if whole > limit:
            raise ContextTooLong(
                f"A prompt of {len(prompt)} tokens and {sampling.max_gen_length} of output do not fit the context window of {limit}. "
                "Shorten the prompt, lower max_gen_length, or raise PARROT_CONTEXT_TOKENS."
            )
        size = self.capacity.block_tokens
        shared = block_names(prompt, size, root)
        private = -(-whole // size) - len(shared)
        return _Sequence(priority, next(self._arrivals), prompt, speak(prompt, sampling), root, shared, private)

    def _at_once(self, sequence: _Sequence) -> Chunk:
        self._admit(sequence)
        sequence.made = len(sequence.speech.tokens)
        self._leave(sequence)
        return self._chunk(sequence, sequence.speech.tokens)

    def _chunk(self, sequence: _Sequence, fresh: tuple[int, ...]) -> Chunk:
        speech = sequence.speech
        text = speech.text if len(fresh) == len(speech.tokens) else self.tokenizer.decode(fresh)
        return Chunk(fresh, text, speech.finish_reason if sequence.done else None, self._cached_tokens(sequence))

    def _cached_tokens(self, sequence: _Sequence) -> int:
        """Of the prompt; its last token is always computed, since the first token of the output follows from it."""
        if sequence.hold is None:
            return 0
        size = self.capacity.block_tokens
        return min(sequence.hold.hits, (len(sequence.prompt) - 1) // size) * size

    async def _news(self, sequence: _Sequence) -> None:
        await sequence.news.wait()
        sequence.news.clear()
        if self._clock is None or self._clock.done():
            raise EngineError("The simulated engine has stopped.")

    # The batch ---------------------------------------------------------------------------------

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            if not self._waiting and not self._running:
                self._work.clear()
                await self._work.wait()
                due = loop.time()
            prefill = self._fill_batch()
            due += self._profile.step(len(self._running), prefill) / self._speed
            await asyncio.sleep(max(0.0, due - loop.time()))
            for sequence in self._running:
                sequence.made += 1
                sequence.news.set()
            self._running = [sequence for sequence in self._running if not sequence.done]

    def _fill_batch(self) -> int:
        """Let sequences in, in order, as long as there is room; the prompt tokens that must be computed for them."""
        prefill = 0
        while self._waiting and len(self._running) < self.capacity.running and self._admit(self._waiting[0]):
            sequence = heapq.heappop(self._waiting)
            self._running.append(sequence)
            prefill += len(sequence.prompt) - self._cached_tokens(sequence)
        return prefill

    def _admit(self, sequence: _Sequence) -> bool:
        sequence.hold = self._blocks.acquire(sequence.shared, sequence.private)
        return sequence.hold is not None

    def _leave(self, sequence: _Sequence) -> None:
        """A sequence is done or aborted: out of the queue or the batch, and its blocks back."""
        if sequence.hold is None:
            self._waiting = [other for other in self._waiting if other is not sequence]
            heapq.heapify(self._waiting)
            return
        self._running = [other for other in self._running if other is not sequence]
        size, full = self.capacity.block_tokens, len(sequence.shared)
        seen = [*sequence.prompt, *sequence.speech.tokens[: sequence.made]]
        self._blocks.release(sequence.hold, block_names(seen, size, sequence.root)[full:] if len(seen) // size > full else ())

    def _wake_all(self, clock: asyncio.Task[None]) -> None:
        """The clock has stopped: whoever waits for a token learns of it."""
        for sequence in (*self._running, *self._waiting):
            sequence.news.set()
