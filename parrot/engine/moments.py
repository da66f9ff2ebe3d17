"""The time of day, as it is written into keys."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache


def now() -> str:
    """This moment, to the millisecond."""
    return _written(time.time_ns() // 1_000_000)


@lru_cache(1)
def _written(milliseconds: int) -> str:  # many generations end in the same one
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
