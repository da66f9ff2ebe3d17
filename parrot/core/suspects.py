"""Generations that engines have died of, perhaps: they wait apart, since each runs alone.

If there are more of them than engines which can be cleared, they take turns, each twice as long as the one before: none waits for the end
of another, and each comes to its end even if it has to begin anew with every turn.
"""

from __future__ import annotations

from collections.abc import Iterator

from parrot.core.graph import Generation

_Place = tuple[int, int, int]  # turns, order, and a number that makes it unlike all others
TURN = 0.25  # seconds of the first turn; it ends when the engine is heard after that


class Suspects:
    """Who has had the fewest turns is next, then who came first; of those that ask for an engine's model and fit into its context."""

    def __init__(self) -> None:
        self._waiting: dict[str | None, dict[Generation, _Place]] = {}  # by the model that is asked for
        self._pushed = 0

    def push(self, generation: Generation) -> None:
        """Add a generation; its `order` says when it first became ready, so that one that comes back goes before those like it."""
        self._pushed += 1
        self._waiting.setdefault(generation.call.model, {})[generation] = (generation.turns, generation.order, self._pushed)

    def __iter__(self) -> Iterator[Generation]:
        """All that wait, in no order."""
        return (generation for waiting in self._waiting.values() for generation in waiting if not generation.ended)

    def __bool__(self) -> bool:
        return any(True for _ in self)

    def serves(self, model: str, context: float) -> bool:
        """Whether anything waits for an engine with this model that takes so many tokens."""
        return any(True for _ in self._fitting(model, context))

    def pop(self, model: str, context: float, now: float) -> Generation:
        """The next generation for an engine with this model that takes so many tokens, of which there is one; its turn begins."""
        _, generation = min(self._fitting(model, context), key=lambda found: found[0])
        waiting = self._waiting[generation.call.model]
        del waiting[generation]
        for ended in [other for other in waiting if other.ended]:
            del waiting[ended]
        generation.turn_ends = now + TURN * 2**generation.turns
        generation.turns += 1
        return generation

    def _fitting(self, model: str, context: float) -> Iterator[tuple[_Place, Generation]]:
        for name in (model, None):
            for generation, place in self._waiting.get(name, {}).items():
                if not generation.ended and _needs(generation) <= context:
                    yield place, generation


def _needs(generation: Generation) -> int:
    """Tokens that an engine must take."""
    return max(generation.tokens_in + generation.lowered.sampling.max_gen_length, generation.context)
