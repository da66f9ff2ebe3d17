"""Whose turn it is of those that wait for the same: by tenant, and of a tenant's by rank."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from parrot.core.graph import Generation
from parrot.core.lazy_heap import LazyHeap
from parrot.core.shares import LEAD, Shares

Rank = tuple[float, ...]  # the smaller first
DUE = 4  # numbers in the rank of what is due and nobody waits for: it has one more than others, by which it goes among its like


class Entry(NamedTuple):
    """Attributes: rank, which no other generation has."""

    rank: Rank
    generation: Generation

    @property
    def is_due(self) -> bool:
        """Nobody waits for it, but it must end in time."""
        return len(self.rank) == DUE

    @property
    def moment(self) -> Rank:
        """Its place among all that wait, whatever they are."""
        return self.rank[1:] if self.is_due else self.rank

    def goes_before(self, other: Entry) -> bool:
        """Whether it is before another one for which others may wait."""
        return self.moment < other.moment


class _Line:
    """What somebody waits for, what is due, or the rest: by tenant, and the tenants by what they have had.

    Args:
        shares: what tenants have had; None if that does not count.
        lead: tokens by which what waits here may run ahead of its tenant's share.

    Attributes:
        tenants: a heap for each; what counts no more may lie in it.
        order: the tenants. It goes by the top of each heap even if that counts no more: it hides none that should be seen, as ranks
            become better only with a new entry.
    """

    def __init__(self, shares: Shares | None, lead: float, counts: Callable[[Entry], bool]) -> None:
        self._shares = shares
        self._counts = counts
        self._lead = lead
        self.tenants: dict[str, list[Entry]] = {}
        self.order = LazyHeap(self._turn)

    def push(self, entry: Entry) -> None:
        tenant = entry.generation.program.whole().tenant
        heap = self.tenants.setdefault(tenant, [])
        heappush(heap, entry)
        if heap[0] is entry:
            self.order.push(tenant)

    def _turn(self, tenant: str) -> tuple[float, Rank] | None:
        heap = self.tenants.get(tenant)
        while heap and not self._counts(heap[0]):
            heappop(heap)
        if not heap:
            self.tenants.pop(tenant, None)
            return None
        return (0.0 if self._shares is None else self._shares.had(tenant) - self._lead, heap[0].moment)


class Queue:
    """What waits for the same.

    Args:
        shares: what tenants have had; None if that does not count.

    Attributes:
        lines: of what somebody waits for, of what only must end in time, and of the rest.
        entries: in them, those that do not count any more too.
    """

    def __init__(self, shares: Shares | None, counts: Callable[[Entry], bool] = bool) -> None:
        self._urgent, self._due, self._rest = (_Line(shares, lead, counts) for lead in (LEAD, LEAD, 0.0))
        self.lines = (self._urgent, self._rest, self._due)
        self.entries = 0

    def push(self, entry: Entry) -> None:
        """One more waits."""
        line = self._due if entry.is_due else self._urgent if entry.generation.objective.urgent else self._rest
        line.push(entry)
        self.entries += 1

    def has_less(self, tenant: str) -> None:
        """A tenant has had less than was thought."""
        for line in self.lines:
            line.order.push(tenant)

    def keep(self, counts: Callable[[Entry], bool]) -> None:
        """Nothing but those entries."""
        self.entries = 0
        for line in self.lines:
            for heap in line.tenants.values():
                heap[:] = filter(counts, heap)
                heapify(heap)
                self.entries += len(heap)


class Turn(NamedTuple):
    """Attributes: heap: at its top is who is next, and queue: in which it is."""

    heap: list[Entry]
    queue: Queue

    def pop(self) -> Entry:
        """Whose turn it is goes."""
        self.queue.entries -= 1
        return heappop(self.heap)


def next_turn(queues: Iterable[Queue]) -> Turn | None:
    """Whose turn it is in some queues, by what is known without ranking anything anew; it may turn out to be another one."""
    tenant, least, found = "", None, None
    there = tuple(queues)
    for queue in there:
        for line in queue.lines:
            if (first := line.order.first()) is not None and (least is None or first[0] < least):
                least, tenant = first
    for queue in there:  # by rank alone among what is this tenant's, or what nobody waits for would starve behind its chats
        for line in queue.lines:
            if (heap := line.tenants.get(tenant)) and (found is None or heap[0].goes_before(found.heap[0])):
                found = Turn(heap, queue)
    return found
