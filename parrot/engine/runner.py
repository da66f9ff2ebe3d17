"""Drives the engine: lets jobs in, runs generations, publishes what they make."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import structlog

from parrot.broker.engine_link import Answer, Begun, EngineLink
from parrot.broker.heartbeat import Heartbeat
from parrot.broker.tokens import Part
from parrot.broker.variables import Publication
from parrot.engine.batch import Batch, Running
from parrot.engine.contents import Contents
from parrot.engine.generation import Generator
from parrot.engine.intake import Intake, decoded
from parrot.engine.observer import Observer
from parrot.engine.outbox import Outbox
from parrot.engine.prompt import ResolvedPiece
from parrot.engine.protocol import Engine
from parrot.engine.residency import Residency
from parrot.errors import BrokerUnavailable, EngineError, ParrotError
from parrot.wire.to_core import (
    MAX_REPORTED,
    EngineBeat,
    EngineDown,
    EngineUp,
    GenerationFailed,
    GenerationReturned,
    GenerationRevoked,
)
from parrot.wire.to_engine import Job, Piece

log = structlog.get_logger("parrot.engine")

HOLDINGS_SECONDS = 0.25  # between reports of what the KV cache holds
FAREWELL_SECONDS = 5.0  # for the last words of an engine that leaves, if the broker is slow to answer


class LeaseError(ParrotError):
    """ServeCore does not count on this incarnation any more: its jobs run elsewhere, and it must come back under a new id."""

    code = "lease"


@dataclass(slots=True)
class Totals:
    """What an engine did since it came up.

    Attributes:
        generations: that ended in a value.
        tokens_in, tokens_cached, tokens_out: as in `Usage`, of all of them.
    """

    generations: int = 0
    tokens_in: int = 0
    tokens_cached: int = 0
    tokens_out: int = 0


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
        checkpoint_seconds: how often to write down what generations have produced.
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
        checkpoint_seconds: float,
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
        self._checkpoint_seconds = checkpoint_seconds
        self._drain_seconds = drain_seconds
        self._contents = Contents()
        self._outbox = Outbox(link, self._published, self._part_refused)
        self._batch = Batch()
        self._residency = Residency(self.id, engine.cache_news, engine.holds)
        self._intake = Intake(
            link,
            engine,
            self._batch,
            self._contents,
            self._residency,
            self._outbox,
            observer,
            begin=self._launch,
        )
        self._generator = Generator(engine, self.id, self._batch, self._residency, self._outbox.append)
        self._stopping = asyncio.Event()
        self._tasks = asyncio.TaskGroup()

    def running(self) -> list[tuple[Job, float]]:
        """The generations in the engine, and for how many seconds each has run."""
        return [(one.job, one.seconds) for one in self._batch]

    def beat(self) -> EngineBeat:
        """The load at this moment.

        Raises:
            EngineError: the engine is dead.
        """
        return EngineBeat(
            engine=self.id,
            running=len(self._batch),
            waiting=len(self._intake),
            kv_used=self._engine.load().kv_used,
            busy_seconds=self._batch.busy_seconds,
            draining=self._stopping.is_set(),
        )

    def _whole_beat(self) -> EngineBeat:
        """The load, and which jobs have not come to an end. Both must be of one instant: to be called in the runner's loop."""
        jobs = (*self._intake, *(one.job for one in self._batch))
        holds = list({*(job.variable for job in jobs), *self._outbox.ends()})
        said = {"read": self._intake.read_up_to, "holds": holds if len(holds) <= MAX_REPORTED else None}
        return self.beat().model_copy(update=said)

    # Life ----------------------------------------------------------------------------------------

    def stop(self, drain_seconds: float | None = None) -> None:
        """Ask `run` to take no new job, to finish or hand back what there is, and to return. Call it in the runner's loop.

        Args:
            drain_seconds: if generations may take another time to finish than was said at first.
        """
        if drain_seconds is not None:
            self._drain_seconds = drain_seconds
        self._stopping.set()

    async def revoke(self, variables: Iterable[str]) -> None:
        """Have ServeCore cancel variables, whichever engine works on them; returns once it was told. Call it in the runner's loop."""
        await self._link.tell([GenerationRevoked(engine=self.id, variable=variable) for variable in variables])

    async def run(self) -> None:
        """Work until stopped.

        Raises:
            EngineError: the engine died; what it held goes to other engines.
            LeaseError: ServeCore gave this incarnation up.
        """
        await self._link.register(self._introduction())
        log.info("engine up", engine=self.id, model=self._engine.model)
        try:
            async with self._link.heartbeat(self._beat_seconds) as heart:
                await self._work(heart)
        except ExceptionGroup as group:
            error = next((one for one in group.exceptions if isinstance(one, EngineError)), group.exceptions[0])
            if not isinstance(error, LeaseError):
                await self._farewell(str(error), died=True)
            raise error from None  # whoever runs us learns the cause; the others follow from it
        await self._farewell("drained", died=False)

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

    async def _work(self, heart: Heartbeat) -> None:
        async with self._tasks as tasks:
            intake = [tasks.create_task(self._intake.read()), tasks.create_task(self._intake.start())]
            background = (self._outbox.run(), self._report(heart), self._checkpoint(), self._report_holdings())
            others = [tasks.create_task(work) for work in background]
            await self._stopping.wait()
            heart.tell(self._whole_beat())  # so that nothing more is sent here
            for task in intake:
                task.cancel()
            await asyncio.wait(intake)
            await self._drain()
            for task in others:
                task.cancel()

    async def _drain(self) -> None:
        unstarted = self._intake.empty()
        log.info("draining", engine=self.id, running=len(self._batch), handed_back=len(unstarted))
        for job in unstarted:
            self._hand_back(job)
        generations = [one.task for one in self._batch if one.task is not None]
        if generations:
            _, late = await asyncio.wait(generations, timeout=self._drain_seconds)
            for task in late:
                task.cancel()  # each hands its job back
            if late:
                await asyncio.wait(late)
        with suppress(TimeoutError):  # the broker is away: what could not be said is done again elsewhere when our lease ends
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self._outbox.emptied()

    async def _farewell(self, reason: str, died: bool) -> None:
        """Hand back what was never read, say that the engine leaves, and close its job stream."""
        with suppress(TimeoutError):  # the broker is away: our lease ends, which says the same
            async with asyncio.timeout(FAREWELL_SECONDS):
                unread = [decoded(entry) for entry in await self._link.jobs(block_ms=1)]
                back = [self._returned(job) for job in unread if isinstance(job, Job)]
                await self._link.tell([*back, EngineDown(engine=self.id, reason=reason, died=died)])
                await self._link.leave()
        log.info("engine down", engine=self.id, reason=reason)

    async def _report(self, heart: Heartbeat) -> None:
        while not heart.lost.is_set():
            heart.tell(self._whole_beat())
            with suppress(TimeoutError):  # nothing is wrong: time for the next one
                async with asyncio.timeout(self._beat_seconds):
                    await heart.lost.wait()
        raise LeaseError(f"ServeCore gave up the engine {self.id}: it had been silent for too long. It needs a new id.")

    async def _report_holdings(self) -> None:
        while True:
            await asyncio.sleep(HOLDINGS_SECONDS)
            if not self._outbox.telling:  # else the broker is slow: more goes into the next report
                report = self._residency.changes()
                if report is not None:
                    self._outbox.tell(report)

    # Generations run ------------------------------------------------------------------------------

    def _launch(self, job: Job, claim: Answer, begun: Begun) -> None:
        self._observer.started(job)
        try:
            if isinstance(claim, BrokerUnavailable):
                raise claim
            pieces = self._contents.resolve(job, begun.contents)
        except ParrotError as error:
            self._fail(job, error)
            return
        running = self._batch.enter(job)
        running.task = self._tasks.create_task(self._generate(running, pieces, begun.parts.get(job.variable, ())))
        running.task.add_done_callback(partial(self._ended, running))

    # Values go out -------------------------------------------------------------------------------

    async def _generate(self, running: Running, pieces: Sequence[ResolvedPiece], earlier: Sequence[Part]) -> None:
        try:
            self._outbox.publish(await self._generator.produce(running, pieces, earlier))
        except ParrotError as error:
            if isinstance(error, EngineError):
                self._engine.load()  # raises if the engine is dead: then it is its death that counts, and it ends the runner
            self._fail(running.job, error, running.seconds)
        except Exception as error:  # one generation must not take the others with it: it alone fails
            log.exception("generation failed", variable=running.job.variable)
            told = ParrotError(f"{type(error).__name__} in the engine worker: {error}. Its log says where.")
            self._fail(running.job, told, running.seconds)

    async def _checkpoint(self) -> None:
        """Write down what has been produced, as long as anything runs. What is short is published at once and needs no checkpoint."""
        while True:
            await self._batch.busy.wait()
            await asyncio.sleep(self._checkpoint_seconds)
            if self._outbox.streaming:
                continue  # the broker is slow: more goes into the next parts
            for running in self._batch:
                if running.seconds >= self._checkpoint_seconds:
                    self._give_part(running)

    def _give_part(self, running: Running) -> None:
        if running.progress is not None and (part := running.progress.part()) is not None:
            self._outbox.append(running.job, part)

    def _part_refused(self, job: Job, error: BrokerUnavailable | None) -> None:
        """A part was not taken: the attempt is over, or Redis refuses it for good."""
        running = self._batch.find(job.variable, job.attempt)
        if running is None:
            return  # it has ended: its publication is on its way and will be answered likewise
        if error is None:
            log.info("attempt is over", variable=job.variable, attempt=job.attempt)
            running.stop(partial(self._observer.returned, job))
        else:
            running.stop(partial(self._fail, job, error, running.seconds))

    def _published(self, publication: Publication, answer: Answer) -> None:
        usage, totals = publication.event.usage, self.totals
        if isinstance(answer, BrokerUnavailable):
            self._fail(publication.job, answer, usage.seconds)
            return
        totals.generations += 1
        totals.tokens_in += usage.tokens_in
        totals.tokens_cached += usage.tokens_cached
        totals.tokens_out += usage.tokens_out
        if answer:  # else the value may be another attempt's
            self._contents.put(Piece("variable", publication.job.variable), publication.value)
        self._observer.succeeded(publication.job, publication.value.text, usage.seconds)

    def _fail(self, job: Job, error: ParrotError, seconds: float = 0.0) -> None:
        log.warning("generation failed", variable=job.variable, function=job.function, code=error.code, error=str(error))
        self._outbox.tell(GenerationFailed(engine=self.id, variable=job.variable, attempt=job.attempt, code=error.code, reason=str(error)))
        self._observer.failed(job, error, seconds)

    def _hand_back(self, job: Job) -> None:
        self._outbox.tell(self._returned(job))
        self._observer.returned(job)

    def _returned(self, job: Job) -> GenerationReturned:
        return GenerationReturned(engine=self.id, variable=job.variable, attempt=job.attempt)

    def _ended(self, running: Running, task: asyncio.Task[None]) -> None:
        """A generation has left the engine. Called even if it was stopped before its first step."""
        self._batch.leave(running)
        self._intake.there_is_room()
        if not task.cancelled():
            return
        if running.stopped is not None:
            running.stopped()
        else:
            self._give_part(running)  # the next engine goes on from here
            self._hand_back(running.job)
