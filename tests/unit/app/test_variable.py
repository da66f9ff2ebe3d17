"""Variables: declared, set once, waited for."""

from __future__ import annotations

import asyncio
import math
import time

import pytest

import parrot as P
from parrot.broker.variables import Outcome
from parrot.wire.codec import encode
from parrot.wire.states import VariableState
from parrot.wire.to_core import DeclareVariable, SetVariable, WantVariable

from .conftest import FakeAsyncSession, FakeSession

READY, FAILED = VariableState.READY, VariableState.FAILED


@P.semantic_function
def echo(text: P.Input, said: P.Output):
    """Say {{text}}: {{said}}"""


# Declared and set ---------------------------------------------------------------------------------


async def test_a_variable_is_declared_with_its_text(session: FakeAsyncSession) -> None:
    variable = session.variable("none yet", name="so far")
    (message,) = session.fake.all(DeclareVariable)
    assert message == DeclareVariable(session=session.id, variable=variable.id, name="so far", text="none yet")
    assert variable.id.startswith("so-far-")


async def test_variables_without_a_name_are_numbered(session: FakeAsyncSession) -> None:
    assert [session.variable("x").name for _ in range(3)] == ["v1", "v2", "v3"]


async def test_a_variable_that_is_declared_with_a_text_has_it_at_once(session: FakeAsyncSession) -> None:
    assert await session.variable("none yet") == "none yet"
    assert await session.variable("") == ""
    assert session.fake.all(WantVariable) == []


async def test_an_empty_variable_can_be_set(session: FakeAsyncSession) -> None:
    variable = session.variable()
    variable.set("now")
    assert session.fake.all(SetVariable) == [SetVariable(session=session.id, variable=variable.id, text="now")]


async def test_a_variable_is_set_once(session: FakeAsyncSession) -> None:
    variable = session.variable(name="x")
    variable.set("now")
    with pytest.raises(P.VariableError, match="'x' is set already, and a variable is set once"):
        variable.set("again")
    assert len(session.fake.all(SetVariable)) == 1


async def test_a_variable_that_was_declared_with_a_text_cannot_be_set(session: FakeAsyncSession) -> None:
    with pytest.raises(P.VariableError, match="'v1' cannot be set: it is declared with a value"):
        session.variable("there").set("again")


async def test_an_output_cannot_be_set(session: FakeAsyncSession) -> None:
    with pytest.raises(P.VariableError, match="'said' cannot be set: it is the output of a call of echo"):
        echo("hello", session=session).set("me")


async def test_a_value_that_redis_did_not_take_may_be_set_again(session: FakeAsyncSession) -> None:
    variable = session.variable()
    session.fake.refusal = P.BrokerUnavailable("Redis is full.")
    variable.set("now")
    with pytest.raises(P.BrokerUnavailable, match="full"):
        await session.flush()
    session.fake.refusal = None
    variable.set("now")
    assert len(session.fake.all(SetVariable)) == 1


async def test_what_is_no_text_is_refused(session: FakeAsyncSession) -> None:
    with pytest.raises(P.CallError, match="'v1' is a str, not int"):
        session.variable(3)  # type: ignore[arg-type]
    with pytest.raises(P.CallError, match="half of a surrogate pair"):
        session.variable("\ud800")
    with pytest.raises(P.CallError, match="'x' is a str, not bytes"):
        session.variable(name="x").set(b"now")  # type: ignore[arg-type]
    with pytest.raises(P.CallError, match="1 to 128 characters"):
        session.variable(name="")


# Waited for ---------------------------------------------------------------------------------------


async def test_awaiting_a_variable_gives_its_value(session: FakeAsyncSession) -> None:
    said = echo("hello", session=session)
    session.fake.standings[said.id] = Outcome(READY, "hello!")
    assert await said == "hello!"


async def test_whoever_waits_says_what_for(session: FakeAsyncSession) -> None:
    said, other, quiet = (echo("hello", session=session) for _ in range(3))
    for variable in (said, other, quiet):
        session.fake.standings[variable.id] = Outcome(READY, "x")
    await said
    await other.aget(criteria=P.THROUGHPUT)
    await quiet.aget(criteria=None)
    assert [(want.variable, want.criterion) for want in session.fake.all(WantVariable)] == [(said.id, P.LATENCY), (other.id, P.THROUGHPUT)]


