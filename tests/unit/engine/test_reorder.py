"""A priority can change while a job waits in the runner or in the engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from parrot.config import load
from parrot.engine.protocol import Chunk
from parrot.engine.runner import Runner
from parrot.engine.simulated import SimulatedEngine
from parrot.sampling import SamplingConfig
from parrot.wire.to_core import GenerationReturned
from parrot.wire.to_engine import Cancel, Reorder
from tests.unit.engine.fakes import Diary, FakeLink
from tests.unit.engine.test_runner import job, stage, until


class Queueing(SimulatedEngine):
    """A queue inside, since its KV cache has room for one of our generations at a time. Writes down what it is asked for."""

    def __init__(self) -> None:
        super().__init__(load(engine="simulated", simulated_speed=100.0, max_running=4, kv_gib=0.002, block_tokens=32))
        self.asked: list[tuple[str, int]] = []
        self._full = self._blocks.acquire([], self._blocks.capacity)

    def open(self) -> None:
        """Until then there is room for none."""
        assert self._full is not None
        self._blocks.release(self._full)

    async def generate(self, context: str, sampling: SamplingConfig, priority: int, salt: str = "") -> AsyncIterator[Chunk]:
        self.asked.append((self.tokenizer.decode(self._contexts.tokens(context)), priority))
        async for chunk in super().generate(context, sampling, priority, salt):
            yield chunk


class Stage:
    def __init__(self) -> None:
        self.link, self.engine, self.diary = FakeLink(), Queueing(), Diary()
        timing = {"beat_seconds": 1.0, "checkpoint_seconds": 1.0, "drain_seconds": 0.0}
        self.runner = Runner(self.engine, self.link, self.diary, name="fake", **timing)

    @property
    def values(self) -> list[str]:
        return [publication.job.variable for publication in self.link.published]


@asynccontextmanager
async def queue(*variables: str) -> AsyncIterator[Stage]:
    """Jobs in the engine's queue, all with priority 5."""
    on = Stage()
    await on.engine.start()
    task = asyncio.create_task(on.runner.run())
    on.link.send(*map(long, variables))
    await until(lambda: len(on.engine.asked) == len(variables))
    yield on
    on.runner.stop()
    await asyncio.wait([task])
    await on.engine.stop()
    on.engine.check()
    assert len(on.engine._contexts) == 0


def long(variable: str) -> object:
    knobs = {"temperature": 0, "max_gen_length": 60, "ignore_tokenizer_eos": True}
    return job(variable, variable, priority=5, sampling=knobs)


def to(variable: str, priority: int, attempt: int = 1) -> Reorder:
    return Reorder(variable=variable, attempt=attempt, priority=priority)


async def test_a_job_that_waits_in_the_runner_changes_its_place() -> None:
    async with stage() as on:
        on.link.send(*(job(f"v{number}", "wait ", str(number), priority=5) for number in range(5)))
        await until(lambda: len(on.engine.order) == 2)
        on.link.send(to("v4", 1), to("v2", 9), to("v3", 0, attempt=2), to("unknown", 0), job("last", "wait last", priority=7))
        await until(lambda: "received last" in on.diary.lines)
        on.engine.go.set()
        await until(lambda: len(on.values) == 6)
    assert on.engine.order[2:] == ["wait 4", "wait 3", "wait last", "wait 2"]


async def test_a_job_that_is_just_being_claimed_starts_with_its_new_priority() -> None:
    async with queue() as on:
        on.link.answering.clear()
        on.link.send(long("v"))
        await until(lambda: on.link.begun)
        on.link.send(to("v", 2))
        await asyncio.sleep(0.01)
        on.link.answering.set()
        await until(lambda: on.engine.asked)
    assert on.engine.asked == [("v", 2)]


async def test_one_that_waits_in_the_engine_is_asked_for_again_with_a_better_priority() -> None:
    async with queue("a", "b", "c") as on:
        on.link.send(to("b", 1))
        await until(lambda: len(on.engine.asked) == 4)
        on.engine.open()
        await until(lambda: len(on.values) == 3)
    assert on.engine.asked[3] == ("b", 1)
    assert on.values == ["b", "a", "c"]
    assert [line for line in on.diary.lines if line.endswith("b")] == ["received b", "started b", "succeeded b"]


async def test_a_worse_priority_in_the_engine_is_not_worth_asking_again() -> None:
    async with queue("a", "b") as on:
        on.link.send(to("a", 9), to("a", 5))
        await asyncio.sleep(0.01)
        on.engine.open()
        await until(lambda: len(on.values) == 2)
    assert len(on.engine.asked) == 2
    assert on.values == ["a", "b"]


async def test_one_that_has_begun_to_come_out_goes_on() -> None:
    async with queue("a") as on:
        on.engine.open()
        await until(lambda: [one.first for one in on.runner._batch if one.first])
        on.link.send(to("a", 0))
        await until(lambda: on.values == ["a"])
    assert on.engine.asked == [("a", 5)]


async def test_a_second_change_before_the_first_took_effect_counts() -> None:
    async with queue("a") as on:
        on.link.send(to("a", 3), to("a", 1))
        await until(lambda: len(on.engine.asked) == 2)
        on.link.send(to("a", 2))
        on.engine.open()
        await until(lambda: on.values)
    assert on.engine.asked == [("a", 5), ("a", 1)]


@pytest.mark.parametrize("first", [to("a", 1), Cancel(variable="a", attempt=1)])
async def test_one_that_is_hurried_and_cancelled_at_once_is_cancelled(first: Reorder | Cancel) -> None:
    async with queue("a") as on:
        on.link.send(first, to("a", 1), Cancel(variable="a", attempt=1))
        await until(lambda: "failed a cancelled" in on.diary.lines)
    assert on.engine.asked == [("a", 5)]


async def test_a_drain_hands_back_what_was_hurried() -> None:
    async with queue("a", "b") as on:
        on.link.send(to("b", 1))
        await until(lambda: len(on.engine.asked) == 3)
    assert sorted(said.variable for said in on.link.said if isinstance(said, GenerationReturned)) == ["a", "b"]
