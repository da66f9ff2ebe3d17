"""The rival of `bench.hops`: a Celery task that passes a text on, with a clock at its start and end.

Settings that favour Celery: no results, no events, messages not persisted by anything but the broker's own AOF, acknowledged early.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from celery import Celery

app = Celery("bench", broker=os.environ.get("BENCH_CELERY_URL", "redis://localhost:6379/1"))
app.conf.update(
    task_ignore_result=True,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
    task_serializer="json",
    accept_content=["json"],
    worker_hijack_root_logger=False,
)
_MARKS = Path(os.environ.get("BENCH_MARKS", os.devnull))


@app.task(name="bench.step")  # type: ignore[untyped-decorator]
def step(text: str, chain: int, place: int, last: bool) -> str:
    """One link of a chain: notes when it began and when its value was ready."""
    began = time.monotonic_ns()
    value = f"{text[:20]}{place}"
    with _MARKS.with_suffix(f".{os.getpid()}").open("a") as marks:
        marks.write(f"{chain} {place} {began} {time.monotonic_ns()} {int(last)}\n")
    return value
