"""The life of sessions on the real bus: cancelled, limited in time, gone on with elsewhere, refused, expired."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from redis.asyncio import Redis

import parrot as P
from parrot.wire.codec import VERSION
from parrot.wire.keys import Keys, content_hash
from tests.flow.cells import running
from tests.flow.waiting import until

KEYS = Keys("main")
SLOW = 1.0  # simulated_speed: 500 tokens take more than half a minute


@P.semantic_function
def write(topic: P.Input, text: P.Output(P.SamplingConfig(max_gen_length=500, ignore_tokenizer_eos=True))):
    """Write about {{topic}}: {{text}}"""


@P.semantic_function
def say(topic: P.Input, text: P.Output(P.SamplingConfig(max_gen_length=4))):
    """Say {{topic}}: {{text}}"""


async def generating(redis: Redis, variable: P.Variable) -> None:
    async def is_it() -> bool:
        return bool(await redis.hget(KEYS.variable(variable.id), "state") == b"generating")

    await until(is_it)


async def idle(redis: Redis) -> None:
    """Until nothing is under way any more."""

    async def is_it() -> bool:
        return not await redis.exists(KEYS.active)

    await until(is_it)


# Cancelled ----------------------------------------------------------------------------------------


async def test_a_cancelled_variable_raises_within_a_second_and_takes_its_consumers_along(redis_url: str, real_redis: Redis) -> None:
    async with running(redis_url, simulated_speed=SLOW), P.AsyncSession(redis_url):
        text = write("owls")
        after = say(text)
        await generating(real_redis, text)
        began = time.monotonic()
        text.cancel()
        for variable in (text, after):
            with pytest.raises(P.Cancelled):
                await variable.aget(timeout=20)
        assert time.monotonic() - began < 1


async def test_leaving_by_an_exception_ends_what_was_submitted(redis_url: str, real_redis: Redis) -> None:
    async with running(redis_url, simulated_speed=SLOW):
        session = P.AsyncSession(redis_url)

        async def program() -> None:
            async with session:
                made.append(write("owls"))
                await generating(real_redis, made[0])
                raise ZeroDivisionError

        made: list[P.Variable] = []
        with pytest.raises(ZeroDivisionError):
            await program()
        (text,) = made
        await idle(real_redis)
        with pytest.raises(P.Cancelled, match="session was cancelled"):
            await text.aget(timeout=20)
        assert await real_redis.hget(KEYS.session(session.id), "state") == b"closed"


async def test_a_synchronous_session_is_cancelled_from_a_thread_and_after_its_block(redis_url: str, real_redis: Redis) -> None:
    def program() -> P.Variable:
        with P.Session(redis_url) as session:
            text: P.Variable = write("owls")
        session.cancel()
        with pytest.raises(P.Cancelled):
            text.get(timeout=20)
        return text

    async with running(redis_url, simulated_speed=SLOW):
        await asyncio.to_thread(program)
        await idle(real_redis)


# Limited in time ----------------------------------------------------------------------------------


async def test_a_call_that_has_not_ended_at_its_deadline_fails(redis_url: str) -> None:
    async with running(redis_url, simulated_speed=SLOW), P.AsyncSession(redis_url):
        text = write("owls", deadline=0.3)
        began = time.monotonic()
        with pytest.raises(P.DeadlineExceeded, match="write had not ended at its deadline"):
            await text.aget(timeout=20)
        assert 0.2 < time.monotonic() - began < 1.5


async def test_a_sessions_deadline_is_that_of_its_calls(redis_url: str) -> None:
    async with running(redis_url, simulated_speed=SLOW), P.AsyncSession(redis_url, deadline=0.3):
        with pytest.raises(P.DeadlineExceeded):
            await write("owls").aget(timeout=20)


# Named calls --------------------------------------------------------------------------------------


async def test_a_repeated_submit_of_the_same_call_id_is_the_same_call(redis_url: str, real_redis: Redis) -> None:
    async with running(redis_url):
        async with P.AsyncSession(redis_url, detach=True) as session:
            first, again = (say("owls", call_id="one") for _ in range(2))
            assert await first == await again
        async with P.AsyncSession.attach(session.id, redis_url):
            assert await say("owls", call_id="one") == await first
        assert await real_redis.llen(KEYS.calls(session.id)) == 1


async def test_a_call_id_that_was_used_for_other_outputs_raises(redis_url: str) -> None:
    @P.semantic_function
    def other(topic: P.Input, words: P.Output):
        """{{topic}} {{words}}"""

    async with running(redis_url), P.AsyncSession(redis_url):
        await say("owls", call_id="one")
        with pytest.raises(P.VariableError, match="used before by a call with other outputs"):
            await asyncio.wait_for(other("owls", call_id="one"), 20)


# Gone on with elsewhere ---------------------------------------------------------------------------


async def test_a_detached_session_is_gone_on_with_by_name(redis_url: str, real_redis: Redis) -> None:
    async with running(redis_url):
        async with P.AsyncSession(redis_url, name="report", tenant="acme", labels={"team": "a"}, detach=True) as session:
            topic = session.variable(name="topic")
            text = say(topic)
        async with P.AsyncSession.attach("report", redis_url, detach=False) as there:
            assert there.id == session.id
            assert {variable.id for variable in await there.variables()} == {topic.id, text.id}
            (await there.find("topic")).set("owls")
            found = await there.find("text")
            assert await found.aget(timeout=20)
            assert await say(found).aget(timeout=20)
        await until(lambda: real_redis.hexists(KEYS.session(session.id), "expires"))
        async with P.AsyncSession.attach(session.id, redis_url) as closed:
            assert await (await closed.find(text.id)).aget(timeout=20) == await found
            with pytest.raises(P.SessionError, match="is closed and takes no more submissions"):
                closed.variable("x")


async def test_a_name_that_is_unknown_or_taken_twice_is_refused(redis_url: str) -> None:
    async with running(redis_url):
        with pytest.raises(P.SessionError, match="No session has the id or the name 'twin'"):
            await P.AsyncSession.attach("twin", redis_url).__aenter__()
        for _ in range(2):
            async with P.AsyncSession(redis_url, name="twin"):
                await say("x")
        with pytest.raises(P.SessionError, match=r"2 sessions have the name 'twin'\. Give the id of one, the newest first: twin-"):
            await P.AsyncSession.attach("twin", redis_url).__aenter__()


async def test_sessions_are_listed_by_name_tenant_and_labels(redis_url: str) -> None:
    async with running(redis_url):
        for options in ({"name": "a", "labels": {"team": "x", "stage": "1"}}, {"name": "b", "tenant": "acme"}):
            async with P.AsyncSession(redis_url, **options):  # type: ignore[arg-type]
                await say("x")

    def names(**wanted: object) -> list[str]:
        return sorted(entry.name for entry in P.sessions(redis_url, **wanted))  # type: ignore[arg-type]

    assert await asyncio.to_thread(names) == ["a", "b"]
    assert await asyncio.to_thread(names, name="a") == ["a"]
    assert await asyncio.to_thread(names, tenant="acme") == ["b"]
    assert await asyncio.to_thread(names, labels={"team": "x"}) == ["a"]
    assert await asyncio.to_thread(names, labels={"team": "y"}) == []


# Refused ------------------------------------------------------------------------------------------


async def test_a_submit_beyond_the_limit_raises_with_the_figures_and_leaves_no_trace(redis_url: str, real_redis: Redis) -> None:
    def program() -> str:
        with P.Session(redis_url) as session:
            running_call = write("owls", session=session)
            time.sleep(0.3)
            with pytest.raises(P.Overloaded, match="1 calls are under way; 1 are allowed"):
                write("more", session=session)
            session.variable("the session goes on")
            running_call.cancel()
            time.sleep(0.3)
            say("now", session=session).cancel()
            return session.id

    async with running(redis_url, simulated_speed=SLOW, max_active=1):
        session = await asyncio.to_thread(program)
        await idle(real_redis)
        assert await real_redis.llen(KEYS.calls(session)) == 2


async def test_in_async_code_the_variable_and_flush_raise_overload(redis_url: str) -> None:
    async with running(redis_url, simulated_speed=SLOW, max_active=1), P.AsyncSession(redis_url) as session:
        first = write("owls")
        await session.flush()
        await asyncio.sleep(0.3)
        refused = say("more")
        with pytest.raises(P.Overloaded):
            await refused
        with pytest.raises(P.Overloaded):
            await session.flush()
        first.cancel()


# Expired ------------------------------------------------------------------------------------------


async def test_a_get_of_what_has_expired_raises_and_does_not_hang(redis_url: str, real_redis: Redis) -> None:
    async with running(redis_url, result_seconds=1):
        async with P.AsyncSession(redis_url):
            text = say("owls")

        async def gone() -> bool:
            return not await real_redis.exists(KEYS.variable(text.id))

        await text.session.flush()
        await asyncio.sleep(0.3)
        await until(gone)
        for again in (text.aget(), text.aget(criteria=None)):
            with pytest.raises(P.VariableError, match=r"is not there \(any more\): it has expired"):
                await asyncio.wait_for(again, 20)


async def test_higher_limits_of_a_new_servecore_hold_at_once(redis_url: str, real_redis: Redis) -> None:
    async with running(redis_url, max_active=1, engines=0), P.AsyncSession(redis_url) as session:
        say("it")
        await session.flush()
        await until(lambda: real_redis.scard(KEYS.active))
    async with running(redis_url, max_active=100, engines=0), P.AsyncSession(redis_url) as session:
        say("it")
        await session.flush()


async def test_nothing_is_left_of_a_task_that_is_not_understood_in_a_closed_session(redis_url: str, real_redis: Redis) -> None:
    async with running(redis_url, engines=0, result_seconds=1):
        async with P.AsyncSession(redis_url) as session:
            await session.flush()
        await until(lambda: real_redis.hexists(KEYS.session(session.id), "closed"))
        body = json.dumps({"session": session.id, "variable": "late", "name": "late", "later": 1})
        await real_redis.xadd(KEYS.tasks, {"v": str(VERSION), "kind": "DeclareVariable", "body": body})
        await until(lambda: real_redis.xlen(KEYS.dead))

        async def gone() -> bool:
            return not [key async for key in real_redis.scan_iter(f"{KEYS.session('*')}")]

        await until(gone)


async def test_a_long_text_that_redis_lost_is_stored_again_with_the_next_call(redis_url: str, real_redis: Redis) -> None:
    text = "A long system prompt. " * 100
    async with running(redis_url), P.AsyncSession(redis_url) as session:
        assert await say(text).aget(timeout=10)
        assert await real_redis.delete(KEYS.text(content_hash(text))) == 1  # as a power loss does, which breaks connections too
        await real_redis.client_kill_filter(_type="normal", skipme=True)
        await session.flush()
        assert await say(text + " ").aget(timeout=10)
        assert await say(text).aget(timeout=10)
