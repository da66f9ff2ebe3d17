"""Ending at a signal: Ctrl-C, SIGTERM and SIGHUP cancel what runs, which then tidies up."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(main: Coroutine[Any, Any, T], stopped: T, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> T:
    """Run a coroutine in a new event loop until it ends or a signal stops it.

    Args:
        main: is cancelled at the first signal; each further signal cancels the step of tidying up that it waits for.
        stopped: what to answer if a signal stopped it.
        loop_factory: makes the event loop; asyncio's own by default.
    """

    async def guarded() -> T:
        task = asyncio.ensure_future(main)
        loop = asyncio.get_running_loop()
        caught: list[int] = []

        def stop(number: int) -> None:
            caught.append(number)
            task.cancel()

        for number in _STOPPING:
            loop.add_signal_handler(number, stop, number)
        try:
            return await task
        except asyncio.CancelledError:
            if not caught:
                raise
            return stopped

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(guarded())
