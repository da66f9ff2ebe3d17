"""A virtual engine: continuous batching, chunked prefill, prefix caching and preemption as in vLLM's scheduler (its V1), in virtual time.

A step gives a token to each sequence that decodes, and what is left of its budget of tokens to prompts. Steps that would all be alike,
since nothing comes, ends or needs room, are taken in one jump.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush

from bench.simulator.cache import BlockCache
from bench.simulator.clock import Clock
from bench.simulator.contents import Contents, Part
from bench.simulator.profile import Profile
from bench.simulator.sequence import Sequence


class VirtualEngine:
    """One engine.

    Args:
        clock: whose time it works in.
        profile: how fast it is.
        contents: what the blocks of its outputs are.
        cache: its KV blocks.
        first: called when a sequence has its first token.
        done: called when a sequence has its last token and has left.

    Attributes:
        running: the batch, in the order in which sequences were let in.
        waiting: sequences that were not let in, or had to make room, as a heap.
        busy_seconds: time in which it had a batch.
        steps, tokens_in, tokens_out: steps that it took, prompt tokens that it computed and tokens that it made.
    """

    def __init__(
        self,
        clock: Clock,
        profile: Profile,
        contents: Contents,
        cache: BlockCache,
        first: Callable[[Sequence], None],
        done: Callable[[Sequence], None],
    ) -> None:
        self._clock = clock
        self._profile = profile
        self._contents = contents
        self.cache = cache
        self._first = first
        self._done = done
        self.running: list[Sequence] = []
        self.waiting: list[tuple[tuple[int, int], Sequence]] = []
        self.busy_seconds = 0.0
        self.steps = self.tokens_in = self.tokens_out = 0
        self.preemptions = 0
        self._leaving: set[int] = set()
        self._batched = 0.0  # sequences in the batch, summed over time
        self._jump: tuple[float, int, int] | None = None  # when it began, how many steps, and KV tokens then
        self._waking = False
        self._plans = 0  # so that a boundary that was moved is not taken twice

    # What it is told --------------------------------------------------------------------------------

    def add(self, sequence: Sequence) -> None:
        """A sequence arrives."""
        heappush(self.waiting, (sequence.order, sequence))
        if self._jump is None:
            if not self._waking:
                self._waking = True
                self._clock.at(self._clock.now, self._wake)  # with all that come at this very moment
        elif len(self.running) < self._profile.running:
            self._cut_short()

    def drop(self, sequence: Sequence) -> None:
        """Nobody wants a sequence any more; it leaves after the step that is under way."""
        if self._remove_waiting(sequence):
            if sequence.blocks:
                raise AssertionError("a sequence that waits has blocks")
            return
        self._leaving.add(id(sequence))
        self._cut_short()

    def reorder(self, sequence: Sequence, priority: int) -> None:
        """A sequence that has not been let in gets another priority."""
        if self._remove_waiting(sequence):
            sequence.priority = priority
            self.add(sequence)

    def _wake(self) -> None:
        self._waking = False
        if self._jump is None:
            self._next()

    def _remove_waiting(self, sequence: Sequence) -> bool:
        kept = [entry for entry in self.waiting if entry[1] is not sequence]
        found = len(kept) < len(self.waiting)
        if found:
            self.waiting = kept
            heapify(self.waiting)
        return found

    # Steps ------------------------------------------------------------------------------------------

    def _next(self) -> None:
        """Begin a step, or as many as are alike; nothing if there is nothing to do."""
        profile = self._profile
        made_room = self._make_room()
        decoding = sum(sequence.decoding for sequence in self.running)
        budget = profile.budget - decoding
        for sequence in self.running:
            if not sequence.decoding:
                budget -= self._take_in(sequence, budget)
        if not made_room:
            self._let_in(budget)
        self._plans += 1
        if not self.running:
            self._jump = None
            return
        prefill = sum(sequence.chunk for sequence in self.running)
        kv = sum(sequence.computed for sequence in self.running)
        if prefill or made_room:
            steps = 1
            active = sum(sequence.decoding or sequence.chunk > 0 for sequence in self.running)
            seconds = profile.step(active, kv + decoding + prefill, prefill)
        else:
            steps = self._alike()
            seconds = profile.decode(len(self.running), kv, steps)
        now = self._clock.now
        self._jump = (now, steps, kv)
        self._clock.at(now + seconds, self._boundary, self._plans)

    def _make_room(self) -> bool:
        """Give each sequence that decodes room for its next token: the last in order give theirs up, and are computed again."""
        made_room = False
        while self._needed(1) > self.cache.free:
            victim = max(self.running, key=lambda sequence: sequence.order)
            self.running.remove(victim)
            self._release(victim)
            victim.computed = victim.chunk = 0
            victim.preemptions += 1
            self.preemptions += 1
            heappush(self.waiting, (victim.order, victim))
            made_room = True
        for sequence in self.running:
            if sequence.decoding:
                self._grow(sequence, sequence.computed + 1)
        return made_room

    def _needed(self, steps: int) -> int:
        """Blocks that the batch needs in so many decoding steps."""
        size = self._profile.block_tokens
        return sum(max(0, -(-(sequence.computed + steps) // size) - sequence.blocks) for sequence in self.running if sequence.decoding)

    def _take_in(self, sequence: Sequence, budget: int) -> int:
        """Plan a chunk of a prompt for this step; its full blocks can be shared by those that come after it."""
        sequence.chunk = chunk = min(budget, sequence.known - sequence.computed)
        if chunk:
            self._share(sequence, (sequence.computed + chunk) // self._profile.block_tokens)
        return chunk

    def _let_in(self, budget: int) -> None:
        """Let sequences in, in order, as long as there are tokens and room for their whole prompts."""
        cache, size = self.cache, self._profile.block_tokens
        while self.waiting and budget > 0 and len(self.running) < self._profile.running:
            sequence = self.waiting[0][1]
            names = self.names(sequence, sequence.known - 1)  # the last token is always computed: the next follows from it
            hits = names[: cache.hits(names)]
            private = -(-sequence.known // size) - len(hits)
            if private + cache.unused(hits) > cache.free:
                return
            heappop(self.waiting)
            cache.use(hits)
            cache.take(private)
            sequence.shared, sequence.private, sequence.computed = list(hits), private, len(hits) * size
            if sequence.began is None:
                sequence.began, sequence.batched, sequence.cached = self._clock.now, self._batched, sequence.computed
            self.running.append(sequence)
            budget -= self._take_in(sequence, budget)

    def _alike(self) -> int:
        """How many steps can be taken in which all decode and nobody ends before the last."""
        most = min(sequence.output.tokens - sequence.made for sequence in self.running)
        free = self.cache.free
        if self._needed(most) <= free:
            return most
        least = 1  # for which there is room
        while most - least > 1:
            middle = (least + most) // 2
            least, most = (middle, most) if self._needed(middle) <= free else (least, middle)
        return least

    def _cut_short(self) -> None:
        """Something has happened: only the step that is under way is finished as it was planned."""
        if self._jump is None:
            return
        began, steps, kv = self._jump
        if steps > 1:
            count = len(self.running)
            taken = min(steps, self._profile.steps_until(count, kv, self._clock.now - began))
            if taken < steps:
                self._jump = (began, taken, kv)
                self._plans += 1
                self._clock.at(began + self._profile.decode(count, kv, taken), self._boundary, self._plans)

    def _boundary(self, plan: int) -> None:
        """The steps that were planned are over."""
        if plan != self._plans or self._jump is None:
            return
        began, steps, _ = self._jump
        now = self._clock.now
        self.busy_seconds += now - began
        self._batched += (now - began) * len(self.running)
        self.steps += steps
        ended = [sequence for sequence in self.running if self._advance(sequence, steps)]
        if ended or self._leaving:
            self.running = [one for one in self.running if one.made < one.output.tokens and id(one) not in self._leaving]
        for sequence in ended:
            self._end(sequence)
        self._leaving.clear()
        self._next()

    def _advance(self, sequence: Sequence, steps: int) -> bool:
        """Give a sequence what it got in these steps; whether it leaves."""
        if sequence.chunk:
            sequence.computed += sequence.chunk
            self.tokens_in += sequence.chunk
            sequence.chunk = 0
            if sequence.computed == sequence.known:
                sequence.made += 1
                self.tokens_out += 1
                if sequence.made == 1:
                    sequence.first = self._clock.now
                    self._first(sequence)
        elif sequence.decoding:
            sequence.computed += steps
            sequence.made += steps
            self.tokens_out += steps
            self._grow(sequence, sequence.computed)
        return sequence.made >= sequence.output.tokens or id(sequence) in self._leaving

    def _grow(self, sequence: Sequence, tokens: int) -> None:
        """Take blocks for so many tokens, for which there is room."""
        more = -(-tokens // self._profile.block_tokens) - len(sequence.shared) - sequence.private
        if more > 0:
            sequence.private += more
            self.cache.take(more)

    def _end(self, sequence: Sequence) -> None:
        self._release(sequence)
        if id(sequence) in self._leaving:
            return
        sequence.ended = self._clock.now
        assert sequence.began is not None
        seconds = sequence.ended - sequence.began
        sequence.running = (self._batched - sequence.batched) / seconds if seconds else 1.0
        self._done(sequence)

    # Blocks -----------------------------------------------------------------------------------------

    def names(self, sequence: Sequence, tokens: int) -> list[int]:
        """The names of the full blocks among the first tokens."""
        full = tokens // self._profile.block_tokens
        names = list(sequence.names[:full])
        if full > len(sequence.names):
            more, _ = self._contents.extend(sequence.end, Part(sequence.output.content, sequence.made))
            names += more[: full - len(names)]
        return names

    def _share(self, sequence: Sequence, full: int) -> None:
        """The first so many blocks of a sequence are full."""
        if full > len(sequence.shared):
            for name in self.names(sequence, full * self._profile.block_tokens)[len(sequence.shared) :]:
                self.cache.fill(name)
                sequence.shared.append(name)
                sequence.private -= 1

    def _release(self, sequence: Sequence) -> None:
        self._share(sequence, sequence.computed // self._profile.block_tokens)
        self.cache.release(sequence.shared, sequence.private)
        sequence.shared, sequence.private = [], 0

    # For those that look ----------------------------------------------------------------------------

    def check(self) -> None:
        """Recount blocks.

        Raises:
            AssertionError: the books do not agree.
        """
        self.cache.check()
        private = sum(sequence.private for sequence in self.running)
        shared = {name for sequence in self.running for name in sequence.shared}
        assert self.cache.capacity - self.cache.free == private + len(shared), "blocks are used by no sequence"
