from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from parrot.config import load
from parrot.engine.contexts import context_name
from parrot.engine.protocol import Chunk, Engine
from parrot.engine.simulated import SMOLLM2_ON_TWO_CORES, Profile, SimulatedEngine
from parrot.errors import ContextTooLong, EngineError
from parrot.sampling import SamplingConfig

FAST = 100_000.0  # in simulated seconds per second
SHORT = SamplingConfig(temperature=0, max_gen_length=4, ignore_tokenizer_eos=True)
PROFILE = Profile(step_seconds=1.0, sequence_seconds=0.5, prefill_tokens=100, kv_token_bytes=2**20)


@asynccontextmanager
async def started(*, speed: float = FAST, kv_gib: float = 1.0, **settings: object) -> AsyncIterator[SimulatedEngine]:
    """An engine with a KV cache of 1,024 tokens in 64 blocks; its books must agree in the end."""
    options = {"engine": "simulated", "block_tokens": 16, "context_tokens": 512} | settings
    engine = SimulatedEngine(load(simulated_speed=speed, kv_gib=kv_gib, **options), PROFILE)
    await engine.start()
    try:
        yield engine
        engine.check()
    finally:
        await engine.stop()


async def filled(engine: Engine, *segments: list[int]) -> str:
    parent = None
    for tokens in segments:
        name = context_name(parent, tokens)
        await engine.fill(name, parent, tokens)
        parent = name
    assert parent is not None
    return parent


async def generated(engine: Engine, context: str, sampling: SamplingConfig = SHORT, priority: int = 0) -> list[Chunk]:
    return [chunk async for chunk in engine.generate(context, sampling, priority)]


def text(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def test_its_profile_decodes_as_fast_as_the_engine_it_was_measured_on() -> None:
    measured = {1: 14, 8: 122, 32: 452}
    for running, rate in measured.items():
        assert running / SMOLLM2_ON_TWO_CORES.step(running, prefill=0) == pytest.approx(rate, rel=0.07)


@pytest.mark.parametrize("speed", [0.0, FAST])
async def test_the_output_follows_from_prompt_and_sampling_alone(speed: float) -> None:
    async with started(speed=speed) as engine, started(speed=FAST, max_running=1) as other:
        here = await generated(engine, await filled(engine, [1, 2], [3]))
        there = await generated(other, await filled(other, [1], [2, 3]))
    assert text(here) == text(there)
    assert [token for chunk in here for token in chunk.tokens] == [token for chunk in there for token in chunk.tokens]
    assert [chunk.finish_reason for chunk in here][-1] == "length"
    assert engine.tokenizer.decode([token for chunk in here for token in chunk.tokens]) == text(here)


async def test_tokens_come_one_a_step_and_the_last_says_why_it_ended() -> None:
    async with started() as engine:
        chunks = await generated(engine, await filled(engine, [1]))
    assert sum(len(chunk.tokens) for chunk in chunks) == 4
    assert [chunk.finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)


async def test_an_output_that_stops_before_its_first_token_is_empty() -> None:
    async with started() as engine:
        context = await filled(engine, [1])
        first = text(await generated(engine, context))[:3]
        assert await generated(engine, context, SHORT.model_copy(update={"stop": (first,)})) == [Chunk((), "", "stop", 0)]


@pytest.mark.parametrize("speed", [0.0, FAST])
async def test_a_prompt_that_begins_like_an_earlier_one_finds_its_full_blocks_cached(speed: float) -> None:
    async with started(speed=speed) as engine:
        await generated(engine, await filled(engine, list(range(40))))
        again = await generated(engine, await filled(engine, list(range(40))))
        longer = await generated(engine, await filled(engine, list(range(40)), list(range(100))))
        other = await generated(engine, await filled(engine, [7, *range(40)]))
    assert [chunks[-1].cached_tokens for chunks in (again, longer, other)] == [32, 32, 0]


async def test_prompts_with_different_salts_share_nothing() -> None:
    async with started(speed=0.0) as engine:
        context = await filled(engine, list(range(200)))
        found = [[chunk async for chunk in engine.generate(context, SHORT, 0, salt)][-1].cached_tokens for salt in ("a", "b", "", "a")]
        assert found[:3] == [0, 0, 0]
        assert found[3] > 0


async def test_the_last_token_of_a_prompt_is_always_computed() -> None:
    async with started(speed=0.0) as engine:
        context = await filled(engine, list(range(32)))
        await generated(engine, context)
        assert (await generated(engine, context))[-1].cached_tokens == 16


async def test_old_blocks_go_when_the_cache_is_full() -> None:
    async with started(speed=0.0) as engine:
        first = await filled(engine, list(range(400)))
        await generated(engine, first)
        for start in (1000, 2000):
            await generated(engine, await filled(engine, list(range(start, start + 500))))
        assert (await generated(engine, first))[-1].cached_tokens < 400 // 16 * 16


@pytest.mark.parametrize("speed", [0.0, FAST])
async def test_a_prompt_that_does_not_fit_is_refused_with_a_remedy(speed: float) -> None:
    async with started(speed=speed, context_tokens=64) as engine:
        context = await filled(engine, list(range(61)))
        with pytest.raises(ContextTooLong, match="61 tokens and 4 of output do not fit the context window of 64"):
            await generated(engine, context)


async def test_of_those_that_wait_the_lowest_priority_number_goes_first() -> None:
    ended: list[int] = []
    async with started(max_running=1) as engine:

        async def run(priority: int) -> None:
            await generated(engine, await filled(engine, [priority]), priority=priority)
            ended.append(priority)

        await asyncio.gather(*map(run, (0, 3, 1, 2, 1)))
    assert ended[0] == 0
    assert ended[1:] == [1, 1, 2, 3]


async def test_a_batch_takes_little_longer_than_one() -> None:
    async with started(speed=100.0, max_running=8) as engine:
        contexts = [await filled(engine, [i]) for i in range(8)]
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(generated(engine, context) for context in contexts))
        seconds = asyncio.get_running_loop().time() - began
    assert seconds >= 4 * (1.0 + 8 * 0.5) / 100
    assert seconds < 8 * 4 * 1.5 / 100, "as long as one after the other"


async def test_load_counts_what_is_in_flight_and_the_blocks_it_holds() -> None:
    async with started(speed=10.0, max_running=2) as engine:
        tasks = [asyncio.create_task(generated(engine, await filled(engine, [i]))) for i in range(3)]
        await asyncio.sleep(0.01)
        load = engine.load()
        assert (load.running, load.kv_used) == (3, 2 / 64)
        await asyncio.gather(*tasks)
        assert (engine.load().running, engine.load().kv_used) == (0, 0.0)


async def test_closing_the_iterator_aborts_whether_it_runs_or_waits() -> None:
    async with started(speed=10.0, max_running=1) as engine:
        tasks = [asyncio.create_task(generated(engine, await filled(engine, [i]))) for i in range(2)]
        await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (engine.load().running, engine.load().kv_used) == (0, 0.0)


async def test_a_stopped_engine_fails_those_who_wait_and_says_so() -> None:
    async with started(speed=1.0) as engine:
        task = asyncio.create_task(generated(engine, await filled(engine, [1])))
        await asyncio.sleep(0)
        await engine.stop()
        with pytest.raises(EngineError, match="has stopped"):
            await task
        with pytest.raises(EngineError, match="has stopped"):
            engine.load()
