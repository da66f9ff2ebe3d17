"""Real processes that tests kill, stop and wake: each ends with the test, however the test ends.

They are forked from one that has imported everything already (`forkserver`), so that starting one takes milliseconds, not a second.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from parrot import log
from parrot.config import load
from parrot.lifeline import die_with_parent
from tests.flow.silent import Silent
from workers.hosting import EngineThread

LEASE = 1.0  # seconds; short, so that tests are
BEAT = 0.2

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["pytest", "uvloop", "parrot.core.loop", "tests.fault.processes", "tests.fault.faulty_core"])


class Victim:
    """A process with its log.

    Args:
        main: what it runs; importable by name.
        arguments: of `main`.
        environment: added to ours.
        log: receives what it writes.
    """

    def __init__(self, main: Callable[..., None], arguments: tuple[object, ...], environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        self._process: ForkServerProcess = _CONTEXT.Process(target=_run, args=(main, arguments, dict(environment), log))
        self._process.start()

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def kill(self) -> float:
        """SIGKILL, and wait until it is gone; when it was sent, on the monotonic clock."""
        at = time.monotonic()
        self._process.kill()
        self._process.join()
        return at

    def stop(self) -> float:
        """SIGSTOP; when it was sent, on the monotonic clock."""
        os.kill(self.pid, signal.SIGSTOP)
        return time.monotonic()

    def wake(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    async def died(self, timeout: float = 15) -> float:
        """Wait until it has killed itself; when that was seen, on the monotonic clock."""
        async with asyncio.timeout(timeout):
            while self.alive:
                await asyncio.sleep(0.005)
        assert self._process.exitcode == -signal.SIGKILL, self.log.read_text()
        return time.monotonic()

    def said(self, words: str) -> int:
        """How often it said this in its log."""
        return self.log.read_text().count(words) if self.log.exists() else 0


def _run(main: Callable[..., None], arguments: tuple[object, ...], environment: Mapping[str, str], path: Path) -> None:
    die_with_parent(os.getppid())
    os.environ.update(environment)
    output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    main(*arguments)


@contextmanager
def process(main: Callable[..., None], *arguments: object, environment: Mapping[str, str], log: Path) -> Iterator[Victim]:
    """A process that does not outlive the block; its log is shown if the test fails."""
    victim = Victim(main, arguments, environment, log)
    try:
        yield victim
    finally:
        victim.kill()  # also where it is stopped
        print(f"--- {log.name}\n{log.read_text() if log.exists() else ''}")


def settings_of(url: str, **settings: object) -> dict[str, str]:
    """The environment of a process of the cell at `url`."""
    chosen: dict[str, object] = {
        "redis_url": url,
        "engine": "simulated",
        "simulated_speed": 20,
        "lease_seconds": LEASE,
        "beat_seconds": BEAT,
        "log_level": "debug",
    }
    return {f"PARROT_{name.upper()}": str(value) for name, value in (chosen | settings).items()}


@contextmanager
def core(url: str, log: Path, **settings: object) -> Iterator[Victim]:
    """A ServeCore, as `parrot core` runs it."""
    with process(run_core, environment=settings_of(url, **settings), log=log) as victim:
        yield victim


@contextmanager
def engine(url: str, log: Path, **settings: object) -> Iterator[Victim]:
    """An engine worker with the simulated engine: what a Celery worker hosts, without Celery."""
    with process(run_engine, environment=settings_of(url, **settings), log=log) as victim:
        yield victim


def run_core() -> None:
    """The main of a ServeCore process."""
    from parrot.cli.core import core as command

    command(None)


def run_engine() -> None:
    """The main of an engine process; it runs until it is killed."""
    settings = load()
    log.setup(settings.log_level)
    hosted: Any = EngineThread(settings, "sim", Silent(), lambda: os._exit(1))
    hosted.start()
    while True:
        signal.pause()
