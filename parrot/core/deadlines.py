"""When each generation has to begin at the latest, so that nothing that has a deadline and depends on it is late.

What is due gives it to what it waits for, earlier by the seconds that it needs itself; what comes after it does not count.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING

from parrot.core.objectives import makers

if TYPE_CHECKING:
    from parrot.core.graph import Generation, Graph


def own_due(generation: Generation) -> float:
    """When it must have ended by itself, in seconds since the epoch; infinite if nobody said."""
    asked, deadline = generation.made.due, generation.call.deadline
    return min(inf if asked is None else asked, inf if deadline is None else deadline)


def latest(generation: Generation, bound: float = -inf) -> float:
    """When it has to begin, as its consumers are known now; not before `bound`, so that nobody has to be asked once that is reached."""
    late = own_due(generation) - generation.seconds
    for consumer in generation.made.consumers:
        if late <= bound:
            break
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
    queue: list[tuple[int, int, Generation]] = []
    bounds: dict[int, float] = {}  # of those in the queue: they need not begin earlier
    later: set[int] = set()  # those that may have more time, so that all that come after them must be asked

    def push(generation: Generation, end: float, more: bool) -> None:
        if generation.ended:
            return
        key = id(generation)
        if key not in bounds:
            heappush(queue, (-generation.made.depth, len(bounds), generation))
            bounds[key] = generation.late
        bounds[key] = min(bounds[key], end - generation.seconds)
        if more:
            later.add(key)

    for generation in generations:
        push(generation, inf, True)
    changed = []
    while queue:  # the deepest first: a consumer is deeper than what it waits for, so that each is looked at once
        _, _, generation = heappop(queue)
        before, bound = generation.late, bounds[id(generation)]
        late = latest(generation, bound) if id(generation) in later else bound
        if late == before:
            continue
        generation.late = late
        changed.append(generation)
        for maker in makers(graph, generation):
            if late < before:
                if late - maker.seconds < maker.late:
                    push(maker, late, False)
            elif before - maker.seconds <= maker.late:
                push(maker, late, True)  # it was this one that it had to be in time for
    return changed
