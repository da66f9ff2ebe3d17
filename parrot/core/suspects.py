"""Generations that engines have died of, perhaps: they wait apart, since each runs alone.

If there are more of them than engines which can be cleared, they take turns, each twice as long as the one before: none waits for the end
of another, and each comes to its end even if it has to begin anew with every turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush

from parrot.core.graph import Generation

_Entry = tuple[int, int, int, Generation]  # turns, order, and a number that makes it unlike all others
TURN = 0.25  # seconds of the first turn; it ends when the engine is heard after that


class Suspects:
    """Who has had the fewest turns is next, then who came first; by the model that is asked for."""

    def __init__(self) -> None:
        self._queues: dict[str | None, list[_Entry]] = {}
        self._pushed = 0

    def push(self, generation: Generation) -> None:
        """Add a generation; its `order` says when it first became ready, so that one that comes back goes before those like it."""
        self._pushed += 1
        entry = (generation.turns, generation.order, self._pushed, generation)
        heappush(self._queues.setdefault(generation.call.model, []), entry)

    def __iter__(self) -> Iterator[Generation]:
        """All that wait, in no order."""
        return (generation for queue in self._queues.values() for *_, generation in queue if not generation.ended)

    def __bool__(self) -> bool:
        return any(self._first(model) for model in self._queues)

    def serves(self, model: str) -> bool:
        """Whether anything waits for an engine with this model."""
        return bool(self._first(model) or self._first(None))

    def pop(self, model: str, now: float) -> Generation:
        """The next generation for an engine with this model, of which there is one; its turn begins."""
        queues = [queue for name in (model, None) if (queue := self._first(name))]
        generation = heappop(min(queues, key=lambda queue: queue[0]))[-1]
        generation.turn_ends = now + TURN * 2**generation.turns
        generation.turns += 1
        return generation

    def _first(self, model: str | None) -> list[_Entry]:
        """The queue of those that ask for this model, without what was cancelled at its head."""
        queue = self._queues.get(model, [])
        while queue and queue[0][-1].ended:
            heappop(queue)
        return queue
