"""Token streams: what a generation has produced so far, part by part, durable and numbered.

Parts are numbered 1, 2, 3, … over all attempts of a variable; the number is the id of the stream entry (`<number>-0`), so a part that is
sent twice lands once. The texts of all parts after the last `reset` are the value, as far as it has come.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgpack
import orjson
from redis.asyncio import Redis

from parrot.broker.scripts import run
from parrot.broker.streams import Entry
from parrot.wire.keys import Keys
from parrot.wire.to_engine import Job


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of an output.

    Attributes:
        number: its place in the stream, from 1.
        text: what to append.
        tokens: the ids behind it; empty where text and tokens do not agree.
        kind: `more` appends; `reset` says that all before it is void, since generation began anew, and appends to nothing.
        by: the model and tokenizer that made it, in the first part of an output; a later attempt goes on from there only with the same.
    """

    number: int
    text: str
    tokens: tuple[int, ...] = ()
    kind: Literal["more", "reset"] = "more"
    by: str = ""


class Tokens:
    """Access to the token streams of one cell."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def append(self, parts: Sequence[tuple[Job, Part]]) -> list[bool]:
        """Append parts of many generations in one round trip; False where the attempt must stop and nothing was written."""
        rows = [
            (self._keys.variable(job.variable), str(job.attempt), self._keys.tokens(job.variable), *written(part)) for job, part in parts
        ]
        packed = [msgpack.packb(part.tokens) for _, part in parts]
        return [answer == 1 for answer in await run(self._redis, "append", [self._keys.events], orjson.dumps(rows), *packed)]

    async def read(self, variables: Iterable[str]) -> list[list[Part]]:
        """All parts of variables that are there, in one round trip."""
        pipe = self._redis.pipeline(transaction=False)
        for variable in variables:
            pipe.xrange(self._keys.tokens(variable))
        return [[part_of(Entry("", raw.decode(), fields)) for raw, fields in rows] for rows in await pipe.execute()]


def written(part: Part) -> tuple[str, str, str, str]:
    """A part as scripts take it, but for its tokens: number, kind, text, by."""
    return f"{part.number}-0", part.kind, part.text, part.by


def part_of(entry: Entry) -> Part:
    """The part that a stream entry holds."""
    fields = entry.fields
    kind: Literal["more", "reset"] = "reset" if fields[b"kind"] == b"reset" else "more"
    tokens = tuple(msgpack.unpackb(fields[b"tokens"]))
    return Part(int(entry.id.partition("-")[0]), fields[b"text"].decode(), tokens, kind, fields.get(b"by", b"").decode())
