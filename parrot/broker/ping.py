"""Is a server there? Asked before a process begins its work, so that a missing one is a sentence or a wait, not a stack trace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from parrot.broker.connection import connect, in_sentences
from parrot.errors import BrokerUnavailable

_FIRST_PAUSE = 0.25  # seconds
_LONGEST_PAUSE = 5.0


async def ping(url: str) -> None:
    """Ask the server at `url` once.

    Raises:
        BrokerUnavailable: it does not answer, or refuses the login.
    """
    redis = connect(url)
    try:
        with in_sentences(url):
            await redis.ping()
    finally:
        await redis.aclose()


async def wait_for(url: str, tell: Callable[[str], object]) -> None:
    """Wait until the server at `url` answers, for as long as it takes.

    Args:
        url: the server.
        tell: is given a sentence each time it does not answer.
    """
    pause = _FIRST_PAUSE
    while True:
        try:
            return await ping(url)
        except BrokerUnavailable as error:
            tell(f"{error} Trying again in {pause:g} s.")  # the caller waits on: a server may start after us
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
