"""The runner writes down what generations produce, and goes on from what others have written down."""

from __future__ import annotations

import asyncio

from parrot.broker.tokens import Part
from parrot.errors import BrokerUnavailable
from parrot.wire.to_core import EngineBeat, EngineDown, EngineUp, GenerationFailed, GenerationReturned
from tests.unit.engine.fakes import FakeLink
from tests.unit.engine.test_runner import Stage, job, stage, until

LENGTH = 6


def text(parts: list[Part]) -> str:
    resets = [place for place, part in enumerate(parts) if part.kind == "reset"]
    return "".join(part.text for part in parts[resets[-1] if resets else 0 :])


def numbers(parts: list[Part]) -> list[int]:
    return [part.number for part in parts]


def long(variable: str, attempt: int = 1, **sampling: object) -> object:
    knobs = {"temperature": 0, "max_gen_length": LENGTH, "ignore_tokenizer_eos": True} | sampling
    return job(variable, "slowly", attempt=attempt, sampling=knobs)


async def undisturbed(**sampling: object) -> str:
    async with stage() as on:
        on.engine.step(LENGTH)
        on.link.send(long("v", **sampling))
        await until(lambda: on.values)
    return on.link.published[0].value.text


async def until_streamed(on: Stage, parts: int) -> None:
    await until(lambda: len(on.link.streams.get("v", ())) >= parts)


async def test_what_is_produced_is_written_down_while_it_runs_and_adds_up_to_the_value() -> None:
    async with stage() as on:
        on.link.send(long("v"))
        for count in range(1, LENGTH):
            on.engine.step()
            await until_streamed(on, count)
        on.engine.step()
        await until(lambda: on.values)
    (publication,) = on.link.published
    stream = on.link.streams["v"]
    assert publication.rest is not None
    assert numbers([*stream, publication.rest]) == list(range(1, LENGTH + 1))
    assert text([*stream, publication.rest]) == publication.value.text
    assert [len(part.tokens) for part in stream] == [1] * (LENGTH - 1)
    assert [bool(part.by) for part in stream] == [True] + [False] * (LENGTH - 2)


async def test_what_is_short_has_no_stream() -> None:
    async with stage() as on:
        on.link.send(job("v"))
        await until(lambda: on.values)
        assert on.link.published[0].rest is None
    assert on.link.streams == {}


async def test_where_nothing_is_new_nothing_is_written() -> None:
    async with stage() as on:
        on.link.send(long("v"))
        on.engine.step(2)
        await until_streamed(on, 1)
        await asyncio.sleep(0.05)
        before = len(on.link.streams["v"])
        await asyncio.sleep(0.05)
        assert len(on.link.streams["v"]) == before <= 2
        on.engine.step(LENGTH)


async def test_parts_of_all_generations_go_in_one_round_trip() -> None:
    async with stage() as on:
        on.link.send(long("v"), long("w"))
        await until(lambda: len(on.engine.order) == 2)
        on.engine.step(4)
        await until_streamed(on, 1)
        assert on.link.streams.keys() == {"v", "w"}
        on.engine.step(2 * LENGTH)


async def test_an_attempt_that_is_over_is_stopped_and_published_nowhere() -> None:
    async with stage() as on:
        on.link.send(long("v"))
        await until(lambda: on.engine.order)
        on.link.lost = {"v"}
        on.engine.step()
        await until(lambda: "returned v" in on.diary.lines)
    assert on.values == []
    assert [type(report) for report in on.reports] == [EngineUp, EngineDown], "nobody is told: ServeCore knows"


async def test_a_part_that_redis_refuses_for_good_fails_its_generation_alone() -> None:
    async with stage() as on:
        on.link.send(long("w"))
        await until(lambda: on.engine.order)
        on.link.refusals = {"w": BrokerUnavailable("WRONGTYPE")}
        on.link.send(job("good"))
        on.engine.step()
        await until(lambda: on.values == ["good"] and len(on.reports) == 2)
    failed = on.reports[1]
    assert isinstance(failed, GenerationFailed)
    assert (failed.variable, failed.code) == ("w", "broker")


async def test_a_claim_that_redis_refuses_for_good_fails_and_the_loop_goes_on() -> None:
    async with stage() as on:
        on.link.refusals = {"bad": BrokerUnavailable("NOPERM")}
        on.link.send(job("bad"), job("good"))
        await until(lambda: on.values == ["good"] and len(on.reports) == 2)
    failed = on.reports[1]
    assert isinstance(failed, GenerationFailed)
    assert (failed.variable, failed.code) == ("bad", "broker")


