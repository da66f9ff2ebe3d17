"""A cell under fire: real ServeCore, engines and programs on a real server, and strangers who write to every stream.

What is asserted is in `Report.complaints`.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from parrot.broker.connection import connect
from parrot.broker.embedded import EmbeddedServer
from parrot.broker.engine_link import EngineLink
from parrot.broker.streams import START, StreamReader
from parrot.config import Settings, load
from parrot.engine.runner import LeaseError, Runner, new_engine_id
from parrot.engine.simulated import SimulatedEngine
from parrot.errors import MessageError
from parrot.lifeline import die_with_parent
from parrot.wire import to_core, to_engine
from parrot.wire.codec import VERSION, Door
from parrot.wire.keys import Keys
from tests.flow.silent import Silent
from tests.fuzz.messages import Maker, Sent, World
from tests.fuzz.programs import Scores, program

KEYS = Keys()
BURST = 200  # messages that are sent at once
STALLED = 30.0  # seconds after which something that was sent and not handled counts as stalled
KINDS = 5  # of programs, each run again and again
SLOWEST = 20.0  # seconds that a program may take; a false alarm about its engine costs it a while
LARGEST = 1024  # MiB of memory that ServeCore may have used


@dataclass
class Report:
    """What was sent, and what became of it.

    Attributes:
        sent: messages, by stream and way in which they were made.
        broken: ids of entries that cannot be understood, by stream.
        dead: ids of entries that lie among the dead letters, by stream.
        codes: of the dead letters.
        unanswered: variables of broken calls whose sender was not told.
        answered: how many were.
        unread: broken entries that went with the job stream of an engine that was given up.
        added: dead letters that were ever written, as Redis counts them.
        epochs: how often the lead was taken.
        core_lives: ServeCore runs to the end.
        core_mib: most memory that it used.
        rescues: batches that ServeCore could not handle as a whole.
    """

    seed: int
    sent: dict[str, Counter[str]] = field(default_factory=dict)
    broken: dict[str, set[str]] = field(default_factory=dict)
    dead: dict[str, set[str]] = field(default_factory=dict)
    codes: Counter[str] = field(default_factory=Counter)
    scores: Scores = field(default_factory=Scores)
    unanswered: list[str] = field(default_factory=list)
    answered: int = 0
    unread: int = 0
    added: int = 0
    epochs: int = 0
    core_lives: bool = False
    core_mib: int = 0
    rescues: int = 0
    seconds: float = 0.0

    @property
    def total(self) -> int:
        return sum(sum(ways.values()) for ways in self.sent.values())

    @property
    def total_broken(self) -> int:
        return sum(map(len, self.broken.values()))

    def complaints(self) -> list[str]:
        """Everything that is not as it must be; nothing, if all is well."""
        found = list(self.scores.wrong)
        for stream in self.sent:
            broken, dead = self.broken.get(stream, set()), self.dead.get(stream, set())
            if lost := broken - dead:
                found.append(f"{len(lost)} broken entries of {stream} are not among the dead letters, e.g. {sorted(lost)[:3]}.")
            if strange := dead - broken:
                found.append(f"{len(strange)} dead letters of {stream} were not broken entries, e.g. {sorted(strange)[:3]}.")
        if self.added != sum(self.codes.values()):
            found.append(f"Redis counts {self.added} dead letters; {sum(self.codes.values())} were read.")
        if self.unanswered:
            found.append(f"{len(self.unanswered)} broken calls were not answered, e.g. {self.unanswered[:3]}.")
        if not self.core_lives:
            found.append("ServeCore has died.")
        if self.epochs != 1:
            found.append(f"The lead was taken {self.epochs} times: the loop has not gone through.")
        if self.rescues or self.codes["internal"]:
            found.append(f"ServeCore could not handle {self.rescues} batches and {self.codes['internal']} messages; its log says why.")
        if self.core_mib > LARGEST:
            found.append(f"ServeCore used {self.core_mib} MiB.")
        if not self.scores.seconds or max(self.scores.seconds) > SLOWEST:
            found.append(f"A program took {max(self.scores.seconds, default=0):.1f} s: it was stalled.")
        return found


async def run(folder: Path, messages: int, seed: int, progress: Any = lambda _: None) -> Report:
    """Fire at a cell.

    Args:
        folder: for its data and ServeCore's log.
        messages: how many to send in all; nine in ten to ServeCore, the others to an engine.
        seed: of all choices.
        progress: is told how many were sent.

    Raises:
        TimeoutError: something that was sent was not handled: ServeCore or the engine is stalled.
    """
    report, began = Report(seed), time.monotonic()
    with EmbeddedServer(folder / "redis") as server:
        settings = load(redis_url=server.url, engine="simulated", simulated_speed=0.0, max_running=64)
        async with connect(server.url) as redis, _core(settings, folder / "core.log", report), asyncio.TaskGroup() as group:
            fire = Fire(redis, settings, report, random.Random(seed))
            follower = group.create_task(fire.follow())
            engines = [group.create_task(fire.engine(name, model)) for name, model in (("a", "good"), ("b", "good"), ("t", "target"))]
            right = [await program(server.url, number, "good", World()) for number in range(KINDS)]
            programs = [group.create_task(fire.programs(lane, right)) for lane in range(2)]
            await fire.at_servecore(messages * 9 // 10, progress)
            await fire.at_engine(messages - messages * 9 // 10, right, progress)
            fire.over = True
            await asyncio.gather(*programs)
            await fire.settle()
            for task in (*engines, follower):
                task.cancel()
    report.seconds = time.monotonic() - began
    return report


@asynccontextmanager
async def _core(settings: Settings, log: Path, report: Report) -> AsyncIterator[None]:
    """A ServeCore process."""
    argv = [sys.executable, "-m", "parrot.cli", "core", "--redis-url", settings.redis_url]
    with log.open("wb") as out:
        environment = os.environ | {"PARROT_LOG_LEVEL": "error"}
        process = subprocess.Popen(argv, stdout=out, stderr=out, env=environment, preexec_fn=partial(die_with_parent, os.getpid()))
    try:
        yield
        status = await asyncio.to_thread(Path(f"/proc/{process.pid}/status").read_text)
        report.core_lives = process.poll() is None
        report.core_mib = next(int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 10)
        report.rescues = log.read_text().count("cannot handle")


class Fire:
    """Everybody who takes part."""

    def __init__(self, redis: Redis, settings: Settings, report: Report, chance: random.Random) -> None:
        self._redis = redis
        self._settings = settings
        self._report = report
        self._chance = chance
        self._living: dict[str, str] = {}  # ids of engines, by name
        self._world = World()
        self._maker = Maker(chance, self._world)
        self.over = False

    # Those who do right --------------------------------------------------------------------------

    async def engine(self, name: str, model: str) -> None:
        """An engine worker; it comes back under a new id when it was given up."""
        settings = self._settings.model_copy(update={"model": model})
        engine = SimulatedEngine(settings)
        await engine.start()
        previous: str | None = None
        while True:
            link = EngineLink(settings.redis_url, KEYS, new_engine_id(name))
            self._living[name] = link.engine
            try:
                times = {"beat_seconds": 0.2, "checkpoint_seconds": 0.08, "drain_seconds": 1.0}
                await Runner(engine, link, Silent(), name=name, previous=previous, **times).run()
            except LeaseError:
                previous = link.engine  # somebody said that it was down
            finally:
                await link.aclose()

    async def programs(self, lane: int, right: list[list[str]]) -> None:
        """Run one program after the other as long as there is fire."""
        number = lane
        while not self.over:
            await self._report.scores.score(self._settings.redis_url, number % KINDS, "good", self._world, right[number % KINDS])
            del self._world.variables[:-100], self._world.calls[:-100]
            number += 1

    # Those who do not ----------------------------------------------------------------------------

    async def at_servecore(self, count: int, progress: Any) -> None:
        """Send messages to both of ServeCore's streams, no faster than it handles them."""
        before: dict[str, str] = {}
        for sent in range(0, count, BURST):
            # Those that ServeCore knows: whoever knows an id before it is registered can register it himself.
            known = {raw.decode() for raw in await self._redis.smembers(KEYS.engines)}
            self._world.engines = [engine for engine in self._living.values() if engine in known]
            burst = [self._for_servecore() for _ in range(min(BURST, count - sent))]
            if sent == count // BURST // 2 * BURST:
                burst.append((KEYS.tasks, to_core.tasks, self._maker.huge()))
            last = await self._send(burst)
            await self._handled(before)
            before = last
            progress(self._report.total)
        await self._handled(before)

    def _for_servecore(self) -> tuple[str, Door[Any], Sent]:
        if self._chance.random() < 0.6:
            return KEYS.tasks, to_core.tasks, self._maker.task()
        return KEYS.events, to_core.events, self._maker.event()

    async def at_engine(self, count: int, right: list[list[str]], progress: Any) -> None:
        """Write to an engine's job stream, so that ServeCore's next job cannot be written there; and see that it comes right."""
        rounds = max(1, count // 1_000)
        await asyncio.sleep(1)  # an engine that was said to be down a moment ago has noticed by now
        for number in range(rounds):
            engine = await self._registered("t")
            orders = [(KEYS.jobs(engine), to_engine.jobs, self._maker.order()) for _ in range(count // rounds)]
            for begin in range(0, len(orders), BURST):
                await self._send(orders[begin : begin + BURST])
            await self._buried(KEYS.jobs(engine), engine)
            await self._report.scores.score(self._settings.redis_url, number % KINDS, "target", self._world, right[number % KINDS])
            progress(self._report.total)

    async def _registered(self, name: str) -> str:
        """The id of an engine once ServeCore knows it: what is written to the stream of one that is gone, goes with it."""
        async with asyncio.timeout(STALLED):
            while not await self._redis.sismember(KEYS.engines, self._living[name]):
                await asyncio.sleep(0.01)
        return self._living[name]

    async def _send(self, burst: list[tuple[str, Door[Any], Sent]]) -> dict[str, str]:
        """Append messages; the id of the last one, by stream."""
        pipe = self._redis.pipeline(transaction=False)
        for stream, _, message in burst:
            pipe.xadd(stream, message.fields, nomkstream=stream not in (KEYS.tasks, KEYS.events))  # type: ignore[arg-type]
        last: dict[str, str] = {}
        for (stream, door, message), raw in zip(burst, await pipe.execute(), strict=True):
            if raw is None:
                continue  # the engine was given up, and its stream is gone
            last[stream] = raw.decode()
            self._report.sent.setdefault(stream, Counter())[message.way] += 1
            if not _understood(door, message):
                self._report.broken.setdefault(stream, set()).add(last[stream])
        return last

    # What becomes of it --------------------------------------------------------------------------

    async def _handled(self, last: dict[str, str]) -> None:
        """Wait until ServeCore's cursors have passed these entries."""
        async with asyncio.timeout(STALLED):
            while last:
                at: Any = await self._redis.hmget(KEYS.core, ["tasks", "events"])
                cursors = dict(zip((KEYS.tasks, KEYS.events), at, strict=True))
                if all(_parts(cursors[stream].decode()) >= _parts(entry) for stream, entry in last.items()):
                    return
                await asyncio.sleep(0.002)

    async def _buried(self, stream: str, engine: str | None = None) -> None:
        """Wait until every broken entry of a stream lies among the dead letters.

        ServeCore gives an engine up when it finds that it cannot write to its stream, which may be in the middle of a burst: what was not
        read then goes with the stream, and is counted apart.
        """
        async with asyncio.timeout(STALLED):
            while missing := self._report.broken.get(stream, set()) - self._report.dead.get(stream, set()):
                if engine is not None and self._living["t"] != engine:
                    self._report.unread += len(missing)
                    self._report.broken[stream] -= missing
                await asyncio.sleep(0.01)

    async def follow(self) -> None:
        """Read the dead letters as they come: the stream keeps but the last ones."""
        reader = StreamReader(self._redis, {KEYS.dead: START})
        while True:
            for letter in await reader.read():
                code, stream = letter.fields[b"code"].decode(), letter.fields[b"stream"].decode()
                self._report.codes[code] += 1
                if code not in ("poison", "variable"):  # those were understood, and are named by their call or variable
                    self._report.dead.setdefault(stream, set()).add(letter.fields[b"id"].decode())

    async def settle(self) -> None:
        """Send broken calls whose sender can be known and see that each is answered; then wait for the last dead letters."""
        names = [f"asked{i}.x" for i in range(50)]
        for i, name in enumerate(names):
            body = b'{"session":"asker","call":"c%d","outputs":{"x":{"variable":"%s"}},"novelty":1}' % (i, name.encode())
            last = await self._send(
                [(KEYS.tasks, to_core.tasks, Sent("answerable", {b"v": str(VERSION + 1).encode(), b"kind": b"SubmitCall", b"body": body}))]
            )
        await self._handled(last)
        for name in names:
            told = await self._redis.hmget(KEYS.variable(name), ["state", "error_code"])
            if told == [b"failed", b"version"]:
                self._report.answered += 1
            else:
                self._report.unanswered.append(name)
        for stream in self._report.sent:
            await self._buried(stream)
        about: Any = await self._redis.xinfo_stream(KEYS.dead)
        self._report.added = about[b"entries-added"] if b"entries-added" in about else about["entries-added"]
        self._report.epochs = int(await self._redis.hget(KEYS.core, "epoch") or 0)
        async with asyncio.timeout(STALLED):
            while sum(self._report.codes.values()) < self._report.added:
                await asyncio.sleep(0.01)


def _understood(door: Door[Any], message: Sent) -> bool:
    try:
        door.decode(message.fields)
    except MessageError:
        return False  # it must be found among the dead letters
    return True


def _parts(entry: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry.partition("-")
    return int(milliseconds), int(sequence)
