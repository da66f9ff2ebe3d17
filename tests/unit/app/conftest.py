"""Sessions without Redis: their lines remember what was sent, and hear what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TypeVar

import pytest

import parrot as P
from parrot.app.line import Line
from parrot.app.outbox import Receipt
from parrot.broker.variables import Outcome
from parrot.errors import ParrotError
from parrot.wire.codec import Message
from parrot.wire.states import ENDED

M = TypeVar("M", bound=Message)


class FakeLine(Line):
    """A line to nowhere.

    Attributes:
        sent: the messages, in order.
        texts: long constant texts, by hash.
        refusal: what Redis answers, if it does not acknowledge.
        standings: where variables stand, by id; others are unknown.
    """

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.texts: dict[str, str] = {}
        self.refusal: ParrotError | None = None
        self.standings: dict[str, Outcome] = {}
        self.stopped = False

    async def start(self) -> None: ...

    async def stop(self) -> None:
        self.stopped = True

    def send(self, message: Message, texts: Mapping[str, str]) -> Receipt:
        receipt: Receipt = asyncio.get_running_loop().create_future()
        if self.refusal:
            receipt.set_exception(self.refusal)
            receipt.exception()
            return receipt
        self.sent.append(message)
        self.texts |= texts
        receipt.set_result(None)
        return receipt

    async def ended(self, variable: str, patient: bool) -> Outcome:
        (outcome,) = await self.look([variable])
        while outcome.state not in ENDED:
            await asyncio.sleep(0.001)
            (outcome,) = await self.look([variable])
        return outcome

    async def look(self, variables: Sequence[str]) -> list[Outcome]:
        return [self.standings.get(variable, Outcome(None)) for variable in variables]

    def all(self, kind: type[M]) -> list[M]:
        """The messages of one kind."""
        return [message for message in self.sent if isinstance(message, kind)]


class FakeAsyncSession(P.AsyncSession):
    """An AsyncSession on a line that a test holds in its hand."""

    def __init__(self, **options: object) -> None:
        super().__init__("redis://nowhere.invalid/0", **options)  # type: ignore[arg-type]
        self.fake = FakeLine()

    def _new_line(self) -> Line:
        return self.fake


class FakeSession(P.Session):
    """A Session on a line that a test holds in its hand."""

    def __init__(self, **options: object) -> None:
        super().__init__("redis://nowhere.invalid/0", **options)  # type: ignore[arg-type]
        self.fake = FakeLine()

    def _new_line(self) -> Line:
        return self.fake


@pytest.fixture
async def session() -> AsyncIterator[FakeAsyncSession]:
    """An open session."""
    async with FakeAsyncSession(name="test") as opened:
        yield opened
