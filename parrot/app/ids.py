"""Names that are readable and cannot be guessed, and texts that can travel."""

from __future__ import annotations

import re
from base64 import b32encode
from secrets import token_bytes

from parrot.errors import CallError
from parrot.wire.keys import content_hash

_OTHER = re.compile(r"[^A-Za-z0-9_]+")
_READABLE = 32  # characters of the readable part
_RANDOM = 10  # bytes; 16 characters
_GIVEN = re.compile(r"[A-Za-z0-9_.\-]{1,60}")


def fresh(name: str) -> str:
    """A new id, `<name>-<random>`, with 80 random bits.

    Args:
        name: whatever people call it; what does not fit an id becomes a dash.
    """
    readable = _OTHER.sub("-", name[:_READABLE]).strip("-") or "x"
    return f"{readable}-{b32encode(token_bytes(_RANDOM)).decode().lower()}"


def given(call_id: str, session: str) -> str:
    """The id of a call that its caller named: the same for the same name in the same session, unlike those in other sessions.

    Raises:
        CallError: the name cannot be part of an id.
    """
    if not is_given(call_id):
        raise CallError(f"call_id={call_id!r} cannot be taken. Write 1 to 60 letters, digits, dots, dashes and underscores.")
    return f"{call_id}-{content_hash(session)[:16]}"


def is_given(call_id: str) -> bool:
    """Whether a call may be named so."""
    return isinstance(call_id, str) and _GIVEN.fullmatch(call_id) is not None


def is_text(text: str) -> bool:
    """Whether a str can be written as UTF-8: one with half of a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
