"""The runner's two neighbours, played: a bus without a server and an engine that does what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence

from parrot.broker.engine_link import Answer, Begun, Content, EngineLink
from parrot.broker.heartbeat import Heartbeat
from parrot.broker.streams import Entry
from parrot.broker.tokens import Part
from parrot.broker.variables import Publication
from parrot.config import load
from parrot.engine.protocol import Chunk, Load
from parrot.engine.simulated import SimulatedEngine
from parrot.errors import BrokerUnavailable, EngineError, MessageError, ParrotError
from parrot.sampling import SamplingConfig
from parrot.wire.codec import Message, encode
from parrot.wire.to_core import EngineBeat, EngineUp, Event
from parrot.wire.to_engine import Job, Piece


class FakeLink(EngineLink):
    """Keeps what the runner says, in order; hands out what a test puts in."""

    def __init__(self) -> None:
        self.engine = "fake-1"
        self.said: list[Event] = []
        self.published: list[Publication] = []
        self.flushes: list[int] = []
        self.streams: dict[str, list[Part]] = {}
        self.refusals: dict[str, BrokerUnavailable] = {}  # by variable, what Redis says to a claim, part or publication
        self.begun: list[tuple[list[str], list[str]]] = []
        self.buried: list[tuple[str, MessageError]] = []
        self.contents: dict[Piece, Content] = {}
        self.lost: set[str] = set()  # variables that another attempt owns
        self.left = False
        self.heart = FakeHeart(self)
        self.answering = asyncio.Event()
        self.answering.set()
        self._entries: asyncio.Queue[Entry] = asyncio.Queue()
        self._ids = 0

    def send(self, *messages: Message) -> None:
        for message in messages:
            self.send_raw({str(k).encode(): v if isinstance(v, bytes) else str(v).encode() for k, v in encode(message).items()})

    def send_raw(self, fields: dict[bytes, bytes]) -> None:
        self._ids += 1
        self._entries.put_nowait(Entry("jobs", f"1-{self._ids}", fields))

    async def register(self, up: EngineUp) -> None:
        self.said.append(up)

    async def jobs(self, block_ms: int) -> list[Entry]:
        entries = []
        if self._entries.empty() and block_ms > 1:
            entries.append(await self._entries.get())
        while not self._entries.empty():
            entries.append(self._entries.get_nowait())
        return entries

    async def begin(self, jobs: Sequence[Job], pieces: Sequence[Piece], now: str) -> Begun:
        self.begun.append(([job.variable for job in jobs], [piece.value for piece in pieces]))
        await self.answering.wait()
        contents = {piece: self.contents[piece] for piece in pieces if piece in self.contents}
        parts = {job.variable: [*self.streams.get(job.variable, ())] for job in jobs if job.attempt > 1}
        return Begun(self._answers(jobs), contents, parts)

    async def append(self, parts: Sequence[tuple[Job, Part]]) -> list[Answer]:
        await self.answering.wait()
        answers = self._answers([job for job, _ in parts])
        for (job, part), answer in zip(parts, answers, strict=True):
            if answer is True:
                self.streams.setdefault(job.variable, []).append(part)
        return answers

    async def publish(self, publications: Sequence[Publication]) -> list[Answer]:
        await self.answering.wait()
        self.flushes.append(len(publications))
        self.published += publications
        return self._answers([publication.job for publication in publications])

    def _answers(self, jobs: Sequence[Job]) -> list[Answer]:
        return [self.refusals.get(job.variable, job.variable not in self.lost) for job in jobs]

    async def tell(self, events: Iterable[Event]) -> None:
        await self.answering.wait()
        self.said += events

    def heartbeat(self, seconds: float) -> Heartbeat:
        return self.heart

    async def bury(self, entry: Entry, error: MessageError) -> None:
        self.buried.append((entry.id, error))

    async def leave(self) -> None:
        self.left = True


class FakeHeart(Heartbeat):
    """Writes beats down; no thread."""

    def __init__(self, link: FakeLink) -> None:
        self.lost = asyncio.Event()
        self._link = link

    async def __aenter__(self) -> Heartbeat:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def tell(self, beat: EngineBeat) -> None:
        self._link.said.append(beat)


class ScriptedEngine(SimulatedEngine):
    """The simulated engine, in which a prompt says what happens.

    `wait`: until `go`, before the first token. `slowly`: token by token, one for each `step`. `inexact`: the tokens do not say the
    text. What stands in `errors` is raised.
    """

    def __init__(self) -> None:
        super().__init__(load(engine="simulated", simulated_speed=0.0, max_running=2))
        self.go = asyncio.Event()
        self._steps = asyncio.Semaphore(0)
        self.dead = False
        self.errors: dict[str, Exception] = {}
        self.order: list[str] = []

    async def generate(self, context: str, sampling: SamplingConfig, priority: int, salt: str = "") -> AsyncIterator[Chunk]:
        prompt = self.tokenizer.decode(self._contexts.tokens(context))
        self.order.append(prompt)
        if "wait" in prompt:
            await self.go.wait()
        for mark, error in self.errors.items():
            if mark in prompt:
                raise error
        async for chunk in super().generate(context, sampling, priority, salt):
            chunk = chunk._replace(exact="inexact" not in prompt)
            if "slowly" not in prompt:
                yield chunk
                continue
            for token in chunk.tokens[:-1]:
                await self._steps.acquire()
                yield Chunk((token,), self.tokenizer.decode([token]))
            await self._steps.acquire()
            yield chunk._replace(tokens=chunk.tokens[-1:], text=self.tokenizer.decode(chunk.tokens[-1:]))

    def step(self, tokens: int = 1) -> None:
        """Let so many tokens come."""
        for _ in range(tokens):
            self._steps.release()

    def load(self) -> Load:
        if self.dead:
            raise EngineError("The engine is dead.")
        return super().load()


class Diary:
    """An observer that writes down what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def received(self, job: Job) -> None:
        self.lines.append(f"received {job.variable}")

    def started(self, job: Job) -> None:
        self.lines.append(f"started {job.variable}")

    def succeeded(self, job: Job, value: str, seconds: float) -> None:
        self.lines.append(f"succeeded {job.variable}")

    def failed(self, job: Job, error: ParrotError, seconds: float) -> None:
        self.lines.append(f"failed {job.variable} {error.code}")

    def returned(self, job: Job) -> None:
        self.lines.append(f"returned {job.variable}")
