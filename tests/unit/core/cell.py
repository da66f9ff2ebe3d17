"""A cell in memory: a machine, and a ledger that applies its operations to dicts, as the commit script does to Redis."""

from __future__ import annotations

import json
import re
from typing import Any

from parrot.broker.ledger import CALL, ENGINE, SESSION, VARIABLE, Lead, Snapshot, as_read
from parrot.core.batch import Batch
from parrot.core.limits import Limits
from parrot.core.machine import Machine
from parrot.core.recovery import foresee, rebuild
from parrot.sampling import SamplingConfig
from parrot.template import parse
from parrot.wire.keys import Keys
from parrot.wire.to_core import (
    Argument,
    Capacity,
    CloseSession,
    DeclareVariable,
    EngineUp,
    GenerationDone,
    OpenSession,
    Output,
    SubmitCall,
)
from parrot.wire.to_engine import Job, Order
from parrot.wire.to_ledger import Op

KEYS = Keys("test")
GREEDY = SamplingConfig(temperature=0)


class Store:
    """What Redis would hold."""

    def __init__(self) -> None:
        self.hashes: dict[str, dict[str, str]] = {}
        self.lists: dict[str, list[str]] = {}
        self.sets: dict[str, dict[str, None]] = {}
        self.streams: dict[str, list[dict[str, str]]] = {}
        self.expiring: dict[str, int] = {}

    def apply(self, operations: list[Op]) -> None:
        for name, key, *rest in operations:
            getattr(self, f"_{name.lower()}")(key, *rest)

    def _ended(self, key: str) -> bool:
        return self.hashes.get(key, {}).get("state") in ("ready", "failed", "cancelled")

    def _hset(self, key: str, *flat: str) -> None:
        assert all(isinstance(part, str) for part in flat)
        self.hashes.setdefault(key, {}).update(zip(flat[::2], flat[1::2], strict=True))

    def _hdel(self, key: str, *fields: str) -> None:
        for field in fields:
            self.hashes.get(key, {}).pop(field, None)

    def _move(self, key: str, *flat: str) -> None:
        if not self._ended(key):
            self._hset(key, *flat)

    def _end(self, key: str, news: str, variable: str, state: str, *flat: str) -> None:
        if not self._ended(key):
            self._hset(key, "state", state, *flat)
            self._xadd(news, "*", "variable", variable, "state", state)

    def _answer(self, key: str, news: str, session: str, variable: str, life: str, *flat: str) -> None:
        if key not in self.hashes:
            self._hset(key, *flat)
            self._expire(key, life)
            self._xadd(news, "*", "variable", variable, "state", "failed")
            if session not in self.hashes:
                self._expire(news, life)

    def _bury(self, key: str, call: str, most: str, version: str, kind: str, *header: str) -> None:
        entry = {"v": version, "kind": kind, "body": self.hashes[call]["request"]}
        self._xadd(key, "MAXLEN", "~", most, "*", *header, "entry", json.dumps(entry))

    def _unless(self, key: str, field: str, value: str, *operation: str) -> None:
        if self.hashes.get(key, {}).get(field) != value:
            self.apply([operation])

    def _xadd(self, key: str, *parts: str) -> None:
        at = parts.index("*")
        flat = parts[at + 1 :]
        self.streams.setdefault(key, []).append(dict(zip(flat[::2], flat[1::2], strict=True)))

    def _rpush(self, key: str, member: str) -> None:
        self.lists.setdefault(key, []).append(member)

    def _sadd(self, key: str, member: str) -> None:
        self.sets.setdefault(key, {})[member] = None

    def _srem(self, key: str, member: str) -> None:
        self.sets.get(key, {}).pop(member, None)

    def _zadd(self, key: str, _: str, member: str) -> None:
        self._sadd(key, member)

    def _zrem(self, key: str, member: str) -> None:
        self._srem(key, member)

    def _expire(self, key: str, life: str) -> None:
        self.expiring[key] = int(life)

    def _del(self, key: str) -> None:
        self.hashes.pop(key, None)


