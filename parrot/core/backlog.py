"""Generations that are ready and wait for room in an engine. They wait here, not in engines, since here they can still be re-ordered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from heapq import heappop, heappush, heapreplace
from itertools import count
from typing import NamedTuple

from parrot.core.graph import Generation
from parrot.core.shares import LEAD, Shares

STALE = 1_000  # entries that may lie about beside those that count

Rank = tuple[float, ...]  # the smaller first
Lane = tuple[str | None, bool]  # the model that is asked for, and whether it is sensitive: some places are kept for what is


class _Entry(NamedTuple):
    """Attributes: number makes each unlike all others; lead is as in `shares`."""

    rank: Rank
    number: int
    generation: Generation
    lead: float


class Backlog:
    """By lane, then by tenant, then by rank.

    Ranks are taken when something is pushed or looked at; one that has become worse meanwhile sinks when it comes to the top, and one that
    has become better must be pushed again, as must one that changes its lane.

    Args:
        rank: of a generation that waits.
        shares: what tenants have had; None if that does not count.
    """

    def __init__(self, rank: Callable[[Generation], Rank], shares: Shares | None) -> None:
        self._rank = rank
        self._shares = shares
        self._lanes: dict[Lane, dict[str, list[_Entry]]] = {}
        self._entries = 0  # in all lanes
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
                self._shares.enter(tenant, self._tenants)
        self._waiting[generation] = self._entry(generation, next(self._numbers))
        if self._entries > 2 * len(self._waiting) + STALE:
            self._sweep()
        else:
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

    def first(self, lanes: Collection[Lane]) -> Generation | None:
        """Who is next of those in some lanes; it goes on waiting until it is dropped."""
        while (heap := self._first_heap(lanes)) is not None:
            rank, number, generation, _ = heap[0]
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

    def _entry(self, generation: Generation, number: int) -> _Entry:
        return _Entry(self._rank(generation), number, generation, LEAD if generation.objective.urgent else 0.0)

    def _insert(self, generation: Generation) -> None:
        lane = self._lanes.setdefault((generation.call.model, generation.objective.sensitive), {})
        heappush(lane.setdefault(generation.program.whole().tenant, []), self._waiting[generation])
        self._entries += 1

    def _sweep(self) -> None:
        """Only what counts is kept."""
        self._lanes.clear()
        self._entries, self._top = 0, []
        for generation in self._waiting:
            self._insert(generation)

    def _first_heap(self, lanes: Iterable[Lane]) -> list[_Entry] | None:
        """Of the tenant that is next, by what is known without ranking anything anew; it may turn out to be another one.

        An entry that counts no more may come first: it hides none that should, as ranks become better only with a new entry.
        """
        heaps: dict[str, list[_Entry]] = {}  # the first one of each tenant
        for lane in lanes:
            if tenants := self._lanes.get(lane):
                for tenant, heap in tenants.items():
                    other = heaps.get(tenant)
                    if heap and (other is None or heap[0] < other[0]):
                        heaps[tenant] = heap
                if len(tenants) > len(heaps):
                    self._lanes[lane] = {tenant: heap for tenant, heap in tenants.items() if heap}
        first: list[_Entry] | None = None
        least = 0.0
        for tenant, heap in heaps.items():
            had = 0.0 if self._shares is None else self._shares.had(tenant) - heap[0][3]
            if first is None or had < least or (had == least and heap[0] < first[0]):
                first, least = heap, had
        return first
