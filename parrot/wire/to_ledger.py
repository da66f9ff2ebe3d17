"""What the commit script receives: the operations of one batch of ServeCore, applied all or not at all.

An operation is a tuple of a Redis command (upper case, applied as it is) or one of the two conditional operations below
(lower case), a key and its arguments. See `broker/lua/commit.lua`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from parrot.errors import ParrotError
from parrot.wire.states import VariableState

Op = tuple[str, ...]

DEAD_LETTERS = "10000"  # about how many dead letters are kept


def put(key: str, fields: Mapping[str, str]) -> Op:
    """Write fields of a hash that only ServeCore writes."""
    return ("HSET", key, *_flat(fields))


def move(variable_key: str, fields: Mapping[str, str]) -> Op:
    """Write fields of a variable, unless it has ended meanwhile: engines end variables without asking ServeCore."""
    return ("move", variable_key, *_flat(fields))


def end(variable_key: str, news_key: str, variable: str, state: VariableState, fields: Mapping[str, str]) -> Op:
    """End a variable and tell its session, unless it has ended already."""
    return ("end", variable_key, news_key, variable, state.value, *_flat(fields))


def _flat(fields: Mapping[str, str]) -> list[str]:
    return [part for pair in fields.items() for part in pair]


def bury(dead_key: str, stream: str, entry: str, error: ParrotError, fields: Mapping[Any, Any]) -> Op:
    """Keep an entry that could not be understood among the dead letters.

    Args:
        dead_key: the dead-letter stream.
        stream, entry: where it was found.
        error: why it could not be understood.
        fields: what it held, as text or bytes; kept as JSON.
    """
    shown = {_shown(name): _shown(value) for name, value in fields.items()}
    body = json.dumps(shown, ensure_ascii=False)
    parts = ("stream", stream, "id", entry, "code", error.code, "reason", str(error), "entry", body)
    return ("XADD", dead_key, "MAXLEN", "~", DEAD_LETTERS, "*", *parts)


def _shown(raw: str | bytes) -> str:
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
