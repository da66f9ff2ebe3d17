"""Sessions: opened, closed, flushed."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

import parrot as P
from parrot.app.session import current
from parrot.wire.to_core import CloseSession, DeclareVariable, OpenSession

from .conftest import FakeAsyncSession, FakeSession


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


async def test_leaving_by_an_exception_closes_the_session_too() -> None:
    session = FakeAsyncSession()
    with pytest.raises(ZeroDivisionError):
        async with session:
            raise ZeroDivisionError
    assert session.fake.all(CloseSession)
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
