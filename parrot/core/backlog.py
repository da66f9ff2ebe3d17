"""Generations that are ready and wait for room in an engine. They wait here, not in engines, since here they can still be re-ordered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from heapq import heapreplace

from parrot.core.graph import Generation
from parrot.core.shares import Shares
from parrot.core.turns import Entry, Queue, Rank, Turn, next_turn

STALE = 1_000  # entries that may lie about beside those that count

Lane = tuple[str | None, bool]  # the model that is asked for, and whether it is sensitive: some places are kept for what is


class Backlog:
    """By lane, then by tenant, then by rank.

    Ranks are taken when what was pushed is sorted in, as more may be known of it by then, and when it is looked at. One that has become
    worse meanwhile sinks when it comes to the top; one that has become better must be pushed again, as must one that changes its lane. What
    waits for something of its own can be put aside.

    Args:
        rank: of a generation that waits.
        shares: what tenants have had; None if that does not count.
    """

    def __init__(self, rank: Callable[[Generation], Rank], shares: Shares | None) -> None:
        self._rank = rank
        self._shares = shares
        self._lanes: dict[Lane, Queue] = {}
        self._aside: dict[str, Queue] = {}  # by what is waited for
        self._entries = 0  # in lanes and aside
        self._waiting: dict[Generation, Entry | None] = {}  # with the entry that counts; none as long as it is new
        self._awaited: dict[Generation, str] = {}  # what is aside, and for what
        self._waiters: Counter[str] = Counter()  # how many those are
        self._new: dict[Generation, None] = {}  # what was pushed and not sorted in
        self._tenants: Counter[str] = Counter()  # how many wait
        self._top = Turn([], Queue(None))  # who was found first
        self._passed: list[Generation] = []

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
            self._waiting[generation] = None
        self._new[generation] = None

    def drop(self, generation: Generation) -> None:
        """It waits no more."""
        if generation not in self._waiting:
            return
        entry = self._waiting.pop(generation)
        self._new.pop(generation, None)
        self._back(generation)
        if self._top.heap and self._top.heap[0] is entry:  # as a rule: it was found first, and is given to an engine
            self._pop(self._top)
        tenant = generation.program.whole().tenant
        self._tenants[tenant] -= 1
        if not self._tenants[tenant]:
            del self._tenants[tenant]
            if self._shares is not None:
                self._shares.leave(tenant)

    def has_less(self, tenant: str) -> None:
        """A tenant has had less than was thought: its turn may come sooner."""
        for queues in (self._lanes, self._aside):
            for queue in queues.values():
                queue.has_less(tenant)

    def improve(self, generation: Generation) -> None:
        """One that waits is given its place anew if its rank has become better."""
        entry = self._waiting.get(generation)
        if entry is not None and self._rank(generation) < entry.rank:
            self.push(generation)

    def sort_in(self) -> None:
        """What was pushed gets its place; done by `first` too, but for many at once if nobody asks for long."""
        if not self._new:
            return
        for generation in self._new:
            self._back(generation)
            entry = self._waiting[generation] = self._entry(generation)
            if self._entries > 2 * len(self._waiting) + STALE:
                self._sweep()
            self._insert(entry)
        self._new = {}

    def first(self, lanes: Collection[Lane]) -> Generation | None:
        """Who is next of those in some lanes; it goes on waiting until it is dropped."""
        self.sort_in()
        there = [queue for lane in lanes if (queue := self._lanes.get(lane)) is not None]
        while (turn := next_turn(there)) is not None:
            rank, generation = turn.heap[0]
            if self._waiting.get(generation) is not turn.heap[0]:
                self._pop(turn)  # it counts no more
                continue
            entry = self._entry(generation)
            if entry.rank <= rank:
                self._top = turn
                return generation
            self._waiting[generation] = entry
            heapreplace(turn.heap, entry)  # it sinks to where it belongs
        return None

    def pass_over(self) -> None:
        """Who was found first waits on, but the next one is found from now on, until `look_again`."""
        self._passed.append(self._pop(self._top).generation)

    def look_again(self) -> int:
        """Those that were passed over can be found again.

        Returns:
            How many they were.
        """
        passed, self._passed = self._passed, []
        for generation in passed:
            if (entry := self._waiting.get(generation)) is not None:
                self._insert(entry)
        return len(passed)

    def put_aside(self, awaited: str) -> None:
        """Who was found first waits on, but is not found before what it waits for is called."""
        queue = self._aside.get(awaited)
        if queue is None:
            queue = self._aside[awaited] = Queue(self._shares, self._counts)
        entry = self._pop(self._top)
        queue.push(entry)
        self._entries += 1
        self._awaited[entry.generation] = awaited
        self._waiters[awaited] += 1

    def ahead(self, awaited: str) -> int:
        """About how many of those that were put aside for something go before who was found first."""
        queue = self._aside.get(awaited)
        turn = None if queue is None else next_turn((queue,))
        return self._waiters[awaited] if turn is not None and self._goes_before(turn.heap[0]) else 0

    def call(self, awaited: str, most: int) -> bool:
        """The first of those that wait for something can be found again, so many at most.

        Returns:
            Whether others wait for it still.
        """
        queue = self._aside.get(awaited)
        if queue is None:
            return False
        while (turn := next_turn((queue,))) is not None:
            if not most:
                return True
            entry = self._pop(turn)
            if self._waiting.get(entry.generation) is entry:
                self._back(entry.generation)
                self._insert(entry)
                most -= 1
        del self._aside[awaited]
        return False

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

    def _back(self, generation: Generation) -> None:
        """It is not aside any more."""
        awaited = self._awaited.pop(generation, None)
        if awaited is not None:
            self._waiters[awaited] -= 1
            if not self._waiters[awaited]:
                del self._waiters[awaited]

    def _entry(self, generation: Generation) -> Entry:
        return Entry(self._rank(generation), generation)

    def _insert(self, entry: Entry) -> None:
        lane = (entry.generation.call.model, entry.generation.objective.sensitive)
        queue = self._lanes.get(lane)
        if queue is None:
            queue = self._lanes[lane] = Queue(self._shares, self._counts)
        queue.push(entry)
        self._entries += 1

    def _pop(self, turn: Turn) -> Entry:
        self._entries -= 1
        return turn.pop()

    def _goes_before(self, other: Entry) -> bool:
        """Whether it does so before who was found first."""
        mine = self._top.heap[0]
        if self._shares is not None:
            his, my = other.generation.program.whole().tenant, mine.generation.program.whole().tenant
            if his != my:
                return self._shares.had(his) <= self._shares.had(my)
        return other.moment <= mine.moment

    def _counts(self, entry: Entry) -> bool:
        return self._waiting.get(entry.generation) is entry

    def _sweep(self) -> None:
        """Only what counts is kept."""
        for queues in (self._lanes, self._aside):
            for queue in queues.values():
                queue.keep(self._counts)
        self._lanes = {lane: queue for lane, queue in self._lanes.items() if queue.entries}
        self._aside = {awaited: queue for awaited, queue in self._aside.items() if queue.entries}
        self._entries = sum(queue.entries for queues in (self._lanes, self._aside) for queue in queues.values())
        self._top = Turn([], Queue(None))
