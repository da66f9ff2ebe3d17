"""An event loop in a thread of its own, for code that is not async."""

from __future__ import annotations

from contextlib import AbstractContextManager

from anyio.from_thread import BlockingPortal, start_blocking_portal


def open_portal() -> AbstractContextManager[BlockingPortal]:
    """A way into a new event loop; the loop ends with the block."""
    return start_blocking_portal("asyncio", {"use_uvloop": True}, name="parrot")
