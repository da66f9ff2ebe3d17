"""What lies in the real engine's KV cache is what the runner tells ServeCore, and what the next prompt finds there."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from parrot.config import load
from parrot.engine.runner import Runner
from parrot.engine.vllm import VllmEngine
from parrot.wire.to_core import EngineHolds, GenerationFailed, Usage
from parrot.wire.to_engine import Job, Mark, Piece, Reorder, TellHoldings
from tests.unit.engine.fakes import Diary, FakeLink

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore"),  # vLLM and torch deprecate each other's ways; not ours to mend
]

RULES = "Answer in one sentence, and do not use the letter q. Be polite, even where others are not. " * 16  # some 300 tokens
SYSTEM, PART, PROMPT, WHOLE = 1, 2, 3, 4  # ServeCore's names


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(vllm: None) -> AsyncIterator[VllmEngine]:
    """With room for some 70 blocks."""
    engine = VllmEngine(load(engine="vllm", dtype="float32", kv_gib=0.1, context_tokens=1024, max_running=8))
    try:
        await engine.start()
        yield engine
    finally:
        await engine.stop()
        gc.collect()


class Stage:
    """A runner with the real engine on one side and nobody on the other."""

    def __init__(self, engine: VllmEngine) -> None:
        self.link, self.diary = FakeLink(), Diary()
        timing = {"beat_seconds": 1.0, "checkpoint_seconds": 0.08, "drain_seconds": 0.0}
        self.runner = Runner(engine, self.link, self.diary, name="real", **timing)
        self.task = asyncio.create_task(self.runner.run())

    async def generate(self, variable: str, *texts: str, **about: object) -> Usage:
        self.link.send(job(variable, *texts, **about))
        await until(lambda: f"succeeded {variable}" in self.diary.lines)
        return next(publication.event.usage for publication in self.link.published if publication.job.variable == variable)

    def held(self) -> dict[int, int]:
        """Tokens by name, as somebody knows who follows the reports."""
        held: dict[int, int] = {}
        reports = [said for said in self.link.said if isinstance(said, EngineHolds)]
        for number, report in enumerate(reports, start=1):
            assert report.sequence == number
            held = {} if report.whole else {name: tokens for name, tokens in held.items() if name not in report.removed}
            held.update(report.stored)
        return held


@pytest_asyncio.fixture(loop_scope="module")
async def on(engine: VllmEngine) -> AsyncIterator[Stage]:
    assert await engine._llm.reset_prefix_cache()
    made = Stage(engine)
    yield made
    made.runner.stop()
    await made.task
    assert not [said for said in made.link.said if isinstance(said, GenerationFailed)]


def job(variable: str, *texts: str, length: int = 8, **about: object) -> Job:
    named = {"variable": variable, "attempt": 1, "session": "s", "call": variable, "function": "f", "output": "o"}
    sampling = {"temperature": 0, "max_gen_length": length, "ignore_tokenizer_eos": True}
    return Job.model_validate({**named, "prompt": [Piece("text", text) for text in texts], "sampling": sampling, "chat": "off", **about})


async def until(truth: Callable[[], object]) -> None:
    async with asyncio.timeout(240):
        while not truth():
            await asyncio.sleep(0.02)


MARKS = [Mark(0, 900, PART), Mark(1, 0, SYSTEM), Mark(2, 0, PROMPT), Mark(3, 0, WHOLE)]


async def test_a_beginning_that_is_reported_is_what_the_next_prompt_does_not_compute(engine: VllmEngine, on: Stage) -> None:
    first = await on.generate("first", RULES, "What is the capital of France? " * 10, marks=MARKS, length=40)
    await until(lambda: on.held().keys() == {PART, SYSTEM, PROMPT, WHOLE})
    size, held, rules = engine.capacity.block_tokens, on.held(), len(engine.tokenizer.encode(RULES))
    assert first.tokens_cached == 0
    assert held[SYSTEM] == rules // size * size
    assert held[PART] == (len(engine.tokenizer.encode(RULES[:900])) - 1) // size * size
    assert held[PROMPT] == first.tokens_in // size * size
    assert held[WHOLE] == (first.tokens_in + 39) // size * size
    second = await on.generate("second", RULES, "And what is the capital of Spain? " * 10)
    assert second.tokens_cached == held[SYSTEM]
    other = await on.generate("other", RULES[:900] + "quite another way to go on. " * 10)
    assert other.tokens_cached == held[PART]


async def test_what_was_generated_on_top_is_found_by_the_next_turn(on: Stage) -> None:
    await on.generate("first", RULES, "Say something long.", marks=[Mark(3, 0, WHOLE)], length=40)
    await until(lambda: WHOLE in on.held())
    value = next(publication.value for publication in on.link.published)
    assert value.tokens is not None
    on.link.contents = {Piece("variable", "first"): value}
    prompt = [Piece("text", RULES), Piece("text", "Say something long."), Piece("variable", "first"), Piece("text", " And now? " * 20)]
    usage = await on.generate("second", prompt=prompt)
    assert usage.tokens_cached == on.held()[WHOLE]


async def test_what_one_tenant_has_in_the_cache_is_not_used_for_another(on: Stage) -> None:
    first = await on.generate("first", RULES, "x", marks=MARKS[1:2], salt="one")
    other = await on.generate("other", RULES, "x", salt="two")
    nobody = await on.generate("nobody", RULES, "x")
    again = await on.generate("again", RULES, "x", salt="one")
    await until(lambda: on.held().keys() == {SYSTEM})
    assert first.tokens_cached == other.tokens_cached == nobody.tokens_cached == 0
    assert again.tokens_cached >= on.held()[SYSTEM] > 0


async def test_what_must_go_for_others_is_reported_as_removed(engine: VllmEngine, on: Stage) -> None:
    await on.generate("first", RULES, "x", marks=MARKS[1:2])
    await until(lambda: on.held().keys() == {SYSTEM})
    for number in range(4):
        await on.generate(f"w{number}", f"{number}, {number + 1}, {number + 2}; " * 80)
    await until(lambda: not on.held())
    assert (await on.generate("again", RULES, "x")).tokens_cached == 0
    await until(lambda: on.held().keys() == {SYSTEM})


async def test_when_the_cache_is_reset_all_is_reported_as_removed_with_the_next_step(engine: VllmEngine, on: Stage) -> None:
    await on.generate("first", RULES, "x", marks=MARKS[1:2])
    await until(lambda: on.held().keys() == {SYSTEM})
    assert await engine._llm.reset_prefix_cache()
    await on.generate("short", "x")
    await until(lambda: not on.held())


async def test_all_is_told_on_request(on: Stage) -> None:
    await on.generate("first", RULES, "x", marks=MARKS[1:2])
    on.link.send(TellHoldings())
    await until(lambda: any(said.whole for said in on.link.said if isinstance(said, EngineHolds)))
    await until(lambda: on.held().keys() == {SYSTEM})


async def test_a_generation_that_the_engine_has_queued_goes_first_once_its_priority_is_better(on: Stage) -> None:
    """Two that fill the KV cache, and two that wait for room in it."""
    full = [job(f"full{number}", f"{number} and so on; " * 160, length=30) for number in range(2)]
    on.link.send(*full)
    await until(lambda: [one.first > 0 for one in on.runner._batch] == [True, True])
    on.link.send(job("second", "a b c " * 150, priority=5, length=2), job("third", "d e f " * 150, priority=5, length=2))
    await until(lambda: len(on.runner._batch) == 4)
    on.link.send(Reorder(variable="third", attempt=1, priority=1))
    await until(lambda: len(on.link.published) == 4)
    assert [publication.job.variable for publication in on.link.published if publication.job not in full] == ["third", "second"]
    usage = next(publication.event.usage for publication in on.link.published if publication.job.variable == "full0")
    assert 1 < usage.running <= 4


async def test_an_engine_leaves_no_socket_behind(engine: VllmEngine) -> None:
    """The last test on this engine. Whoever is killed leaves none either: the file is gone as soon as the engine is up."""
    assert engine._events is not None
    assert not Path(engine._events._folder).exists()
    await engine.stop()
    assert not Path(engine._events._folder).exists()
    engine.cache_news()
    assert engine.cache_news() == (set(), set())
