"""What a task of `bench.recovery` does in a rival's worker: it takes its time, and notes when it began and ended, and where."""

from __future__ import annotations

import os
import time
from pathlib import Path

SECONDS = int(os.environ.get("BENCH_SECONDS", "6"))  # that a task takes


def work(name: str) -> None:
    """One task."""
    _note("began", name)
    time.sleep(SECONDS)
    _note("ended", name)


def _note(what: str, name: str) -> None:
    with Path(os.environ["BENCH_MARKS"]).open("a") as marks:  # one short write: lines of several processes do not mix
        marks.write(f"{what} {name} {os.getpgid(0)} {time.monotonic()}\n")
