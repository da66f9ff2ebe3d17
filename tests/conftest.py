"""Servers that tests share: started once, emptied before each test."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from parrot.broker.connection import connect
from parrot.broker.embedded import EmbeddedServer


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """The embedded Valkey."""
    with EmbeddedServer(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="session")
def redis7_binary() -> Path:
    """Debian's redis-server; without it tests are skipped, but CI insists on it."""
    if found := shutil.which("redis-server"):
        return Path(found)
    missing = "There is no redis-server on this machine: `apt-get install redis-server`."
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture(scope="session")
def redis7(tmp_path_factory: pytest.TempPathFactory, redis7_binary: Path) -> Iterator[EmbeddedServer]:
    """Debian's Redis 7."""
    with EmbeddedServer(tmp_path_factory.mktemp("redis7"), binary=redis7_binary) as server:
        yield server


@pytest.fixture
async def redis_url(valkey: EmbeddedServer) -> str:
    """The URL of a real, empty server."""
    async with connect(valkey.url) as client:
        await client.flushall()
    return valkey.url


@pytest.fixture
async def real_redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client of the server at `redis_url`."""
    async with connect(redis_url) as client:
        yield client
