"""What an engine worker receives on its job stream."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from pydantic import field_validator

from parrot.sampling import SamplingConfig
from parrot.wire.codec import Door, Message
from parrot.wire.to_core import Chat, Count, Id, Name

_NAMED = re.compile(r"[A-Za-z0-9_.\-]{1,128}")  # as Id; a piece is a tuple, to be made fast


class Piece(NamedTuple):
    """One segment of a prompt, resolved as far as ServeCore does it.

    Attributes:
        kind: `text` (constant), `hash` (constant, to be read from the key of that hash), `variable` (the value of
            this variable) or `role` (a chat turn begins).
        value: the text, hash, variable id or role.
    """

    kind: Literal["text", "hash", "variable", "role"]
    value: str


class Job(Message):
    """Fill the pieces, then generate one variable.

    Attributes:
        variable: the output; with `attempt` it fences everything that the job writes.
        attempt: which engine in turn was given this generation, from 1.
        prompt: everything before the output, in order; the whole chain of contexts.
        priority: lower first.
    """

    variable: Id
    attempt: Count
    session: Id
    call: Id
    function: Name
    output: Name
    prompt: list[Piece]
    sampling: SamplingConfig = SamplingConfig()
    chat: Chat = "auto"
    priority: int = 0

    @field_validator("prompt")
    @classmethod
    def _names(cls, prompt: list[Piece]) -> list[Piece]:
        """Names of keys are what a name may be: any other could lead to a key of another type."""
        if any(piece.kind in ("variable", "hash") and not _NAMED.fullmatch(piece.value) for piece in prompt):
            raise ValueError("a piece names no variable or text")
        return prompt


class Cancel(Message):
    """Stop an attempt and free what it holds; nobody waits for an answer."""

    variable: Id
    attempt: Count


Order = Job | Cancel

jobs: Door[Order] = Door(Job, Cancel)
