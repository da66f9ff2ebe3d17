"""Generations that are ready and wait for room in an engine. They wait here, not in engines, since here they can still be re-ordered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush, heapreplace
from itertools import count

from parrot.core.graph import Generation
from parrot.core.shares import LEAD, Shares

Rank = tuple[float, ...]  # the smaller first
_Entry = tuple[Rank, int, Generation]


class Backlog:
    """By model that is asked for, then by tenant, then by rank.

    Ranks are taken when something is pushed or looked at; one that has become worse meanwhile sinks when it comes to the top, and one that
    has become better must be pushed again.

    Args:
        rank: of a generation that waits.
        shares: what tenants have had; None if that does not count.
    """

    def __init__(self, rank: Callable[[Generation], Rank], shares: Shares | None) -> None:
        self._rank = rank
        self._shares = shares
        self._queues: dict[str | None, dict[str, list[_Entry]]] = {}
        self._waiting: dict[Generation, int] = {}  # with the number of the entry that counts
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, generation: Generation) -> bool:
        return generation in self._waiting

    def __iter__(self) -> Iterator[Generation]:
        """All that wait, in no order."""
        return iter(self._waiting)

    def push(self, generation: Generation) -> None:
        """Add a generation, or give one that waits its place anew."""
        tenant = generation.program.whole().tenant
        queue = self._queues.setdefault(generation.call.model, {})
        heap = queue.get(tenant)
        if heap is None:
            heap = queue[tenant] = []
            if self._shares is not None:
                self._shares.enter(tenant, queue)
        self._waiting[generation] = number = next(self._numbers)
        heappush(heap, (self._rank(generation), number, generation))

    def drop(self, generation: Generation) -> None:
        """It waits no more."""
        self._waiting.pop(generation, None)

    def first(self, models: Iterable[str]) -> Generation | None:
        """Who is next for engines with one of these models; it goes on waiting until it is dropped."""
        while True:
            found = self._first_heap(models)
            if found is None:
                return None
            if (top := self._top(found)) is not None:
                return top[2]

    def _first_heap(self, models: Iterable[str]) -> list[_Entry] | None:
        """Of the tenant that is next, by what is known without ranking anything anew; it may turn out to be another one."""
        best: tuple[float, Rank, int] | None = None
        found = None
        for model in (None, *models):
            queue = self._queues.get(model)
            if queue is None:
                continue
            for tenant, heap in tuple(queue.items()):
                while heap and self._waiting.get(heap[0][2]) != heap[0][1]:
                    heappop(heap)
                if not heap:
                    del queue[tenant]
                    continue
                rank, number, generation = heap[0]
                had = 0.0 if self._shares is None else self._shares.had(tenant) - (LEAD if generation.objective.urgent else 0.0)
                if best is None or (had, rank, number) < best:
                    best, found = (had, rank, number), heap
        return found

    def _top(self, heap: list[_Entry]) -> _Entry | None:
        """The first entry, if its rank is still what it was; else it sinks to where it belongs."""
        rank, number, generation = heap[0]
        now = self._rank(generation)
        if now <= rank:
            return heap[0]
        heapreplace(heap, (now, number, generation))
        return None
