"""Streams of a variable's parts: each once, in order, to the end."""

from __future__ import annotations

import asyncio

import pytest

import parrot as P
from parrot.broker.tokens import Part
from parrot.broker.variables import Outcome
from parrot.wire.states import VariableState
from parrot.wire.to_core import WantVariable

from .conftest import FakeAsyncSession, FakeSession

READY, FAILED, CANCELLED = VariableState.READY, VariableState.FAILED, VariableState.CANCELLED


@P.semantic_function
def echo(text: P.Input, said: P.Output):
    """Say {{text}}: {{said}}"""


def parts(*texts: str) -> list[Part]:
    """A stream; a dash is a reset."""
    return [Part(i, "", (), "reset") if text == "-" else Part(i, text, (i,)) for i, text in enumerate(texts, 1)]


@pytest.fixture
async def said(session: FakeAsyncSession) -> P.Variable:
    """A variable that is being generated."""
    made: P.Variable = echo("hello", session=session)
    session.fake.streams[made.id] = []
    return made


async def read(variable: P.Variable, from_: int = 0) -> list[str]:
    return [f"{part.number}:{part}" for part in [part async for part in variable.stream(from_)]]


async def test_parts_come_while_they_are_made(session: FakeAsyncSession, said: P.Variable) -> None:
    stream = aiter(said.stream())
    for part in parts("Hel", "lo", "!"):
        session.fake.streams[said.id].append(part)
        assert await anext(stream) == P.Part(part.number, part.text)
    session.fake.standings[said.id] = Outcome(READY, "Hello!")
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_a_part_prints_as_its_text(session: FakeAsyncSession, said: P.Variable) -> None:
    session.fake.streams[said.id] = parts("Hel", "lo")
    session.fake.standings[said.id] = Outcome(READY, "Hello")
    assert "".join([str(part) async for part in said.stream()]) == "Hello"


async def test_a_stream_can_be_read_from_any_number_on_and_again(session: FakeAsyncSession, said: P.Variable) -> None:
    session.fake.streams[said.id] = parts("a", "b", "c")
    session.fake.standings[said.id] = Outcome(READY, "abc")
    assert await read(said, from_=1) == ["2:b", "3:c"]
    assert await read(said, from_=3) == []
    stream = said.stream(from_=2)
    for _ in range(2):
        assert [part.number async for part in stream] == [3]


async def test_a_reset_is_seen_by_the_reader(session: FakeAsyncSession, said: P.Variable) -> None:
    session.fake.streams[said.id] = parts("a", "b", "-", "c")
    session.fake.standings[said.id] = Outcome(READY, "c")
    assert [part.reset async for part in said.stream()] == [False, False, True, False]


async def test_a_value_that_was_made_without_a_stream_comes_in_one_piece(session: FakeAsyncSession, said: P.Variable) -> None:
    session.fake.standings[said.id] = Outcome(READY, "hello!")
    assert await read(said) == ["1:hello!"]
    assert await read(said, from_=1) == []
    assert await read(session.variable("given")) == ["1:given"]
    assert await read(session.variable("")) == []


async def test_what_a_stream_lacks_of_the_value_comes_at_the_end(session: FakeAsyncSession, said: P.Variable) -> None:
    session.fake.streams[said.id] = parts("x", "-", "ab")
    session.fake.standings[said.id] = Outcome(READY, "abc")
    assert await read(said) == ["1:x", "2:", "3:ab", "4:c"]
    assert await read(said, from_=3) == ["4:c"]
    assert await read(said, from_=4) == []


async def test_a_stream_that_contradicts_the_value_is_begun_anew(session: FakeAsyncSession, said: P.Variable) -> None:
    session.fake.streams[said.id] = parts("x")
    session.fake.standings[said.id] = Outcome(READY, "abc")
    assert [(part.number, part.text, part.reset) async for part in said.stream()] == [(1, "x", False), (2, "", True), (3, "abc", False)]
    assert await read(said, from_=2) == ["3:abc"]


async def test_a_reader_whose_parts_were_lost_and_made_anew_ends_with_the_value(session: FakeAsyncSession, said: P.Variable) -> None:
    """As in a power loss: others have the numbers of those that were read."""
    stream = aiter(said.stream())
    session.fake.streams[said.id] = parts("The", " sky", " is")
    text = [str(await anext(stream)) for _ in range(3)]
    session.fake.streams[said.id] = parts("The", " sea", " may", " be", " blue")
    text += [str(await anext(stream)) for _ in range(2)]
    assert "".join(text) == "The sky is be blue"
    session.fake.standings[said.id] = Outcome(READY, "The sea may be blue")
    assert [part async for part in stream] == [P.Part(6, "", reset=True), P.Part(7, "The sea may be blue")]


async def test_a_reader_that_is_ahead_of_what_was_made_anew_gets_the_value(session: FakeAsyncSession, said: P.Variable) -> None:
    stream = aiter(said.stream())
    session.fake.streams[said.id] = parts("The", " sky", " is")
    for _ in range(3):
        await anext(stream)
    session.fake.streams[said.id] = parts("Blue", "!")
    session.fake.standings[said.id] = Outcome(READY, "Blue!")
    assert [part async for part in stream] == [P.Part(4, "", reset=True), P.Part(5, "Blue!")]


