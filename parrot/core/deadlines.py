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


def latest(generation: Generation) -> float:
    """When it has to begin, as its consumers are known now."""
    end = own_due(generation)
    for consumer in generation.made.consumers:
        if not consumer.ended and consumer.late < end:
            end = consumer.late
    return end - generation.seconds


def retime(graph: Graph, generations: Iterable[Generation]) -> list[Generation]:
    """Find `late` again, and that of all ancestors for which it changes; work for what changes, and no more.

    Args:
        graph: theirs.
        generations: of which something has changed: when they are due, or who consumes what they make.

    Returns:
        Those for which it is another moment now.
    """
    queue: list[tuple[int, int, Generation]] = []
    ends: dict[int, float | None] = {}  # of those in the queue: when they must have ended besides what is known; None: all is to be found

    def push(generation: Generation, end: float | None) -> None:
        if generation.ended:
            return
        key = id(generation)
        if key not in ends:
            heappush(queue, (-generation.made.depth, key, generation))
            ends[key] = end
        else:
            before = ends[key]
            ends[key] = None if end is None or before is None else min(before, end)

    for generation in generations:
        push(generation, None)
    changed = []
    while queue:  # the deepest first: a consumer is deeper than what it waits for, so that each is looked at once
        _, _, generation = heappop(queue)
        end, before = ends[id(generation)], generation.late
        late = latest(generation) if end is None else min(before, end - generation.seconds)
        if late == before:
            continue
        generation.late = late
        changed.append(generation)
        for maker in makers(graph, generation):
            if late - maker.seconds < maker.late:
                push(maker, late)
            elif before - maker.seconds <= maker.late:
                push(maker, None)  # it was this one that it had to be in time for
    return changed
