"""What a beat says of jobs: up to where they were read, and which of them have not come to an end that Redis knows of."""

from __future__ import annotations

import asyncio

import pytest

from parrot.engine import runner
from parrot.errors import BadSampling, BrokerUnavailable
from parrot.wire.to_core import EngineBeat, EngineDown, GenerationFailed
from parrot.wire.to_engine import Cancel, Piece
from tests.unit.engine.test_runner import Stage, job, stage, until


def beats(on: Stage) -> list[EngineBeat]:
    return [said for said in on.link.said if isinstance(said, EngineBeat)]


async def beat(on: Stage) -> tuple[str, list[str] | None]:
    """What the next beat says of jobs."""
    before = len(beats(on))
    await until(lambda: len(beats(on)) > before)
    said = beats(on)[-1]
    return said.read, None if said.holds is None else sorted(said.holds)


async def test_before_anything_was_read_it_holds_nothing() -> None:
    async with stage() as on:
        assert await beat(on) == ("", [])
        on.engine.go.set()


async def test_a_job_is_held_while_it_waits_and_while_it_runs() -> None:
    async with stage() as on:
        on.link.send(*(job(f"v{i}", "wait") for i in range(3)))
        await until(lambda: len(on.engine.order) == 2)
        assert on.runner.beat().waiting == 1
        assert await beat(on) == ("1-3", ["v0", "v1", "v2"])


async def test_a_job_is_held_while_it_is_claimed() -> None:
    async with stage() as on:
        on.link.answering.clear()
        on.link.send(job("v"))
        await until(lambda: on.link.begun)
        assert await beat(on) == ("1-1", ["v"])
        on.link.answering.set()


async def test_a_job_is_held_until_redis_has_answered_its_publication() -> None:
    async with stage() as on:
        on.link.send(job("v", "wait"))
        await until(lambda: on.engine.order)
        on.link.answering.clear()
        on.engine.go.set()
        await until(lambda: on.runner.beat().running == 0)
        assert await beat(on) == ("1-1", ["v"])
        on.link.answering.set()
        await until(lambda: on.values)
        assert await beat(on) == ("1-1", [])


async def test_a_job_whose_publication_waits_for_another_flush_is_held() -> None:
    async with stage() as on:
        on.link.send(job("first", "wait"), job("second", "slowly"))
        await until(lambda: len(on.engine.order) == 2)
        on.link.answering.clear()
        on.engine.go.set()
        on.engine.step(99)
        await until(lambda: on.runner.beat().running == 0)
        assert await beat(on) == ("1-2", ["first", "second"])
        on.link.answering.set()
        await until(lambda: len(on.values) == 2)


async def test_a_job_is_held_until_redis_has_its_failure() -> None:
    async with stage() as on:
        on.engine.errors = {"bad": BadSampling("Too hot.")}
        on.link.send(job("v", "wait bad"))
        await until(lambda: on.engine.order)
        on.link.answering.clear()
        on.engine.go.set()
        await until(lambda: "failed v bad_sampling" in on.diary.lines)
        assert await beat(on) == ("1-1", ["v"])
        on.link.answering.set()
        await until(lambda: on.reports[1:])
        assert await beat(on) == ("1-1", [])
    about = [said for said in on.link.said if isinstance(said, GenerationFailed) or (isinstance(said, EngineBeat) and said.read)]
    told = next(place for place, said in enumerate(about) if isinstance(said, GenerationFailed))
    assert all(said.holds == ["v"] for said in about[:told] if isinstance(said, EngineBeat)), "no beat is ahead of what it follows from"


async def test_a_publication_that_is_refused_for_good_is_held_until_its_failure_is_told() -> None:
    async with stage() as on:
        on.link.send(job("v", "wait"))
        await until(lambda: on.engine.order)
        on.link.refusals = {"v": BrokerUnavailable("Too large.")}
        on.link.answering.clear()
        on.engine.go.set()
        await until(lambda: on.runner.beat().running == 0)
        assert await beat(on) == ("1-1", ["v"])
        on.link.answering.set()
        await until(lambda: on.reports[1:])
        assert await beat(on) == ("1-1", [])


async def test_a_job_is_held_until_it_was_told_that_it_is_handed_back() -> None:
    async with stage() as on:
        on.link.send(*(job(f"v{i}", "wait") for i in range(3)))
        await until(lambda: len(on.engine.order) == 2)
        on.link.answering.clear()
        on.runner.stop()
        await until(lambda: "returned v2" in on.diary.lines)
        assert await beat(on) == ("1-3", ["v0", "v1", "v2"])
        on.link.answering.set()
        await until(lambda: on.reports[1:])
        assert await beat(on) == ("1-3", ["v0", "v1"])
    assert isinstance(on.reports[-1], EngineDown)


async def test_what_belongs_to_another_attempt_or_was_cancelled_is_not_held() -> None:
    async with stage() as on:
        on.link.lost = {"theirs"}
        on.link.send(job("theirs"), job("stopped", "wait"))
        await until(lambda: on.engine.order)
        on.link.send(Cancel(variable="stopped", attempt=1))
        await until(lambda: "failed stopped cancelled" in on.diary.lines)
        assert await beat(on) == ("1-3", [])


async def test_what_was_read_with_an_entry_that_is_being_buried_is_not_said_to_be_read_yet() -> None:
    async with stage() as on:
        burying, buried = asyncio.Event(), asyncio.Event()

        async def bury(*_: object) -> None:
            burying.set()
            await buried.wait()

        on.link.bury = bury  # type: ignore[method-assign]
        on.link.send(job("before", "wait"))
        on.link.send_raw({b"v": b"1", b"kind": b"Job", b"body": b'{"variable": "odd", "attempt": 1, "nonsense": true}'})
        on.link.send(job("behind", "wait"))
        await burying.wait()
        assert await beat(on) == ("1-1", ["before"])
        on.link.answering.clear()
        buried.set()
        await until(lambda: "received behind" in on.diary.lines)
        assert await beat(on) == ("1-3", ["before", "behind", "odd"])
        on.link.answering.set()


async def test_of_more_than_a_beat_can_list_it_lists_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "MAX_REPORTED", 1)
    async with stage() as on:
        on.link.send(job("v0", "wait"), job("v1", "wait"))
        await until(lambda: len(on.engine.order) == 2)
        assert await beat(on) == ("1-2", None)


async def test_a_value_that_was_published_and_then_cancelled_is_fetched_again() -> None:
    """ServeCore cancels it if Redis has lost it: another attempt may make another one."""
    async with stage() as on:
        on.link.send(job("first"))
        await until(lambda: on.values == ["first"])
        on.link.contents = {Piece("variable", "first"): on.link.published[0].value}
        on.link.send(Cancel(variable="first", attempt=1), job("second", Piece("variable", "first")))
        await until(lambda: on.values == ["first", "second"])
    assert on.link.begun[-1] == (["second"], ["first"])
