"""The real engine is killed in mid-decode, and another one finishes the sentence."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import psutil
import pytest
from redis.asyncio import Redis

import parrot as P
from parrot.broker.tokens import Tokens
from parrot.wire.keys import Keys
from tests.fault.programs import until_it_adds_up
from tests.flow.waiting import until

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(420)]

KEYS = Keys("main")
STARTS = 120.0  # seconds that a cold start may take here
ENVIRONMENT = {
    "PARROT_ENGINE": "vllm",
    "PARROT_DTYPE": "float32",  # equal means equal: in bfloat16 a prefix that is computed again rounds differently
    "PARROT_KV_GIB": "0.25",
    "PARROT_CONTEXT_TOKENS": "512",
    "PARROT_MAX_RUNNING": "4",
}


@P.semantic_function()
def tell(about: Annotated[str, P.Input], story: Annotated[str, P.Output(P.SamplingConfig(temperature=0, max_gen_length=80))]) -> None:
    """Write a long story about {{about}}. {{story}}"""


@contextmanager
def process(command: str, url: str, log: Path) -> Iterator[psutil.Popen]:
    """`parrot core` or `parrot worker`."""
    environment = {**os.environ, **ENVIRONMENT, "PARROT_REDIS_URL": url}
    with log.open("wb") as output:
        started = psutil.Popen([sys.executable, "-m", "parrot.cli", command], env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield started
    finally:
        family = [started, *started.children(recursive=True)] if started.is_running() else []
        for one in family:
            one.kill()
        psutil.wait_procs(family, timeout=5)
        print(f"--- {log.name}\n{log.read_text()}")


async def until_up(redis: Redis, worker: psutil.Popen) -> None:
    async def is_up() -> bool:
        assert worker.poll() is None, "the worker has ended"
        return bool(await redis.exists(KEYS.engines))

    await until(is_up, STARTS)


@pytest.mark.skipif(find_spec("vllm") is None and not os.environ.get("CI"), reason="vLLM is not installed: `make install`.")
async def test_a_worker_that_is_killed_in_mid_decode_is_not_seen_in_the_text(redis_url: str, real_redis: Redis, tmp_path: Path) -> None:
    """Greedy, in float32: the same text as without the crash, and one stream in which each number comes once."""
    with process("core", redis_url, tmp_path / "core.log"):
        async with P.AsyncSession(redis_url):
            with process("worker", redis_url, tmp_path / "first.log") as worker:
                await until_up(real_redis, worker)
                undisturbed = await tell(about="a parrot at sea").aget(timeout=150)
                variable = tell(about="a parrot at sea")
                seen: list[P.Part] = []

                async def read() -> None:
                    async for part in variable.stream():
                        seen.append(part)  # noqa: PERF401 - while it comes

                reading = asyncio.create_task(read())
                await until(lambda: _has(seen, 5), 90)
                engine = worker.children(recursive=True)
                worker.kill()
                worker.wait()
                at_the_kill = len(seen)
                assert psutil.wait_procs(engine, timeout=3)[1] == [], "no process of the engine is left"
                assert len(engine) >= 2
            with process("worker", redis_url, tmp_path / "second.log") as worker:
                await asyncio.wait_for(reading, STARTS)
                value = await variable.aget(timeout=150)
                await until_it_adds_up(real_redis)
                began = time.monotonic()
                worker.terminate()
                worker.wait(30)
                print(f"{at_the_kill} of {len(seen)} parts came before the kill; the drain took {time.monotonic() - began:.1f} s")
    parts = (await Tokens(real_redis, KEYS).read([variable.id]))[0]
    about: Any = await real_redis.hmget(KEYS.variable(variable.id), "attempt", "tokens_out", "finish_reason")  # type: ignore[misc]
    assert value == undisturbed
    assert "".join(part.text for part in seen) == "".join(part.text for part in parts) == value
    assert [part.number for part in seen] == [part.number for part in parts] == list(range(1, len(parts) + 1))
    assert not any(part.kind == "reset" for part in parts)
    assert 5 <= at_the_kill < len(seen)
    assert about == [b"2", b"80", b"length"]


async def _has(seen: list[P.Part], count: int) -> bool:
    return len(seen) >= count