async def test_a_reader_that_went_on_from_a_number_gets_the_value_too(session: FakeAsyncSession, said: P.Variable) -> None:
    stream = aiter(said.stream(from_=1))
    session.fake.streams[said.id] = parts("The", " sky", " is", " high")
    for _ in range(3):
        await anext(stream)
    session.fake.streams[said.id] = parts("The", " sea", " may", " be")
    session.fake.standings[said.id] = Outcome(READY, "The sea may be")
    assert [part async for part in stream] == [P.Part(5, "", reset=True), P.Part(6, "The sea may be")]


async def test_a_reader_from_beyond_what_was_made_anew_gets_the_value(session: FakeAsyncSession, said: P.Variable) -> None:
    session.fake.streams[said.id] = parts("Blue", "!")
    session.fake.standings[said.id] = Outcome(READY, "Blue!")
    assert [part async for part in said.stream(from_=17)] == [P.Part(18, "", reset=True), P.Part(19, "Blue!")]


@pytest.mark.parametrize(("state", "code", "error"), [(FAILED, "engine", P.EngineError), (CANCELLED, "cancelled", P.Cancelled)])
async def test_a_failure_is_raised_after_the_parts(
    session: FakeAsyncSession, said: P.Variable, state: VariableState, code: str, error: type[Exception]
) -> None:
    session.fake.streams[said.id] = parts("a", "b")
    session.fake.standings[said.id] = Outcome(state, None, code, "It ended.")
    stream = aiter(said.stream())
    assert [str(await anext(stream)) for _ in range(2)] == ["a", "b"]
    with pytest.raises(error, match=r"It ended\."):
        await anext(stream)


async def test_whoever_reads_says_once_what_for(session: FakeAsyncSession, said: P.Variable) -> None:
    other = echo("hello", session=session)
    for variable in (said, other):
        session.fake.streams[variable.id] = parts("a")
    await anext(aiter(said.stream()))
    await anext(aiter(other.stream(criteria=None)))
    session.fake.standings[said.id] = Outcome(READY, "a")
    await read(said, from_=1)
    assert [(want.variable, want.criterion) for want in session.fake.all(WantVariable)] == [(said.id, P.TTFT)] * 2


async def test_whoever_reads_may_want_something_else(session: FakeAsyncSession, said: P.Variable) -> None:
    session.fake.streams[said.id] = parts("a")
    for criteria in (P.TPOT, "latency", P.Deadline(5)):
        await anext(aiter(said.stream(criteria=criteria)))
    wants = session.fake.all(WantVariable)
    assert [want.criterion for want in wants] == [P.TPOT, P.LATENCY, P.Criterion.DEADLINE]
    assert [want.deadline is None for want in wants] == [True, True, False]


def test_a_synchronous_reader_says_what_for_too() -> None:
    with FakeSession() as session:
        said = echo("hello")
        session.fake.streams[said.id] = parts("a")
        for stream in (said.stream(), said.stream(criteria=P.Deadline(5))):
            next(iter(stream))
        assert [want.criterion for want in session.fake.all(WantVariable)] == [P.TTFT, P.Criterion.DEADLINE]


async def test_a_timeout_says_where_to_go_on(session: FakeAsyncSession, said: P.Variable) -> None:
    session.fake.streams[said.id] = parts("a", "b")
    session.fake.standings[said.id] = Outcome(VariableState.GENERATING)
    stream = aiter(said.stream(timeout=0.01))
    assert [(await anext(stream)).number for _ in range(2)] == [1, 2]
    with pytest.raises(P.GetTimeout, match=r"no more parts after number 2 within 0\.01 s\. An engine .*Go on with stream\(from_=2\)"):
        await anext(stream)


async def test_numbers_that_no_part_has_are_refused(said: P.Variable) -> None:
    with pytest.raises(P.CallError, match="from_=-1 is not the number of a part"):
        said.stream(from_=-1)


async def test_a_stream_of_an_async_session_says_to_use_async_for(said: P.Variable) -> None:
    with pytest.raises(P.SessionError, match=r"Write `async for part in variable\.stream\(\)`"):
        next(iter(said.stream()))


def test_a_synchronous_session_iterates_with_for() -> None:
    with FakeSession() as session:
        said = echo("hello")
        session.fake.streams[said.id] = parts("a", "b")
        session.fake.standings[said.id] = Outcome(READY, "ab")
        stream = iter(said.stream())
        assert str(next(stream)) == "a"
    assert [str(part) for part in stream] == ["b"]
    assert [str(part) for part in said.stream()] == ["a", "b"]


async def test_a_stream_of_a_synchronous_session_can_be_read_in_async_code() -> None:
    with FakeSession() as session:
        said = echo("hello")
        session.fake.streams[said.id] = parts("a", "b")
        session.fake.standings[said.id] = Outcome(READY, "ab")
        assert await read(said) == ["1:a", "2:b"]


async def test_many_can_read_one_stream(session: FakeAsyncSession, said: P.Variable) -> None:
    readers = [asyncio.ensure_future(read(said, from_=i % 2)) for i in range(10)]
    for part in parts("a", "b"):
        await asyncio.sleep(0.005)
        session.fake.streams[said.id].append(part)
    session.fake.standings[said.id] = Outcome(READY, "ab")
    assert await asyncio.gather(*readers) == [["1:a", "2:b"], ["2:b"]] * 5
