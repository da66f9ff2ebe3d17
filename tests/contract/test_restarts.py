"""Whether a client notices that a server was started again, on real ones."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from parrot.broker.connection import Run, connect, in_sentences
from parrot.broker.embedded import EmbeddedServer
from parrot.errors import BrokerUnavailable


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(tmp_path) as server:
        yield server


async def say(redis: Redis, word: str) -> None:
    with in_sentences("redis://here"):
        await redis.set("word", word)


def restart(server: EmbeddedServer) -> None:
    server.stop()
    server.start()


async def test_commands_after_a_restart_are_refused_until_another_run_may_begin(server: EmbeddedServer) -> None:
    run = Run()
    async with connect(server.url, run=run) as redis:
        await say(redis, "before")
        for _ in range(2):
            restart(server)
            for _ in range(3):
                with pytest.raises(BrokerUnavailable, match=r"redis://here was started again \(run \w+ instead of \w+\)"):
                    await say(redis, "refused")
            run.begin()
            assert await redis.get("word") != b"refused"
            await say(redis, "after")


async def test_no_connection_goes_on_since_another_one_has_noticed(server: EmbeddedServer) -> None:
    async with connect(server.url, run=Run()) as redis:
        await asyncio.gather(*(say(redis, "before") for _ in range(3)))
        restart(server)
        said = await asyncio.gather(*(say(redis, "refused") for _ in range(3)), return_exceptions=True)
        assert [type(one) for one in said] == [BrokerUnavailable] * 3


async def test_a_pipeline_is_refused_as_a_whole(server: EmbeddedServer) -> None:
    run = Run()
    async with connect(server.url, run=run) as redis:
        await say(redis, "before")
        restart(server)
        pipe = redis.pipeline(transaction=False).set("word", "refused").set("other", "refused")
        with pytest.raises(BrokerUnavailable, match="started again"), in_sentences(server.url):
            await pipe.execute()
        run.begin()
        assert await redis.mget("word", "other") == [b"before", None]


async def test_a_connection_that_breaks_while_the_server_lives_on_is_made_again(server: EmbeddedServer) -> None:
    async with connect(server.url, run=Run()) as redis, connect(server.url) as operator:
        await say(redis, "before")
        await operator.client_kill_filter(_type="normal", skipme=True)
        await say(redis, "after")
        assert await operator.get("word") == b"after"


async def test_who_does_not_ask_to_notice_goes_on(server: EmbeddedServer) -> None:
    async with connect(server.url) as redis:
        await say(redis, "before")
        restart(server)
        await say(redis, "after")


async def test_a_user_who_may_not_ask_which_run_it_is_can_work_all_the_same(server: EmbeddedServer) -> None:
    async with connect(server.url) as admin:
        await admin.acl_setuser("blind", enabled=True, passwords=["+secret"], keys=["*"], commands=["+@all", "-info"])
        async with connect(server.url.replace("redis://", "redis://blind:secret@"), run=Run()) as redis:
            await say(redis, "spoken")
            assert await redis.get("word") == b"spoken"
