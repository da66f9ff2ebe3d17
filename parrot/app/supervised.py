"""Background tasks whose death is noticed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from parrot.errors import ParrotError

_PERSISTENCE = 0.1  # seconds between two attempts to cancel a task


def supervise(work: Coroutine[None, None, None], name: str, mourn: Callable[[ParrotError], None]) -> asyncio.Task[None]:
    """Run endless work in the background.

    Args:
        work: runs until it is cancelled.
        name: what it is, for people.
        mourn: told if it ends in any other way, so that nobody waits for it in vain.
    """

    def ended(task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        death = ParrotError(f"The {name} stopped by a fault in Parrot: {task.exception()!r}. Open a new session, and report it, please.")
        death.__cause__ = task.exception()
        mourn(death)

    task = asyncio.create_task(work, name=f"parrot {name}")
    task.add_done_callback(ended)
    return task


async def end(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks and wait until they have gone. How they ended was told to their mourners."""
    living = set(tasks)
    while living:
        for task in living:
            task.cancel()
        # More than once: `asyncio.wait_for` of Python 3.11, which redis-py sends with, may swallow a cancellation.
        _, living = await asyncio.wait(living, timeout=_PERSISTENCE)
