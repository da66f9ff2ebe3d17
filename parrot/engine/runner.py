"""Reads jobs, drives the engine, publishes what it makes."""

from __future__ import annotations

import asyncio
import heapq
import json
import os
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import Protocol

import structlog

from parrot.broker.connection import BLOCK_MS
from parrot.broker.engine_link import Content, EngineLink
from parrot.broker.streams import Entry
from parrot.broker.variables import Publication, Value
from parrot.engine.contents import Contents
from parrot.engine.contexts import context_name
from parrot.engine.outbox import Outbox
from parrot.engine.prompt import PromptBuilder, ResolvedPiece
from parrot.engine.protocol import Engine
from parrot.errors import Cancelled, EngineError, MessageError, ParrotError
from parrot.wire import to_engine
from parrot.wire.to_core import EngineBeat, EngineDown, EngineUp, GenerationDone, GenerationFailed, GenerationReturned, Usage
from parrot.wire.to_engine import Cancel, Job, Order, Piece

log = structlog.get_logger("parrot.engine")

FAREWELL_SECONDS = 5.0  # for the last words of an engine that leaves, if the broker is slow to answer


class LeaseError(ParrotError):
    """ServeCore does not count on this incarnation any more: its jobs run elsewhere, and it must come back under a new id."""

    code = "lease"


class Observer(Protocol):
    """Is told what becomes of jobs, in the runner's loop: it must be quick and must not raise.

    `seconds` are from the start on the engine. `returned` says that a job was handed back, or was another engine's already.
    """

    def received(self, job: Job) -> None: ...
    def started(self, job: Job) -> None: ...
    def succeeded(self, job: Job, value: str, seconds: float) -> None: ...
    def failed(self, job: Job, error: ParrotError, seconds: float) -> None: ...
    def returned(self, job: Job) -> None: ...


@dataclass(slots=True)
class Totals:
    """What an engine did since it came up.

    Attributes:
        generations: that ended in a value.
        tokens_in, tokens_cached, tokens_out: as in `Usage`, of all of them.
        busy_seconds: time with at least one generation in the engine.
    """

    generations: int = 0
    tokens_in: int = 0
    tokens_cached: int = 0
    tokens_out: int = 0
    busy_seconds: float = 0.0


@dataclass(slots=True, eq=False)
class _Running:
    """A generation in the engine.

    Attributes:
        since: monotonic time of its start.
        unwanted: nobody waits for it any more.
    """

    job: Job
    since: float
    unwanted: bool = False
    task: asyncio.Task[None] | None = None


def new_engine_id(name: str) -> str:
    """An id that no engine had before: the name, with what ids do not allow replaced, and 6 random characters."""
    plain = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "_.-") else "-" for letter in name)
    return f"{plain}-{secrets.token_hex(3)}"


