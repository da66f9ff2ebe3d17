"""Texts that can travel: what is no text, or too long, is refused where it is given."""

from __future__ import annotations

from parrot.app.ids import is_text
from parrot.errors import CallError, LimitExceeded
from parrot.wire.codec import MAX_TEXT_BYTES


def check(text: str, what: str) -> str:
    """A text that may be sent.

    Args:
        text: a value or a constant.
        what: how to call it in an error.

    Raises:
        CallError: no model can read it.
        LimitExceeded: it is too long.
    """
    if not is_text(text):
        raise CallError(f"{what} holds half of a surrogate pair, which no model can read. Remove it.")
    if len(text) > MAX_TEXT_BYTES // 4 and (size := len(text.encode())) > MAX_TEXT_BYTES:
        raise LimitExceeded(f"{what} has {size:,} bytes; the limit of one text (MAX_TEXT_BYTES) is {MAX_TEXT_BYTES:,}.")
    return text
