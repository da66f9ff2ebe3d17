"""A rival of `bench.recovery`: Celery with Redis, set to notice a dead worker as early as it can."""

from __future__ import annotations

import os

from celery import Celery

from bench.recovery_marks import SECONDS, work

app = Celery("recovery", broker=os.environ.get("BENCH_URL", "redis://localhost:6379/1"))
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
    task_serializer="json",
    accept_content=["json"],
    worker_hijack_root_logger=False,
    # Not shorter than a task takes: else the other worker runs again what the first one still works on.
    broker_transport_options={
        "visibility_timeout": SECONDS + 1,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        "unacked_mutex_expire": 5,
    },
)


@app.task(name="bench.recovery")  # type: ignore[untyped-decorator]
def recovery(name: str) -> None:
    """Takes a while."""
    work(name)