class Cell:
    """A machine with its ledger and the jobs that engines were sent."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.store = Store()
        self.machine = Machine(KEYS, self.limits)
        self.now = 1_000_000.0
        self.jobs: list[tuple[str, str, Order]] = []
        self.batch = Batch(0)

    def tell(self, *messages: Any) -> Batch:
        self.batch = self.machine.handle(messages, self.now)
        self.store.apply(self.batch.operations)
        self.jobs += self.batch.orders
        return self.batch

    def take_jobs(self) -> list[Job]:
        jobs, self.jobs = self.jobs, []
        return [job for _, _, job in jobs if isinstance(job, Job)]

    def variable(self, name: str) -> dict[str, str]:
        return self.store.hashes[KEYS.variable(name)]

    def call(self, name: str) -> dict[str, str]:
        return self.store.hashes[KEYS.call(name)]

    def news(self, session: str = "s") -> list[tuple[str, str]]:
        return [(entry["variable"], entry["state"]) for entry in self.store.streams.get(KEYS.news(session), [])]

    def publish(self, job: Job, engine: str = "e1") -> GenerationDone:
        """What the publish script does, and the event that comes of it."""
        record = self.variable(job.variable)
        assert record["attempt"] == str(job.attempt)
        record |= {"state": "ready", "value": f"<{job.variable}>"}
        self.store.streams.setdefault(KEYS.news(job.session), []).append({"variable": job.variable, "state": "ready"})
        return GenerationDone(engine=engine, variable=job.variable, attempt=job.attempt)

    def restart(self, forgetful: bool = False, foreseen: bool = False) -> list[tuple[str, str, Order]]:
        """Replace the machine by one that is rebuilt from the store."""
        hashes, lists, sets = self.store.hashes, self.store.lists, self.store.sets
        sessions = list(sets.get(KEYS.sessions, {}))
        variables = {name: lists.get(KEYS.variables(name), []) for name in sessions}
        found = Snapshot(
            sessions={name: as_read(hashes[KEYS.session(name)], SESSION) for name in sessions if KEYS.session(name) in hashes},
            calls={name: lists.get(KEYS.calls(name), []) for name in sessions},
            variables=variables,
            active={name: as_read(hashes.get(KEYS.call(name), {}), CALL) for name in sets.get(KEYS.active, {})},
            variable={
                name: as_read(hashes[key], VARIABLE)
                for names in variables.values()
                for name in names
                if (key := KEYS.variable(name)) in hashes
            },
            engines={name: as_read(hashes[KEYS.engine(name)], ENGINE) for name in sets.get(KEYS.engines, {})},
            learned=dict(hashes.get(KEYS.learned, {})),
        )
        prepared = foresee(found).prepared if foreseen else {}
        lead = Lead(2, {}, self.batch.number, forgetful)
        self.machine, unsent = rebuild(KEYS, self.limits, lead, found, self.now, prepared=prepared)
        return unsent


def open_session(session: str = "s") -> OpenSession:
    return OpenSession(session=session, name="a program")


def close_session(session: str = "s") -> CloseSession:
    return CloseSession(session=session)


def text(variable: str, value: str | None = "hello") -> DeclareVariable:
    return DeclareVariable(session="s", variable=variable, name=variable, text=value)


def engine_up(engine: str = "e1", running: int = 8, model: str = "m") -> EngineUp:
    return EngineUp(
        engine=engine,
        name=engine,
        kind="simulated",
        model=model,
        tokenizer="simulated",
        host="here",
        pid=1,
        capacity=Capacity(running=running, kv_tokens=10_000, context_tokens=1_000, block_tokens=16),
    )


def call(name: str, prompt: str, model: str | None = None, session: str = "s", **arguments: str) -> SubmitCall:
    """A call whose outputs are the slots that no argument fills; an argument names a variable, or gives a text after `=`."""
    segments = parse(prompt)
    slots = re.findall(r"{{(\w+)}}", prompt)
    return SubmitCall(
        session=session,
        call=name,
        function=f"function_{name}",
        template=segments,
        arguments={slot: _argument(value) for slot, value in arguments.items()},
        outputs={
            slot: Output(variable=f"{name}.{slot}", sampling=SamplingConfig(temperature=0)) for slot in slots if slot not in arguments
        },
        model=model,
    )


def _argument(value: str) -> Argument:
    return Argument(text=value[1:]) if value.startswith("=") else Argument(variable=value)
