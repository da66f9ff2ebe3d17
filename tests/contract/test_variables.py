"""A variable is set once, by the attempt that owns it, together with the event and the news."""

from __future__ import annotations

from dataclasses import replace

import pytest
from redis.asyncio import Redis

from parrot.broker.streams import START, StreamReader
from parrot.broker.tokens import Part, Tokens
from parrot.broker.variables import Publication, Value, Variables
from parrot.wire.keys import Keys
from parrot.wire.states import VariableState
from parrot.wire.to_core import GenerationDone, Usage, events
from parrot.wire.to_engine import Job

KEYS = Keys("test")


def job(attempt: int = 1, variable: str = "a.x") -> Job:
    return Job(variable=variable, attempt=attempt, session="s", call="a", function="f", output="x", prompt=[])


def done(attempt: int = 1, text: str = "hello", tokens: tuple[int, ...] | None = (1, 2, 70_000)) -> Publication:
    event = GenerationDone(engine="e", variable="a.x", attempt=attempt, usage=Usage(tokens_in=3, tokens_out=3))
    return Publication(job(attempt), Value(text, tokens, "tok"), "stop", event, "2026-01-01T00:00:00.000Z")


@pytest.fixture
async def variables(redis: Redis) -> Variables:
    await redis.hset(KEYS.variable("a.x"), mapping={"state": "pending", "attempt": "1"})
    return Variables(redis, KEYS)


async def test_a_published_value_is_read_back_with_its_tokens(variables: Variables) -> None:
    assert await variables.publish([done()]) == [True]
    assert await variables.values(["a.x"]) == [Value("hello", (1, 2, 70_000), "tok")]
    (outcome,) = await variables.outcomes(["a.x"])
    assert (outcome.state, outcome.text) == (VariableState.READY, "hello")


async def test_publication_writes_the_event_and_the_news_with_the_value(variables: Variables, redis: Redis) -> None:
    await variables.publish([done()])
    (event, news) = await StreamReader(redis, {KEYS.events: START, KEYS.news("s"): START}).read(10)
    assert events.decode(event.fields) == done().event
    assert news.fields == {b"variable": b"a.x", b"state": b"ready"}


async def test_publication_says_what_it_cost(variables: Variables, redis: Redis) -> None:
    usage = Usage(tokens_in=30, tokens_cached=20, tokens_out=3, first_token_seconds=0.0123, seconds=1.5)
    await variables.publish([replace(done(), event=GenerationDone(engine="e", variable="a.x", attempt=1, usage=usage))])
    fields = ("tokens_in", "tokens_cached", "tokens_out", "first_token", "seconds")
    assert await redis.hmget(KEYS.variable("a.x"), fields) == [b"30", b"20", b"3", b"0.012", b"1.500"]


async def test_the_end_of_its_stream_comes_with_the_value_or_not_at_all(variables: Variables, redis: Redis) -> None:
    rest = Part(1, "lo", (70_000,), by="model tokenizer")
    assert await variables.publish([replace(done(attempt=2), rest=rest), replace(done(), rest=rest), done()]) == [False, True, False]
    assert await Tokens(redis, KEYS).read(["a.x"]) == [[rest]]
    assert await variables.values(["a.x"]) == [Value("hello", (1, 2, 70_000), "tok")]


async def test_a_variable_is_set_once(variables: Variables, redis: Redis) -> None:
    assert await variables.publish([done(text="first"), done(text="second")]) == [True, False]
    assert (await variables.values(["a.x"]))[0] == Value("first", (1, 2, 70_000), "tok")
    assert await redis.xlen(KEYS.events) == await redis.xlen(KEYS.news("s")) == 1


async def test_an_attempt_that_was_given_elsewhere_can_neither_claim_nor_publish(variables: Variables, redis: Redis) -> None:
    await redis.hset(KEYS.variable("a.x"), "attempt", "2")
    assert await variables.claim([job(1)], "now") == [False]
    assert await variables.publish([done(1)]) == [False]
    assert await redis.exists(KEYS.events, KEYS.news("s")) == 0


async def test_a_claimed_variable_is_generating(variables: Variables, redis: Redis) -> None:
    assert await variables.claim([job()], "now") == [True]
    assert await redis.hmget(KEYS.variable("a.x"), ["state", "started"]) == [b"generating", b"now"]


async def test_a_variable_that_has_expired_is_not_brought_back(variables: Variables, redis: Redis) -> None:
    await redis.delete(KEYS.variable("a.x"))
    assert await variables.publish([done()]) == [False]
    assert await redis.keys("*") == []


async def test_values_of_other_variables_are_absent(variables: Variables) -> None:
    assert await variables.values(["a.x", "no"]) == [None, None]
    assert [outcome.state for outcome in await variables.outcomes(["a.x", "no"])] == [VariableState.PENDING, None]


async def test_text_without_tokens_and_odd_text_survive(variables: Variables) -> None:
    await variables.publish([done(text="a\x00b\r\n🦜", tokens=None)])
    assert await variables.values(["a.x"]) == [Value("a\x00b\r\n🦜")]
