"""Sessions: opened, closed, flushed."""

from __future__ import annotations

import asyncio
import math
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import parrot as P
from parrot.app.ids import given
from parrot.app.session import current
from parrot.broker.entries import SessionEntry, VariableHead
from parrot.wire.codec import MAX_TEXT_BYTES
from parrot.wire.to_core import CancelSession, CancelVariable, CloseSession, DeclareVariable, OpenSession

from .conftest import FakeAsyncSession, FakeSession


@P.semantic_function
def echo(text: P.Input, said: P.Output):
    """Say {{text}}: {{said}}"""


async def test_a_session_is_opened_and_closed_around_its_block() -> None:
    async with FakeAsyncSession(name="demo run", tenant="acme", labels={"team": "a"}) as session:
        session.variable("x")
    assert [type(message) for message in session.fake.sent] == [OpenSession, DeclareVariable, CloseSession]
    assert session.fake.sent[0] == OpenSession(session=session.id, name="demo run", tenant="acme", labels={"team": "a"})
    assert session.fake.stopped


def test_a_synchronous_session_is_opened_and_closed_around_its_block() -> None:
    with FakeSession() as session:
        session.variable("x")
    assert [type(message) for message in session.fake.sent] == [OpenSession, DeclareVariable, CloseSession]
    assert session.fake.stopped


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, asyncio.CancelledError])
async def test_leaving_by_an_exception_cancels_the_session(error: type[BaseException]) -> None:
    session = FakeAsyncSession()
    with pytest.raises(error):
        async with session:
            raise error
    assert session.fake.sent[1:] == [CancelSession(session=session.id)]
    with pytest.raises(P.SessionError, match="outside of a session"):
        current("f")


def test_the_exception_that_ends_a_block_is_not_hidden_by_a_broker_that_is_away() -> None:
    session = FakeSession()

    def program() -> None:
        with session:
            session.fake.refusal = P.BrokerUnavailable("away")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        program()
    assert session.fake.stopped


def test_a_close_that_redis_did_not_take_is_an_error() -> None:
    session = FakeSession()
    with pytest.raises(P.BrokerUnavailable, match="away"), session:
        session.fake.refusal = P.BrokerUnavailable("away")
    assert session.fake.stopped


def test_a_session_that_cannot_be_opened_holds_nothing() -> None:
    session = FakeSession()
    session.fake.refusal = P.BrokerUnavailable("No Redis server answers.")
    with pytest.raises(P.BrokerUnavailable, match="No Redis server answers"), session:
        pytest.fail("must not be entered")
    assert session.fake.stopped


def test_the_id_is_readable_and_new_each_time() -> None:
    ids = {FakeSession(name="my app / 1").id for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(r"my-app-1-[a-z2-7]{16}", found) for found in ids)


def test_a_session_is_used_in_one_block() -> None:
    session = FakeSession()
    with session:
        with pytest.raises(P.SessionError, match="was opened before"), session:
            pytest.fail("must not be entered")
        session.variable("the outer block is as it was")
    with pytest.raises(P.SessionError, match="was opened before"), session:
        pytest.fail("must not be entered")


def test_names_that_cannot_be_taken_are_refused() -> None:
    with pytest.raises(P.SessionError, match="The session's name cannot be taken"):
        P.Session(name="")
    with pytest.raises(P.SessionError, match="The session's tenant cannot be taken"):
        P.Session(tenant="t" * 129)
    with pytest.raises(P.SessionError, match=r"The session's labels\.a cannot be taken"):
        P.Session(labels={"a": 1})  # type: ignore[dict-item]


def test_a_cell_or_url_that_cannot_be_understood_is_refused() -> None:
    with pytest.raises(P.ConfigurationError, match="cell"):
        P.Session(cell="{x}")
    with pytest.raises(P.ConfigurationError, match="is not a Redis URL"), P.Session("http://localhost"):
        pytest.fail("must not be entered")


def test_the_url_comes_from_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARROT_REDIS_URL", "redis://127.0.0.1:1/0")
    with pytest.raises(P.BrokerUnavailable, match=r"redis://127\.0\.0\.1:1/0"), P.Session():
        pytest.fail("must not be entered")


async def test_flush_tells_of_what_was_not_taken_once(session: FakeAsyncSession) -> None:
    session.fake.refusal = P.BrokerUnavailable("full")
    session.variable("x")
    session.fake.refusal = None
    session.variable("y")
    with pytest.raises(P.BrokerUnavailable, match="full"):
        await session.flush()
    await session.flush()


