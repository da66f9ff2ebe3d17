"""Dead letters: entries that nobody could handle, kept with the reason until somebody replays or drops them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from parrot.errors import MessageError
from parrot.wire.keys import Keys
from parrot.wire.to_ledger import unearth


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter.

    Attributes:
        id: its own, by which people name it.
        stream, entry: where the entry lay; of a poison call, `entry` is the call's id.
        code, reason: why it could not be handled.
        fields: what it held, byte for byte.
        cut: its whole size in bytes, if it was too large to be kept whole; else 0.
    """

    id: str
    stream: str
    entry: str
    code: str
    reason: str
    fields: dict[bytes, bytes]
    cut: int

    @property
    def kind(self) -> str:
        return self.fields.get(b"kind", b"").decode("utf-8", "replace")


class DeadLetters:
    """The dead letters of one cell.

    Args:
        redis: a client.
        keys: the cell's names.
    """

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def newest(self, last: int) -> list[Letter]:
        """The `last` newest ones, the newest first."""
        rows: Any = await self._redis.xrevrange(self._keys.dead, count=last)
        return [_letter(raw, fields) for raw, fields in rows]

    async def count(self) -> int:
        """How many there are."""
        found: int = await self._redis.xlen(self._keys.dead)
        return found

    async def get(self, letter: str) -> Letter:
        """One of them.

        Raises:
            MessageError: there is none of this id.
        """
        try:
            rows: Any = await self._redis.xrange(self._keys.dead, letter, letter)
        except ResponseError:
            rows = []  # it is no id at all
        if not rows:
            raise MessageError(f"There is no dead letter {letter}. `parrot dead ls` lists them; the oldest go when there are too many.")
        return _letter(*rows[0])

    async def drop(self, letters: Sequence[Letter]) -> int:
        """Forget some; how many of them were still there."""
        dropped: int = await self._redis.xdel(self._keys.dead, *(letter.id for letter in letters))
        return dropped


def _letter(raw: bytes, fields: dict[bytes, bytes]) -> Letter:
    text = {name.decode(): value.decode("utf-8", "replace") for name, value in fields.items()}
    return Letter(
        id=raw.decode(),
        stream=text.get("stream", ""),
        entry=text.get("id", ""),
        code=text["code"],
        reason=text["reason"],
        fields=unearth(text["entry"]),
        cut=int(text.get("cut", "0")),
    )