class Runner:
    """One incarnation of an engine on the bus: from `EngineUp` to `EngineDown`.

    Args:
        engine: started.
        link: its end of the bus, with a new id.
        observer: is told about every job.
        name: the engine's name for people.
        beat_seconds: how often to report.
        drain_seconds: how long, once stopped, generations may take to finish before they are handed back.
        previous: the id of the incarnation before this one, if it was given up though the engine lived.
    """

    def __init__(
        self,
        engine: Engine,
        link: EngineLink,
        observer: Observer,
        *,
        name: str,
        beat_seconds: float,
        drain_seconds: float,
        previous: str | None = None,
    ) -> None:
        self.id = link.engine
        self._previous = previous
        self.totals = Totals()
        self._engine = engine
        self._link = link
        self._observer = observer
        self._name = name
        self._beat_seconds = beat_seconds
        self._drain_seconds = drain_seconds
        self._prompts = PromptBuilder(engine.tokenizer)
        self._contents = Contents()
        self._outbox = Outbox(link, self._published)
        self._arrivals = count()
        self._waiting: list[tuple[int, int, Job]] = []  # a heap: the lower priority first, then the earlier
        self._starting: list[Job] = []
        self._unwanted: set[tuple[str, int]] = set()  # of those that are starting
        self._running: set[_Running] = set()
        self._startable = asyncio.Event()
        self._stopping = asyncio.Event()
        self._tasks = asyncio.TaskGroup()
        self._busy_since = 0.0

    def running(self) -> list[tuple[Job, float]]:
        """The generations in the engine, and for how many seconds each has run."""
        now = time.monotonic()
        return [(one.job, now - one.since) for one in tuple(self._running)]  # a copy: other threads ask as well

    def beat(self) -> EngineBeat:
        """The load at this moment.

        Raises:
            EngineError: the engine is dead.
        """
        busy = time.monotonic() - self._busy_since if self._running else 0.0
        return EngineBeat(
            engine=self.id,
            running=len(self._running),
            waiting=len(self._waiting) + len(self._starting),
            kv_used=self._engine.load().kv_used,
            busy_seconds=self.totals.busy_seconds + busy,
        )

    # Life ----------------------------------------------------------------------------------------

    def stop(self, drain_seconds: float | None = None) -> None:
        """Ask `run` to take no new job, to finish or hand back what there is, and to return. Call it in the runner's loop.

        Args:
            drain_seconds: if generations may take another time to finish than was said at first.
        """
        if drain_seconds is not None:
            self._drain_seconds = drain_seconds
        self._stopping.set()

    async def run(self) -> None:
        """Work until stopped.

        Raises:
            EngineError: the engine died; what it held goes to other engines.
            LeaseError: ServeCore gave this incarnation up.
        """
        await self._link.register(self._introduction())
        log.info("engine up", engine=self.id, model=self._engine.model)
        try:
            await self._work()
        except ExceptionGroup as group:
            error = next((one for one in group.exceptions if isinstance(one, EngineError)), group.exceptions[0])
            if not isinstance(error, LeaseError):
                await self._farewell(str(error))
            raise error from None  # whoever runs us learns the cause; the others follow from it
        await self._farewell("drained")

    def _introduction(self) -> EngineUp:
        return EngineUp(
            engine=self.id,
            name=self._name,
            kind=self._engine.kind,
            model=self._engine.model,
            tokenizer=self._engine.tokenizer.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            capacity=self._engine.capacity,
            previous=self._previous,
        )

    async def _work(self) -> None:
        async with self._tasks as tasks:
            intake = [tasks.create_task(self._read()), tasks.create_task(self._start())]
            others = [tasks.create_task(self._outbox.run()), tasks.create_task(self._report())]
            await self._stopping.wait()
            for task in intake:
                task.cancel()
            await asyncio.wait(intake)
            await self._drain()
            for task in others:
                task.cancel()

    async def _drain(self) -> None:
        unstarted = [*self._starting, *(job for _, _, job in self._waiting)]
        log.info("draining", engine=self.id, running=len(self._running), handed_back=len(unstarted))
        for job in unstarted:
            self._hand_back(job)
        self._starting, self._waiting = [], []
        generations = [one.task for one in self._running if one.task is not None]
        if generations:
            _, late = await asyncio.wait(generations, timeout=self._drain_seconds)
            for task in late:
                task.cancel()  # each hands its job back
            if late:
                await asyncio.wait(late)
        with suppress(TimeoutError):  # the broker is away: what could not be said is done again elsewhere when our lease ends
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self._outbox.emptied()

    async def _farewell(self, reason: str) -> None:
        """Hand back what was never read, say that the engine leaves, and close its job stream."""
        with suppress(TimeoutError):  # the broker is away: our lease ends, which says the same
            async with asyncio.timeout(FAREWELL_SECONDS):
                unread = [_decoded(entry) for entry in await self._link.jobs(block_ms=1)]
                back = [self._returned(job) for job in unread if isinstance(job, Job)]
                await self._link.tell([*back, EngineDown(engine=self.id, reason=reason)])
                await self._link.leave()
        log.info("engine down", engine=self.id, reason=reason)

    async def _report(self) -> None:
        while True:
            if not await self._link.beat(self.beat()):
                raise LeaseError(f"ServeCore gave up the engine {self.id}: it had been silent for too long. It needs a new id.")
            await asyncio.sleep(self._beat_seconds)

    # Jobs come in --------------------------------------------------------------------------------

    async def _read(self) -> None:
        while True:
            for entry in await self._link.jobs(BLOCK_MS):
                order = _decoded(entry)
                if isinstance(order, Job):
                    heapq.heappush(self._waiting, (order.priority, next(self._arrivals), order))
                    self._observer.received(order)
                elif isinstance(order, Cancel):
                    self._cancel(order.variable, order.attempt)
                else:
                    await self._bury(entry, order)
            self._startable.set()

    def _cancel(self, variable: str, attempt: int) -> None:
        """Nobody wants this attempt any more, wherever it is; one that has ended is left alone."""
        waiting = [job for _, _, job in self._waiting if (job.variable, job.attempt) == (variable, attempt)]
        if waiting:
            self._waiting = [entry for entry in self._waiting if entry[2] not in waiting]
            heapq.heapify(self._waiting)
            self._observer.failed(waiting[0], Cancelled("Cancelled before it began."), 0.0)
        if any((job.variable, job.attempt) == (variable, attempt) for job in self._starting):
            self._unwanted.add((variable, attempt))
        for running in self._running:
            if (running.job.variable, running.job.attempt) == (variable, attempt) and running.task is not None:
                running.unwanted = True
                running.task.cancel()

    async def _bury(self, entry: Entry, error: MessageError) -> None:
        """An entry that is no job goes to the dead letters; ServeCore is told, if the entry says what it was about."""
        log.warning("dead letter", stream=entry.stream, id=entry.id, reason=str(error))
        await self._link.bury(entry, error)
        with suppress(KeyError, TypeError, ValueError):  # it does not say so: nobody can be told
            about = json.loads(entry.fields[b"body"])
            variable, attempt = about["variable"], about["attempt"]
            self._outbox.tell(GenerationFailed(engine=self.id, variable=variable, attempt=attempt, code=error.code, reason=str(error)))

    async def _start(self) -> None:
        """Start what waits whenever there is room in the engine; what comes during a round trip goes into the next one."""
        while True:
            await self._startable.wait()
            room = self._engine.capacity.running - len(self._running)
            self._starting = [heapq.heappop(self._waiting)[2] for _ in range(min(room, len(self._waiting)))]
            if not self._starting:
                self._startable.clear()
                continue
            claims, fetched = await self._link.begin(self._starting, self._contents.missing(self._starting), _now())
            jobs, self._starting = self._starting, []
            unwanted, self._unwanted = self._unwanted, set()
            for job, claimed in zip(jobs, claims, strict=True):
                if (job.variable, job.attempt) in unwanted:
                    self._observer.failed(job, Cancelled("Cancelled before it began."), 0.0)
                elif claimed:
                    self._launch(job, fetched)
                else:
                    self._observer.returned(job)  # dropped: another attempt is the current one
            for piece, content in fetched.items():
                self._contents.put(piece, content)

    def _launch(self, job: Job, fetched: Mapping[Piece, Content]) -> None:
        self._observer.started(job)
        running = _Running(job, time.monotonic())
        try:
            pieces = self._contents.resolve(job, fetched)
        except ParrotError as error:
            self._fail(running, error)
            return
        if not self._running:
            self._busy_since = running.since
        self._running.add(running)
        running.task = self._tasks.create_task(self._run_one(running, pieces))
        running.task.add_done_callback(partial(self._ended, running))

    # Values go out -------------------------------------------------------------------------------

    async def _run_one(self, running: _Running, pieces: Sequence[ResolvedPiece]) -> None:
        contexts: list[str] = []
        try:
            tokens_in = await self._fill(running.job, pieces, contexts)
            self._outbox.publish(await self._generate(running, contexts[-1], tokens_in))
        except ParrotError as error:
            self._fail(running, error)
            if isinstance(error, EngineError):
                self._engine.load()  # raises if the engine is dead, and so ends the runner
        except Exception as error:  # one generation must not take the others with it: it alone fails
            log.exception("generation failed", variable=running.job.variable)
            self._fail(running, ParrotError(f"{type(error).__name__} in the engine worker: {error}. Its log says where."))
        finally:
            for context in reversed(contexts):
                await self._engine.release(context)

    async def _fill(self, job: Job, pieces: Sequence[ResolvedPiece], contexts: list[str]) -> int:
        """Fill the chain of contexts of a prompt, segment by segment; `contexts` receives their names. Gives the tokens in all."""
        parent, total = None, 0
        for tokens in self._prompts.build(pieces, job.chat):
            name = context_name(parent, tokens)
            await self._engine.fill(name, parent, tokens)
            contexts.append(name)
            parent, total = name, total + len(tokens)
        return total

    async def _generate(self, running: _Running, context: str, tokens_in: int) -> Publication:
        job, first, last = running.job, 0.0, None
        tokens: list[int] = []
        texts: list[str] = []
        async for last in self._engine.generate(context, job.sampling, job.priority):
            first = first or time.monotonic() - running.since
            tokens += last.tokens
            texts.append(last.text)
        if last is None:
            raise EngineError(f"The engine ended the output {job.output} of {job.function} before it began.")
        usage = Usage(
            tokens_in=tokens_in,
            tokens_cached=last.cached_tokens,
            tokens_out=len(tokens),
            first_token_seconds=first,
            seconds=time.monotonic() - running.since,
        )
        value = Value("".join(texts), tuple(tokens) if last.exact else None, self._engine.tokenizer.name, job.call)
        event = GenerationDone(engine=self.id, variable=job.variable, attempt=job.attempt, usage=usage)
        return Publication(job, value, last.finish_reason or "", event, _now())

    def _published(self, publication: Publication, is_set: bool) -> None:
        usage, totals = publication.event.usage, self.totals
        totals.generations += 1
        totals.tokens_in += usage.tokens_in
        totals.tokens_cached += usage.tokens_cached
        totals.tokens_out += usage.tokens_out
        if is_set:  # else the value may be another attempt's
            self._contents.put(Piece("variable", publication.job.variable), publication.value)
        self._observer.succeeded(publication.job, publication.value.text, usage.seconds)

    def _fail(self, running: _Running, error: ParrotError) -> None:
        job = running.job
        log.warning("generation failed", variable=job.variable, function=job.function, code=error.code, error=str(error))
        self._outbox.tell(GenerationFailed(engine=self.id, variable=job.variable, attempt=job.attempt, code=error.code, reason=str(error)))
        self._observer.failed(job, error, time.monotonic() - running.since)

    def _hand_back(self, job: Job) -> None:
        self._outbox.tell(self._returned(job))
        self._observer.returned(job)

    def _returned(self, job: Job) -> GenerationReturned:
        return GenerationReturned(engine=self.id, variable=job.variable, attempt=job.attempt)

    def _ended(self, running: _Running, task: asyncio.Task[None]) -> None:
        """A generation has left the engine. Called even if it was stopped before its first step."""
        self._running.discard(running)
        if not self._running:
            self.totals.busy_seconds += time.monotonic() - self._busy_since
        if self._waiting:
            self._startable.set()
        if not task.cancelled():
            return
        if running.unwanted:
            self._observer.failed(running.job, Cancelled("Cancelled while it ran."), time.monotonic() - running.since)
        else:
            self._hand_back(running.job)


def _decoded(entry: Entry) -> Order | MessageError:
    try:
        return to_engine.jobs.decode(entry.fields)
    except MessageError as error:
        return error  # the caller puts the entry among the dead letters


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
