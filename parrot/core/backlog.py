"""Generations that are ready and wait for room in an engine. They wait here, not in engines, since here they can still be re-ordered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from typing import NamedTuple

from parrot.core.graph import Generation
from parrot.core.lazy_heap import LazyHeap
from parrot.core.shares import LEAD, Shares

STALE = 1_000  # entries that may lie about beside those that count

Rank = tuple[float, ...]  # the smaller first
Lane = tuple[str | None, bool]  # the model that is asked for, and whether it is sensitive: some places are kept for what is


class _Entry(NamedTuple):
    """Attributes: number makes each unlike all others."""

    rank: Rank
    number: int
    generation: Generation


class _Line:
    """What waits in a lane and is urgent, or what is not: by tenant, and the tenants by what they have had.

    Args:
        shares: what tenants have had; None if that does not count.
        lead: by which what waits here may run ahead of its tenant's share.

    Attributes:
        tenants: a heap for each; what counts no more may lie in it.
        order: the tenants. It goes by the top of each heap even if that counts no more: it hides none that should be seen, as ranks
            become better only with a new entry.
    """

    def __init__(self, shares: Shares | None, lead: float) -> None:
        self._shares = shares
        self._lead = lead
        self.tenants: dict[str, list[_Entry]] = {}
        self.order = LazyHeap(self._turn)

    def push(self, entry: _Entry) -> None:
        tenant = entry.generation.program.whole().tenant
        heap = self.tenants.setdefault(tenant, [])
        heappush(heap, entry)
        if heap[0] is entry:
            self.order.push(tenant)

    def _turn(self, tenant: str) -> tuple[float, _Entry] | None:
        heap = self.tenants.get(tenant)
        if not heap:
            self.tenants.pop(tenant, None)
            return None
        return (0.0 if self._shares is None else self._shares.had(tenant) - self._lead, heap[0])


class Backlog:
    """By lane, then by tenant, then by rank.

    Ranks are taken when something is pushed or looked at; one that has become worse meanwhile sinks when it comes to the top, and one that
    has become better must be pushed again, as must one that changes its lane. What waits for something of its own can be put aside.

    Args:
        rank: of a generation that waits.
        shares: what tenants have had; None if that does not count.
    """

    def __init__(self, rank: Callable[[Generation], Rank], shares: Shares | None) -> None:
        self._rank = rank
        self._shares = shares
        self._lines: dict[tuple[Lane, bool], _Line] = {}  # by lane, and whether what waits there is urgent
        self._aside: dict[str, list[_Entry]] = {}  # a heap for each thing that is waited for
        self._entries = 0  # in lines and aside
        self._waiting: dict[Generation, _Entry] = {}  # with the entry that counts
        self._tenants: Counter[str] = Counter()  # how many wait
        self._top: list[_Entry] = []  # the heap of who was found first
        self._passed: list[Generation] = []
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
        if generation not in self._waiting:
            tenant = generation.program.whole().tenant
            self._tenants[tenant] += 1
            if self._shares is not None and self._tenants[tenant] == 1:
                self._shares.enter(tenant)
        self._waiting[generation] = self._entry(generation, next(self._numbers))
        if self._entries > 2 * len(self._waiting) + STALE:
            self._sweep()
        self._insert(generation)

    def drop(self, generation: Generation) -> None:
        """It waits no more."""
        entry = self._waiting.pop(generation, None)
        if entry is not None:
            if self._top and self._top[0] is entry:  # as a rule: it was found first, and is given to an engine
                heappop(self._top)
                self._entries -= 1
            tenant = generation.program.whole().tenant
            self._tenants[tenant] -= 1
            if not self._tenants[tenant]:
                del self._tenants[tenant]
                if self._shares is not None:
                    self._shares.leave(tenant)

    def has_less(self, tenant: str) -> None:
        """A tenant has had less than was thought: its turn may come sooner."""
        for line in self._lines.values():
            line.order.push(tenant)

    def first(self, lanes: Collection[Lane]) -> Generation | None:
        """Who is next of those in some lanes; it goes on waiting until it is dropped."""
        while (heap := self._first_heap(lanes)) is not None:
            rank, number, generation = heap[0]
            if self._waiting.get(generation) is not heap[0]:
                heappop(heap)  # it counts no more
                self._entries -= 1
                continue
            entry = self._entry(generation, number)
            if entry[0] <= rank:
                self._top = heap
                return generation
            self._waiting[generation] = entry
            heapreplace(heap, entry)  # it sinks to where it belongs
        return None

    def pass_over(self) -> None:
        """Who was found first waits on, but the next one is found from now on, until `look_again`."""
        self._entries -= 1
        self._passed.append(heappop(self._top)[2])

    def look_again(self) -> int:
        """Those that were passed over can be found again.

        Returns:
            How many they were.
        """
        passed, self._passed = self._passed, []
        for generation in passed:
            if generation in self._waiting:
                self._insert(generation)
        return len(passed)

    def put_aside(self, awaited: str) -> None:
        """Who was found first waits on, but is not found before what it waits for is called."""
        heappush(self._aside.setdefault(awaited, []), heappop(self._top))

    def ahead(self, awaited: str) -> int:
        """About how many of those that were put aside for something go before who was found first."""
        heap = self._aside.get(awaited)
        return len(heap) if heap and heap[0].rank <= self._top[0].rank else 0

    def call(self, awaited: str, most: int) -> bool:
        """The first of those that wait for something can be found again, so many at most.

        Returns:
            Whether others wait for it still.
        """
        heap = self._aside.get(awaited, [])
        while heap and most:
            entry = heappop(heap)
            self._entries -= 1
            if self._waiting.get(entry.generation) is entry:
                self._insert(entry.generation)
                most -= 1
        if not heap:
            self._aside.pop(awaited, None)
        return bool(heap)

    def call_next(self) -> bool:
        """The first of those that wait for something can be found again, another thing each time.

        Returns:
            False if there is none.
        """
        if not self._aside:
            return False
        awaited = next(iter(self._aside))
        self._aside[awaited] = self._aside.pop(awaited)  # its turn comes again after all others
        self.call(awaited, 1)
        return True

    def awaited(self) -> list[str]:
        """What those that were put aside wait for."""
        return list(self._aside)

    def _entry(self, generation: Generation, number: int) -> _Entry:
        return _Entry(self._rank(generation), number, generation)

    def _insert(self, generation: Generation) -> None:
        objective = generation.objective
        name = ((generation.call.model, objective.sensitive), objective.urgent)
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = _Line(self._shares, LEAD if objective.urgent else 0.0)
        line.push(self._waiting[generation])
        self._entries += 1

    def _sweep(self) -> None:
        """Only what counts is kept."""
        heaps = [*self._aside.values(), *(heap for line in self._lines.values() for heap in line.tenants.values())]
        for heap in heaps:
            heap[:] = [entry for entry in heap if self._waiting.get(entry.generation) is entry]
            heapify(heap)
        self._lines = {name: line for name, line in self._lines.items() if any(line.tenants.values())}
        self._aside = {awaited: heap for awaited, heap in self._aside.items() if heap}
        self._entries, self._top = sum(map(len, heaps)), []

    def _first_heap(self, lanes: Collection[Lane]) -> list[_Entry] | None:
        """Of the tenant that is next, by what is known without ranking anything anew; it may turn out to be another one."""
        there = [line for lane in lanes for urgent in (True, False) if (line := self._lines.get((lane, urgent))) is not None]
        turns = [turn for line in there if (turn := line.order.first()) is not None]
        if not turns:
            return None
        _, tenant = min(turns)
        # By rank alone among what is this tenant's, or what nobody waits for would starve behind its chats.
        return min(heap for line in there if (heap := line.tenants.get(tenant)))
