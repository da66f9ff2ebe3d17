"""Jobs come in: they are read, wait for room in the engine, are re-ordered or cancelled meanwhile, and claimed when they begin."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import orjson
import structlog

from parrot.broker.connection import BLOCK_MS
from parrot.broker.engine_link import Answer, Begun, EngineLink
from parrot.broker.streams import Entry
from parrot.engine.batch import Batch, Running
from parrot.engine.contents import Contents
from parrot.engine.moments import now
from parrot.engine.observer import Observer
from parrot.engine.outbox import Outbox
from parrot.engine.protocol import Engine
from parrot.engine.residency import Residency
from parrot.engine.waiting import Waiting
from parrot.errors import Cancelled, MessageError
from parrot.wire import to_engine
from parrot.wire.to_core import GenerationFailed
from parrot.wire.to_engine import Cancel, Job, Order, Piece, Reorder, TellHoldings

log = structlog.get_logger("parrot.engine")


class Intake:
    """The job stream of one incarnation of an engine, up to where generations begin.

    Iterating gives the jobs that have come and were not begun yet.

    Args:
        link: where jobs come from.
        engine: says how many generations it runs at once.
        batch: those that it runs.
        contents: what stands behind the pieces of jobs.
        residency: says what the KV cache holds, when ServeCore asks.
        outbox: takes the answers.
        observer: is told about every job.
        begin: called with each job that may run or whose claim failed, the answer to its claim, and what was read for it.

    Attributes:
        read_up_to: id of the last entry of the job stream that was dealt with.
    """

    def __init__(
        self,
        link: EngineLink,
        engine: Engine,
        batch: Batch,
        contents: Contents,
        residency: Residency,
        outbox: Outbox,
        observer: Observer,
        begin: Callable[[Job, Answer, Begun], None],
    ) -> None:
        self.read_up_to = ""
        self._link = link
        self._engine = engine
        self._batch = batch
        self._contents = contents
        self._residency = residency
        self._outbox = outbox
        self._observer = observer
        self._begin = begin
        self._waiting = Waiting()
        self._starting: list[Job] = []
        self._unwanted: set[tuple[str, int]] = set()  # of those that are starting
        self._startable = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._starting)

    def __iter__(self) -> Iterator[Job]:
        yield from self._waiting
        yield from self._starting

    def empty(self) -> list[Job]:
        """Take out all that have not begun; nothing may be read or started any more."""
        unstarted = [*self._starting, *self._waiting.pop(len(self._waiting))]
        self._starting = []
        return unstarted

    def there_is_room(self) -> None:
        """A generation has left the engine."""
        if self._waiting:
            self._startable.set()

    async def read(self) -> None:
        """Take in orders as they come, until cancelled."""
        while True:
            for entry in await self._link.jobs(BLOCK_MS):
                order = decoded(entry)
                if isinstance(order, Job):
                    self._waiting.push(order)
                    self._observer.received(order)
                elif isinstance(order, Cancel):
                    self._cancel(order.variable, order.attempt)
                elif isinstance(order, Reorder):
                    self._reorder(order)
                elif isinstance(order, TellHoldings):
                    self._outbox.tell(self._residency.all())
                else:
                    await self._bury(entry, order)
                self.read_up_to = entry.id
            self._startable.set()

    async def start(self) -> None:
        """Begin what waits whenever there is room in the engine, until cancelled; what comes during a round trip goes into the next one."""
        while True:
            await self._startable.wait()
            self._starting = self._waiting.pop(self._engine.capacity.running - len(self._batch))
            if not self._starting:
                self._startable.clear()
                continue
            begun = await self._link.begin(self._starting, self._contents.missing(self._starting), now())
            jobs, self._starting = self._starting, []
            unwanted, self._unwanted = self._unwanted, set()
            for job, claim in zip(jobs, begun.claims, strict=True):
                if (job.variable, job.attempt) in unwanted:
                    self._observer.failed(job, Cancelled("Cancelled before it began."), 0.0)
                elif claim:
                    self._begin(job, claim, begun)
                else:
                    self._observer.returned(job)  # dropped: another attempt is the current one
            for piece, content in begun.contents.items():
                self._contents.put(piece, content)

    def _cancel(self, variable: str, attempt: int) -> None:
        """Nobody wants this attempt any more, wherever it is; of one that has ended, the value does not stand."""
        self._contents.drop(Piece("variable", variable))
        waiting = self._waiting.remove(variable, attempt)
        if waiting is not None:
            self._observer.failed(waiting, Cancelled("Cancelled before it began."), 0.0)
        if any((job.variable, job.attempt) == (variable, attempt) for job in self._starting):
            self._unwanted.add((variable, attempt))
        running = self._batch.find(variable, attempt)
        if running is not None:
            running.stop(partial(self._cancelled, running))

    def _cancelled(self, running: Running) -> None:
        self._observer.failed(running.job, Cancelled("Cancelled while it ran."), running.seconds)

    def _reorder(self, order: Reorder) -> None:
        """Another priority for an attempt, wherever it is."""
        self._waiting.reorder(order.variable, order.attempt, order.priority)
        for place, job in enumerate(self._starting):
            if (job.variable, job.attempt) == (order.variable, order.attempt):
                self._starting[place] = job.model_copy(update={"priority": order.priority})
        running = self._batch.find(order.variable, order.attempt)
        if running is not None:
            running.reorder(order.priority)

    async def _bury(self, entry: Entry, error: MessageError) -> None:
        """An entry that is no job goes to the dead letters; ServeCore is told, if the entry says what it was about."""
        log.warning("dead letter", stream=entry.stream, id=entry.id, reason=str(error))
        await self._link.bury(entry, error)
        with suppress(KeyError, TypeError, ValueError):  # it does not say so: nobody can be told
            about = orjson.loads(entry.fields[b"body"])
            variable, attempt, engine = about["variable"], about["attempt"], self._link.engine
            self._outbox.tell(GenerationFailed(engine=engine, variable=variable, attempt=attempt, code=error.code, reason=str(error)))


def decoded(entry: Entry) -> Order | MessageError:
    """What an entry of a job stream says; the error instead if that cannot be understood, so that the entry can be buried."""
    try:
        return to_engine.jobs.decode(entry.fields)
    except MessageError as error:
        return error
