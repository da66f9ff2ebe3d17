"""The runner tells ServeCore which of the beginnings that it named lie in the KV cache."""

from __future__ import annotations

import asyncio

import pytest

from parrot.engine import runner
from parrot.wire.to_core import EngineHolds
from parrot.wire.to_engine import Mark, TellHoldings
from tests.unit.engine.test_runner import Stage, job, stage, until

BLOCK = "a block has 128 characters, since four are a token here; ".ljust(128, ".")
FIRST, SECOND, WHOLE = 1, 2, 3  # ServeCore's names


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "HOLDINGS_SECONDS", 0.01)


def holdings(on: Stage) -> list[EngineHolds]:
    return [said for said in on.link.said if isinstance(said, EngineHolds)]


def long(variable: str, *more: str, marks: list[Mark] | None = None, length: int = 4) -> object:
    named = [Mark(1, 0, FIRST), Mark(2, 0, SECOND), Mark(3, 0, WHOLE)] if marks is None else marks
    knobs = {"temperature": 0, "max_gen_length": length, "ignore_tokenizer_eos": True}
    return job(variable, BLOCK * 2, *(more or (BLOCK,)), marks=named, sampling=knobs)


async def test_what_a_job_leaves_in_the_cache_is_reported_with_its_full_blocks() -> None:
    async with stage() as on:
        on.link.send(long("v", length=40))
        await until(lambda: holdings(on))
    (report,) = holdings(on)
    assert (report.engine, report.sequence, report.whole, report.removed) == ("fake-1", 1, False, [])
    assert sorted(report.stored) == [(FIRST, 64), (SECOND, 96), (WHOLE, 128)], "of the output, 32 of 40 tokens are a full block"


async def test_a_beginning_that_was_there_before_it_was_named_is_reported_too() -> None:
    async with stage() as on:
        on.link.send(long("v", marks=[]))
        await until(lambda: on.values == ["v"])
        on.link.send(long("w", "other", marks=[Mark(1, 0, FIRST)]))
        await until(lambda: holdings(on))
    assert holdings(on)[0].stored == [(FIRST, 64)]
    assert on.link.published[1].event.usage.tokens_cached == 64


async def test_what_is_given_up_for_others_is_reported_as_removed() -> None:
    async with stage() as on:
        on.engine._blocks.capacity = 8
        on.link.send(long("v"))
        await until(lambda: holdings(on))
        on.link.send(job("w", *(f"{number}{BLOCK}"[:128] for number in range(7)), marks=[Mark(7, 0, 9)]))
        await until(lambda: len(holdings(on)) == 2)
    report = holdings(on)[1]
    assert (report.sequence, report.stored, sorted(report.removed)) == (2, [(9, 7 * 32)], [FIRST, SECOND, WHOLE])


async def test_where_nobody_asks_nothing_is_said() -> None:
    async with stage() as on:
        on.link.send(long("v", marks=[]), job("short", "say", marks=[Mark(1, 0, FIRST)]))
        await until(lambda: len(on.values) == 2)
        await asyncio.sleep(0.05)
    assert holdings(on) == []


async def test_all_is_told_at_once_when_servecore_asks() -> None:
    async with stage() as on:
        on.link.send(TellHoldings(), long("v"))
        await until(lambda: len(holdings(on)) == 2)
        on.link.send(TellHoldings())
        await until(lambda: len(holdings(on)) == 3)
    first, changed, last = holdings(on)
    assert (first.whole, first.sequence, first.stored) == (True, 1, [])
    assert (last.whole, last.sequence, sorted(last.stored)) == (True, 3, sorted(changed.stored))


async def test_an_output_that_its_tokens_do_not_say_is_no_beginning() -> None:
    async with stage() as on:
        on.link.send(long("v", "inexact".ljust(128), length=40))
        await until(lambda: holdings(on))
    assert on.link.published[0].value.tokens is None
    assert sorted(holdings(on)[0].stored) == [(FIRST, 64), (SECOND, 96)]


async def test_the_next_incarnation_finds_what_this_one_left_in_the_cache() -> None:
    async with stage() as on:
        on.link.send(long("v"))
        await until(lambda: holdings(on))
    async with stage(engine=on.engine) as again:
        again.link.send(job("w", BLOCK * 2, "other", marks=[Mark(1, 0, FIRST)]))
        await until(lambda: holdings(again))
    assert (holdings(again)[0].sequence, holdings(again)[0].stored) == (1, [(FIRST, 64)])


async def test_while_the_broker_is_slow_what_changes_is_gathered_into_one_report() -> None:
    async with stage() as on:
        on.link.answering.clear()
        on.link.send(TellHoldings())
        await asyncio.sleep(0.03)
        for block in range(5):
            on.runner._residency.know(block, 32, block)
            on.engine._blocks.acquire([block], 0)
            await asyncio.sleep(0.03)
        on.link.answering.set()
        await until(lambda: len(holdings(on)) == 3)
    assert [len(report.stored) for report in holdings(on)] == [0, 1, 4]


async def test_usage_says_how_full_the_batch_was() -> None:
    async with stage() as on:
        on.link.send(job("v", "wait"), job("w", "wait"))
        await until(lambda: len(on.engine.order) == 2)
        await asyncio.sleep(0.05)
        on.engine.go.set()
        await until(lambda: len(on.values) == 2)
    assert [publication.event.usage.running for publication in on.link.published] == [pytest.approx(2, abs=0.2)] * 2
