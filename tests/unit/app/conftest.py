"""Sessions without Redis: their lines remember what was sent, and hear what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TypeVar

import pytest

import parrot as P
from parrot.app.line import Line
from parrot.app.outbox import Receipt
from parrot.broker.entries import SessionEntry, VariableHead
from parrot.broker.tokens import Part
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
        streams: the parts of variables, by id.
        session_heads: the variables that are known of the session.
    """

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.texts: dict[str, str] = {}
        self.refusal: ParrotError | None = None
        self.standings: dict[str, Outcome] = {}
        self.streams: dict[str, list[Part]] = {}
        self.session_heads: list[VariableHead] = []
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
        receipt.set_result(f"{len(self.sent)}-0")
        return receipt

    async def settle(self) -> None: ...

    async def ended(self, variable: str, made_by: str, patient: bool) -> Outcome:
        (outcome,) = await self.look({variable: made_by})
        while outcome.state not in ENDED:
            await asyncio.sleep(0.001)
            (outcome,) = await self.look({variable: made_by})
        return outcome

    async def look(self, variables: Mapping[str, str]) -> list[Outcome]:
        return [self.standings.get(variable, Outcome(None)) for variable in variables]

    def listen(self, variable: str, after: int) -> asyncio.Future[None]:
        async def grown() -> None:
            while not await self.parts(variable, after):
                await asyncio.sleep(0.001)

        return asyncio.ensure_future(grown())

    async def parts(self, variable: str, after: int) -> list[Part]:
        return [part for part in self.streams.get(variable, []) if part.number > after]

    async def all_parts(self, variable: str) -> list[Part]:
        return self.streams.get(variable, [])

    async def heads(self, variables: Sequence[str] | None = None) -> list[VariableHead]:
        return [head for head in self.session_heads if variables is None or head.id in variables]

    def all(self, kind: type[M]) -> list[M]:
        """The messages of one kind."""
        return [message for message in self.sent if isinstance(message, kind)]


class _Fake:
    """What makes a session a fake.

    Attributes:
        fake: its line.
        elsewhere: the session that `attach` finds.
    """

    fake: FakeLine
    elsewhere: SessionEntry

    def _new_line(self) -> Line:
        return self.fake

    async def _find(self) -> SessionEntry:
        return self.elsewhere


class FakeAsyncSession(_Fake, P.AsyncSession):
    """An AsyncSession on a line that a test holds in its hand."""

    def __init__(self, url: str | None = None, **options: object) -> None:
        super().__init__("redis://nowhere.invalid/0", **options)  # type: ignore[arg-type]
        self.fake = FakeLine()


class FakeSession(_Fake, P.Session):
    """A Session on a line that a test holds in its hand."""

    def __init__(self, url: str | None = None, **options: object) -> None:
        super().__init__("redis://nowhere.invalid/0", **options)  # type: ignore[arg-type]
        self.fake = FakeLine()


@pytest.fixture
async def session() -> AsyncIterator[FakeAsyncSession]:
    """An open session."""
    async with FakeAsyncSession(name="test") as opened:
        yield opened
