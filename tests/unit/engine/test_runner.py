from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from parrot.broker.variables import Value
from parrot.engine.runner import LeaseError, Runner, new_engine_id
from parrot.errors import BadSampling, EngineError
from parrot.sampling import SamplingConfig
from parrot.wire.to_core import EngineBeat, EngineDown, EngineUp, GenerationFailed, GenerationReturned, GenerationRevoked
from parrot.wire.to_engine import Cancel, Job, Piece
from tests.unit.engine.fakes import Diary, FakeLink, ScriptedEngine


class Stage:
    """A runner between its two neighbours."""

    def __init__(self, drain_seconds: float = 5.0, engine: ScriptedEngine | None = None) -> None:
        self.link, self.engine, self.diary = FakeLink(), engine or ScriptedEngine(), Diary()
        self.runner = Runner(
            self.engine, self.link, self.diary, name="fake", beat_seconds=0.01, checkpoint_seconds=0.01, drain_seconds=drain_seconds
        )
        self.task = asyncio.create_task(self.runner.run())

    @property
    def reports(self) -> list[object]:
        """What was said to ServeCore, without heartbeats."""
        return [event for event in self.link.said if not isinstance(event, EngineBeat)]

    @property
    def values(self) -> list[str]:
        return [publication.job.variable for publication in self.link.published]


@asynccontextmanager
async def stage(drain_seconds: float = 5.0, engine: ScriptedEngine | None = None) -> AsyncIterator[Stage]:
    """Ends with a drain; the engine's books must agree then."""
    made = Stage(drain_seconds, engine)
    await until(lambda: made.link.said)
    yield made
    made.engine.go.set()
    made.runner.stop()
    await asyncio.wait([made.task])
    made.engine.check()
    assert len(made.engine._contexts) == 0


def job(variable: str, *prompt: Piece | str, **fields: object) -> Job:
    pieces = [Piece("text", piece) if isinstance(piece, str) else piece for piece in prompt or ("say",)]
    about = {"variable": variable, "attempt": 1, "session": "s", "call": "c", "function": "f", "output": "o"}
    return Job.model_validate(about | {"prompt": pieces, "sampling": SamplingConfig(temperature=0, max_gen_length=4)} | fields)


