"""What `bench.chaos` sees of a cell while it runs, and what it finds in the end."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from bench.chaos_records import ENDED, Call, Error, Life, Part
from parrot.broker.audit import Audit
from parrot.broker.directory import Directory
from parrot.broker.streams import START, Entry, StreamReader
from parrot.core.check import check
from parrot.wire.keys import Keys

T = TypeVar("T")
LOOK = 0.05  # seconds between looks
TRIP = 500  # commands in one round trip


class Watch:
    """Looks at one cell; while the broker is away it tries again.

    Args:
        redis: a client.
        keys: the cell's names.
        began: the monotonic time from which seconds are counted.

    Attributes:
        done: variables of which an event said that they were published, with the time at which it was seen.
        lives: of the engines that came up.
        sent: engine and variable of each job.
    """

    def __init__(self, redis: Redis, keys: Keys, began: float) -> None:
        self.done: list[tuple[float, str]] = []
        self.lives: list[Life] = []
        self.sent: set[tuple[str, str]] = set()
        self._redis = redis
        self._keys = keys
        self._began = began
        self._began_at = time.time() - (time.monotonic() - began)  # ids of stream entries tell the time since the epoch
        self._engine_of: dict[str, str] = {}  # by job stream
        self._directory = Directory(redis, keys)

    def now(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began

    async def follow(self) -> None:
        """Read the events as they come, and the jobs of every engine, for as long as the run lasts."""
        reader = StreamReader(self._redis, {self._keys.events: START})
        while True:
            for entry in await self.asked(lambda: reader.read(1000)):
                if entry.stream in self._engine_of:
                    self._note_job(entry)
                elif entry.fields.get(b"kind") == b"GenerationDone":
                    self.done.append((self.now(), json.loads(entry.fields[b"body"])["variable"]))
                elif entry.fields.get(b"kind") == b"EngineUp":
                    reader.cursors.setdefault(self._note_engine(entry), START)

    def _note_engine(self, entry: Entry) -> str:
        """An engine came up, or says so again. Gives its job stream."""
        about = json.loads(entry.fields[b"body"])
        engine, at = about["engine"], int(entry.id.partition("-")[0]) / 1000 - self._began_at
        stream = self._keys.jobs(engine)
        if stream not in self._engine_of:
            self._engine_of[stream] = engine
            self.lives.append(Life(engine, about["pid"], at))
        return stream

    def _note_job(self, entry: Entry) -> None:
        if entry.fields.get(b"kind") == b"Job":
            self.sent.add((self._engine_of[entry.stream], json.loads(entry.fields[b"body"])["variable"]))

    async def asked(self, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer, as soon as there is one."""
        while True:
            try:
                return await ask()
            except (RedisError, OSError):
                await asyncio.sleep(LOOK)  # the broker is being killed: it is asked again

    # Recoveries: each waits for its end, and answers with when that was -------------------------

    async def leader_pid(self) -> int:
        """The process that leads."""
        raw: Any = await self.asked(lambda: self._redis.hget(self._keys.core, "leader"))
        return int((raw or b":0").rpartition(b":")[2])

    async def position(self) -> tuple[int, int]:
        """Epoch and batches."""
        raw: Any = await self.asked(lambda: self._redis.hmget(self._keys.core, ["epoch", "batches"]))
        return int(raw[0] or 0), int(raw[1] or 0)

    async def until_led_again(self, epoch: int) -> float:
        """A newer leader has committed something."""
        taken = 0
        while True:
            now = await self.position()
            if now[0] > epoch:
                if taken and now[1] > taken:
                    return self.now()
                taken = taken or now[1]
            await asyncio.sleep(LOOK)

    async def until_next_commit(self) -> float:
        """Whoever leads has committed something more."""
        _, before = await self.position()
        while (await self.position())[1] == before:
            await asyncio.sleep(LOOK)
        return self.now()

    async def held_by(self, pid: int) -> tuple[dict[str, int], int]:
        """What the engine in a process was given and has not ended, with the attempt.

        Returns:
            These, and how many of them another engine had died of before, which makes them suspects now.
        """
        engines = [entry.id for entry in await self.asked(self._directory.engines) if entry.pid == pid]
        if not engines:
            return {}, 0
        active: Any = await self.asked(lambda: self._redis.smembers(self._keys.active))
        requests = await self._each([raw.decode() for raw in active], lambda pipe, name: pipe.hget(self._keys.call(name), "request"))
        made = [output["variable"] for raw in requests if raw for output in json.loads(raw)["outputs"].values()]
        fields = ["engine", "state", "attempt", "deaths"]
        rows = await self._each(made, lambda pipe, name: pipe.hmget(self._keys.variable(name), fields))
        held: dict[str, int] = {}
        suspects = 0
        for name, row in zip(made, rows, strict=True):
            engine, state, attempt, deaths = ((raw or b"").decode() for raw in row)
            if engine in engines and state not in ENDED:
                held[name] = int(attempt)
                suspects += deaths != ""
        return held, suspects

    async def until_taken_up(self, held: dict[str, int]) -> float:
        """All that a victim held has ended, or is being generated in a later attempt."""
        waiting = dict(held)
        while waiting:
            names = list(waiting)
            rows = await self._each(names, lambda pipe, name: pipe.hmget(self._keys.variable(name), ["state", "attempt"]))
            for name, (state, attempt) in zip(names, rows, strict=True):
                now = (state or b"").decode()
                if now in ENDED or (now == "generating" and int(attempt) > waiting[name]):
                    del waiting[name]
            if waiting:
                await asyncio.sleep(LOOK)
        return self.now()

    async def until_next_value(self) -> float:
        """Another variable was published."""
        before = len(self.done)
        while len(self.done) == before:
            await asyncio.sleep(LOOK)
        return self.done[before][0]

    # The end --------------------------------------------------------------------------------------

    async def idle(self) -> bool:
        """No call is under way."""
        return not await self.asked(lambda: self._redis.exists(self._keys.active))

    async def outcomes(self, variables: Iterable[str]) -> tuple[dict[str, str], dict[str, str], dict[str, Error]]:
        """States, values, and the errors of those that have no value."""
        names, fields = list(variables), ["state", "value", "error_code", "error"]
        rows = await self._each(names, lambda pipe, name: pipe.hmget(self._keys.variable(name), fields))
        found = {name: [(raw or b"").decode() for raw in row] for name, row in zip(names, rows, strict=True) if row[0]}
        states = {name: state for name, (state, *_) in found.items()}
        values = {name: value for name, (state, value, *_) in found.items() if state == "ready"}
        errors = {name: Error(code, message) for name, (state, _, code, message) in found.items() if state in ENDED - {"ready"}}
        return states, values, errors

    async def news(self, sessions: Iterable[str]) -> list[str]:
        """All variables that sessions were told of."""
        rows = await self._each(list(sessions), lambda pipe, name: pipe.xrange(self._keys.news(name)))
        return [fields[b"variable"].decode() for entries in rows for _, fields in entries]

    async def streams(self, variables: Iterable[str]) -> dict[str, list[Part]]:
        """The token streams that are there."""
        names = list(variables)
        rows = await self._each(names, lambda pipe, name: pipe.xrange(self._keys.tokens(name)))
        return {name: [_part(*entry) for entry in entries] for name, entries in zip(names, rows, strict=True) if entries}

    async def findings(self, patience: float = 10.0) -> list[str]:
        """What the conservation check finds, and still finds when it has looked for a while."""
        deadline = time.monotonic() + patience
        while (found := check(self._keys, await self.asked(Audit(self._redis, self._keys).read))) and time.monotonic() < deadline:
            await asyncio.sleep(0.5)
        return found

    async def _each(self, names: Sequence[str], command: Callable[[Any, str], object]) -> list[Any]:
        answers: list[Any] = []
        for begin in range(0, len(names), TRIP):
            part = names[begin : begin + TRIP]

            async def trip(part: Sequence[str] = part) -> list[Any]:
                pipe = self._redis.pipeline(transaction=False)
                for name in part:
                    command(pipe, name)
                return await pipe.execute()

            answers += await self.asked(trip)
        return answers


def _part(entry: bytes, fields: dict[bytes, bytes]) -> Part:
    return Part(int(entry.partition(b"-")[0]), fields[b"text"].decode(), fields[b"kind"] == b"reset")


def acknowledged(notes: Path) -> list[Call]:
    """What clients wrote down. A line that a kill cut in two says nothing for sure."""
    calls: list[Call] = []
    for line in notes.read_text().splitlines() if notes.exists() else ():
        try:
            program = json.loads(line)
        except json.JSONDecodeError:
            continue
        calls += [Call(made[0].rpartition(".")[0], program["session"], tuple(made)) for made in program["calls"]]
    return calls
