"""Everything that Parrot needs, on this machine: broker, ServeCore, engine workers, Flower. Started in order, ended in reverse."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Never, TypeVar

from rich.console import Console

from parrot.broker.connection import connect, in_sentences
from parrot.broker.directory import Directory
from parrot.broker.embedded import EmbeddedServer
from parrot.broker.entries import EngineEntry
from parrot.cli.steps import Steps
from parrot.cli.supervisor import Child, Spec
from parrot.cli.worker_log import phase
from parrot.config import Settings
from parrot.errors import ConfigurationError
from parrot.wire.keys import Keys

T = TypeVar("T")

HOST = "127.0.0.1"
_LOOK_SECONDS = 0.2  # how often a starting child is looked at
_BROKER_PAUSE = 0.5  # seconds between looks at a broker that runs, and before it is started again
_HEALTH = b"GET /healthcheck HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start.

    Attributes:
        broker: data folder of the broker.
        logs: folder of the logs, which begin anew.
        engines: number of engine workers.
        port: of the broker; None lets the system choose.
        flower_port: of Flower; None lets the system choose.
    """

    broker: Path
    logs: Path
    engines: int = 1
    port: int | None = None
    flower_port: int | None = None


@dataclass(frozen=True, slots=True)
class Stack:
    """What runs.

    Attributes:
        redis_url: the broker.
        flower_url: Flower's web page.
        engines: as they registered.
        pids: process ids by name.
    """

    redis_url: str
    flower_url: str
    engines: list[EngineEntry]
    pids: dict[str, int]
    _keepers: Sequence[asyncio.Task[Never]]

    async def alongside(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` while everything is kept running.

        Raises:
            Exception: what `work` raises; or what made it impossible to keep a process running, then `work` is cancelled.
        """
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task, *self._keepers}, return_when=asyncio.FIRST_COMPLETED)
            for keeper in self._keepers:
                if keeper.done():
                    keeper.result()
            return await task
        finally:
            task.cancel()
            await asyncio.wait({task})


def require_engine(settings: Settings, console: Console | None = None) -> None:
    """Make sure that the engine can be started: the extra is installed, and the model is prepared, which may take a while.

    Raises:
        ConfigurationError: something is missing; the message says how to get it.
    """
    if settings.engine != "vllm":
        return
    if find_spec("vllm") is None:
        raise ConfigurationError(
            "vLLM is not installed. On a machine with a GPU: pip install 'parrot-serve[gpu]'; on a CPU: `make install` in the project. "
            "Without a model: add --engine simulated."
        )
    from parrot.engine.model import prepare

    prepare(settings, console)


@asynccontextmanager
async def start(settings: Settings, plan: Plan, steps: Steps) -> AsyncIterator[Stack]:
    """Start everything, wait until it is ready, and end it when the block is left.

    Args:
        settings: engine, model and cell.
        plan: what to start.
        steps: is told about it.

    Raises:
        ConfigurationError: something does not start; the message holds the end of its log.
    """
    async with AsyncExitStack() as ending:
        with steps.doing("Starting the broker"):
            server = EmbeddedServer(plan.broker, plan.port).start()
            ending.callback(server.stop)
        redis = connect(server.url)
        ending.push_async_callback(redis.aclose)
        directory = Directory(redis, Keys(settings.cell))
        environment = _environment(settings, server.url)

        with steps.doing("Starting ServeCore"), in_sentences(server.url):
            epoch = await directory.epoch()
            core = await _started(ending, steps, _core(plan, environment))
            await _leads(directory, epoch, core)

        flower_port = plan.flower_port or free_port()
        flower = await _started(ending, steps, _flower(plan, environment, flower_port))
        workers = [await _started(ending, steps, _worker(plan, environment, number)) for number in range(plan.engines)]
        what = f"{len(workers)} engine worker{'s' if len(workers) > 1 else ''} ({settings.engine}, {settings.model})"
        with steps.doing(f"Starting {what}"), in_sentences(server.url):
            engines = await _registered(directory, workers, [core, flower, *workers], steps)
        with steps.doing("Starting Flower"):
            await _answering(flower, flower_port)

        children = [core, flower, *workers]
        keepers: list[asyncio.Task[Never]] = [asyncio.create_task(child.keep(), name=child.spec.name) for child in children]
        keepers.append(asyncio.create_task(_keep_broker(server, steps), name="broker"))
        ending.push_async_callback(_drained, workers, steps)
        ending.push_async_callback(_cancelled, keepers)  # before anything is ended, or it would be started again
        pids = {child.spec.name: child.pid for child in children}
        yield Stack(server.url, f"http://{HOST}:{flower_port}", engines, pids, keepers)


def free_port() -> int:
    """A port of this machine that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    """Whether a server on this machine could listen on `port`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False  # the caller says which and what to do
        return True


def _environment(settings: Settings, url: str) -> dict[str, str]:
    celery = settings.model_copy(update={"redis_url": url, "celery_url": None}).celery_broker
    return {
        "PARROT_REDIS_URL": url,
        "PARROT_CELERY_URL": celery,
        "PARROT_CELL": settings.cell,
        "PARROT_ENGINE": settings.engine,
        "PARROT_MODEL": settings.model,
        "PARROT_DATA": str(settings.data.resolve()),
        "PYTHONUNBUFFERED": "1",
        "VLLM_LOGGING_LEVEL": os.environ.get("VLLM_LOGGING_LEVEL", "INFO"),  # what it says while it starts, people are told
    }


def _core(plan: Plan, environment: dict[str, str]) -> Spec:
    return Spec("core", [sys.executable, "-m", "parrot.cli", "core"], environment, plan.logs / "core.log", patience=10)


def _worker(plan: Plan, environment: dict[str, str], number: int) -> Spec:
    name = f"engine-{number}"
    argv = [sys.executable, "-m", "parrot.cli", "worker", "--name", name]
    return Spec(name, argv, environment, plan.logs / f"{name}.log", patience=30)


def _flower(plan: Plan, environment: dict[str, str], port: int) -> Spec:
    # Without a password, since it listens on this machine only; broker_configs/flowerconfig.py is for all else.
    argv = [sys.executable, "-m", "celery", "flower", f"--address={HOST}", f"--port={port}"]
    celery = {"CELERY_BROKER_URL": environment["PARROT_CELERY_URL"], "FLOWER_UNAUTHENTICATED_API": "true"}
    return Spec("flower", argv, environment | celery, plan.logs / "flower.log", patience=5)


async def _started(ending: AsyncExitStack, steps: Steps, spec: Spec) -> Child:
    spec.log.unlink(missing_ok=True)
    child = Child(spec, steps.say)
    ending.push_async_callback(child.stop)
    await child.start()
    return child


async def _leads(directory: Directory, before: int, core: Child) -> None:
    while await directory.epoch() == before:
        core.check()
        await asyncio.sleep(_LOOK_SECONDS)


async def _registered(directory: Directory, workers: Sequence[Child], children: Sequence[Child], steps: Steps) -> list[EngineEntry]:
    while True:
        found = {entry.pid: entry for entry in await directory.engines()}
        # A process id alone may be an earlier run's: its engine is in the list until its lease has ended.
        ours = [found[child.pid] for child in workers if child.pid in found and _since(found[child.pid], child.started)]
        if len(ours) == len(workers):
            return ours
        for child in children:
            child.check()
        steps.detail(phase(workers[0].lines()))
        await asyncio.sleep(_LOOK_SECONDS)


def _since(engine: EngineEntry, moment: float) -> bool:
    return bool(engine.up) and datetime.fromisoformat(engine.up).timestamp() >= moment


async def _answering(flower: Child, port: int) -> None:
    while not await _healthy(port):
        flower.check()
        await asyncio.sleep(_LOOK_SECONDS)


async def _healthy(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False  # it does not listen yet; the caller asks again
    try:
        writer.write(_HEALTH)
        return b" 200 " in await asyncio.wait_for(reader.readline(), 5)
    except (OSError, TimeoutError):
        return False  # it listens and is still busy starting; the caller asks again
    finally:
        writer.close()


async def _keep_broker(server: EmbeddedServer, steps: Steps) -> Never:
    while True:
        await asyncio.sleep(_BROKER_PAUSE)
        if not server.running:
            steps.say(f"The broker ended; it is started again on its data. Its log: {server.log}")
            server.start()  # if it cannot be started, nothing else can go on: the error ends the stack


async def _drained(workers: Sequence[Child], steps: Steps) -> None:
    steps.say("Stopping: engine workers finish what runs …")
    await asyncio.gather(*(worker.stop() for worker in workers))


async def _cancelled(tasks: Sequence[asyncio.Task[Never]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
