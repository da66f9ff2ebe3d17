"""Programs: the calls of a session that are connected, what they have cost, and how long the way to their end is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from parrot.core.deadlines import latest
from parrot.core.few import Few

if TYPE_CHECKING:
    from parrot.core.graph import Generation

NOTABLE = 1.0  # seconds that a program must have come earlier than was thought, so that its place is looked for at once
GROWTH = 0.2  # of a program that has come or ended, after which its ways are reckoned again


class Program:
    """A connected component of a graph; components that become connected are one from then on.

    Args:
        tenant: who pays for it.
        name: of its first call.

    Attributes:
        members: its generations that have not ended, as they came.
        arrived: when it began to be of work again, in seconds since the epoch: a conversation that goes on begins anew with each turn.
        awaited: members that somebody waits for.
        attained: seconds of engine time that its generations have had.
        rest: seconds of engine time that its generations are expected to need, and awaited_rest: those that somebody waits for.
        way: seconds of the longest way that begins with a generation which can run; the program cannot end earlier.
        awaited_way: the same of those that somebody waits for, to what is waited for.
        length: the longest `way` that it has had.
    """

    __slots__ = (
        *("_begun", "_changes", "_into", "_were_split", "arrived", "attained", "awaited", "awaited_rest"),
        *("_weighed", "awaited_way", "length", "members", "name", "rest", "tenant", "way"),
    )

    def __init__(self, tenant: str, name: str = "") -> None:
        self.tenant = tenant
        self.name = name
        self.members = Few()
        self.arrived = 0.0
        self.attained = 0.0
        self.rest = 0.0
        self.awaited_rest = 0.0
        self.way = 0.0
        self.awaited_way = 0.0
        self.length = 0.0
        self.awaited = 0
        self._begun = Few()  # members that can run or do
        self._changes = 0
        self._weighed = 0  # how many were active when they were last weighed
        self._were_split = False  # when ways were reckoned
        self._into: Program | None = None

    @property
    def active(self) -> int:
        """How many of its members can run or do."""
        return len(self._begun)

    @property
    def begun(self) -> list[Generation]:
        """Its members that can run or do, in the order in which they became ready."""
        return sorted(self._begun, key=_order)

    @property
    def served(self) -> float:
        """What it has had, measured by how long it is: from 0 to 1."""
        return self.attained / (self.attained + self.length) if self.attained else 0.0

    @property
    def is_split(self) -> bool:
        """Somebody waits for some of its members, and nobody for others: these are not on the way to what is waited for."""
        return 0 < self.awaited < len(self.members)

    def whole(self) -> Program:
        """The program that this one has become part of; itself if of none."""
        found = self
        while found._into is not None:
            found = found._into
        while self._into is not None and self._into is not found:  # the next one who asks has a short way
            self._into, self = found, self._into
        return found

    def joined(self, other: Program) -> Program:
        """One of two programs that turn out to be connected."""
        large, small = self.whole(), other.whole()
        if large is small:
            return large
        if len(large.members) < len(small.members):
            large, small = small, large
        if not large.members or (small.members and small.arrived < large.arrived):
            if large.arrived - small.arrived > NOTABLE:
                large._changes += len(large.members)  # all of it goes before what it went after
            large.arrived = small.arrived
        for generation in small.members:
            large.members.add(generation)
        for generation in small._begun:
            large._begun.add(generation)
        large.attained += small.attained
        large.rest += small.rest
        large.awaited_rest += small.awaited_rest
        large.way = max(large.way, small.way)
        large.awaited_way = max(large.awaited_way, small.awaited_way)
        large.length = max(large.length, small.length)
        large.awaited += small.awaited
        large._were_split |= small._were_split
        large._changes += small._changes
        small._into, small.members, small._begun = large, Few(), Few()
        return large

    def weigh(self) -> bool:
        """Whether so many fewer or more of its members can run than when this was last true that each counts for something else."""
        if self._weighed <= 2 * self.active and self.active <= 2 * self._weighed:
            return False
        self._weighed = self.active
        return True

    def recall(self, attained: float, length: float, arrived: float) -> None:
        """What a predecessor knew of it when one of its members was last written about."""
        self.arrived = min(self.arrived, arrived)
        self.attained = max(self.attained, attained)
        self.length = max(self.length, length)

    def add(self, generations: Collection[Generation], now: float) -> None:
        """More work."""
        if not self.members:
            self.arrived = now
        for generation in generations:
            self.members.add(generation)
        self._changes += len(generations)

    def begin(self, generation: Generation) -> None:
        """A member can run; its tail is reckoned."""
        self._begun.add(generation)
        self._lengthen(generation)

    def drop(self, generation: Generation) -> None:
        """It has ended. What can run after it begins after this."""
        was_member = self.members.drop(generation)
        self._changes += 1
        self.rest = max(0.0, self.rest - generation.service) if self.members else 0.0
        if self._begun.drop(generation) and not self._begun:
            self.way = self.awaited_way = 0.0
        if was_member and generation.awaited:
            self.awaited -= 1
            self.awaited_rest = max(0.0, self.awaited_rest - generation.service) if self.awaited else 0.0

    def expect(self, generation: Generation, seconds: float) -> None:
        """How much engine time a member is expected to need, as far as is known now."""
        self.rest += seconds - generation.service
        if generation.awaited:
            self.awaited_rest += seconds - generation.service
        generation.service = seconds

    def reckon(self, seconds: Callable[[Generation], float]) -> bool:
        """Find `seconds`, `tail` and `late` of every member and the `way`, unless hardly anything has come or ended since the last time.

        Ways are not reckoned anew with each call, or a program that is submitted call by call would cost the square of its length;
        they are at most a fifth of the program old.

        Args:
            seconds: how long a generation will take by itself.

        Returns:
            Whether they were found anew.
        """
        if self._changes < max(1.0, GROWTH * len(self.members)):
            return False
        self._changes, self.way, self.awaited_way, self._were_split = 0, 0.0, 0.0, self.is_split
        for generation in sorted(self.members, key=_depth, reverse=True):
            generation.seconds = seconds(generation)
            generation.tail = _tail(generation)
            generation.asks = None  # who come after it may have to begin earlier than they said
            generation.late = latest(generation)
            if generation in self._begun:
                self._lengthen(generation)
        return True

    def way_of(self, generation: Generation) -> float:
        """Seconds of the longest way in the program that matters to a member: to what somebody waits for, if that is so for the member."""
        return max(self.awaited_way, generation.tail) if generation.awaited and self.is_split else self.way

    def rest_of(self, generation: Generation) -> float:
        """Seconds of engine time that is expected to be needed for what matters to a member: for all, or for what somebody waits for."""
        return self.awaited_rest if generation.awaited and self.is_split else self.rest

    def _judge(self, generation: Generation) -> bool:
        if generation.awaited == generation.objective.urgent or generation not in self.members:
            return False
        generation.awaited = generation.objective.urgent
        self.awaited += 1 if generation.awaited else -1
        self.awaited_rest += generation.service if generation.awaited else -generation.service
        return True

    def _find_way(self, generation: Generation) -> None:
        if self.is_split or self._were_split:
            self._were_split = True  # until ways are reckoned, for whatever comes then
            generation.tail = _tail(generation)
            self._changes += 1
        if generation in self._begun:
            self._lengthen(generation)

    def _lengthen(self, generation: Generation) -> None:
        tail = generation.tail
        self.way = max(self.way, tail)
        self.length = max(self.length, tail)
        if generation.awaited:
            self.awaited_way = max(self.awaited_way, tail)


def judge(generations: Iterable[Generation]) -> None:
    """Note which of some generations somebody waits for, as their objectives say: that shortens or lengthens their ways.

    Args:
        generations: those that come after others first.
    """
    changed = [generation for generation in generations if generation.program.whole()._judge(generation)]
    for generation in changed:
        generation.program.whole()._find_way(generation)


def _tail(generation: Generation) -> float:
    """Seconds of the longest way that begins with it; what somebody waits for is not prolonged by what nobody waits for after it."""
    below = 0.0
    for consumer in generation.made.consumers:
        if not consumer.ended and (consumer.awaited or not generation.awaited):
            below = max(below, consumer.tail)
    return generation.seconds + below


def _depth(generation: Generation) -> int:
    return generation.made.depth


def _order(generation: Generation) -> int:
    return generation.order
