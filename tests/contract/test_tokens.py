"""Token streams: each part once, in order, by the current attempt alone."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from parrot.broker.tokens import Part, Tokens
from parrot.broker.variables import Publication, Value, Variables
from parrot.wire.keys import Keys
from parrot.wire.to_core import GenerationDone, Usage
from parrot.wire.to_engine import Job

KEYS = Keys("test")


def job(attempt: int = 1, variable: str = "a.x") -> Job:
    return Job(variable=variable, attempt=attempt, session="s", call="a", function="f", output="x", prompt=[])


def publication(streamed: int, rest: Part | None = None) -> Publication:
    done = GenerationDone(engine="e", variable="a.x", attempt=1, usage=Usage(tokens_in=1, tokens_out=2))
    return Publication(job(), Value("ab", (1, 2), "toy", "a"), "stop", done, "now", streamed, rest)


@pytest.fixture
async def tokens(redis: Redis) -> Tokens:
    for name in ("a.x", "b.x"):
        await redis.hset(KEYS.variable(name), mapping={"state": "generating", "attempt": "1"})
    return Tokens(redis, KEYS)


async def test_parts_of_many_generations_are_read_back_in_order(tokens: Tokens) -> None:
    first, second, other = Part(1, "Hel", (1, 2)), Part(2, "lo 🦜", (70_000,)), Part(1, "x", (3,))
    assert await tokens.append([(job(), first), (job(), second), (job(variable="b.x"), other)]) == [True] * 3
    assert await tokens.read(["a.x", "b.x", "none"]) == [[first, second], [other], []]


async def test_the_first_part_says_who_made_it(tokens: Tokens) -> None:
    parts = [Part(1, "a", (1,), by="model tokenizer"), Part(2, "b", (2,))]
    await tokens.append([(job(), part) for part in parts])
    assert await tokens.read(["a.x"]) == [parts]


async def test_a_part_that_is_sent_twice_lands_once(tokens: Tokens) -> None:
    for _ in range(2):
        assert await tokens.append([(job(), Part(1, "a", (1,)))]) == [True]
    assert await tokens.read(["a.x"]) == [[Part(1, "a", (1,))]]


@pytest.mark.parametrize("now", [{"attempt": "2"}, {"state": "ready"}, {"state": "failed"}, {"state": "cancelled"}])
async def test_an_attempt_that_is_over_is_told_to_stop(tokens: Tokens, redis: Redis, now: dict[str, str]) -> None:
    await redis.hset(KEYS.variable("a.x"), mapping=now)
    assert await tokens.append([(job(), Part(1, "a", (1,))), (job(variable="b.x"), Part(1, "b", (1,)))]) == [False, True]
    assert await redis.exists(KEYS.tokens("a.x")) == 0


@pytest.mark.parametrize("state", ["pending", "generating", "ready", "failed", "cancelled"])
async def test_an_engine_may_append_for_as_long_as_it_may_publish_so_that_no_stream_has_a_gap(
    tokens: Tokens, redis: Redis, state: str
) -> None:
    await redis.hset(KEYS.variable("a.x"), mapping={"state": state})
    taken = await tokens.append([(job(), Part(1, "a", (1,)))])
    assert await Variables(redis, KEYS).publish([publication(1, Part(2, "b", (2,)))]) == taken == [state in ("pending", "generating")]
    assert [part.number for part in (await tokens.read(["a.x"]))[0]] == ([1, 2] if taken == [True] else [])


async def test_after_a_loss_of_power_an_attempt_neither_streams_nor_publishes_past_a_gap(tokens: Tokens, redis: Redis) -> None:
    await tokens.append([(job(), Part(number, "a", (1,))) for number in (1, 2)])
    await redis.xdel(KEYS.tokens("a.x"), "2-0")
    assert await tokens.append([(job(), Part(3, "c", (3,)))]) == [False]
    for rest in (Part(3, "c", (3,)), None):
        assert await Variables(redis, KEYS).publish([publication(2, rest)]) == [False]
    await redis.delete(KEYS.tokens("a.x"))
    assert await tokens.append([(job(), Part(3, "c", (3,)))]) == [False]
    assert await redis.exists(KEYS.tokens("a.x"), KEYS.events) == 0
    assert await tokens.append([(job(), Part(1, "a", (1,)))]) == [True], "one that begins anew may"
    assert await Variables(redis, KEYS).publish([publication(1)]) == [True], "nothing is missing"


async def test_a_reset_says_that_all_before_it_is_void(tokens: Tokens) -> None:
    parts = [Part(1, "a", (1,)), Part(2, "", (), "reset"), Part(3, "b", (2,))]
    await tokens.append([(job(), part) for part in parts])
    assert await tokens.read(["a.x"]) == [parts]
