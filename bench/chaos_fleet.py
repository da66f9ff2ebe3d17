"""The processes of `bench.chaos`: started, killed, stopped, woken, and started again when they have died."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from parrot.broker.embedded import EmbeddedServer
from parrot.lifeline import die_with_parent

MARK = "PARROT_CHAOS_RUN"  # in the environment of every process of a run
PAUSE = 0.2  # seconds before what died is started again


class Member:
    """One process of the fleet, over all its incarnations.

    Args:
        name: for people.
        role: `core`, `worker` or `client`.
        argv: program and arguments of an incarnation, by its number.
        environment: added to ours.
        logs: folder of the logs, one for each incarnation.
        ready_words: it is ready once one of them is in its log.
    """

    def __init__(
        self, name: str, role: str, argv: Callable[[int], list[str]], environment: Mapping[str, str], logs: Path, *ready_words: str
    ) -> None:
        self.name = name
        self.role = role
        self.incarnation = 0
        self.unforeseen = 0
        self._argv = argv
        self._environment = {**os.environ, **environment}
        self._logs = logs
        self._ready_words = ready_words
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False
        self._stopped = False
        self._retired = False

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    @property
    def log(self) -> Path:
        return self._logs / f"{self.name}-{self.incarnation}.log"

    @property
    def ready(self) -> bool:
        """It runs and has come up."""
        return self.alive and not self._stopped and any(words in self.log.read_text(errors="replace") for words in self._ready_words)

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the next incarnation. Call it in the main thread: see `parrot.lifeline`."""
        self.incarnation += 1
        self._killed = False
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._argv(self.incarnation),
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=partial(die_with_parent, os.getpid()),
            )

    def kill(self) -> None:
        """SIGKILL."""
        self._killed = True
        os.kill(self.pid, signal.SIGKILL)

    def stop(self) -> None:
        """SIGSTOP."""
        self._stopped = True
        os.kill(self.pid, signal.SIGSTOP)

    def wake(self) -> None:
        """SIGCONT, if it was stopped."""
        if self._stopped and self.alive:
            os.kill(self.pid, signal.SIGCONT)
        self._stopped = False

    async def keep(self) -> None:
        """Start it again whenever it has died."""
        while not self._retired:
            if not self.alive:
                self.unforeseen += self._process is not None and not self._killed
                self._stopped = False
                await asyncio.sleep(PAUSE)
                self.start()
            await asyncio.sleep(0.02)

    async def end(self, patience: float) -> bool:
        """SIGTERM, and SIGKILL after so many seconds; it is not started again. Whether it ended by itself."""
        self._retired = True
        if not self.alive or self._process is None:
            return True
        self.wake()
        self._process.terminate()
        deadline = time.monotonic() + patience
        while self.alive and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        in_time = not self.alive
        if not in_time:
            self._process.kill()
        self._process.wait()
        return in_time


class Broker:
    """The server, which dies and comes back on its data."""

    name = role = "broker"

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server

    def kill_and_start(self) -> None:
        """SIGKILL, and a new one at once. Call it in the main thread."""
        os.kill(self.pid, signal.SIGKILL)
        self._server.stop()  # finds it dead
        self._server.start()

    @property
    def pid(self) -> int:
        if self._server._process is None:
            raise RuntimeError("The broker does not run.")
        return self._server._process.pid


def core(number: int, environment: Mapping[str, str], logs: Path) -> Member:
    """A ServeCore, as `parrot core` runs it."""
    argv = [sys.executable, "-m", "parrot.cli", "core"]
    return Member(f"core-{number}", "core", lambda _: argv, environment, logs, "leading", "standing by")


def worker(number: int, environment: Mapping[str, str], logs: Path) -> Member:
    """An engine worker, as `parrot worker` runs it."""
    name = f"worker-{number}"
    argv = [sys.executable, "-m", "parrot.cli", "worker", "--name", name]
    return Member(name, "worker", lambda _: argv, environment, logs, "engine up")


def client(environment: Mapping[str, str], logs: Path, notes: Path, seed: int, at_once: int) -> Member:
    """A client; each incarnation makes other programs."""

    def argv(incarnation: int) -> list[str]:
        return [sys.executable, "-m", "bench.chaos_client", str(notes), str(seed * 1000 + incarnation), str(at_once)]

    return Member("client", "client", argv, environment, logs, "client ready")


def survivors(mark: str) -> Iterator[str]:
    """Processes of a run that are there: id and command line."""
    wanted = f"{MARK}={mark}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                yield f"{folder.name} {words.decode(errors='replace')[:200]}"
        except OSError:
            continue  # it ended while we looked, or is somebody else's
