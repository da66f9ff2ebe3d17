"""Names that are readable and cannot be guessed, and texts that can travel."""

from __future__ import annotations

import re
from base64 import b32encode
from secrets import token_bytes

_OTHER = re.compile(r"[^A-Za-z0-9_]+")
_READABLE = 32  # characters of the readable part
_RANDOM = 10  # bytes; 16 characters


def fresh(name: str) -> str:
    """A new id, `<name>-<random>`, with 80 random bits.

    Args:
        name: whatever people call it; what does not fit an id becomes a dash.
    """
    readable = _OTHER.sub("-", name[:_READABLE]).strip("-") or "x"
    return f"{readable}-{b32encode(token_bytes(_RANDOM)).decode().lower()}"


def is_text(text: str) -> bool:
    """Whether a str can be written as UTF-8: one with half of a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
