"""Celery's task events of generations, so that Flower and every other monitor of Celery shows each as a task `parrot.generate`."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import structlog
from celery.events import EventDispatcher
from celery.utils.time import utcoffset

from parrot.errors import Cancelled, ParrotError
from parrot.wire.to_engine import Job

log = structlog.get_logger("workers.engine")

NAME = "parrot.generate"
FLUSH_SECONDS = 0.1  # events wait so long for others to go with
BACKLOG = 20_000  # events that may wait; when there are more, the next jobs are not shown
PREVIEW = 200  # characters of a value that are shown
_UUID = re.compile(r"(?P<variable>[A-Za-z0-9_.\-]{1,128}):[0-9]+")  # Celery's own ids have no colon

Fields = dict[str, Any]


class TaskEvents:
    """Observes a runner (`parrot.engine.observer.Observer`) and sends what it sees in batches, from a thread of its own.

    If events are switched off, they are dropped; if Celery's broker is away, they wait. The work goes on either way.

    Args:
        dispatcher: gives the worker's event dispatcher, or None; asked at each flush, since a reconnected worker has a new one.
    """

    def __init__(self, dispatcher: Callable[[], EventDispatcher | None]) -> None:
        self._dispatcher = dispatcher
        self._pending: deque[Fields] = deque()
        self._shown: set[str] = set()
        self._news = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="task events", daemon=True)

    # What the runner tells, in its loop ------------------------------------------------------------

    def received(self, job: Job) -> None:
        if len(self._pending) > BACKLOG:
            return  # nobody could watch that many; what is shown is shown to its end
        uuid = _uuid(job)
        self._shown.add(uuid)
        shown = {"session": job.session, "function": job.function, "output": job.output, "variable": job.variable}
        self._add("task-received", uuid, name=NAME, args="()", kwargs=repr(shown), retries=job.attempt - 1, eta=None, expires=None)

    def started(self, job: Job) -> None:
        if (uuid := _uuid(job)) in self._shown:
            self._add("task-started", uuid)

    def succeeded(self, job: Job, value: str, seconds: float) -> None:
        self._end("task-succeeded", job, result=repr(value if len(value) <= PREVIEW else value[:PREVIEW] + "…"), runtime=seconds)

    def failed(self, job: Job, error: ParrotError, seconds: float) -> None:
        if isinstance(error, Cancelled):
            self._end("task-revoked", job, terminated=True, signum=None, expired=False)
            return
        self._end("task-failed", job, exception=f"{type(error).__name__}: {error}", traceback=None, runtime=seconds)

    def returned(self, job: Job) -> None:
        self._end("task-retried", job, exception="Handed back: another engine goes on with it.", traceback=None)

    def _end(self, kind: str, job: Job, **fields: Any) -> None:
        if (uuid := _uuid(job)) in self._shown:
            self._shown.discard(uuid)
            self._add(kind, uuid, **fields)

    def _add(self, kind: str, uuid: str, **fields: Any) -> None:
        self._pending.append({"type": kind, "uuid": uuid, "timestamp": time.time(), **fields})
        if not self._news.is_set():
            self._news.set()

    # What is sent, from the thread ---------------------------------------------------------------------

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def close(self) -> None:
        """Send what is left, and end."""
        self._closing.set()
        self._news.set()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._news.wait()
            self._closing.wait(FLUSH_SECONDS)
            self._news.clear()
            if not self._flush():
                self._closing.wait(1.0)
                self._news.set()
        self._flush()

    def _flush(self) -> bool:
        """Send what is pending; False if it has to wait."""
        dispatcher = self._dispatcher()
        if dispatcher is None:
            return False
        batch = [self._pending.popleft() for _ in range(len(self._pending))]
        if not batch or not dispatcher.enabled or (dispatcher.groups and "task" not in dispatcher.groups):
            return True
        try:
            _send(dispatcher, batch)
        except (OSError, *dispatcher.connection.connection_errors) as error:
            # The events wait: the worker reconnects, and has a new dispatcher then.
            log.debug("task events wait", error=str(error), events=len(batch))
            self._pending.extendleft(reversed(batch))
            return False
        except Exception:  # these events are lost to monitors, and to nobody else
            log.exception("task events could not be sent", events=len(batch))
        return True


def _send(dispatcher: EventDispatcher, batch: list[Fields]) -> None:
    """Publish events as one message. (The dispatcher's own buffer tells the worker's main loop, which other threads must not touch.)"""
    origin = {"hostname": dispatcher.hostname, "pid": dispatcher.pid, "utcoffset": utcoffset()}
    with dispatcher.mutex:
        if dispatcher.producer is None:
            raise ConnectionError("The event dispatcher is closed.")
        dispatcher.producer.publish(
            [{**origin, "clock": dispatcher.clock.forward(), **event} for event in batch],
            routing_key="task.multi",
            exchange=dispatcher.exchange.name,
            declare=[dispatcher.exchange],
            serializer=dispatcher.serializer,
            headers=dispatcher.headers,
            delivery_mode=dispatcher.delivery_mode,
        )


def _uuid(job: Job) -> str:
    return f"{job.variable}:{job.attempt}"


def variable_of(uuid: str) -> str | None:
    """The variable that a task makes, by the id under which Celery's monitors show the task; None if it is no generation."""
    found = _UUID.fullmatch(uuid)
    return found["variable"] if found else None
