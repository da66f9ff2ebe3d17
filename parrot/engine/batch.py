"""The generations in an engine, and how many there were over time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from parrot.engine.progress import Progress
from parrot.wire.to_engine import Job


@dataclass(slots=True, eq=False)
class Running:
    """A generation in the engine.

    Attributes:
        since: monotonic time of its start.
        entered: what `Batch.integral` was then.
        priority: with which the engine was asked for it, or will be.
        asked: the engine has been asked.
        first: seconds from its start to its first token; 0 until that has come.
        progress: what it has produced; None while its prompt is being filled, and when all of it is on its way.
        stopped: what to do once its task was cancelled; by default its job is handed back.
        hurried: its task was cancelled only to ask the engine again, with a better priority.
    """

    job: Job
    since: float
    entered: float
    priority: int
    asked: bool = False
    first: float = 0.0
    progress: Progress | None = None
    stopped: Callable[[], None] | None = None
    hurried: bool = False
    task: asyncio.Task[None] | None = None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.since

    def stop(self, then: Callable[[], None]) -> None:
        if self.task is not None:
            self.stopped = then
            self.task.cancel()

    def reorder(self, priority: int) -> None:
        """Another priority. What the engine has queued it can only be asked for again, which pays for a better one; what comes, comes."""
        if self.first or self.task is None or (self.asked and priority >= self.priority):
            return
        self.priority = priority
        if self.asked and not self.hurried:
            self.hurried = True
            self.task.cancel()

    def goes_on(self) -> bool:
        """Called when its task was cancelled: whether that was only to hurry it, and it is to be asked for again."""
        if self.task is None or not self.hurried:
            return False
        self.hurried = False
        return self.task.uncancel() == 0  # else it was stopped as well


class Batch:
    """What runs.

    Attributes:
        busy: whether anything does.
    """

    def __init__(self) -> None:
        self.busy = asyncio.Event()
        self._running: set[Running] = set()
        self._integral = 0.0
        self._busy_seconds = 0.0
        self._changed = time.monotonic()

    def __len__(self) -> int:
        return len(self._running)

    def __iter__(self) -> Iterator[Running]:
        return iter(tuple(self._running))  # a copy: other threads look as well

    def enter(self, job: Job) -> Running:
        """A generation begins."""
        self._count()
        running = Running(job, self._changed, self._integral, job.priority)
        self._running.add(running)
        self.busy.set()
        return running

    def leave(self, running: Running) -> None:
        """A generation has left the engine."""
        self._count()
        self._running.discard(running)
        if not self._running:
            self.busy.clear()

    def find(self, variable: str, attempt: int) -> Running | None:
        """The generation of an attempt, if it runs."""
        return next((one for one in self._running if (one.job.variable, one.job.attempt) == (variable, attempt)), None)

    def mean(self, running: Running) -> float:
        """How many generations there were on average since one began, itself too."""
        self._count()
        seconds = self._changed - running.since
        return (self._integral - running.entered) / seconds if seconds else float(len(self._running))

    @property
    def busy_seconds(self) -> float:
        """Time with at least one generation in the engine."""
        return self._busy_seconds + (time.monotonic() - self._changed if self._running else 0.0)

    def _count(self) -> None:
        """Bring the integral of the number of generations over time up to this moment."""
        now = time.monotonic()
        passed, self._changed = now - self._changed, now
        self._integral += len(self._running) * passed
        if self._running:
            self._busy_seconds += passed
