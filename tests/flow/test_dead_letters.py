"""Dead letters through the command line: what was poison or not understood gets another chance, and cancelling from outside."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from typer.testing import CliRunner, Result

from parrot.broker.streams import append
from parrot.broker.texts import Texts
from parrot.broker.variables import Variables
from parrot.cli.main import app
from parrot.config import load
from parrot.core.loop import serve
from parrot.errors import MessageError, PoisonCall
from parrot.sampling import SamplingConfig
from parrot.template import Segment
from parrot.wire.codec import encode
from parrot.wire.keys import Keys, content_hash
from parrot.wire.to_core import Argument, CloseSession, DeclareVariable, OpenSession, Output, SubmitCall
from parrot.wire.to_ledger import bury
from tests.flow.test_programs import run_engine
from tests.flow.waiting import until

KEYS = Keys()
LONG = "long " * 200


def call(session: str = "s", **arguments: Argument) -> SubmitCall:
    inputs = [Segment("slot", name) for name in arguments]
    return SubmitCall(
        session=session,
        call="old",
        function="f",
        template=[*inputs, Segment("hash", content_hash(LONG)), Segment("slot", "x")],
        arguments=arguments,
        outputs={"x": Output(variable="old.x", sampling=SamplingConfig(temperature=0, max_gen_length=4))},
    )


@pytest.fixture
async def cell(redis_url: str, real_redis: Redis) -> AsyncIterator[Redis]:
    """A ServeCore and an engine, and an open session `s` with a variable `v`."""
    settings = load(redis_url=redis_url, engine="simulated", simulated_speed=0.0)
    await Texts(real_redis, KEYS).put({content_hash(LONG): LONG})
    opening = [OpenSession(session="s", name="s", tenant="t"), DeclareVariable(session="s", variable="v", name="v", text="value")]
    await append(real_redis, KEYS.tasks, opening)
    tasks = [asyncio.create_task(serve(settings)), asyncio.create_task(run_engine(settings, "sim"))]
    await until(lambda: real_redis.exists(KEYS.variable("v")))
    yield real_redis
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def parrot(redis_url: str, *arguments: str, ok: bool = True) -> Result:
    result = await asyncio.to_thread(CliRunner().invoke, app, [*arguments, "--redis-url", redis_url])
    assert (result.exit_code == 0) is ok, result.output
    return result


async def poison(redis: Redis, request: SubmitCall) -> str:
    raw = await redis.execute_command(*bury(KEYS.dead, KEYS.tasks, request.call, PoisonCall("3 engines died."), encode(request)))
    return str(raw.decode())


async def value_of_the_replayed(redis: Redis, said: str) -> tuple[str, str]:
    (variable,) = [line.split(" = ")[1] for line in said.splitlines() if " = " in line]

    async def ready() -> bool:
        (outcome,) = await Variables(redis, KEYS).outcomes([variable])
        return outcome.state == "ready"

    await until(ready)
    session = await redis.hget(KEYS.variable(variable), "session")
    return variable, session.decode()


async def test_a_poison_call_is_submitted_again_in_its_session_with_new_variables(cell: Redis, redis_url: str) -> None:
    letter = await poison(cell, call(i=Argument(variable="v")))
    assert "poison" in (await parrot(redis_url, "dead", "ls")).output
    variable, session = await value_of_the_replayed(cell, (await parrot(redis_url, "dead", "replay", letter)).output)
    assert (session, variable.endswith(".x"), variable != "old.x") == ("s", True, True)
    assert await cell.xlen(KEYS.dead) == 0


async def test_a_call_of_a_closed_session_is_submitted_in_a_new_one_with_its_inputs_as_texts(cell: Redis, redis_url: str) -> None:
    letter = await poison(cell, call(i=Argument(variable="v"), j=Argument(text="constant")))
    await append(cell, KEYS.tasks, [CloseSession(session="s")])
    await until(lambda: cell.hget(KEYS.session("s"), "expires"))
    variable, session = await value_of_the_replayed(cell, (await parrot(redis_url, "dead", "replay", letter)).output)
    assert session != "s"
    made = await cell.hgetall(KEYS.session(session))
    assert (made[b"name"], made[b"tenant"], made[b"state"]) == (b"replay of f", b"t", b"closed")
    request = json.loads(await cell.hget(KEYS.call(variable.rpartition(".")[0]), "request"))
    assert request["arguments"] == {"i": {"text": "value"}, "j": {"text": "constant"}}


async def test_a_call_whose_inputs_have_expired_stays_among_the_dead_letters(cell: Redis, redis_url: str) -> None:
    letters = [await poison(cell, call("gone", i=Argument(variable="gone")))]
    await cell.delete(KEYS.text(content_hash(LONG)))
    letters.append(await poison(cell, call()))
    result = await parrot(redis_url, "dead", "replay", *letters, ok=False)
    assert "A long text of this call has expired" in result.output
    await Texts(cell, KEYS).put({content_hash(LONG): LONG})
    assert "whose value has expired" in (await parrot(redis_url, "dead", "replay", letters[0], ok=False)).output
    assert await cell.xlen(KEYS.dead) == 2


async def test_what_was_not_understood_is_sent_again_as_it_was(cell: Redis, redis_url: str) -> None:
    fields = {b"v": b"1", b"kind": b"SetVariable", b"body": b"\xff\x00not text"}
    await cell.xadd(KEYS.tasks, fields)
    await until(lambda: cell.xlen(KEYS.dead))
    ((raw, _),) = await cell.xrange(KEYS.dead)
    letter = raw.decode()
    assert json.loads((await parrot(redis_url, "dead", "show", letter, "--json")).output)["code"] == "message"
    assert r"\xff" in (await parrot(redis_url, "dead", "show", letter)).output
    await parrot(redis_url, "dead", "replay", letter)

    async def died_again() -> bool:
        return [row[0] for row in await cell.xrange(KEYS.dead)] not in ([], [raw])

    await until(died_again)
    assert (await cell.xrevrange(KEYS.tasks, count=1))[0][1] == fields


async def test_letters_that_cannot_be_replayed_say_why_and_can_be_dropped(cell: Redis, redis_url: str) -> None:
    error = MessageError("no")
    large = await cell.execute_command(*bury(KEYS.dead, KEYS.tasks, "1-0", error, {b"body": b"x" * 100_000}))
    job = await cell.execute_command(*bury(KEYS.dead, KEYS.jobs("e"), "1-0", error, {b"v": b"1"}))
    said = (await parrot(redis_url, "dead", "replay", large.decode(), job.decode(), "7-7", ok=False)).output
    assert "100,004 bytes and was not kept whole" in said
    assert "job stream" in said
    assert "There is no dead letter 7-7" in said
    assert "Dropped 2" in (await parrot(redis_url, "dead", "drop", large.decode(), job.decode())).output
    assert "no dead letters" in (await parrot(redis_url, "dead", "ls")).output


async def test_a_variable_and_a_session_are_cancelled_from_outside(cell: Redis, redis_url: str) -> None:
    waiting = DeclareVariable(session="s", variable="empty", name="empty")
    await append(cell, KEYS.tasks, [waiting, call(i=Argument(variable="empty"))])
    await until(lambda: cell.exists(KEYS.variable("old.x")))

    async def cancelled() -> bool:
        return bool(await cell.hget(KEYS.variable("old.x"), "state") == b"cancelled")

    assert "variable old.x of session s" in (await parrot(redis_url, "cancel", "old.x")).output
    await until(cancelled)
    again = await asyncio.to_thread(CliRunner().invoke, app, ["cancel", "old.x", "--redis-url", redis_url])
    assert "nothing to cancel" in str(again.exception)
    await parrot(redis_url, "cancel", "s")

    async def closed() -> bool:
        return bool(await cell.hget(KEYS.session("s"), "state") == b"closed")

    await until(closed)


async def test_a_call_whose_deadline_is_over_is_submitted_again_without_it(cell: Redis, redis_url: str) -> None:
    late = call().model_copy(update={"deadline": 1.0})
    letter = await poison(cell, late)
    result = await parrot(redis_url, "dead", "replay", letter)
    assert await value_of_the_replayed(cell, result.output)
