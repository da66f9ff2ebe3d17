"""Generations that engines have died of, perhaps: they wait apart, since each runs alone.

If there are more of them than engines which can be cleared, they take turns, each twice as long as the one before: none waits for the end
of another, and each comes to its end even if it has to begin anew with every turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from parrot.core.graph import Generation

Takes = Mapping[str | None, float]  # tokens of context that an engine takes, of who asks for its model and of who asks for none

TURN = 0.25  # seconds of the first turn; it ends when the engine is heard after that


class Suspects:
    """Who has had the fewest turns is next, then who came first; of those that ask for an engine's model and fit into its context."""

    def __init__(self) -> None:
        self._waiting: dict[str | None, dict[Generation, None]] = {}  # by the model that is asked for

    def push(self, generation: Generation) -> None:
        """Add a generation; its `order` says when it first became ready, so that one that comes back goes before those like it."""
        self._waiting.setdefault(generation.call.model, {})[generation] = None

    def __iter__(self) -> Iterator[Generation]:
        """All that wait, in no order."""
        return (generation for model in self._waiting for generation in self._of(model))

    def __bool__(self) -> bool:
        return any(self._of(model) for model in self._waiting)

    def serves(self, takes: Takes) -> bool:
        """Whether anything waits for an engine that takes so much."""
        return any(True for _ in self._fitting(takes))

    def pop(self, takes: Takes, now: float) -> Generation:
        """The next generation for an engine that takes so much, of which there is one; its turn begins."""
        generation = min(self._fitting(takes), key=lambda one: (one.mishaps.turns, one.order))
        del self._waiting[generation.call.model][generation]
        turns = generation.mishaps.turns
        generation.suffers(turns=turns + 1, turn_ends=now + TURN * 2**turns)
        return generation

    def _fitting(self, takes: Takes) -> Iterator[Generation]:
        return (generation for model, tokens in takes.items() for generation in self._of(model) if generation.context_wanted <= tokens)

    def _of(self, model: str | None) -> dict[Generation, None]:
        """Those that ask for a model, without what was cancelled."""
        waiting = self._waiting.get(model, {})
        for ended in [generation for generation in waiting if generation.ended]:
            del waiting[ended]
        return waiting
