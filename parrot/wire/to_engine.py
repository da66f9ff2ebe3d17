"""What an engine worker receives on its job stream."""

from __future__ import annotations

from typing import Literal, NamedTuple

from parrot.sampling import SamplingConfig
from parrot.wire.codec import Door, Message
from parrot.wire.to_core import Chat, Id


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
    attempt: int
    session: Id
    call: Id
    function: str
    output: str
    prompt: list[Piece]
    sampling: SamplingConfig = SamplingConfig()
    chat: Chat = "auto"
    priority: int = 0


class Cancel(Message):
    """Stop an attempt and free what it holds; nobody waits for an answer."""

    variable: Id
    attempt: int


Order = Job | Cancel

jobs: Door[Order] = Door(Job, Cancel)
