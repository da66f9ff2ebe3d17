"""A session for ordinary code: the async one, on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Self

from anyio.from_thread import BlockingPortal, start_blocking_portal

from parrot.app.outbox import Receipt
from parrot.app.session import BaseSession
from parrot.app.variable import Variable
from parrot.criteria import Criterion
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
            portal = stack.enter_context(_portal())
            portal.call(self._open)
            self._portal, self._resources = portal, stack.pop_all()
        self._become_current()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._cease_to_be_current()
        with self._resources:
            portal, self._portal, line = self._portal, None, self._take_leave()
            if portal is not None:
                portal.call(self._close, line, error is None)

    def _send(self, message: Message, texts: Mapping[str, str]) -> Receipt:
        portal = self._portal
        if portal is None:
            self._refuse()
        return portal.call(self._acknowledged, message, texts)

    async def _acknowledged(self, message: Message, texts: Mapping[str, str]) -> Receipt:
        receipt = self._open_line().send(message, texts)
        await receipt
        return receipt

    def get_value(self, variable: Variable, criterion: Criterion | None, timeout: float | None) -> str:
        if variable.ended:
            return variable.result()
        portal = self._portal
        if portal is not None:
            return portal.call(self._value, variable, criterion, timeout)
        with _portal() as for_now:
            return for_now.call(self._value, variable, criterion, timeout)

    async def await_value(self, variable: Variable, criterion: Criterion | None, timeout: float | None) -> str:
        portal = self._portal
        if portal is None:
            return await self._value(variable, criterion, timeout)
        return await asyncio.wrap_future(portal.start_task_soon(self._value, variable, criterion, timeout))


def _portal() -> AbstractContextManager[BlockingPortal]:
    return start_blocking_portal("asyncio", {"use_uvloop": True}, name="parrot")