async def until(truth: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not truth():
            await asyncio.sleep(0)


async def test_a_job_becomes_a_published_value() -> None:
    async with stage() as on:
        on.link.send(job("v", "one ", "two"))
        await until(lambda: on.values)
        (publication,) = on.link.published
    assert publication.finish_reason == "length"
    assert publication.value.tokens == tuple(on.engine.tokenizer.encode(publication.value.text))
    assert (publication.value.tokenizer, publication.value.call) == ("simulated", "c")
    assert publication.event.usage.tokens_in == 2
    assert publication.event.usage.tokens_out == 4
    assert on.diary.lines == ["received v", "started v", "succeeded v"]
    assert (on.runner.totals.generations, on.runner.totals.tokens_out) == (1, 4)


async def test_it_says_what_it_is_first_and_goodbye_last() -> None:
    async with stage() as on:
        pass
    up, down = on.reports
    assert isinstance(up, EngineUp)
    assert (up.engine, up.name, up.kind, up.tokenizer, up.capacity.running) == ("fake-1", "fake", "simulated", "simulated", 2)
    assert down == EngineDown(engine="fake-1", reason="drained")
    assert on.link.left


async def test_values_and_texts_are_fetched_once_and_what_was_made_here_never() -> None:
    async with stage() as on:
        on.link.contents = {Piece("variable", "given"): Value("A value"), Piece("hash", "f00"): "A long text"}
        on.link.send(job("first", Piece("variable", "given"), Piece("hash", "f00")))
        await until(lambda: on.values == ["first"])
        on.link.send(job("second", Piece("variable", "given"), Piece("hash", "f00"), Piece("variable", "first")))
        await until(lambda: on.values == ["first", "second"])
    assert on.link.begun == [(["first"], ["given", "f00"]), (["second"], [])]
    assert on.engine.order[1] == "A value" + "A long text" + on.link.published[0].value.text


async def test_the_lower_priority_number_goes_first_and_only_as_many_as_the_engine_runs() -> None:
    async with stage() as on:
        on.link.send(*(job(f"v{i}", "wait ", str(i), priority=priority) for i, priority in enumerate((5, 4, 3, 2, 1))))
        await until(lambda: len(on.engine.order) == 2)
        assert on.runner.beat().running == 2
        assert on.runner.beat().waiting == 3
        on.engine.go.set()
        await until(lambda: len(on.values) == 5)
    assert on.engine.order == ["wait 4", "wait 3", "wait 2", "wait 1", "wait 0"]


async def test_a_job_that_belongs_to_another_attempt_is_dropped() -> None:
    async with stage() as on:
        on.link.lost = {"theirs"}
        on.link.send(job("theirs"), job("ours"))
        await until(lambda: on.values == ["ours"])
    assert "returned theirs" in on.diary.lines
    assert len(on.reports) == 2, "nobody is told: ServeCore knows"


@pytest.mark.parametrize(
    ("error", "code"), [(BadSampling("Too hot."), "bad_sampling"), (EngineError("Broke."), "engine"), (ZeroDivisionError("oh"), "error")]
)
async def test_a_failing_generation_fails_alone(error: Exception, code: str) -> None:
    async with stage() as on:
        on.engine.errors = {"bad": error}
        on.link.send(job("bad", "bad"), job("good"))
        await until(lambda: on.values == ["good"] and len(on.reports) == 2)
    failed = on.reports[1]
    assert isinstance(failed, GenerationFailed)
    assert (failed.variable, failed.attempt, failed.code) == ("bad", 1, code)
    assert str(error) in failed.reason
    assert f"failed bad {code}" in on.diary.lines


async def test_a_missing_input_fails_the_generation_with_its_name() -> None:
    async with stage() as on:
        on.link.send(job("v", Piece("variable", "gone")))
        await until(lambda: len(on.reports) == 2)
    failed = on.reports[1]
    assert isinstance(failed, GenerationFailed)
    assert failed.code == "variable"
    assert "gone" in failed.reason


async def test_an_entry_that_is_no_job_is_buried_and_the_loop_goes_on() -> None:
    async with stage() as on:
        on.link.send_raw({b"what": b"ever"})
        on.link.send_raw({b"v": b"1", b"kind": b"Job", b"body": b'{"variable": "v", "attempt": 2, "nonsense": true}'})
        on.link.send(job("good"))
        await until(lambda: on.values == ["good"])
    assert [entry for entry, _ in on.link.buried] == ["1-1", "1-2"]
    failed = [report for report in on.reports if isinstance(report, GenerationFailed)]
    assert [(report.variable, report.attempt, report.code) for report in failed] == [("v", 2, "message")]


async def test_a_dead_engine_ends_the_runner_with_its_reason() -> None:
    async with stage() as on:
        on.engine.errors = {"last": EngineError("The engine core died.")}
        on.link.send(job("last", "wait for the last"))
        await until(lambda: on.engine.order)
        on.engine.dead = True
        on.engine.go.set()
        with pytest.raises(EngineError, match="The engine is dead"):
            await on.task
    assert on.reports[-1] == EngineDown(engine="fake-1", reason="The engine is dead.", died=True)


async def test_an_engine_that_dies_while_it_is_idle_is_noticed() -> None:
    async with stage() as on:
        on.engine.dead = True
        with pytest.raises(EngineError, match="The engine is dead"):
            await on.task


async def test_a_runner_that_was_given_up_ends_without_a_goodbye() -> None:
    async with stage() as on:
        on.link.send(job("v", "wait"))
        await until(lambda: on.engine.order)
        on.link.heart.lost.set()
        with pytest.raises(LeaseError, match="fake-1"):
            await on.task
    assert len(on.reports) == 1
    assert not on.link.left


async def test_a_drain_hands_back_what_did_not_start_and_finishes_what_runs() -> None:
    async with stage() as on:
        on.link.send(*(job(f"v{i}", "wait") for i in range(4)))
        await until(lambda: len(on.engine.order) == 2)
        on.runner.stop()
        await until(lambda: len(on.reports) == 3)
        on.link.send(job("late"))
        on.engine.go.set()
        await on.task
    assert sorted(on.values) == ["v0", "v1"]
    assert [report.variable for report in on.reports if isinstance(report, GenerationReturned)] == ["v2", "v3", "late"]
    assert isinstance(on.reports[-1], EngineDown)


async def test_a_drain_that_takes_too_long_hands_back_what_runs_as_well() -> None:
    async with stage(drain_seconds=0.01) as on:
        on.link.send(job("v", "wait"))
        await until(lambda: on.engine.order)
        on.runner.stop()
        await on.task
    assert [type(report) for report in on.reports] == [EngineUp, GenerationReturned, EngineDown]
    assert on.diary.lines[-1] == "returned v"


async def test_a_drain_hands_back_what_was_just_being_claimed() -> None:
    async with stage() as on:
        on.link.answering.clear()
        on.link.send(job("v"))
        await until(lambda: on.link.begun)
        on.runner.stop()
        await asyncio.sleep(0.01)
        on.link.answering.set()
        await on.task
    assert [type(report) for report in on.reports] == [EngineUp, GenerationReturned, EngineDown]


async def test_what_finished_during_a_flush_goes_into_the_next_one() -> None:
    async with stage() as on:
        on.engine.capacity = on.engine.capacity.model_copy(update={"running": 100})
        on.link.send(*(job(f"v{i}", "wait") for i in range(10)))
        await until(lambda: len(on.engine.order) == 10)
        on.link.answering.clear()
        on.engine.go.set()
        await asyncio.sleep(0.01)
        on.link.answering.set()
        await until(lambda: len(on.values) == 10)
    assert on.link.flushes == [10] or len(on.link.flushes) == 2


async def test_a_cancelled_attempt_stops_wherever_it_is() -> None:
    async with stage() as on:
        on.link.send(*(job(f"v{i}", "wait") for i in range(3)))
        await until(lambda: len(on.engine.order) == 2)
        on.link.send(Cancel(variable="v0", attempt=1), Cancel(variable="v2", attempt=1), Cancel(variable="v1", attempt=2))
        await until(lambda: "failed v0 cancelled" in on.diary.lines and "failed v2 cancelled" in on.diary.lines)
        on.engine.go.set()
        await until(lambda: on.values == ["v1"])
    assert [type(report) for report in on.reports] == [EngineUp, EngineDown], "nobody waits for an answer"


async def test_an_attempt_that_is_cancelled_while_it_is_claimed_never_runs() -> None:
    async with stage() as on:
        on.link.answering.clear()
        on.link.send(job("v"))
        await until(lambda: on.link.begun)
        on.link.send(Cancel(variable="v", attempt=1), job("next"))
        await until(lambda: "received next" in on.diary.lines)
        on.link.answering.set()
        await until(lambda: on.values == ["next"])
    assert "failed v cancelled" in on.diary.lines


async def test_a_revoke_is_passed_on_to_servecore_whoever_works_on_the_variable() -> None:
    async with stage() as on:
        await on.runner.revoke(["a.x", "b.x"])
        assert on.reports[1:] == [GenerationRevoked(engine="fake-1", variable=variable) for variable in ("a.x", "b.x")]


def test_engine_ids_are_new_each_time_and_hold_no_characters_that_ids_do_not_have() -> None:
    assert new_engine_id("cpu 0:ä").startswith("cpu-0---")
    assert new_engine_id("cpu") != new_engine_id("cpu")
