"""Jobs that have come and were not begun yet. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import count

from parrot.wire.to_engine import Job


class Waiting:
    """The lower priority number goes first, then the earlier."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Job]] = []
        self._arrivals = count()

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[Job]:
        """All of them, in no order."""
        return (job for _, _, job in self._heap)

    def push(self, job: Job) -> None:
        heapq.heappush(self._heap, (job.priority, next(self._arrivals), job))

    def pop(self, most: int) -> list[Job]:
        """The next jobs, at most so many."""
        return [heapq.heappop(self._heap)[2] for _ in range(min(most, len(self._heap)))]

    def reorder(self, variable: str, attempt: int, priority: int) -> None:
        """Another priority for an attempt, if it is here."""
        place = self._find(variable, attempt)
        if place is not None:
            _, arrival, job = self._heap[place]
            self._heap[place] = (priority, arrival, job.model_copy(update={"priority": priority}))
            heapq.heapify(self._heap)

    def remove(self, variable: str, attempt: int) -> Job | None:
        """Take an attempt out, if it is here."""
        place = self._find(variable, attempt)
        if place is None:
            return None
        _, _, job = self._heap.pop(place)
        heapq.heapify(self._heap)
        return job

    def _find(self, variable: str, attempt: int) -> int | None:
        return next((i for i, (_, _, job) in enumerate(self._heap) if (job.variable, job.attempt) == (variable, attempt)), None)
