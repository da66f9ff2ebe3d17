"""Celery's revoke cancels generations: through Celery's remote control and through Flower, on real workers and a real ServeCore."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from redis.asyncio import Redis

import parrot as P
from parrot.config import load
from parrot.wire.keys import Keys
from tests.flow.cells import running
from tests.flow.waiting import until
from tests.flow.worker_processes import Flower, flower, flower_url, inspect, worker

KEYS = Keys("main")


@P.semantic_function
def write(topic: P.Input, text: P.Output(P.SamplingConfig(max_gen_length=500, ignore_tokenizer_eos=True))):
    """Write about {{topic}}: {{text}}"""


async def until_state(redis: Redis, variable: P.Variable, state: str) -> None:
    async def is_so() -> bool:
        return bool(await redis.hget(KEYS.variable(variable.id), "state") == state.encode())

    await until(is_so, 30)


async def engine_of(redis: Redis, variable: P.Variable) -> str:
    raw: Any = await redis.hget(KEYS.variable(variable.id), "engine")
    return str(raw.decode())


async def until_reachable(redis_url: str, workers: int = 1) -> None:
    """Wait until workers listen to Celery's remote control: an engine works before that, and what nobody listens to is lost."""
    with Celery(broker=load(redis_url=redis_url).celery_broker) as operator:

        async def answer() -> bool:
            return len(await asyncio.to_thread(operator.control.ping, timeout=1, limit=workers)) == workers

        await until(answer, 30)


async def revoke(redis_url: str, ids: str | list[str], workers: int = 1, **options: Any) -> list[str]:
    """What workers answer to Celery's own revoke."""
    with Celery(broker=load(redis_url=redis_url).celery_broker) as operator:
        replies = await asyncio.to_thread(operator.control.revoke, ids, reply=True, timeout=5, limit=workers, **options)
    return [answer["ok"] for reply in replies for answer in reply.values()]


async def test_a_revoked_generation_is_cancelled_and_its_slot_free_within_a_second(
    redis_url: str, real_redis: Redis, tmp_path: Path
) -> None:
    """500 tokens take more than half a minute, and each engine runs one generation."""
    with ExitStack() as workers:
        for name in ("sim-0", "sim-1"):
            workers.enter_context(worker(redis_url, tmp_path / f"{name}.log", engine_name=name, max_running="1", simulated_speed="1"))
        async with running(redis_url, engines=0), P.AsyncSession(redis_url):
            first, second = write("owls"), write("crows")
            for variable in (first, second):
                await until_state(real_redis, variable, "generating")
            await until_reachable(redis_url, workers=2)
            third = write("gulls")
            freed = await engine_of(real_redis, first)
            began = time.monotonic()
            said = await revoke(redis_url, f"{first.id}:1", workers=2)
            with pytest.raises(P.Cancelled):
                await first.aget(timeout=20)
            await until_state(real_redis, third, "generating")
            assert time.monotonic() - began < 1
            assert said == [f"ServeCore was told to cancel {first.id}"] * 2
            assert await engine_of(real_redis, third) == freed
            assert await real_redis.hget(KEYS.variable(second.id), "state") == b"generating"


async def test_many_are_revoked_at_once_and_celery_keeps_the_ids_of_its_own(redis_url: str, real_redis: Redis, tmp_path: Path) -> None:
    own = "1480b55c-b8b2-462c-985e-24af3e9158f9"
    with worker(redis_url, tmp_path / "worker.log", max_running="2", simulated_speed="1"):
        async with running(redis_url, engines=0), P.AsyncSession(redis_url):
            runs, runs_too, waits = write("owls"), write("crows"), write("gulls")
            await until_state(real_redis, runs_too, "generating")
            await until_reachable(redis_url)
            (said,) = await revoke(redis_url, [f"{one.id}:1" for one in (runs, runs_too, waits)] + [own])
            assert said.startswith(f"ServeCore was told to cancel {runs.id}, {runs_too.id}, {waits.id}; tasks ")
            for one in (runs, runs_too, waits):
                with pytest.raises(P.Cancelled):
                    await one.aget(timeout=20)
            assert await inspect(redis_url, "revoked") == [own]
            assert await revoke(redis_url, own, terminate=True) == ["terminate: tasks unknown"]


async def test_flowers_button_cancels_the_generation_that_it_shows(redis_url: str, real_redis: Redis, tmp_path: Path) -> None:
    with flower(redis_url, tmp_path / "flower.log") as shown, worker(redis_url, tmp_path / "worker.log", simulated_speed="1"):
        ask = Flower(await flower_url(shown.log))
        await until(ask.workers, 30)
        async with running(redis_url, engines=0), P.AsyncSession(redis_url):
            text = write("owls")

            async def states() -> list[tuple[str, str]]:
                return [(uuid, task["state"]) for uuid, task in (await ask.tasks()).items()]

            async def is_shown() -> bool:
                return [state for _, state in await states()] == ["STARTED"]

            await until(is_shown, 30)
            ((uuid, _),) = await states()
            assert await ask.revoke(uuid) == f"Revoked '{uuid}'"
            with pytest.raises(P.Cancelled):
                await text.aget(timeout=20)

            async def is_revoked() -> bool:
                return await states() == [(uuid, "REVOKED")]

            await until(is_revoked)
