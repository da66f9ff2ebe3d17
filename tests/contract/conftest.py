"""What the broker promises, it keeps on three servers: each test with `redis` or `new_client` runs on all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
from fakeredis import FakeAsyncRedis, FakeServer
from redis.asyncio import Redis

from parrot.broker.connection import connect


@pytest.fixture(params=["fakeredis", "valkey", pytest.param("redis7", marks=pytest.mark.redis7)])
def connect_to_server(request: pytest.FixtureRequest) -> Callable[[], Redis]:
    """Opens one more connection to the server under test."""
    if request.param == "fakeredis":
        server = FakeServer()
        return lambda: FakeAsyncRedis(server=server)
    url = request.getfixturevalue(request.param).url
    return lambda: connect(url)


@pytest.fixture
async def new_client(connect_to_server: Callable[[], Redis]) -> AsyncIterator[Callable[[], Redis]]:
    """Opens clients of the empty server under test; all are closed after the test."""
    async with AsyncExitStack() as clients:

        def opened() -> Redis:
            client = connect_to_server()
            clients.push_async_callback(client.aclose)
            return client

        await opened().flushall()
        yield opened


@pytest.fixture
def redis(new_client: Callable[[], Redis]) -> Redis:
    """A client of the empty server under test."""
    return new_client()