@pytest.mark.parametrize("criterion", [P.LATENCY, P.TTFT, P.TPOT, P.THROUGHPUT])
async def test_a_criterion_may_be_said_by_its_name(session: FakeAsyncSession, criterion: P.Criterion) -> None:
    said = echo("hello", session=session)
    for words in (criterion, str(criterion.value)):
        with pytest.raises(P.GetTimeout):
            await said.aget(criteria=words, timeout=0)
    assert [want.criterion for want in session.fake.all(WantVariable)] == [criterion] * 2


async def test_a_deadline_is_wanted_as_a_moment(session: FakeAsyncSession) -> None:
    said = echo("hello", session=session)
    session.fake.standings[said.id] = Outcome(READY, "x")
    before = time.time()
    await said.aget(criteria=P.Deadline(20))
    (want,) = session.fake.all(WantVariable)
    assert (want.variable, want.criterion) == (said.id, P.Criterion.DEADLINE)
    assert want.deadline is not None
    assert before + 20 <= want.deadline <= time.time() + 20


async def test_only_a_deadline_brings_a_moment(session: FakeAsyncSession) -> None:
    """An older ServeCore, during an upgrade, refuses fields that it does not know."""
    said = echo("hello", session=session)
    session.fake.standings[said.id] = Outcome(READY, "x")
    await said
    (want,) = session.fake.all(WantVariable)
    assert "deadline" not in str(encode(want)["body"])


async def test_what_was_asked_can_be_raised_and_lowered_at_any_time(session: FakeAsyncSession) -> None:
    said = echo("hello", session=session)
    for criteria in (P.THROUGHPUT, P.LATENCY, P.THROUGHPUT):
        with pytest.raises(P.GetTimeout):
            await said.aget(criteria, timeout=0)
    assert [want.criterion for want in session.fake.all(WantVariable)] == [P.THROUGHPUT, P.LATENCY, P.THROUGHPUT]


async def test_a_value_that_is_known_is_not_asked_for_again(session: FakeAsyncSession) -> None:
    said = echo("hello", session=session)
    session.fake.standings[said.id] = Outcome(READY, "x")
    assert [await said, await said] == ["x", "x"]
    assert len(session.fake.all(WantVariable)) == 1


async def test_a_failed_variable_raises_its_own_error_each_time(session: FakeAsyncSession) -> None:
    said = echo("hello", session=session)
    session.fake.standings[said.id] = Outcome(FAILED, None, "context_too_long", "The prompt has 9000 tokens.")
    for _ in range(2):
        with pytest.raises(P.ContextTooLong, match="9000 tokens"):
            await said


@pytest.mark.parametrize(
    ("standing", "words"),
    [
        (Outcome(None), "ServeCore has not taken it up"),
        (Outcome(VariableState.EMPTY), "must set"),
        (Outcome(VariableState.PENDING), "waits for its inputs or for an engine"),
        (Outcome(VariableState.GENERATING), "An engine is generating it"),
    ],
)
async def test_a_timeout_says_where_the_variable_stands(session: FakeAsyncSession, standing: Outcome, words: str) -> None:
    said = echo("hello", session=session)
    session.fake.standings[said.id] = standing
    with pytest.raises(P.GetTimeout, match=rf"'said' \({said.id}\) was not ready after 0.01 s. .*{words}"):
        await said.aget(timeout=0.01)


async def test_a_timeout_is_a_timeout_error_too(session: FakeAsyncSession) -> None:
    with pytest.raises(TimeoutError):
        await echo("hello", session=session).aget(timeout=0)


async def test_a_value_that_is_there_is_got_even_without_time(session: FakeAsyncSession) -> None:
    said = echo("hello", session=session)
    session.fake.standings[said.id] = Outcome(READY, "x")
    assert await said.aget(timeout=0) == "x"