async def test_what_a_variable_has_raised_is_not_raised_again_when_the_block_is_left() -> None:
    async with FakeAsyncSession() as session:
        session.fake.refusal = P.Overloaded("Too many.")
        refused = echo("hello", session=session)
        with pytest.raises(P.Overloaded):
            await refused
        session.fake.refusal = None


async def test_leaving_the_block_tells_of_what_was_not_taken() -> None:
    async def program() -> None:
        async with FakeAsyncSession() as session:
            session.fake.refusal = P.BrokerUnavailable("full")
            session.variable("x")
            session.fake.refusal = None

    with pytest.raises(P.BrokerUnavailable, match="full"):
        await program()


def test_a_call_that_raised_is_not_raised_again_when_the_block_is_left() -> None:
    with FakeSession() as session:
        session.fake.refusal = P.BrokerUnavailable("full")
        with pytest.raises(P.BrokerUnavailable, match="full"):
            session.variable("x")
        session.fake.refusal = None


async def test_an_async_session_stays_on_its_loop(session: FakeAsyncSession) -> None:
    with pytest.raises(P.SessionError, match="belongs to another event loop or thread"):
        await asyncio.to_thread(session.variable, "x")


def test_a_synchronous_session_can_be_used_from_several_threads() -> None:
    with FakeSession() as session, ThreadPoolExecutor(4) as threads:
        made = list(threads.map(session.variable, ["x"] * 50))
    assert len({variable.id for variable in made}) == 50


def test_a_session_shows_its_state() -> None:
    session = FakeSession(name="s")
    assert repr(session) == f"<FakeSession {session.id}: not open yet>"
    with session:
        assert repr(session).endswith("open>")
    assert repr(session).endswith("closed>")


# Cancelled ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_a_synchronous_session_that_is_left_by_an_exception_is_cancelled(error: type[BaseException]) -> None:
    session = FakeSession()

    def program() -> None:
        with session:
            raise error

    with pytest.raises(error):
        program()
    assert session.fake.sent[1:] == [CancelSession(session=session.id)]


async def test_a_cancelled_session_takes_no_more_and_is_not_closed_again() -> None:
    async with FakeAsyncSession() as session:
        session.cancel()
        with pytest.raises(P.SessionError, match="is cancelled and takes no more submissions"):
            session.variable("x")
    assert session.fake.sent[1:] == [CancelSession(session=session.id)]
    assert repr(session).endswith("cancelled>")


def test_a_synchronous_session_can_be_cancelled_after_its_block() -> None:
    with FakeSession() as session:
        empty = session.variable()
    empty.cancel()
    session.cancel()
    assert session.fake.sent[-2:] == [CancelVariable(session=session.id, variable=empty.id), CancelSession(session=session.id)]


async def test_an_async_session_that_was_left_says_how_to_cancel() -> None:
    async with FakeAsyncSession() as session:
        empty = session.variable()
    for cancel in (empty.cancel, session.cancel):
        with pytest.raises(P.SessionError, match=r"Cancel inside of its block, or of `async with P\.AsyncSession\.attach"):
            cancel()


def test_a_session_that_was_never_opened_cannot_be_cancelled() -> None:
    with pytest.raises(P.SessionError, match="is not open yet"):
        FakeSession().cancel()


# Deadlines ----------------------------------------------------------------------------------------


async def test_a_deadline_counts_from_the_opening() -> None:
    session = FakeAsyncSession(deadline=30)
    await asyncio.sleep(0.05)
    before = time.time()
    async with session:
        pass
    (opening,) = session.fake.all(OpenSession)
    assert opening.deadline is not None
    assert before + 30 <= opening.deadline <= time.time() + 30


@pytest.mark.parametrize("deadline", [0, -1, 1e300, math.inf, math.nan, True, "soon"])
def test_a_deadline_that_cannot_be_met_is_refused(deadline: object) -> None:
    with pytest.raises(P.CallError, match=r"deadline=.* cannot be met. Write how many seconds from now, more than 0"):
        FakeSession(deadline=deadline)


# Left open, and gone on with ----------------------------------------------------------------------


def entry(state: str = "open") -> SessionEntry:
    return SessionEntry(
        id="report-x", name="report", tenant="acme", labels={}, state=state, opened="", closed="", calls=0, done=0, failed=0
    )


