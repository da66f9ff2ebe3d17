"""A child process: started, watched, started again if it dies, ended with everything that it started itself."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Never

from parrot.errors import ConfigurationError
from parrot.lifeline import die_with_parent

_FIRST_PAUSE = 0.5  # seconds before a child that died is started again; doubled each time
_LONGEST_PAUSE = 30.0
_HEALTHY = 60.0  # a child that lived for so long had no trouble starting
_TAIL_LINES = 15


@dataclass(frozen=True, slots=True)
class Spec:
    """How a child is started and ended.

    Attributes:
        name: for people, and of its log file.
        argv: program and arguments.
        environment: added to ours.
        log: receives what it writes.
        patience: seconds that it may take to end after SIGTERM, before it is killed.
    """

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    patience: float


class Child:
    """One supervised process. Use it from the main thread: see `parrot.lifeline`.

    Args:
        spec: how it is started and ended.
        say: is given a line when it died and is started again.
    """

    def __init__(self, spec: Spec, say: Callable[[str], None]) -> None:
        self.spec = spec
        self.started = 0.0
        self._say = say
        self._process: Process | None = None

    @property
    def pid(self) -> int:
        """Process id of the present incarnation, 0 if there is none."""
        return self._process.pid if self._process is not None else 0

    async def start(self) -> None:
        """Start the process, in a session of its own: Ctrl-C in a terminal reaches it through us, in order."""
        self.spec.log.parent.mkdir(parents=True, exist_ok=True)
        with self.spec.log.open("ab") as log:
            self.started = time.time()
            self._process = await asyncio.create_subprocess_exec(
                *self.spec.argv,
                env={**os.environ, **self.spec.environment},
                stdin=DEVNULL,
                stdout=log,
                stderr=STDOUT,
                start_new_session=True,
                preexec_fn=partial(die_with_parent, os.getpid()),
            )

    def check(self) -> None:
        """Raise if it has ended although it only just began.

        Raises:
            ConfigurationError: with the end of its log.
        """
        process = self._process
        if process is not None and process.returncode is not None:
            raise ConfigurationError(
                f"{self.spec.name} {_ending(process.returncode)} while it started. The end of its log, {self.spec.log}:\n{self.tail()}"
            )

    async def keep(self) -> Never:
        """Start it again whenever it dies, with a growing pause, until cancelled."""
        pause = _FIRST_PAUSE
        while True:
            assert self._process is not None  # noqa: S101 - for the type checker: `start` came before
            code = await self._process.wait()
            self._kill_group()
            if time.time() - self.started > _HEALTHY:
                pause = _FIRST_PAUSE
            self._say(f"{self.spec.name} {_ending(code)}; it is started again in {pause:g} s. Its log: {self.spec.log}")
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            await self.start()

    async def stop(self) -> None:
        """End it: SIGTERM and patience, then SIGKILL for it and whatever it left. Cancelling this skips the patience."""
        process = self._process
        if process is None:
            return
        try:
            if process.returncode is None:
                process.terminate()
                await asyncio.wait_for(process.wait(), self.spec.patience)
        except TimeoutError:
            self._say(f"{self.spec.name} did not end within {self.spec.patience:g} s and is killed.")
        finally:
            self._kill_group()
            await process.wait()
            self._process = None

    def tail(self) -> str:
        """The end of its log."""
        return "\n".join(f"  {line}" for line in self.lines()[-_TAIL_LINES:]) or "  (empty)"

    def lines(self) -> list[str]:
        """The last 16 KiB of its log, in lines."""
        try:
            with self.spec.log.open("rb") as log:
                log.seek(max(0, self.spec.log.stat().st_size - 16_384))
                return log.read().decode("utf-8", "replace").splitlines()
        except FileNotFoundError:
            return []  # it was never started

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError):  # then nobody of it is left, as it should be
            os.killpg(self.pid, signal.SIGKILL)


def _ending(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
