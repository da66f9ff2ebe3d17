"""What is due when. One heap; setting a timer again replaces it."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush

Timer = tuple[str, str]  # what for, and whom it concerns
IDLE = 1_000  # entries of the heap that may stand for timers that were dropped, beyond as many as there are timers


class Timers:
    """Timers by name, on nobody's clock."""

    def __init__(self) -> None:
        self._due: dict[Timer, float] = {}
        self._heap: list[tuple[float, Timer]] = []

    def set(self, timer: Timer, when: float) -> None:
        """Set or move a timer. One that moves to later keeps its place in the heap until it is looked at, since leases move often."""
        before = self._due.get(timer)
        self._due[timer] = when
        if before is None or when < before:
            heappush(self._heap, (when, timer))

    def drop(self, timer: Timer) -> None:
        """Forget a timer, if it is set."""
        if self._due.pop(timer, None) is not None and len(self._heap) > 2 * len(self._due) + IDLE:
            self._heap = [(when, timer) for timer, when in self._due.items()]
            heapify(self._heap)

    def __contains__(self, timer: Timer) -> bool:
        """Whether a timer is set."""
        return timer in self._due

    def __iter__(self) -> Iterator[Timer]:
        """All timers that are set."""
        return iter(self._due)

    def next(self) -> float | None:
        """When the next timer is due, or a little before."""
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> Iterator[Timer]:
        """Take out all timers that are due."""
        while self._heap and self._heap[0][0] <= now:
            _, timer = heappop(self._heap)
            when = self._due.get(timer)
            if when is None:
                continue
            if when > now:
                heappush(self._heap, (when, timer))
            else:
                del self._due[timer]
                yield timer
