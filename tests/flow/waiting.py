"""Waiting for what other processes do, which has no event to wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def until(truth: Callable[[], Awaitable[object]], timeout: float = 15) -> None:
    """Ask again and again until it is true.

    Raises:
        TimeoutError: it did not become true within so many seconds.
    """
    async with asyncio.timeout(timeout):
        while not await truth():
            await asyncio.sleep(0.02)
