"""A fault in ServeCore itself: one message that it cannot handle is put aside, and all others around it are handled, once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from parrot.broker.streams import append
from parrot.broker.variables import Variables
from parrot.config import Settings, load
from parrot.core import loop
from parrot.core.cell import Cell
from parrot.core.loop import serve
from parrot.core.machine import RULES, Machine
from parrot.core.recovery import rebuild
from parrot.template import Segment
from parrot.wire.codec import VERSION, encode
from parrot.wire.keys import Keys
from parrot.wire.to_core import Argument, DeclareVariable, OpenSession, Output, SetVariable, SubmitCall
from tests.flow.waiting import until
from tests.unit.core.cell import engine_up

KEYS = Keys()


def call(name: str) -> SubmitCall:
    return SubmitCall(
        session="s", call=name, function="f", template=[Segment("slot", "x")], outputs={"x": Output(variable=f"{name}.x")}, model="none"
    )


async def test_a_message_that_servecore_fails_to_handle_is_put_aside_and_its_neighbours_are_handled_once(
    redis_url: str, real_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = RULES[SubmitCall]

    def faulty(cell: Cell, request: SubmitCall) -> None:
        rule(cell, request)
        if request.call == "culprit":
            raise RuntimeError("half-way through")

    monkeypatch.setitem(RULES, SubmitCall, faulty)
    messages = [OpenSession(session="s", name="s"), call("before"), call("culprit"), call("after")]
    await append(real_redis, KEYS.tasks, messages)
    core = asyncio.create_task(serve(load(redis_url=redis_url)))
    try:
        await append(real_redis, KEYS.tasks, [DeclareVariable(session="s", variable="last", name="last", text="t")])
        await until(lambda: real_redis.exists(KEYS.variable("last")))
        ((_, letter),) = await real_redis.xrange(KEYS.dead)
        assert (letter[b"code"], letter[b"stream"]) == (b"internal", KEYS.tasks.encode())
        assert b"RuntimeError: half-way through" in letter[b"reason"]
        (told,) = await Variables(real_redis, KEYS).outcomes(["culprit.x"])
        assert (told.state, told.error_code) == ("failed", "internal")
        assert await real_redis.smembers(KEYS.active) == {b"before", b"after"}
        assert await real_redis.lrange(KEYS.calls("s"), 0, -1) == [b"before", b"after"]
        assert not core.done()
    finally:
        core.cancel()
        await asyncio.wait([core])


@pytest.mark.parametrize(
    ("way", "code"), [("of a newer version", "version"), ("that cannot be read", "message"), ("that ServeCore fails to handle", "internal")]
)
async def test_a_value_that_cannot_be_set_is_put_aside_and_the_variable_fails(
    redis_url: str, real_redis: Redis, monkeypatch: pytest.MonkeyPatch, way: str, code: str
) -> None:
    def faulty(cell: Cell, request: SetVariable) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setitem(RULES, SetVariable, faulty)
    value = encode(SetVariable(session="s", variable="v", text="t"))
    if code == "version":
        value["v"] = str(VERSION + 1)
    elif code == "message":
        value["body"] = '{"session": "s", "variable": "v", "novelty": 1}'
    waits = SubmitCall(
        session="s",
        call="waits",
        function="f",
        template=[Segment("slot", "i"), Segment("slot", "x")],
        arguments={"i": Argument(variable="v")},
        outputs={"x": Output(variable="waits.x")},
    )
    await append(real_redis, KEYS.tasks, [OpenSession(session="s", name="s"), DeclareVariable(session="s", variable="v", name="v"), waits])
    await real_redis.xadd(KEYS.tasks, value)  # type: ignore[arg-type]
    core = asyncio.create_task(serve(load(redis_url=redis_url)))
    try:
        await append(real_redis, KEYS.tasks, [DeclareVariable(session="s", variable="last", name="last", text="t")])
        await until(lambda: real_redis.exists(KEYS.variable("last")))
        ((_, letter),) = await real_redis.xrange(KEYS.dead)
        assert letter[b"code"] == code.encode()
        outcomes = await Variables(real_redis, KEYS).outcomes(["v", "waits.x"])
        assert [(told.state, told.error_code) for told in outcomes] == [("failed", code), ("failed", "upstream")]
    finally:
        core.cancel()
        await asyncio.wait([core])


async def test_a_fault_that_no_message_is_to_blame_for_ends_servecore_with_the_cause(
    redis_url: str, real_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(machine: Machine, messages: object, now: float) -> None:
        raise RuntimeError("whatever is asked of it")

    monkeypatch.setattr(Machine, "handle", faulty)
    with pytest.raises(RuntimeError, match="whatever is asked of it"):
        await serve(load(redis_url=redis_url))


async def test_a_takeover_that_takes_longer_than_a_lease_does_not_end_the_leases_of_engines(
    redis_url: str, real_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With very many calls it does, and nobody is heard meanwhile."""

    def slow(*arguments: Any, **named: Any) -> Any:
        built = rebuild(*arguments, **named)
        time.sleep(1.2)
        return built

    settings = load(redis_url=redis_url, lease_seconds=1.0)
    about = engine_up("e1")
    await append(real_redis, KEYS.events, [about])
    await led_until(settings, lambda: real_redis.sismember(KEYS.engines, "e1"))
    monkeypatch.setattr(loop, "rebuild", slow)
    await append(real_redis, KEYS.tasks, [OpenSession(session="s", name="s")])
    await led_until(settings, lambda: real_redis.exists(KEYS.session("s")))
    assert await real_redis.sismember(KEYS.engines, "e1")


async def led_until(settings: Settings, done: Callable[[], Awaitable[Any]]) -> None:
    """A ServeCore that ends as soon as something is true."""
    core = asyncio.create_task(serve(settings))
    try:
        await until(done)
    finally:
        core.cancel()
        await asyncio.wait([core])
