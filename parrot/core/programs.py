"""Programs: the calls of a session that are connected, what they have cost, and how long the way to their end is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from parrot.core.deadlines import latest

if TYPE_CHECKING:
    from parrot.core.graph import Generation

GROWTH = 0.2  # of a program that has come or ended, after which its ways are reckoned again


class Program:
    """A connected component of a graph; components that become connected are one from then on.

    Args:
        tenant: who pays for it.

    Attributes:
        members: its generations that have not ended, and whether each could run already.
        arrived: when it began to be of work again, in seconds since the epoch: a conversation that goes on begins anew with each turn.
        active: members that can run or do.
        attained: seconds of engine time that its generations have had.
        rest: seconds of engine time that its generations are expected to need.
        way: seconds of the longest way that begins with a generation which can run; the program cannot end earlier.
        length: the longest `way` that it has had.
    """

    __slots__ = ("_changes", "_into", "active", "arrived", "attained", "length", "members", "rest", "tenant", "way")

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.members: dict[Generation, bool] = {}
        self.arrived = 0.0
        self.attained = 0.0
        self.rest = 0.0
        self.way = 0.0
        self.length = 0.0
        self.active = 0
        self._changes = 0
        self._into: Program | None = None

    @property
    def served(self) -> float:
        """What it has had, measured by how long it is: from 0 to 1."""
        return self.attained / (self.attained + self.length) if self.attained else 0.0

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
            large.arrived = small.arrived
        large.members |= small.members
        large.attained += small.attained
        large.rest += small.rest
        large.way = max(large.way, small.way)
        large.length = max(large.length, small.length)
        large.active += small.active
        large._changes += small._changes
        small._into, small.members = large, {}
        return large

    def recall(self, attained: float, length: float) -> None:
        """What a predecessor knew of it when one of its members was last written about."""
        self.attained = max(self.attained, attained)
        self.length = max(self.length, length)

    def add(self, generations: Iterable[Generation], now: float) -> None:
        """More work."""
        if not self.members:
            self.arrived = now
        for generation in generations:
            self.members[generation] = False
            self._changes += 1

    def begin(self, generation: Generation) -> None:
        """A member can run; its tail is reckoned."""
        if not self.members[generation]:
            self.members[generation] = True
            self.active += 1
        self._lengthen(generation.tail)

    def drop(self, generation: Generation) -> None:
        """It has ended. What can run after it begins after this."""
        begun = self.members.pop(generation, None)
        self._changes += 1
        self.rest = max(0.0, self.rest - generation.service) if self.members else 0.0
        if begun:
            self.active -= 1
            if not self.active:
                self.way = 0.0

    def expect(self, generation: Generation, seconds: float) -> None:
        """How much engine time a member is expected to need, as far as is known now."""
        self.rest += seconds - generation.service
        generation.service = seconds

    def reckon(self, seconds: Callable[[Generation], float]) -> None:
        """Find `seconds`, `tail` and `late` of every member and the `way`, unless hardly anything has come or ended since the last time.

        Ways are not reckoned anew with each call, or a program that is submitted call by call would cost the square of its length;
        they are at most a fifth of the program old.

        Args:
            seconds: how long a generation will take by itself.
        """
        if self._changes < max(1.0, GROWTH * len(self.members)):
            return
        self._changes, self.way = 0, 0.0
        for generation in sorted(self.members, key=_depth, reverse=True):
            below = max((consumer.tail for consumer in generation.made.consumers if not consumer.ended), default=0.0)
            generation.seconds = seconds(generation)
            generation.tail = generation.seconds + below
            generation.late = latest(generation)
            if self.members[generation]:
                self._lengthen(generation.tail)

    def _lengthen(self, tail: float) -> None:
        self.way = max(self.way, tail)
        self.length = max(self.length, tail)


def _depth(generation: Generation) -> int:
    return generation.made.depth
