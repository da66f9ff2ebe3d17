"""A session for ordinary code: the async one, on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Self

from anyio.from_thread import BlockingPortal

from parrot.app.finding import all_variables, find_variable
from parrot.app.line import Line
from parrot.app.outbox import Receipt
from parrot.app.portal import open_portal
from parrot.app.session import BaseSession, T, Work
from parrot.app.variable import Variable
from parrot.wire.codec import Message


class Session(BaseSession):
    """A session, entered with `with`. Arguments and attributes as `parrot.app.session.BaseSession`.

    A call returns its Variable once Redis has acknowledged the submission, as durably as the server makes it. It may be used from
    several threads; threads other than the one that entered the block pass `session=`. Leaving the block closes the session; what was
    submitted goes on, and `get` still works.
    """

    _portal: BlockingPortal | None = None
    _resources: ExitStack

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            portal = stack.enter_context(open_portal())
            portal.call(self._open)
            self._portal, self._resources = portal, stack.pop_all()
        self._become_current()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._cease_to_be_current()
        with self._resources:
            portal, self._portal, (line, stood) = self._portal, None, self._take_leave()
            if portal is not None:
                portal.call(self._close, line, stood, error is None)

    def find(self, wanted: str) -> Variable:
        """A variable of this session that was made elsewhere.

        Args:
            wanted: its id, its name if no other has it, or `<call_id>.<output>`.

        Raises:
            VariableError: there is none, or several have the name.
            BrokerUnavailable: Redis does not answer.
        """
        return self.run(partial(find_variable, self, wanted))

    def variables(self) -> list[Variable]:
        """The variables of this session, wherever they were made, in order.

        Raises:
            BrokerUnavailable: Redis does not answer.
        """
        return self.run(partial(all_variables, self))

    def told(self, receipts: Iterable[Receipt]) -> None:
        pass  # a call raises itself what became of its own

    def may_block(self, instead: str) -> None:
        pass  # its event loop runs in another thread

    def run(self, work: Work[T]) -> T:
        portal = self._portal
        if portal is not None:
            return portal.call(self._on_line, work)
        with open_portal() as for_now:
            return for_now.call(self._on_line, work)

    async def arun(self, work: Work[T]) -> T:
        portal = self._portal
        if portal is None:
            return await self._on_line(work)
        return await asyncio.wrap_future(portal.start_task_soon(self._on_line, work))

    def _send(self, message: Message, texts: Mapping[str, str]) -> Receipt:
        portal = self._portal
        if portal is None:
            self._refuse()
        return portal.call(self._acknowledged, message, texts)

    async def _acknowledged(self, message: Message, texts: Mapping[str, str]) -> Receipt:
        receipt = self._open_line().send(message, texts)
        await receipt
        return receipt

    def _tell(self, message: Message) -> None:
        async def tell(line: Line) -> None:
            await line.send(message, {})

        self.run(tell)
