"""An engine worker that kills itself at a named point of its work."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from typing import Literal

from parrot.broker.engine_link import Answer, Begun, EngineLink
from parrot.broker.tokens import Part
from parrot.broker.variables import Publication
from parrot.config import load
from parrot.log import setup
from parrot.wire.to_engine import Job, Piece
from tests.fault.processes import run_engine
from tests.flow.silent import Silent
from workers import hosting

Point = Literal["before claim", "after claim", "before append", "after append", "before publish", "after publish"]


class FaultyLink(EngineLink):
    """Its process dies at `point`, the third time that it comes there: in the middle of a program."""

    point: Point = "before claim"
    visits = 0

    async def begin(self, jobs: Sequence[Job], pieces: Sequence[Piece], now: str) -> Begun:
        self._die("before claim")
        begun = await super().begin(jobs, pieces, now)
        self._die("after claim")
        return begun

    async def append(self, parts: Sequence[tuple[Job, Part]]) -> list[Answer]:
        self._die("before append")
        answers = await super().append(parts)
        self._die("after append")
        return answers

    async def publish(self, publications: Sequence[Publication]) -> list[Answer]:
        self._die("before publish")
        answers = await super().publish(publications)
        self._die("after publish")
        return answers

    def _die(self, here: Point) -> None:
        if here == self.point:
            FaultyLink.visits += 1
            if FaultyLink.visits == 3:
                os.kill(os.getpid(), signal.SIGKILL)


def run_faulty_worker(point: Point) -> None:
    """The main of an engine process that dies at `point`."""
    FaultyLink.point = point
    hosting.EngineLink = FaultyLink  # type: ignore[misc]
    run_engine()


def run_draining_worker() -> None:
    """The main of an engine process that drains on SIGTERM, as a Celery worker does."""
    settings = load()
    setup(settings.log_level)
    hosted = hosting.EngineThread(settings, "sim", Silent(), lambda: os._exit(1))
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    hosted.start()
    asked.wait()
    hosted.stop(settings.drain_seconds)