async def test_an_unknown_criterion_is_refused(session: FakeAsyncSession) -> None:
    for criteria in ("speed", 3, P.Deadline):
        with pytest.raises(P.CallError, match=r"criteria=.* is not known. Write P\.LATENCY, .*, P\.Deadline\(seconds\) or None"):
            await echo("hello", session=session).aget(criteria=criteria)  # type: ignore[arg-type]


@pytest.mark.parametrize("criteria", ["deadline", P.Criterion.DEADLINE])
async def test_a_deadline_without_a_time_is_refused(session: FakeAsyncSession, criteria: str) -> None:
    said = echo("hello", session=session)
    with pytest.raises(P.CallError, match=r"lacks the time\. Write P\.Deadline\(20\)"):
        await said.aget(criteria=criteria)
    with pytest.raises(P.CallError, match=r"Write P\.Deadline\(20\)"):
        said.stream(criteria=criteria)


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf, None, "20", True])
async def test_a_deadline_that_is_no_time_to_come_is_refused_at_the_door(session: FakeAsyncSession, seconds: float) -> None:
    said = echo("hello", session=session)
    with pytest.raises(P.CallError, match=r"P\.Deadline\(.*\) cannot be met\. Write how many seconds from now"):
        await said.aget(criteria=P.Deadline(seconds))
    with pytest.raises(P.CallError, match="cannot be met"):
        said.stream(criteria=P.Deadline(seconds))
    assert session.fake.all(WantVariable) == []


async def test_a_variable_whose_call_redis_did_not_take_raises(session: FakeAsyncSession) -> None:
    session.fake.refusal = P.BrokerUnavailable("Redis is full.")
    said = echo("hello", session=session)
    session.fake.refusal = None
    with pytest.raises(P.BrokerUnavailable, match="full"):
        await said
    with pytest.raises(P.BrokerUnavailable, match="full"):
        await session.flush()


async def test_get_in_an_async_session_says_to_await(session: FakeAsyncSession) -> None:
    with pytest.raises(P.SessionError, match=r"belongs to an AsyncSession, .* Write `await variable`"):
        session.variable("x").get()


def test_get_waits_in_a_synchronous_session() -> None:
    with FakeSession() as session:
        said = echo("hello")
        session.fake.standings[said.id] = Outcome(READY, "hello!")
        assert said.get() == "hello!"
        assert [want.criterion for want in session.fake.all(WantVariable)] == [P.LATENCY]


def test_get_takes_a_deadline_in_a_synchronous_session() -> None:
    with FakeSession() as session:
        said = echo("hello")
        with pytest.raises(P.CallError, match=r"P\.Deadline\(0\) cannot be met"):
            said.get(P.Deadline(0))
        session.fake.standings[said.id] = Outcome(READY, "hello!")
        assert said.get(P.Deadline(5)) == "hello!"
        assert [want.criterion for want in session.fake.all(WantVariable)] == [P.Criterion.DEADLINE]


def test_get_still_works_after_the_block() -> None:
    with FakeSession() as session:
        said = echo("hello")
    session.fake.standings[said.id] = Outcome(READY, "hello!")
    assert said.get(timeout=5) == "hello!"


async def test_a_variable_of_a_synchronous_session_can_be_awaited() -> None:
    with FakeSession() as session:
        said = echo("hello")
        session.fake.standings[said.id] = Outcome(READY, "hello!")
        assert await said == "hello!"


# Seen ---------------------------------------------------------------------------------------------


async def test_a_variable_shows_how_it_stands(session: FakeAsyncSession) -> None:
    said = echo("hello", session=session)
    assert repr(said) == f"<Variable said ({said.id}): the output of a call of echo>"
    session.fake.standings[said.id] = Outcome(READY, "hello!")
    await said
    assert repr(said).endswith("ready, 'hello!'>")
    empty = session.variable(name="x")
    assert repr(empty).endswith("empty>")
    empty.set("y")
    assert repr(empty).endswith("set>")


async def test_many_can_wait_for_one_variable(session: FakeAsyncSession) -> None:
    said = echo("hello", session=session)
    waiting = [asyncio.ensure_future(said.aget()) for _ in range(10)]
    await asyncio.sleep(0)
    session.fake.standings[said.id] = Outcome(READY, "x")
    assert await asyncio.gather(*waiting) == ["x"] * 10