async def test_a_detached_session_stays_open_however_it_is_left() -> None:
    async with FakeAsyncSession(detach=True) as calm:
        pass
    hasty = FakeAsyncSession()

    async def program() -> None:
        async with hasty:
            hasty.detach()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await program()
    for session in (calm, hasty):
        assert [type(message) for message in session.fake.sent] == [OpenSession]
        with pytest.raises(P.SessionError, match="is left and takes no more submissions"):
            session.variable("x")


def test_an_attached_session_submits_and_stays_open() -> None:
    session = FakeSession.attach("report")
    session.elsewhere = entry()
    with session:
        session.variable("x")
    assert (session.id, session.name) == ("report-x", "report")
    assert [(type(message), message.session) for message in session.fake.all(DeclareVariable)] == [(DeclareVariable, "report-x")]
    assert len(session.fake.sent) == 1


def test_an_attached_session_may_be_closed_as_ones_own() -> None:
    session = FakeSession.attach("report", detach=False)
    session.elsewhere = entry()
    with session:
        pass
    assert session.fake.sent == [CloseSession(session="report-x")]


async def test_a_closed_session_that_was_attached_can_be_read_and_cancelled_only() -> None:
    session = FakeAsyncSession.attach("report")
    session.elsewhere = entry("closed")
    session.fake.session_heads = [VariableHead("a-1.said", "said", "echo", "ready")]
    async with session:
        assert [variable.id for variable in await session.variables()] == ["a-1.said"]
        with pytest.raises(P.SessionError, match="is closed and takes no more submissions"):
            session.variable("x")
        session.cancel()
    assert session.fake.sent == [CancelSession(session="report-x")]


def test_variables_are_found_by_id_name_and_call_id() -> None:
    with FakeSession() as session:
        named = given("one", session.id)
        session.fake.session_heads = [
            VariableHead(f"{named}.said", "said", "echo", "pending"),
            VariableHead("b-1.said", "said", "echo", "ready"),
            VariableHead("v-1", "topic", "", "empty"),
        ]
        assert session.find("b-1.said").id == "b-1.said"
        assert session.find("one.said").id == f"{named}.said"
        topic = session.find("topic")
        topic.set("now")
        with pytest.raises(P.VariableError, match=r"2 variables of .* have the name 'said'. Give the id of one: one-.*, b-1\.said"):
            session.find("said")
        with pytest.raises(P.VariableError, match="has no variable with the id or the name 'other'"):
            session.find("other")
        with pytest.raises(P.VariableError, match="it is the output of a call of echo"):
            session.find("b-1.said").set("no")


# Limits -------------------------------------------------------------------------------------------


def test_texts_that_are_too_long_are_refused_where_they_are_given() -> None:
    long = "é" * (MAX_TEXT_BYTES // 2 + 1)
    with FakeSession() as session:
        empty = session.variable(name="x")
        with pytest.raises(P.LimitExceeded, match=r"'x' has 8,388,610 bytes; the limit of one text \(MAX_TEXT_BYTES\) is 8,388,608"):
            empty.set(long)
        with pytest.raises(P.LimitExceeded, match="MAX_TEXT_BYTES"):
            session.variable(long)


def test_messages_that_are_too_large_are_refused_where_they_are_made() -> None:
    with FakeSession() as session, pytest.raises(P.LimitExceeded, match="MAX_MESSAGE_BYTES"):
        session.variable("\x00" * (MAX_TEXT_BYTES // 2))


# Overload -----------------------------------------------------------------------------------------


def test_a_call_that_is_refused_raises_and_the_session_goes_on() -> None:
    with FakeSession() as session:
        session.fake.refusal = P.Overloaded("3 calls are under way; 3 are allowed.")
        with pytest.raises(P.Overloaded, match="3 are allowed"):
            echo("x")
        session.fake.refusal = None
        assert echo("x").id


async def test_nothing_builds_on_a_call_that_was_refused(session: FakeAsyncSession) -> None:
    session.fake.refusal = P.Overloaded("3 calls are under way; 3 are allowed.")
    lost = echo("x", session=session)
    session.fake.refusal = None
    with pytest.raises(P.Overloaded, match="3 are allowed"):
        echo(lost, session=session)
    with pytest.raises(P.Overloaded, match="3 are allowed"):
        await lost
    with pytest.raises(P.Overloaded, match="3 are allowed"):
        await session.flush()
