"""Celery, as the engine workers use it: for events and remote control. Loaded by `workers.engine`; Celery documents each setting."""

from __future__ import annotations

from parrot.config import load

broker_url = load().celery_broker  # PARROT_CELERY_URL, or database 1 of PARROT_REDIS_URL
broker_connection_retry_on_startup = True
broker_connection_max_retries = None  # a broker that is away is waited for: the engine works on without Celery

# Nothing from the wire is ever unpickled.
accept_content = ["json"]
task_serializer = "json"
result_serializer = "json"
event_serializer = "json"

worker_send_task_events = True
event_queue_expires = 60  # seconds after which the queue of a Flower that was killed goes
worker_prefetch_multiplier = 1
worker_cancel_long_running_tasks_on_connection_loss = False
worker_hijack_root_logger = False  # `parrot.log` sets logging up
worker_redirect_stdouts = False
enable_utc = True
