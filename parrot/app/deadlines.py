"""Deadlines: said in seconds from now, sent in seconds since the epoch."""

from __future__ import annotations

import time

from parrot.errors import CallError

_LONGEST = 10 * 365 * 86_400  # seconds


def from_now(seconds: float | None) -> float | None:
    """The moment of `deadline=seconds`, in seconds since the epoch; None for no deadline.

    Raises:
        CallError: it is not to come, or not in our time.
    """
    return None if seconds is None else moment(seconds, f"deadline={seconds!r}")


def moment(seconds: float, said: str) -> float:
    """The moment so many seconds from now, in seconds since the epoch.

    Args:
        seconds: whatever the caller wrote; checked here.
        said: how the caller wrote it, for the error.

    Raises:
        CallError: it is not to come, or not in our time.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= _LONGEST:
        raise CallError(f"{said} cannot be met. Write how many seconds from now, more than 0 and at most ten years.")
    return time.time() + seconds