async def test_a_publication_that_redis_refuses_for_good_fails() -> None:
    async with stage() as on:
        on.link.send(job("bad", "wait"), job("good", "wait"))
        await until(lambda: len(on.engine.order) == 2)
        on.link.refusals = {"bad": BrokerUnavailable("WRONGTYPE")}
        on.engine.go.set()
        await until(lambda: len(on.reports) == 2)
    failed = on.reports[1]
    assert isinstance(failed, GenerationFailed)
    assert (failed.variable, failed.code) == ("bad", "broker")
    assert "succeeded good" in on.diary.lines
    assert "succeeded bad" not in on.diary.lines


async def interrupted(at: int, **sampling: object) -> FakeLink:
    """A bus on which an engine has written down `at` tokens, and died."""
    async with stage() as on:
        on.link.send(long("v", **sampling))
        await until(lambda: on.engine.order)
        for count in range(1, at + 1):
            on.engine.step()
            await until_streamed(on, count)
        on.link.heart.lost.set()
        await asyncio.wait([on.task])
        assert not on.link.published
    return on.link


async def taken_over(link: FakeLink, **sampling: object) -> Stage:
    async with stage() as on:
        on.link.streams = link.streams
        on.engine.step(LENGTH)
        on.link.send(long("v", attempt=2, **sampling))
        await until(lambda: on.values)
    return on


async def test_the_next_attempt_goes_on_from_the_last_checkpoint() -> None:
    for at in (1, 3, LENGTH - 1):
        link = await interrupted(at)
        on = await taken_over(link)
        (publication,) = on.link.published
        parts = [*on.link.streams["v"], publication.rest] if publication.rest else on.link.streams["v"]
        assert publication.value.text == text(parts) == await undisturbed()
        assert publication.value.tokens == tuple(on.engine.tokenizer.encode(publication.value.text))
        assert numbers(parts) == list(range(1, len(parts) + 1))
        assert [part.kind for part in parts] == ["more"] * len(parts)
        assert publication.event.usage.tokens_out == LENGTH
        assert publication.event.usage.tokens_in == 2
        assert on.engine.order[0] == "slowly" + text(link.streams["v"][:at]), "what was there was not generated again"


async def test_what_was_complete_is_published_without_the_engine() -> None:
    link = await interrupted(LENGTH - 1)
    whole = await undisturbed()
    last = link.streams["v"][-1]
    rest = whole.removeprefix(text(link.streams["v"]))
    link.streams["v"].append(Part(last.number + 1, rest, tuple((await taken_over(link)).engine.tokenizer.encode(rest))))
    on = await taken_over(link)
    (publication,) = on.link.published
    assert (publication.value.text, publication.finish_reason, publication.rest) == (whole, "length", None)
    assert on.engine.order == []


async def test_where_going_on_is_not_sound_it_begins_anew_and_readers_are_told() -> None:
    link = await interrupted(3, seed=7)
    on = await taken_over(link, seed=7)
    (publication,) = on.link.published
    parts = [*on.link.streams["v"], publication.rest]
    assert [part.kind for part in parts[:4]] == ["more", "more", "more", "reset"]
    assert numbers(parts) == list(range(1, len(parts) + 1))
    assert text(parts) == publication.value.text == await undisturbed(seed=7)


async def test_what_a_drain_hands_back_is_written_down_first() -> None:
    async with stage(drain_seconds=0.01) as on:
        on.runner._checkpoint_seconds = 1000.0
        on.link.send(long("v"))
        on.engine.step(3)
        await until(lambda: on.engine._steps.locked() and [len(one.progress.tokens) for one in on.runner._batch if one.progress] == [3])
        on.runner.stop()
        await on.task
    (part,) = on.link.streams["v"]
    assert len(part.tokens) == 3
    assert isinstance(on.reports[-2], GenerationReturned)


async def test_a_drain_is_announced_at_once() -> None:
    async with stage() as on:
        on.link.send(job("v", "wait"))
        await until(lambda: on.engine.order)
        on.runner.stop()
        await until(lambda: any(isinstance(said, EngineBeat) and said.draining for said in on.link.said))
        assert not on.task.done()
