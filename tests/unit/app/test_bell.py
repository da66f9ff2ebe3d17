"""The bell: one blocking read for all streams, and no growth goes unheard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest

from parrot.app.bell import Bell
from parrot.errors import BrokerUnavailable, ParrotError


class Streams:
    """Streams that grow.

    Attributes:
        reads: what each blocking read listened to.
    """

    def __init__(self) -> None:
        self.last: dict[str, int] = {}
        self.reads: list[dict[str, int]] = []
        self.failures: list[Exception] = []
        self._grown = asyncio.Event()

    def grow(self, variable: str) -> None:
        self.last[variable] = self.last.get(variable, 0) + 1
        self._grown.set()

    async def hear(self, known: Mapping[str, int]) -> dict[str, int]:
        known = dict(known)
        self.reads.append(known)
        if self.failures:
            raise self.failures.pop(0)
        while not (more := {name: self.last[name] for name in known if self.last.get(name, 0) > known[name]}):
            self._grown.clear()
            await self._grown.wait()
        return more


@pytest.fixture
async def streams() -> Streams:
    return Streams()


@pytest.fixture
async def bell(streams: Streams) -> AsyncIterator[Bell]:
    bell = Bell(streams.hear)
    yield bell
    await bell.stop()


async def test_it_rings_when_the_stream_grows_and_not_for_others(bell: Bell, streams: Streams) -> None:
    ring, other = bell.listen("a", 0), bell.listen("b", 0)
    streams.grow("a")
    async with asyncio.timeout(5):
        await ring
    assert not other.done()


async def test_a_stream_that_has_more_already_rings_at_once(bell: Bell, streams: Streams) -> None:
    streams.grow("a")
    async with asyncio.timeout(5):
        await bell.listen("a", 0)


async def test_a_reader_that_comes_back_does_not_begin_the_read_anew(bell: Bell, streams: Streams) -> None:
    for number in range(5):
        ring = bell.listen("a", number)
        await asyncio.sleep(0)
        streams.grow("a")
        await ring
    await asyncio.sleep(0)
    assert streams.reads == [{"a": number} for number in range(6)]


async def test_those_who_come_together_share_one_read(bell: Bell, streams: Streams) -> None:
    rings = [bell.listen(str(number), 0) for number in range(100)]
    await asyncio.sleep(0)
    for number in range(100):
        streams.grow(str(number))
    async with asyncio.timeout(5):
        await asyncio.gather(*rings)
    assert max(len(read) for read in streams.reads) == 100
    assert len(streams.reads) <= 3


async def test_a_broker_that_comes_back_is_heard_again(bell: Bell, streams: Streams) -> None:
    streams.failures = [BrokerUnavailable("away")] * 2
    ring = bell.listen("a", 0)
    streams.grow("a")
    async with asyncio.timeout(5):
        await ring


async def test_a_stream_that_nobody_waits_for_is_let_go_after_a_while(
    bell: Bell, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parrot.app.bell._SILENCE", 0.0)
    bell.listen("a", 0).cancel()
    ring = bell.listen("b", 0)
    await asyncio.sleep(0.01)
    streams.grow("b")
    await ring
    await asyncio.sleep(0.01)
    assert "a" not in streams.reads[-1]
    streams.grow("a")
    await bell.listen("a", 0)


async def test_a_fault_of_the_reader_is_told_to_all_who_wait_and_all_who_come(bell: Bell, streams: Streams) -> None:
    streams.failures = [ZeroDivisionError()]
    with pytest.raises(ParrotError, match="token reader stopped by a fault in Parrot"):
        await bell.listen("a", 0)
    with pytest.raises(ParrotError, match="token reader stopped"):
        bell.listen("a", 0)
