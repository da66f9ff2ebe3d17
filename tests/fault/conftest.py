"""A broker of its own for each test that kills, and no process left behind by any."""

from __future__ import annotations

import multiprocessing
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from parrot.broker.connection import connect
from parrot.broker.embedded import EmbeddedServer


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    """Whatever a test started has ended with it."""
    yield
    assert multiprocessing.active_children() == []


@pytest.fixture
def mortal(tmp_path: Path, no_process_is_left: None) -> Iterator[EmbeddedServer]:
    """A server of which nothing is lost that it acknowledged, however it ends."""
    with EmbeddedServer(tmp_path / "broker", options={"appendfsync": "always"}) as server:
        yield server


@pytest.fixture
async def mortal_redis(mortal: EmbeddedServer) -> AsyncIterator[Redis]:
    """A client of `mortal`."""
    async with connect(mortal.url) as client:
        yield client
