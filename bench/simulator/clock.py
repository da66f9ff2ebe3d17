"""Virtual time: a clock that jumps from one event to the next."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

START = 1_000_000.0  # seconds since the epoch: far from zero, as the real one


class Clock:
    """Events in the order of their times; those of one time in the order in which they were planned.

    Attributes:
        now: seconds since the epoch.
    """

    def __init__(self) -> None:
        self.now = START
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._planned = 0

    def at(self, when: float, what: Callable[..., None], *arguments: Any) -> None:
        """Call something at a time, or now if that has passed."""
        self._planned += 1
        heappush(self._events, (max(when, self.now), self._planned, what, arguments))

    def after(self, seconds: float, what: Callable[..., None], *arguments: Any) -> None:
        """Call something so many seconds from now."""
        self.at(self.now + seconds, what, *arguments)

    def run(self, done: Callable[[], bool]) -> None:
        """Let time pass until a condition holds or nothing more is planned."""
        while self._events and not done():
            self.now, _, what, arguments = heappop(self._events)
            what(*arguments)
