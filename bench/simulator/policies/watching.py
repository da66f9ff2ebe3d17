"""What a good router knows of its engines: what their caches hold, what is on its way there, and how much work it has given them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from bench.simulator.policies.at_once import AtOnce
from bench.simulator.surroundings import Surroundings
from parrot.core.graph import Generation
from parrot.core.policy import Engine
from parrot.wire.to_core import Usage


@dataclass(slots=True)
class Given:
    """A request that an engine holds.

    Attributes:
        engine: its id.
        blocks: of the prompt.
        context: tokens of the prompt.
        prefill: tokens of it that the engine must still take in.
    """

    engine: str
    blocks: Collection[int]
    context: int
    prefill: int


@dataclass(slots=True)
class Work:
    """What an engine holds.

    Attributes:
        requests: how many.
        prefill: prompt tokens that it must still take in.
        context: prompt tokens of all requests.
        coming: blocks that are on their way into its cache, with the number of requests that bring them.
    """

    requests: int = 0
    prefill: int = 0
    context: int = 0
    coming: Counter[int] = field(default_factory=Counter)


class Watching(AtOnce):
    """A router that keeps these books.

    Args:
        surroundings: where it looks.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__()
        self._surroundings = surroundings
        self._given: dict[str, Given] = {}
        self.work: dict[str, Work] = {}
        surroundings.on_first.append(self._first)

    def prompt(self, generation: Generation) -> tuple[list[int], int]:
        """The full blocks of a prompt, and its tokens."""
        pieces = generation.lowered.prompt
        tokens = self._surroundings.contents.tokens(pieces)
        names, _ = self._surroundings.contents.blocks(pieces)
        return names[: (tokens - 1) // self._surroundings.profile.block_tokens], tokens

    def held(self, names: Iterable[int], engine: Engine) -> int:
        """Tokens of a prompt that an engine holds, or will when it comes to this prompt."""
        cache, coming = self._surroundings.workers[engine.id].engine.cache, self.work[engine.id].coming
        blocks = 0
        for name in names:
            if name not in cache and name not in coming:
                break
            blocks += 1
        return blocks * self._surroundings.profile.block_tokens

    def came(self, engine: Engine) -> None:
        self.work[engine.id] = Work()

    def gone(self, engine: Engine) -> None:
        del self.work[engine.id]

    def given(self, generation: Generation, engine: Engine, now: float) -> None:
        names, tokens = self.prompt(generation)
        prefill = tokens - self.held(names, engine)
        self._given[generation.variable] = Given(engine.id, names, tokens, prefill)
        work = self.work[engine.id]
        work.requests += 1
        work.prefill += prefill
        work.context += tokens
        work.coming.update(names)

    def left(self, generation: Generation, engine: Engine, usage: Usage | None, now: float) -> None:
        self._first(generation.variable)
        given = self._given.pop(generation.variable)
        work = self.work[given.engine]
        work.requests -= 1
        work.context -= given.context

    def _first(self, variable: str) -> None:
        """A prompt has been taken in."""
        given = self._given.get(variable)
        if given is None or given.engine not in self.work:
            return
        work = self.work[given.engine]
        work.prefill -= given.prefill
        work.coming.subtract(given.blocks)
        for name in given.blocks:
            if not work.coming[name]:
                del work.coming[name]
        given.blocks, given.prefill = (), 0
