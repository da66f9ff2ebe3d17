"""`parrot worker`: one engine worker. It becomes the Celery worker that hosts the engine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated, Optional

import structlog
import typer

from parrot import log
from parrot.broker.ping import wait_for
from parrot.cli import signals
from parrot.cli.options import Engine, Model, RedisUrl
from parrot.config import Settings, load

# Engines do not listen to each other, and come up a second sooner without gossip and mingle. See workers/engine.py.
CELERY_WORKER = ("-m", "celery", "-q", "-A", "workers.engine", "worker", "-P", "solo", "--without-gossip", "--without-mingle")


def worker(
    engine: Engine = None,
    model: Model = None,
    name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="NAME", help="The worker's name for people. Default: PARROT_ENGINE_NAME, else host and number."),
    ] = None,
    redis_url: RedisUrl = None,
) -> None:
    """Run one engine worker: a Celery worker that hosts an engine.

    It waits for a broker that is not there yet. SIGTERM drains it: it takes no new job, and finishes or hands back what runs.

    Example: `PARROT_REDIS_URL=redis://bus:6379/0 parrot worker --engine vllm --model Qwen/Qwen3-8B --name gpu-0`
    """
    settings = load(engine=engine, model=model, engine_name=name, redis_url=redis_url)
    log.setup(settings.log_level, settings.log_json)
    tell = structlog.get_logger("parrot.worker").warning
    if not signals.run(_reached(settings, tell), stopped=False):
        return
    os.execve(sys.executable, [sys.executable, *CELERY_WORKER], {**os.environ, **_environment(settings)})  # noqa: S606 - our own program and arguments


async def _reached(settings: Settings, tell: Callable[[str], object]) -> bool:
    await wait_for(settings.redis_url, tell)
    return True


def _environment(settings: Settings) -> dict[str, str]:
    chosen = {"PARROT_ENGINE": settings.engine, "PARROT_MODEL": settings.model, "PARROT_REDIS_URL": settings.redis_url}
    return chosen if settings.engine_name is None else chosen | {"PARROT_ENGINE_NAME": settings.engine_name}
