"""A session for async code."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import NoReturn, Self
from weakref import WeakSet

from parrot.app.finding import all_variables, find_variable
from parrot.app.outbox import Receipt, refused
from parrot.app.session import BaseSession, T, Work
from parrot.app.variable import Variable
from parrot.errors import SessionError
from parrot.wire.codec import Message


class AsyncSession(BaseSession):
    """A session for async code, entered with `async with`. Arguments and attributes as `parrot.app.session.BaseSession`.

    A call returns its Variable at once; what was called is sent in order, many at a time. `await variable` waits for the value.
    Leaving the block waits until all is acknowledged and closes the session; what was submitted goes on.
    """

    _loop: asyncio.AbstractEventLoop
    _receipts: dict[Receipt, None]  # of what was submitted since the last flush, in order; without those that are acknowledged
    _told: WeakSet[Receipt]  # refused ones that a variable has raised: the program knows when it leaves the block

    async def __aenter__(self) -> Self:
        self._loop, self._receipts, self._told = asyncio.get_running_loop(), {}, WeakSet()
        await self._open()
        self._become_current()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._cease_to_be_current()
        await self._close(*self._take_leave(), in_peace=error is None)
        if error is None:
            for receipt in await self._settled():
                if receipt not in self._told:
                    receipt.result()

    async def flush(self) -> None:
        """Wait until Redis has acknowledged all that was submitted so far.

        Raises:
            BrokerUnavailable: it did not take some of it; the variables concerned raise the same.
            Overloaded: too many calls are under way; those that were not taken left no trace.
        """
        for receipt in await self._settled():
            receipt.result()

    async def _settled(self) -> list[Receipt]:
        """What was submitted since the last time, when all of it is acknowledged or refused."""
        receipts = list(self._receipts)
        if receipts:
            await asyncio.wait(receipts)
        for receipt in receipts:
            self._receipts.pop(receipt, None)
        return receipts

    async def find(self, wanted: str) -> Variable:
        """A variable of this session that was made elsewhere.

        Args:
            wanted: its id, its name if no other has it, or `<call_id>.<output>`.

        Raises:
            VariableError: there is none, or several have the name.
            BrokerUnavailable: Redis does not answer.
        """
        return await self.arun(partial(find_variable, self, wanted))

    async def variables(self) -> list[Variable]:
        """The variables of this session, wherever they were made, in order.

        Raises:
            BrokerUnavailable: Redis does not answer.
        """
        return await self.arun(partial(all_variables, self))

    def told(self, receipts: Iterable[Receipt]) -> None:
        self._told.update(receipts)

    def may_block(self, instead: str) -> NoReturn:
        raise SessionError(f"The variable belongs to an AsyncSession, where this would block the event loop. Write `{instead}`.")

    def run(self, work: Work[T]) -> NoReturn:
        self.may_block("await")

    async def arun(self, work: Work[T]) -> T:
        if self._line is not None:
            self._check_loop()
        return await self._on_line(work)

    def _send(self, message: Message, texts: Mapping[str, str]) -> Receipt:
        line = self._open_line()
        self._check_loop()
        receipt = line.send(message, texts)
        self._receipts[receipt] = None
        receipt.add_done_callback(self._settle)
        return receipt

    def _tell(self, message: Message) -> None:
        if self._left:
            raise SessionError(
                f"The AsyncSession {self.id} was left, and nothing can be sent through it. "
                "Cancel inside of its block, or of `async with P.AsyncSession.attach(session.id)`."
            )
        self._send(message, {})

    def _settle(self, receipt: Receipt) -> None:
        if not refused(receipt):
            self._receipts.pop(receipt, None)

    def _check_loop(self) -> None:
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None  # a thread without a loop; refused below
        if here is not self._loop:
            raise SessionError(f"The AsyncSession {self.id} belongs to another event loop or thread. Use it there, or a P.Session here.")
