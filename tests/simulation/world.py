"""Virtual time, and processes in it that die, stop and wake."""

from __future__ import annotations

import random
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

START = 1_000_000.0  # seconds since the epoch


class World:
    """A clock that jumps from one event to the next, and the one source of chance.

    Attributes:
        now: seconds since the epoch.
        chance: all that is random in a run follows from its seed.
        calm: no more faults.
        traced: whether anybody reads what is said.
    """

    def __init__(self, seed: int, trace: Callable[[str], None] | None = None) -> None:
        self.now = START
        self.chance = random.Random(seed)
        self.calm = False
        self.traced = trace is not None
        self._trace = trace
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._planned = 0

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        self._planned += 1
        heappush(self._events, (self.now + seconds, self._planned, what))

    def run(self, until: Callable[[], bool], seconds: float) -> bool:
        """Let time pass until a condition holds, or for at most so many seconds; says whether it held."""
        end = self.now + seconds
        while not until():
            if not self._events or self._events[0][0] > end:
                self.now = end
                return False
            self.now, _, what = heappop(self._events)
            what()
        return True

    def happens(self, probability: float) -> bool:
        """Whether a fault happens here and now."""
        return not self.calm and self.chance.random() < probability

    def say(self, *words: Any) -> None:
        if self._trace is not None:
            self._trace(f"{self.now - START:8.3f}  " + " ".join(map(str, words)))


class Process:
    """What it has planned is void once it has died, and late if it was stopped meanwhile."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self._life = 0
        self._stopped_until = 0.0

    def later(self, seconds: float, what: Callable[..., None], *arguments: Any) -> None:
        life = self._life

        def go() -> None:
            if life != self._life:
                return
            if self._stopped_until > self.world.now:
                self.world.after(self._stopped_until - self.world.now + self.world.chance.random() * 0.02, go)
            else:
                what(*arguments)

        self.world.after(seconds, go)

    def die(self) -> None:
        """SIGKILL."""
        self._life += 1

    def stop(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT later."""
        self._stopped_until = self.world.now + seconds
