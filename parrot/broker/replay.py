"""Giving a dead letter another chance, for instance after an upgrade.

A call is submitted as a new one: whoever asked for the old one was told that it failed, and a variable is set once. It has no
deadline of its own any more. Every other task or event is appended again as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import orjson
from redis.asyncio import Redis

from parrot.broker.dead import Letter
from parrot.broker.texts import Texts
from parrot.broker.variables import Variables
from parrot.errors import CallError, MessageError
from parrot.wire.codec import Fields, encode
from parrot.wire.keys import Keys
from parrot.wire.states import SessionState
from parrot.wire.to_core import CloseSession, OpenSession, SubmitCall

_NAME = 128  # characters of a session's name


class Replay:
    """Replays dead letters of one cell.

    Args:
        redis: a client.
        keys: the cell's names.
    """

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def replay(self, letter: Letter, fresh: Callable[[str], str]) -> dict[str, str]:
        """Replay a letter and remove it from the dead letters, both or neither.

        Args:
            letter: which one.
            fresh: makes a new id from a readable name.

        Returns:
            The ids of a call's new variables, by slot; nothing for what is no call.

        Raises:
            CallError: what the call needs is not there any more.
            MessageError: the letter cannot be replayed.
        """
        if letter.stream not in (self._keys.tasks, self._keys.events):
            raise MessageError(
                f"The dead letter {letter.id} lay in an engine's job stream. ServeCore was told of it; there is nothing to replay."
            )
        if letter.cut:
            raise MessageError(f"The dead letter {letter.id} had {letter.cut:,} bytes and was not kept whole. It cannot be replayed.")
        call = _call(letter)
        if call is None:
            await self._append(letter, letter.stream, [cast(Fields, letter.fields)])
            return {}
        await self._check_texts(call)
        call |= {"call": (name := fresh(str(call["function"]))), "outputs": _renamed(call["outputs"], name)}
        call.pop("deadline", None)  # that of its first life, which is over as a rule; its session's holds
        before, after = await self._session(call, fresh)
        body = orjson.dumps(call)
        entries = [*before, cast(Fields, letter.fields | {b"body": body}), *after]
        await self._append(letter, self._keys.tasks, entries)
        return {slot: output["variable"] for slot, output in call["outputs"].items()}

    async def _session(self, call: dict[str, Any], fresh: Callable[[str], str]) -> tuple[list[Fields], list[Fields]]:
        """What to send around the call: nothing if its session is open, else a new session for it alone."""
        state, tenant = await cast(Any, self._redis.hmget(self._keys.session(call["session"]), ["state", "tenant"]))
        if state == SessionState.OPEN.encode():
            return [], []
        call["arguments"] = await self._as_texts(call.get("arguments", {}))
        name = f"replay of {call['function']}"[:_NAME]
        call["session"] = fresh(name)
        opened = OpenSession(session=call["session"], name=name, tenant=(tenant or b"default").decode())
        return [encode(opened)], [encode(CloseSession(session=call["session"]))]

    async def _as_texts(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments without variables, which belong to another session."""
        named = {slot: given["variable"] for slot, given in arguments.items() if given.get("variable") is not None}
        values = await Variables(self._redis, self._keys).values(named.values())
        found = dict(arguments)
        for (slot, variable), value in zip(named.items(), values, strict=True):
            if value is None:
                raise CallError(f"The input {slot!r} was the variable {variable}, whose value has expired. It cannot be replayed.")
            found[slot] = {"text": value.text}
        return found

    async def _check_texts(self, call: Mapping[str, Any]) -> None:
        hashes = [given["hash"] for given in call.get("arguments", {}).values() if given.get("hash") is not None]
        hashes += [value for kind, value in call["template"] if kind == "hash"]
        if None in await Texts(self._redis, self._keys).get(hashes):
            raise CallError("A long text of this call has expired. It cannot be replayed.")

    async def _append(self, letter: Letter, stream: str, entries: list[Fields]) -> None:
        pipe = self._redis.pipeline(transaction=True)
        pipe.xdel(self._keys.dead, letter.id)
        for fields in entries:
            pipe.xadd(stream, fields)  # type: ignore[arg-type]
        await pipe.execute()


def _call(letter: Letter) -> dict[str, Any] | None:
    """The call that a letter holds, as far as it can be read: it may be of another version."""
    if letter.kind != SubmitCall.__name__:
        return None
    try:
        call = orjson.loads(letter.fields[b"body"])
        outputs = [output["variable"] for output in call["outputs"].values()]
        arguments = [given.get("variable") for given in call.get("arguments", {}).values()]
        segments = [(kind, value) for kind, value in call["template"]]
        readable = all(isinstance(name, str) for name in (call["session"], call["function"], *outputs)) and arguments is not None
    except (KeyError, TypeError, ValueError, AttributeError):
        return None  # it is broken: it is sent again as it was, and whoever reads it will say so
    return call if readable and segments else None


def _renamed(outputs: Mapping[str, Any], call: str) -> dict[str, Any]:
    return {slot: output | {"variable": f"{call}.{slot}"} for slot, output in outputs.items()}
