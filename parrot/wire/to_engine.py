"""What an engine worker receives on its job stream."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from pydantic import field_validator

from parrot.sampling import SamplingConfig
from parrot.wire.codec import Door, Message
from parrot.wire.to_core import Chat, Count, Digest, Id, Label, Name

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


class Mark(NamedTuple):
    """A beginning of a prompt, under the name that ServeCore knows it by: equal beginnings have equal names.

    Attributes:
        piece: how many whole pieces it holds; the prompt's length plus one for the prompt with its output.
        characters: how many characters of the piece after those it holds too.
        name: what `EngineHolds` calls it.
    """

    piece: Count
    characters: Count
    name: Digest


class Job(Message):
    """Fill the pieces, then generate one variable.

    Attributes:
        variable: the output; with `attempt` it fences everything that the job writes.
        attempt: which engine in turn was given this generation, from 1.
        prompt: everything before the output, in order; the whole chain of contexts.
        priority: lower first.
        salt: what is cached of prompts with one salt is never used for those with another; the tenant, if tenants are kept apart.
        marks: beginnings of the prompt of which ServeCore wants to know whether the engine holds them, the shortest first.
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
    marks: tuple[Mark, ...] = ()  # no factory: `model_construct` would inspect it anew for each job
    salt: Label = ""

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


class Reorder(Message):
    """The priority of an attempt has changed; one that has begun to come out goes on as it is."""

    variable: Id
    attempt: Count
    priority: int


class TellHoldings(Message):
    """ServeCore has missed a report: tell all that the KV cache holds (`EngineHolds` with `whole`)."""


Order = Job | Cancel | Reorder | TellHoldings

jobs: Door[Order] = Door(Job, Cancel, Reorder, TellHoldings)
