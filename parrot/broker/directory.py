"""What people ask about a cell: its sessions, its engines, the calls and variables of one session, and one call. Reads only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any, TypeVar, cast

from redis.asyncio import Redis

from parrot.broker.entries import (
    CallRecord,
    EngineEntry,
    Fields,
    Program,
    SessionEntry,
    VariableHead,
    call_entry,
    engine_entry,
    session_entry,
    variable_entry,
)
from parrot.errors import SessionError
from parrot.wire.keys import Keys

T = TypeVar("T")

_ROUND_TRIP = 500  # commands that are sent at once, so that a large session neither blocks the server nor costs many trips


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
        return sorted((engine_entry(i, row) for i, row in zip(ids, rows, strict=True) if row), key=lambda entry: (entry.name, entry.id))

    async def sessions(self, last: int | None = None) -> list[SessionEntry]:
        """Sessions whose results still live, the newest first.

        Args:
            last: at most so many; all by default.
        """
        ids = await self._newest(last)
        rows = await self._hashes(map(self._keys.session, ids))
        calls = await self._lists(map(self._keys.calls, ids))
        states = await self._states({call for group in calls for call in group})
        return [session_entry(i, row, [states[call] for call in group]) for i, row, group in zip(ids, rows, calls, strict=True) if row]

    async def find(self, wanted: str, least: int = 1) -> str:
        """The id of the session that a person means.

        Args:
            wanted: an id, the beginning of exactly one id, or a name, of which the newest session is taken.
            least: characters that stand for an id.

        Raises:
            SessionError: there is none, or several ids begin so.
        """
        ids = await self._newest(None)
        if wanted in ids:
            return wanted
        begin = [i for i in ids if i.startswith(wanted) and len(wanted) >= least]
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
        begin = [call for call in calls if call.startswith(wanted) and wanted]
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
            return [session_entry(wanted, row, [])]
        ids = await self._newest(None)
        names = await self._pipelined(ids, lambda pipe, i: pipe.hget(self._keys.session(i), "name"))
        found = [i for i, name in zip(ids, names, strict=True) if name is not None and _text(name) == wanted]
        rows = await self._hashes(map(self._keys.session, found))
        return [session_entry(i, row, []) for i, row in zip(found, rows, strict=True) if row]

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
        calls = [call_entry(i, f) for i, f in zip(call_ids, await self._hashes(map(self._keys.call, call_ids)), strict=True) if f]
        fields = await self._hashes(map(self._keys.variable, variable_ids))
        variables = [variable_entry(i, f) for i, f in zip(variable_ids, fields, strict=True) if f]
        return Program(session_entry(session, row, [call.state for call in calls]), calls, variables)

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
        entry = call_entry(call, row)
        ids = [*(given.variable for given in entry.arguments.values() if given.variable), *entry.outputs.values()]
        rows = await self._hashes(map(self._keys.variable, ids))
        return CallRecord(entry, {i: variable_entry(i, fields) for i, fields in zip(ids, rows, strict=True) if fields})

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
