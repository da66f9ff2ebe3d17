"""What the commit script receives: the operations of one batch of ServeCore, applied all or not at all.

An operation is a tuple of a Redis command (upper case, applied as it is) or one of the conditional operations below
(lower case), a key and its arguments. See `broker/lua/commit.lua`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from parrot.errors import ParrotError
from parrot.wire.codec import VERSION
from parrot.wire.states import VariableState
from parrot.wire.to_core import SubmitCall

Op = tuple[str, ...]

DEAD_LETTERS = "10000"  # about how many dead letters are kept
KEPT_BYTES = 64 * 1024  # of an entry that could not be understood, whose size nobody has checked


def put(key: str, fields: Mapping[str, str]) -> Op:
    """Write fields of a hash that only ServeCore writes."""
    return ("HSET", key, *_flat(fields))


def move(variable_key: str, fields: Mapping[str, str]) -> Op:
    """Write fields of a variable, unless it has ended meanwhile: engines end variables without asking ServeCore."""
    return ("move", variable_key, *_flat(fields))


def end(variable_key: str, news_key: str, variable: str, state: VariableState, fields: Mapping[str, str]) -> Op:
    """End a variable and tell its session, unless it has ended already."""
    return ("end", variable_key, news_key, variable, state.value, *_flat(fields))


def answer(variable_key: str, news_key: str, session_key: str, variable: str, life: str, fields: Mapping[str, str]) -> Op:
    """Make a variable that has failed before anything could be done for it, and tell its session; does nothing if it exists.

    Args:
        life: for how many seconds it can be read; the news too, unless a session of that name is open.
        fields: of the variable, its state among them.
    """
    return ("answer", variable_key, news_key, session_key, variable, life, *_flat(fields))


def unless(key: str, field: str, value: str, operation: Op) -> Op:
    """Do something, a Redis command, unless a field of a hash has this value."""
    return ("unless", key, field, value, *operation)


def bury_call(dead_key: str, tasks_key: str, call_key: str, call: str, error: ParrotError) -> Op:
    """Keep a call that was accepted among the dead letters, as it was submitted: its record has the request."""
    header = {"stream": tasks_key, "id": call, "code": error.code, "reason": str(error)}
    return ("bury", dead_key, call_key, DEAD_LETTERS, str(VERSION), SubmitCall.__name__, *_flat(header))


def _flat(fields: Mapping[str, str]) -> list[str]:
    return [part for pair in fields.items() for part in pair]


def bury(dead_key: str, stream: str, entry: str, error: ParrotError, fields: Mapping[Any, Any], most: int = KEPT_BYTES) -> Op:
    """Keep an entry that could not be handled among the dead letters.

    Args:
        dead_key: the dead-letter stream.
        stream, entry: where it was found.
        error: why it could not be handled.
        fields: what it held, as text or bytes; kept as JSON, from which `unearth` makes the same bytes again.
        most: bytes that are kept of it. Of a longer one the letter has its size in a field `cut`.
    """
    raw = [(_bytes(name), _bytes(value)) for name, value in fields.items()]
    size = sum(len(name) + len(value) for name, value in raw)
    parts = ("stream", stream, "id", entry, "code", error.code, "reason", str(error), "entry", _json(_cut(raw, most)))
    cut = ("cut", str(size)) if size > most else ()
    return ("XADD", dead_key, "MAXLEN", "~", DEAD_LETTERS, "*", *parts, *cut)


def unearth(entry: str) -> dict[bytes, bytes]:
    """The fields of a buried entry, byte for byte (up to where it was cut)."""
    return {name.encode("utf-8", "surrogateescape"): value.encode("utf-8", "surrogateescape") for name, value in json.loads(entry).items()}


def _bytes(raw: str | bytes) -> bytes:
    return raw if isinstance(raw, bytes) else raw.encode()


def _cut(raw: list[tuple[bytes, bytes]], most: int) -> dict[str, str]:
    kept: dict[str, str] = {}
    for name, value in raw:
        if most <= 0:
            break
        name, value = name[:most], value[: max(0, most - len(name))]
        kept[_text(name)] = _text(value)
        most -= len(name) + len(value)
    return kept


def _text(raw: bytes) -> str:
    """Any bytes as text, so that they can be had back: what is no UTF-8 becomes halves of surrogate pairs."""
    return raw.decode("utf-8", "surrogateescape")


def _json(fields: Mapping[str, str]) -> str:
    readable = json.dumps(fields, ensure_ascii=False)
    try:
        readable.encode()
    except UnicodeEncodeError:
        return json.dumps(fields)  # bytes that are no text: escaped, so that the letter itself is text
    return readable
