"""When each generation has to begin at the latest, so that nothing that has a deadline and depends on it is late.

What is due gives it to what it waits for, earlier by the seconds that it needs itself; what comes after it does not count.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING

from parrot.core.asks import MANY
from parrot.core.objectives import makers, order_asks

if TYPE_CHECKING:
    from parrot.core.graph import Generation, Graph


def own_due(generation: Generation) -> float:
    """When it must have ended by itself, in seconds since the epoch; infinite if nobody said."""
    asked, deadline = generation.made.due, generation.call.deadline
    return min(inf if asked is None else asked, inf if deadline is None else deadline)


def latest(generation: Generation, bound: float = -inf, graph: Graph | None = None) -> float:
    """When it has to begin, as its consumers are known now.

    Args:
        generation: whichever.
        bound: not before this, so that nobody has to be asked once that is reached.
        graph: theirs, if it is worthwhile to put in order what many of them ask for.
    """
    late = own_due(generation) - generation.seconds
    for place, consumer in enumerate(generation.made.consumers):
        if late <= bound:
            break
        if place == MANY and graph is not None:
            return min(late, order_asks(graph, generation).late() - generation.seconds)
        if not consumer.ended:
            late = min(late, consumer.late - generation.seconds)
    return late


def retime(graph: Graph, generations: Iterable[Generation]) -> list[Generation]:
    """Find `late` again, and that of all ancestors for which it changes; work for what changes, and no more.

    Args:
        graph: theirs.
        generations: of which something has changed: when they are due, or who consumes what they make.

    Returns:
        Those for which it is another moment now.
    """
    pending, changed = _Pending(), []
    for generation in generations:
        pending.push(generation, inf, True)
    while pending.queue:
        _, _, generation = heappop(pending.queue)
        before, bound = generation.late, pending.bounds[generation]
        late = latest(generation, bound, graph) if generation in pending.later else bound
        if late == before:
            continue
        generation.late = late
        changed.append(generation)
        for maker in makers(graph, generation):
            if late < before:
                if maker.asks is not None:
                    maker.asks.told(generation)
                if late - maker.seconds < maker.late:
                    pending.push(maker, late, False)
            elif before - maker.seconds <= maker.late:
                pending.push(maker, late, True)  # it was this one that it had to be in time for
    return changed


class _Pending:
    """Those whose moment is to be found.

    Attributes:
        queue: the deepest first: a consumer is deeper than what it waits for, so that each is looked at once.
        bounds: they need not begin earlier.
        later: those that may have more time, so that all that come after them must be asked.
    """

    def __init__(self) -> None:
        self.queue: list[tuple[int, int, Generation]] = []
        self.bounds: dict[Generation, float] = {}
        self.later: set[Generation] = set()

    def push(self, generation: Generation, end: float, more: bool) -> None:
        """It must have ended at some moment; or may have more time, perhaps."""
        if generation.ended:
            return
        if generation not in self.bounds:
            heappush(self.queue, (-generation.made.depth, len(self.bounds), generation))
            self.bounds[generation] = generation.late
        self.bounds[generation] = min(self.bounds[generation], end - generation.seconds)
        if more:
            self.later.add(generation)
