"""Engine workers and Flower as they are run: real processes, with the simulated engine."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from parrot.cli.worker import CELERY_WORKER
from parrot.config import load
from tests.flow.waiting import until

ROOT = Path(__file__).parents[2]
NODE = re.compile(r"^sim-0@")


class Process:
    """A process with its log."""

    def __init__(self, argv: list[str], environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(argv, cwd=ROOT, env={**os.environ, **environment}, stdout=output, stderr=output)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def ended(self, timeout: float = 30) -> int:
        """Its exit status, once it has one."""
        return await asyncio.to_thread(self._process.wait, timeout)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def process(argv: list[str], environment: Mapping[str, str], log: Path) -> Iterator[Process]:
    """A process that does not outlive the test; its log is shown if the test fails."""
    started = Process(argv, environment, log)
    try:
        yield started
    finally:
        started.kill()
        print(log.read_text())


def environment(redis_url: str, **settings: str) -> dict[str, str]:
    chosen = {"redis_url": redis_url, "engine": "simulated", "engine_name": "sim-0", "simulated_speed": "20", "beat_seconds": "0.2"}
    return {f"PARROT_{name.upper()}": value for name, value in (chosen | settings).items()}


@contextmanager
def worker(redis_url: str, log: Path, **settings: str) -> Iterator[Process]:
    with process([sys.executable, *CELERY_WORKER], environment(redis_url, **settings), log) as started:
        yield started


async def inspect(redis_url: str, command: str, **settings: str) -> Any:
    """What the one worker answers to `celery inspect`."""
    argv = [sys.executable, "-m", "celery", "-A", "workers.engine", "inspect", command, "--json", "--timeout", "5"]
    asked = await asyncio.create_subprocess_exec(
        *argv, cwd=ROOT, env={**os.environ, **environment(redis_url, **settings)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await asked.communicate()
    assert asked.returncode == 0, err.decode()
    ((node, answer),) = json.loads(out).items()
    assert NODE.match(node)
    return answer


@contextmanager
def flower(redis_url: str, log: Path) -> Iterator[Process]:
    broker = {"CELERY_BROKER_URL": load(redis_url=redis_url).celery_broker, "FLOWER_BASIC_AUTH": "me:secret"}
    config = ROOT / "broker_configs" / "flowerconfig.py"
    argv = [sys.executable, "-m", "celery", "flower", f"--conf={config}", "--address=127.0.0.1", "--port=0"]
    with process(argv, broker, log) as started:
        yield started


async def flower_url(log: Path) -> str:
    """Where Flower listens, once it says so."""

    async def said() -> list[str]:
        return re.findall(r"Visit me at (http://[\d.:]+)", await asyncio.to_thread(log.read_text))

    await until(said, 30)
    return (await said())[0]


class Flower:
    """Flower's API, as somebody with the password."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def tasks(self) -> dict[str, Any]:
        found: dict[str, Any] = await self._ask("/api/tasks?taskname=parrot.generate")
        return found

    async def workers(self) -> list[str]:
        """The workers that are online."""
        found: dict[str, bool] = await self._ask("/api/workers?status=1")
        return [name for name, online in found.items() if online and NODE.match(name)]

    async def revoke(self, uuid: str) -> str:
        """What its button does; Flower's answer."""
        said: dict[str, str] = await self._ask(f"/api/task/revoke/{uuid}", {"terminate": "true"})
        return said["message"]

    async def _ask(self, path: str, form: Mapping[str, str] | None = None) -> Any:
        token = base64.b64encode(b"me:secret").decode()
        data = None if form is None else urllib.parse.urlencode(form).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, headers={"Authorization": f"Basic {token}"})

        def answer() -> Any:
            with urllib.request.urlopen(request, timeout=10) as reply:
                return json.loads(reply.read())

        return await asyncio.to_thread(answer)
