"""How apps hand in tasks: refused at the door while too many calls are under way."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from parrot.broker.streams import append
from parrot.errors import Overloaded
from parrot.wire.codec import Message
from parrot.wire.keys import Keys
from parrot.wire.to_core import SubmitCall

FRESH = 0.1  # seconds for which figures are believed: a submit does not pay a round trip of its own for them


class Submission:
    """The way in for one tenant.

    The figures are ServeCore's, as of its last batch, so the door is a little blurred; what slips through ServeCore itself refuses,
    by failing the call's variables.

    Args:
        redis: a client.
        keys: the cell's names.
        tenant: whose calls are counted.
    """

    def __init__(self, redis: Redis, keys: Keys, tenant: str) -> None:
        self._redis = redis
        self._keys = keys
        self._tenant = tenant
        self._looked = 0.0
        self._refusal: Overloaded | None = None

    async def send(self, messages: Sequence[Message]) -> list[str]:
        """Append tasks in order, in one round trip: all of them or none.

        Raises:
            Overloaded: there is a call among them, and too many are under way; the message has the figures.
        """
        if any(isinstance(message, SubmitCall) for message in messages):
            await self._check()
        return await append(self._redis, self._keys.tasks, messages, whole=True)

    async def _check(self) -> None:
        if time.monotonic() - self._looked > FRESH:
            self._refusal = await self._look()
            self._looked = time.monotonic()
        if self._refusal is not None:
            raise self._refusal

    async def _look(self) -> Overloaded | None:
        fields = ["active", "limit_active", f"tenant:{self._tenant}", "limit_tenant"]
        answer: Any = await self._redis.hmget(self._keys.core, fields)
        active, allowed, mine, allowed_mine = (int(raw or 0) for raw in answer)
        if allowed and active >= allowed:
            return Overloaded(f"{active:,} calls are under way; {allowed:,} are allowed. Submit again later.")
        if allowed_mine and mine >= allowed_mine:
            return Overloaded(f"{mine:,} calls of {self._tenant} are under way; {allowed_mine:,} are allowed. Submit again later.")
        return None
