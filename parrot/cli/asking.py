"""Asking the broker one question from a command that is not a coroutine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from parrot.broker.connection import connect, in_sentences
from parrot.broker.directory import Directory
from parrot.config import Settings
from parrot.wire.keys import Keys

C = TypeVar("C")
T = TypeVar("T")


def ask(settings: Settings, question: Callable[[Directory], Awaitable[T]]) -> T:
    """Connect, ask, disconnect.

    Raises:
        BrokerUnavailable: no server answers.
    """
    return work_with(settings, Directory, question)


def work_with(settings: Settings, kind: Callable[..., C], work: Callable[[C], Awaitable[T]]) -> T:
    """Connect, work with a part of the broker, disconnect.

    Args:
        settings: where the broker is.
        kind: the part: a class that takes a client and the cell's names.
        work: what to do with it.

    Raises:
        BrokerUnavailable: no server answers.
    """

    async def worked() -> T:
        redis = connect(settings.redis_url)
        try:
            with in_sentences(settings.redis_url):
                return await work(kind(redis, Keys(settings.cell)))
        finally:
            await redis.aclose()

    return asyncio.run(worked())
