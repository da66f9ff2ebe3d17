"""Asking the broker one question from a command that is not a coroutine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from parrot.broker.connection import connect, in_sentences
from parrot.broker.directory import Directory
from parrot.config import Settings
from parrot.wire.keys import Keys

T = TypeVar("T")


def ask(settings: Settings, question: Callable[[Directory], Awaitable[T]]) -> T:
    """Connect, ask, disconnect.

    Raises:
        BrokerUnavailable: no server answers.
    """

    async def asked() -> T:
        redis = connect(settings.redis_url)
        try:
            with in_sentences(settings.redis_url):
                return await question(Directory(redis, Keys(settings.cell)))
        finally:
            await redis.aclose()

    return asyncio.run(asked())
