"""How long to wait between attempts while something is away."""

from __future__ import annotations

from collections.abc import Iterator

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds


def pauses() -> Iterator[float]:
    """Seconds between attempts: each twice the one before, up to a second."""
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE)
