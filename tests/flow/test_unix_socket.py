"""A Unix socket on the way to Redis, for apps, ServeCore, and engines in Celery workers."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import parrot as P
from parrot.broker.connection import connect
from parrot.broker.embedded import EmbeddedServer
from tests.fault.processes import core
from tests.fault.programs import step, until_engines
from tests.flow.cells import running
from tests.flow.worker_processes import worker


@pytest.fixture
async def socket_url(tmp_path: Path) -> AsyncIterator[str]:
    """A server; the socket lies where its path is short enough for one."""
    with tempfile.TemporaryDirectory() as short, EmbeddedServer(tmp_path / "server", options={"unixsocket": f"{short}/s"}):
        yield f"unix://{short}/s?db=0"


async def test_a_program_runs_over_a_unix_socket(socket_url: str) -> None:
    async with running(socket_url), P.AsyncSession(socket_url):
        assert await step(text=step(text="It")).aget(timeout=10)


async def test_a_celery_worker_serves_over_a_unix_socket(socket_url: str, tmp_path: Path) -> None:
    with core(socket_url, tmp_path / "core.log"), worker(socket_url, tmp_path / "worker.log"):
        async with connect(socket_url) as redis:
            await until_engines(redis)
        async with P.AsyncSession(socket_url):
            assert await step(text="It").aget(timeout=20)
