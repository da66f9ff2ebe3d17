"""All that Redis holds of a cell, for checks: not through its indexes alone, but with every key that exists.

The only place that SCANs, since it is for people who look (`parrot doctor`) and for tests, never for work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from parrot.broker.ledger import Record, is_wrong_type
from parrot.wire.keys import Keys

T = TypeVar("T")

_ROUND_TRIP = 1_000  # keys in one pipeline
_OF_CALLS = ("session", "state", "request")
_OF_VARIABLES = ("session", "state", "call", "engine", "job", "why", "error_code")


@dataclass(slots=True)
class Holdings:
    """What is there of a cell.

    Attributes:
        lives: every key, with the seconds that it has to live, or None if it stays.
        types: of every key; one that is not what it should be counts as empty everywhere else.
        sessions: those listed, each with its record, which is empty if there is none.
        calls, variables: by session, what is listed.
        active: calls listed as not ended.
        engines: those registered, each with its record, which is empty if there is none.
        elsewhere: engines that are registered in other cells; the names of job streams do not say which cell they belong to.
        call, variable: every record, listed or not, with the fields that matter; of a value only whether there is one.
    """

    lives: dict[str, int | None] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    sessions: dict[str, Record] = field(default_factory=dict)
    calls: dict[str, list[str]] = field(default_factory=dict)
    variables: dict[str, list[str]] = field(default_factory=dict)
    active: set[str] = field(default_factory=set)
    engines: dict[str, Record] = field(default_factory=dict)
    elsewhere: set[str] = field(default_factory=set)
    call: dict[str, Record] = field(default_factory=dict)
    variable: dict[str, Record] = field(default_factory=dict)


class Audit:
    """Reads all of one cell.

    Args:
        redis: a client whose user may SCAN.
        keys: the cell's names.
    """

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def read(self) -> Holdings:
        """Look at everything. What changes meanwhile may be seen half changed."""
        keys, held = self._keys, Holdings()
        names = sorted({*await self._scan(f"{keys.prefix}*"), *await self._scan(keys.jobs("*"))})
        held.lives = await self._lives(names)
        held.types = await self._types(held.lives)
        (listed,) = await self._pipelined([keys.sessions], lambda pipe, key: pipe.zrange(key, 0, -1))
        sessions = [raw.decode() for raw in listed or ()]
        held.sessions = dict(zip(sessions, await self._hashes(map(keys.session, sessions)), strict=True))
        held.calls = dict(zip(sessions, await self._lists(map(keys.calls, sessions)), strict=True))
        held.variables = dict(zip(sessions, await self._lists(map(keys.variables, sessions)), strict=True))
        held.active = await self._members(keys.active)
        engines = sorted(await self._members(keys.engines))
        held.engines = dict(zip(engines, await self._hashes(map(keys.engine, engines)), strict=True))
        for other in await self._scan(Keys("*").engines):
            if other != keys.engines:
                held.elsewhere |= await self._members(other)
        held.call = await self._fields(_named(names, keys.call("")), keys.call, _OF_CALLS)
        held.variable = await self._fields(_named(names, keys.variable("")), keys.variable, _OF_VARIABLES)
        return held

    async def _scan(self, pattern: str) -> list[str]:
        return [raw.decode("utf-8", "replace") async for raw in self._redis.scan_iter(match=pattern, count=_ROUND_TRIP)]

    async def _lives(self, names: Sequence[str]) -> dict[str, int | None]:
        lives = zip(names, await self._pipelined(names, lambda pipe, key: pipe.ttl(key)), strict=True)
        return {key: None if life == -1 else life for key, life in lives if life != -2}  # -2: gone since

    async def _types(self, names: Iterable[str]) -> dict[str, str]:
        types = zip(names, await self._pipelined(names, lambda pipe, key: pipe.type(key)), strict=True)
        return {key: raw.decode() for key, raw in types if raw != b"none"}  # none: gone since

    async def _members(self, key: str) -> set[str]:
        (members,) = await self._pipelined([key], lambda pipe, one: pipe.smembers(one))
        return {raw.decode() for raw in members or ()}

    async def _hashes(self, keys: Iterable[str]) -> list[Record]:
        rows = await self._pipelined(keys, lambda pipe, key: pipe.hgetall(key))
        return [{_text(name): _text(value) for name, value in (row or {}).items()} for row in rows]

    async def _lists(self, keys: Iterable[str]) -> list[list[str]]:
        return [[raw.decode() for raw in row or ()] for row in await self._pipelined(keys, lambda pipe, key: pipe.lrange(key, 0, -1))]

    async def _fields(self, ids: Sequence[str], key: Callable[[str], str], fields: Sequence[str]) -> dict[str, Record]:
        rows = await self._pipelined(ids, lambda pipe, name: pipe.hmget(key(name), fields))
        values = await self._pipelined(ids, lambda pipe, name: pipe.hexists(key(name), "value"))
        found = {}
        for name, row, has_value in zip(ids, rows, values, strict=True):
            record = {field: _text(raw) for field, raw in zip(fields, row or (), strict=False) if raw is not None}
            if record:
                found[name] = record | ({"value": ""} if has_value else {})
        return found

    async def _pipelined(self, items: Iterable[T], command: Callable[[Any, T], object]) -> list[Any]:
        """The answers; None of a key that the command is not for."""
        answers: list[Any] = []
        rest = iter(items)
        while part := list(islice(rest, _ROUND_TRIP)):
            pipe = self._redis.pipeline(transaction=False)
            for item in part:
                command(pipe, item)
            answers += map(_unless_wrong, await pipe.execute(raise_on_error=False))
        return answers


def _unless_wrong(answer: Any) -> Any:
    if not isinstance(answer, Exception):
        return answer
    if isinstance(answer, ResponseError) and is_wrong_type(answer):
        return None  # its type is told apart
    raise answer


def _named(names: Iterable[str], prefix: str) -> list[str]:
    """The ids in keys of the form `<prefix><id>`; ids hold no colon."""
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix) and ":" not in name.removeprefix(prefix)]


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
