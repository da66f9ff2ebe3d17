"""The news: nothing is missed, and nobody waits in vain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest

from parrot.app.news import News
from parrot.broker.streams import Entry
from parrot.broker.variables import Outcome
from parrot.errors import BrokerUnavailable, ParrotError, SessionError
from parrot.wire.states import VariableState


class Cell:
    """Variables and the stream that tells of them."""

    def __init__(self) -> None:
        self.standing: dict[str, Outcome] = {}
        self.stream: asyncio.Queue[Entry | None] = asyncio.Queue()
        self.looks: list[list[str]] = []
        self.failures: list[Exception] = []

    def say_nothing(self) -> None:
        """The read of the stream comes back empty."""
        self.stream.put_nowait(None)

    def end(self, variable: str, text: str) -> None:
        self.standing[variable] = Outcome(VariableState.READY, text)
        self.tell(variable)

    def tell(self, variable: str) -> None:
        self.stream.put_nowait(Entry("news", "1-1", {b"variable": variable.encode(), b"state": b"ready"}))

    async def hear(self) -> list[Entry]:
        self._fail()
        entry = await self.stream.get()
        return [] if entry is None else [entry]

    async def look(self, variables: Mapping[str, str]) -> list[Outcome]:
        self._fail()
        self.looks.append(sorted(variables))
        return [self.standing.get(variable, Outcome(VariableState.PENDING)) for variable in variables]

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)


@pytest.fixture
async def cell() -> Cell:
    return Cell()


@pytest.fixture
async def news(cell: Cell) -> AsyncIterator[News]:
    news = News(cell.hear, cell.look)
    yield news
    await news.stop()


async def waiting(news: News, variable: str, patient: bool = True) -> asyncio.Task[Outcome]:
    task = asyncio.create_task(news.ended(variable, "1-0", patient))
    await asyncio.sleep(0.01)
    return task


async def test_what_ended_before_is_found_at_once(news: News, cell: Cell) -> None:
    cell.end("a", "x")
    assert (await news.ended("a", "1-0", patient=True)).text == "x"


async def test_what_ends_later_is_heard(news: News, cell: Cell) -> None:
    task = await waiting(news, "a")
    cell.end("a", "x")
    assert (await task).text == "x"


async def test_news_of_others_is_not_looked_at(news: News, cell: Cell) -> None:
    task = await waiting(news, "a")
    cell.end("b", "y")
    cell.end("a", "x")
    await task
    assert all("b" not in look for look in cell.looks)


async def test_those_who_come_together_are_looked_up_together(news: News, cell: Cell) -> None:
    cell.standing = {str(i): Outcome(VariableState.READY, "x") for i in range(100)}
    await asyncio.gather(*(news.ended(str(i), "1-0", patient=True) for i in range(100)))
    assert len(cell.looks) == 1


async def test_news_that_was_read_before_somebody_waits_is_not_missed(news: News, cell: Cell) -> None:
    task = await waiting(news, "a")
    cell.end("b", "y")
    await asyncio.sleep(0.01)
    assert (await news.ended("b", "1-0", patient=True)).text == "y"
    task.cancel()


async def test_who_gave_up_is_forgotten_and_others_still_hear(news: News, cell: Cell) -> None:
    gone, stays = await waiting(news, "a"), await waiting(news, "a")
    gone.cancel()
    cell.end("a", "x")
    assert (await stays).text == "x"


async def test_a_broker_that_comes_back_is_heard_again(news: News, cell: Cell) -> None:
    cell.failures = [BrokerUnavailable("away")] * 2
    task = await waiting(news, "a")
    cell.failures = [BrokerUnavailable("away")]
    cell.end("a", "x")
    async with asyncio.timeout(5):
        assert (await task).text == "x"


async def test_a_broker_that_stays_away_is_told_to_those_who_set_no_timeout(cell: Cell) -> None:
    news = News(cell.hear, cell.look, patience=0.0)
    cell.failures = [BrokerUnavailable("away")] * 3
    impatient, patient = await waiting(news, "a", patient=False), await waiting(news, "a", patient=True)
    with pytest.raises(BrokerUnavailable, match="away"):
        await impatient
    cell.end("a", "x")
    assert (await patient).text == "x"
    await news.stop()


async def test_a_fault_of_the_reader_is_told_to_all_who_wait_and_all_who_come(news: News, cell: Cell) -> None:
    task = await waiting(news, "a")
    cell.failures = [ZeroDivisionError()]
    cell.tell("z")  # wakes the reader, which then falls over
    with pytest.raises(ParrotError, match="news reader stopped by a fault in Parrot"):
        await task
    with pytest.raises(ParrotError, match="news reader stopped"):
        await news.ended("b", "1-0", patient=True)


async def test_a_closed_session_leaves_nobody_waiting(news: News) -> None:
    task = await waiting(news, "a")
    await news.stop()
    with pytest.raises(SessionError, match="closed while a value was waited for"):
        await task


async def test_a_variable_that_is_not_there_yet_is_looked_up_again(news: News, cell: Cell) -> None:
    """It may never come, and then no news comes either."""
    cell.standing["a"] = Outcome(None)
    task = await waiting(news, "a")
    cell.standing["a"] = Outcome(VariableState.FAILED, None, "variable", "It has expired.")
    async with asyncio.timeout(5):
        assert (await task).error == "It has expired."


async def test_all_are_looked_up_again_after_a_silence(news: News, cell: Cell) -> None:
    """A power loss that was too short to be seen may have taken what somebody waits for."""
    first, second = await waiting(news, "a"), await waiting(news, "b")
    cell.looks.clear()
    cell.standing["b"] = Outcome(VariableState.FAILED, error="It is not there.", error_code="variable")
    cell.say_nothing()
    assert (await second).state == VariableState.FAILED
    assert cell.looks == [["a", "b"]]
    assert not first.done()
    cell.end("a", "x")
    await first


async def test_all_are_looked_up_again_when_the_broker_was_away(news: News, cell: Cell) -> None:
    """A broker that was restarted may have forgotten its last words."""
    task = await waiting(news, "a")
    cell.failures = [BrokerUnavailable("away")]
    cell.tell("z")
    await asyncio.sleep(0.01)
    cell.standing["a"] = Outcome(VariableState.READY, "x")
    cell.tell("z")
    async with asyncio.timeout(5):
        assert (await task).text == "x"
