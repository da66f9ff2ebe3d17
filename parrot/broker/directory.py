"""What people ask about a cell: its sessions, its engines, the calls and variables of one session, and one call. Reads only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import orjson
from redis.asyncio import Redis

from parrot.errors import SessionError
from parrot.wire.keys import Keys
from parrot.wire.states import CallState

T = TypeVar("T")
Fields = dict[str, str]

_ROUND_TRIP = 500  # commands that are sent at once, so that a large session neither blocks the server nor costs many trips


@dataclass(frozen=True, slots=True)
class SessionEntry:
    """A session in a list. Times are ISO-8601 in UTC; what was never written is empty."""

    id: str
    name: str
    tenant: str
    labels: dict[str, str]
    state: str
    opened: str
    closed: str
    calls: int
    done: int
    failed: int


@dataclass(frozen=True, slots=True)
class EngineEntry:
    """An engine and its last reported load; `busy_seconds` counts since its start."""

    id: str
    name: str
    kind: str
    model: str
    host: str
    pid: int
    state: str
    running: int
    waiting: int
    kv_used: float
    busy_seconds: float
    seen: str
    up: str


@dataclass(frozen=True, slots=True)
class ArgumentEntry:
    """What fills an input slot: a variable, a text, or a text that lies under its hash."""

    variable: str | None = None
    text: str | None = None
    hash: str | None = None


@dataclass(frozen=True, slots=True)
class DecisionEntry:
    """What ServeCore decided for a call when it was placed last, and why. What was never written is empty or None.

    Attributes:
        group: the call whose inputs the call's task group makes.
        slack: seconds to spare at that moment; negative if it was late already.
        prefix_expected: tokens of the prompt that the engine was thought to hold.
        prefix_found: tokens that it held; known when the call has ended.
        runner_up: the engine that came second.
        why: the reason in words.
    """

    objective: str = ""
    group: str = ""
    slack: float | None = None
    prefix_expected: int | None = None
    prefix_found: int | None = None
    engine: str = ""
    runner_up: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class CallEntry:
    """A call; `arguments` and `outputs` (variable ids) are by slot name.

    Attributes:
        needs: for each output, in the order of the template, the slots that stand before it.
    """

    id: str
    session: str
    function: str
    state: str
    submitted: str
    ended: str
    model: str
    arguments: dict[str, ArgumentEntry]
    outputs: dict[str, str]
    needs: dict[str, list[str]]
    decision: DecisionEntry
    error: str


@dataclass(frozen=True, slots=True)
class VariableHead:
    """What names a variable; `function` is empty if the app gave it its value."""

    id: str
    name: str
    function: str
    state: str


@dataclass(frozen=True, slots=True)
class VariableEntry:
    """A variable; `call` is empty if the app gave it its value.

    Attributes:
        ready: when all that it is made of was there.
        placed: when it was given to an engine last.
        started: when an engine began it last.
        first_token: seconds from then to its first token; known when it is ready.
        seconds: from then to its last token.
    """

    id: str
    name: str
    state: str
    call: str
    output: str
    function: str
    engine: str
    attempt: int
    ready: str
    placed: str
    started: str
    ended: str
    first_token: float | None
    seconds: float | None
    tokens_in: int
    tokens_cached: int
    tokens_out: int
    finish_reason: str
    criterion: str
    why: str
    error_code: str
    error: str
    value: str | None


@dataclass(frozen=True, slots=True)
class Program:
    """A session with everything in it, in the order in which it was submitted."""

    session: SessionEntry
    calls: list[CallEntry]
    variables: list[VariableEntry]


@dataclass(frozen=True, slots=True)
class CallRecord:
    """A call with the variables that it takes and makes, by id; without those that are no longer there."""

    call: CallEntry
    variables: dict[str, VariableEntry]


class Directory:
    """Reads about one cell.

    Args:
        redis: a client.
        keys: the cell's names.
    """

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def epoch(self) -> int:
        """How often a ServeCore took the lead of the cell."""
        raw = await cast(Awaitable[bytes | None], self._redis.hget(self._keys.core, "epoch"))
        return int(raw or 0)

    async def engines(self) -> list[EngineEntry]:
        """The registered engines, by name."""
        ids = sorted(_text(raw) for raw in await cast(Awaitable[set[bytes]], self._redis.smembers(self._keys.engines)))
        rows = await self._hashes(map(self._keys.engine, ids))
        return sorted((_engine(i, row) for i, row in zip(ids, rows, strict=True) if row), key=lambda entry: (entry.name, entry.id))

    async def sessions(self, last: int | None = None) -> list[SessionEntry]:
        """Sessions whose results still live, the newest first.

        Args:
            last: at most so many; all by default.
        """
        ids = await self._newest(last)
        rows = await self._hashes(map(self._keys.session, ids))
        calls = await self._lists(map(self._keys.calls, ids))
        states = await self._states({call for group in calls for call in group})
        return [_session(i, row, [states[call] for call in group]) for i, row, group in zip(ids, rows, calls, strict=True) if row]

    async def find(self, wanted: str) -> str:
        """The id of the session that a person means.

        Args:
            wanted: an id, the beginning of exactly one id, or a name, of which the newest session is taken.

        Raises:
            SessionError: there is none, or several ids begin so.
        """
        ids = await self._newest(None)
        if wanted in ids:
            return wanted
        begin = [i for i in ids if i.startswith(wanted)]
        if len(begin) == 1:
            return begin[0]
        names = await self._pipelined(ids, lambda pipe, i: pipe.hget(self._keys.session(i), "name"))
        for i, name in zip(ids, names, strict=True):
            if name is not None and _text(name) == wanted:
                return i
        if begin:
            raise SessionError(f"{len(begin)} sessions begin with {wanted!r}: {', '.join(begin[:5])}. Write more of the id.")
        raise SessionError(f"No session has the id or the name {wanted!r}. `parrot ls` lists those whose results still live.")

    async def find_call(self, wanted: str) -> str:
        """The id of the call that a person means.

        Args:
            wanted: an id, the beginning of exactly one id, or a function, of whose calls the latest is taken.

        Raises:
            SessionError: there is none, or several ids begin so.
        """
        if await self._redis.exists(self._keys.call(wanted)):
            return wanted
        sessions = reversed(await self._newest(None))
        calls = [call for group in await self._lists(map(self._keys.calls, sessions)) for call in group]
        begin = [call for call in calls if call.startswith(wanted)]
        if len(begin) == 1:
            return begin[0]
        rows = await self._pipelined(calls, lambda pipe, call: pipe.hmget(self._keys.call(call), ("function", "submitted")))
        found = [
            (submitted or b"", place)
            for place, (function, submitted) in enumerate(rows)
            if function is not None and _text(function) == wanted
        ]
        if found:
            return calls[max(found)[1]]
        if begin:
            raise SessionError(f"{len(begin)} calls begin with {wanted!r}: {', '.join(begin[:-6:-1])}. Write more of the id.")
        raise SessionError(
            f"No call has the id {wanted!r} or is one of a function of that name. `parrot show SESSION --json` lists those of a session."
        )

    async def called(self, wanted: str) -> list[SessionEntry]:
        """The session of that id, or else those of that name, the newest first; their calls are not counted."""
        (row,) = await self._hashes([self._keys.session(wanted)])
        if row:
            return [_session(wanted, row, [])]
        ids = await self._newest(None)
        names = await self._pipelined(ids, lambda pipe, i: pipe.hget(self._keys.session(i), "name"))
        found = [i for i, name in zip(ids, names, strict=True) if name is not None and _text(name) == wanted]
        rows = await self._hashes(map(self._keys.session, found))
        return [_session(i, row, []) for i, row in zip(found, rows, strict=True) if row]

    async def heads(self, session: str, variables: Collection[str] | None = None) -> list[VariableHead]:
        """What names the variables of a session, in the order in which they were made.

        Args:
            session: its whole id.
            variables: only these, as far as they belong to the session; all by default.
        """
        ids = (await self._lists([self._keys.variables(session)]))[0] if variables is None else variables
        fields = ("session", "name", "function", "state")
        rows = await self._pipelined(ids, lambda pipe, i: pipe.hmget(self._keys.variable(i), fields))
        found = [(i, *(_text(raw or b"") for raw in row)) for i, row in zip(ids, rows, strict=True)]
        return [VariableHead(i, name, function, state) for i, owner, name, function, state in found if owner == session]

    async def program(self, session: str) -> Program:
        """A session with its calls and variables.

        Args:
            session: its whole id.

        Raises:
            SessionError: there is no such session (any more).
        """
        (row,) = await self._hashes([self._keys.session(session)])
        if not row:
            raise SessionError(f"The session {session} is not there (any more): results live for a while after a session was closed.")
        call_ids, variable_ids = await self._lists([self._keys.calls(session), self._keys.variables(session)])
        calls = [_call(i, f) for i, f in zip(call_ids, await self._hashes(map(self._keys.call, call_ids)), strict=True) if f]
        fields = await self._hashes(map(self._keys.variable, variable_ids))
        variables = [_variable(i, f) for i, f in zip(variable_ids, fields, strict=True) if f]
        return Program(_session(session, row, [call.state for call in calls]), calls, variables)

    async def call(self, call: str) -> CallRecord:
        """A call with the variables around it.

        Args:
            call: its whole id.

        Raises:
            SessionError: there is no such call (any more).
        """
        (row,) = await self._hashes([self._keys.call(call)])
        if not row:
            raise SessionError(f"The call {call} is not there (any more): results live for a while after a session was closed.")
        entry = _call(call, row)
        ids = [*(given.variable for given in entry.arguments.values() if given.variable), *entry.outputs.values()]
        rows = await self._hashes(map(self._keys.variable, ids))
        return CallRecord(entry, {i: _variable(i, fields) for i, fields in zip(ids, rows, strict=True) if fields})

    async def _newest(self, last: int | None) -> list[str]:
        raw = cast(list[bytes], await self._redis.zrange(self._keys.sessions, 0, (last or 0) - 1, desc=True))
        return [_text(name) for name in raw]

    async def _states(self, calls: Collection[str]) -> dict[str, str]:
        found = await self._pipelined(calls, lambda pipe, call: pipe.hget(self._keys.call(call), "state"))
        return {call: _text(raw or b"") for call, raw in zip(calls, found, strict=True)}

    async def _hashes(self, keys: Iterable[str]) -> list[Fields]:
        rows = await self._pipelined(keys, lambda pipe, key: pipe.hgetall(key))
        # Token ids are bytes, not text, and nobody reads them here.
        return [{_text(name): _text(value) for name, value in row.items() if name != b"tokens"} for row in rows]

    async def _lists(self, keys: Iterable[str]) -> list[list[str]]:
        rows = await self._pipelined(keys, lambda pipe, key: pipe.lrange(key, 0, -1))
        return [[_text(raw) for raw in row] for row in rows]

    async def _pipelined(self, items: Iterable[T], command: Callable[[Any, T], object]) -> list[Any]:
        wanted, answers = list(items), []
        for begin in range(0, len(wanted), _ROUND_TRIP):
            pipe = self._redis.pipeline(transaction=False)
            for item in wanted[begin : begin + _ROUND_TRIP]:
                command(pipe, item)
            answers += await pipe.execute()
        return answers


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _session(session: str, row: Fields, calls: Sequence[str]) -> SessionEntry:
    return SessionEntry(
        id=session,
        name=row.get("name", ""),
        tenant=row.get("tenant", ""),
        labels=_json(row.get("labels", "")),
        state=row.get("state", ""),
        opened=row.get("opened", ""),
        closed=row.get("closed", ""),
        calls=len(calls),
        done=sum(state == CallState.DONE for state in calls),
        failed=sum(state == CallState.FAILED for state in calls),
    )


def _engine(engine: str, row: Fields) -> EngineEntry:
    return EngineEntry(
        id=engine,
        name=row.get("name", ""),
        kind=row.get("kind", ""),
        model=row.get("model", ""),
        host=row.get("host", ""),
        pid=int(row.get("pid") or 0),
        state=row.get("state", ""),
        running=int(row.get("running") or 0),
        waiting=int(row.get("waiting") or 0),
        kv_used=float(row.get("kv_used") or 0),
        busy_seconds=float(row.get("busy_seconds") or 0),
        seen=row.get("seen", ""),
        up=row.get("up", ""),
    )


def _call(call: str, row: Fields) -> CallEntry:
    request = _json(row.get("request", ""))
    return CallEntry(
        id=call,
        session=row.get("session", ""),
        function=row.get("function", ""),
        state=row.get("state", ""),
        submitted=row.get("submitted", ""),
        ended=row.get("ended", ""),
        model=row.get("model", ""),
        arguments={
            slot: ArgumentEntry(given.get("variable"), given.get("text"), given.get("hash"))
            for slot, given in request.get("arguments", {}).items()
        },
        outputs={slot: output.get("variable", "") for slot, output in request.get("outputs", {}).items()},
        needs=_needs(request),
        decision=_decision(row),
        error=row.get("error", ""),
    )


def _needs(request: dict[str, Any]) -> dict[str, list[str]]:
    slots = list(dict.fromkeys(value for kind, value in request.get("template", []) if kind == "slot"))
    return {slot: slots[: slots.index(slot)] for slot in slots if slot in request.get("outputs", {})}


def _decision(row: Fields) -> DecisionEntry:
    return DecisionEntry(
        objective=row.get("objective", ""),
        group=row.get("group", ""),
        slack=_number(row.get("slack")),
        prefix_expected=_count(row.get("prefix_expected")),
        prefix_found=_count(row.get("prefix_found")),
        engine=row.get("engine", ""),
        runner_up=row.get("runner_up", ""),
        why=row.get("why", ""),
    )


def _variable(variable: str, row: Fields) -> VariableEntry:
    return VariableEntry(
        id=variable,
        name=row.get("name", ""),
        state=row.get("state", ""),
        call=row.get("call", ""),
        output=row.get("output", ""),
        function=row.get("function", ""),
        engine=row.get("engine", ""),
        attempt=int(row.get("attempt") or 0),
        ready=row.get("ready", ""),
        placed=row.get("placed", ""),
        started=row.get("started", ""),
        ended=row.get("ended", ""),
        first_token=_number(row.get("first_token")),
        seconds=_number(row.get("seconds")),
        tokens_in=int(row.get("tokens_in") or 0),
        tokens_cached=int(row.get("tokens_cached") or 0),
        tokens_out=int(row.get("tokens_out") or 0),
        finish_reason=row.get("finish_reason", ""),
        criterion=row.get("criterion", ""),
        why=row.get("why", ""),
        error_code=row.get("error_code", ""),
        error=row.get("error", ""),
        value=row.get("value"),
    )


def _number(text: str | None) -> float | None:
    return float(text) if text else None


def _count(text: str | None) -> int | None:
    return int(text) if text else None


def _json(text: str) -> dict[str, Any]:
    try:
        found = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return {}  # an older or newer writer's form: the rest of the entry is shown all the same
    return found if isinstance(found, dict) else {}
