"""Sends messages in order, in batches, and says when they are acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from parrot.app.supervised import end, supervise
from parrot.errors import BrokerUnavailable, Overloaded, ParrotError
from parrot.wire.codec import Message
from parrot.wire.to_core import SubmitCall

_BATCH = 512  # messages in one round trip

Receipt = asyncio.Future[str]
"""The id of a message's stream entry, once Redis has acknowledged it; raises if it did not."""


def refused(receipt: Receipt) -> bool:
    """Whether it is known that Redis did not acknowledge the message."""
    return receipt.done() and (receipt.cancelled() or receipt.exception() is not None)


class Parcel(NamedTuple):
    """A message on its way.

    Attributes:
        message: what is sent.
        texts: long constant texts that must be stored before it, by hash.
        receipt: done when Redis has acknowledged it.
    """

    message: Message
    texts: Mapping[str, str]
    receipt: Receipt


class Outbox:
    """The way out of one session. Used on its event loop only.

    Args:
        deliver: sends parcels in one round trip, in order, all or none; gives the ids of their stream entries.
    """

    def __init__(self, deliver: Callable[[Sequence[Parcel]], Awaitable[list[str]]]) -> None:
        self._deliver = deliver
        self._waiting: list[Parcel] = []
        self._sending: list[Parcel] = []
        self._filled = asyncio.Event()
        self._dead: ParrotError | None = None
        self._task = supervise(self._send_all(), "outbox", self._die)

    def put(self, message: Message, texts: Mapping[str, str]) -> Receipt:
        """Send a message after all that were put before it.

        Raises:
            ParrotError: the outbox has died of a fault.
        """
        if self._dead:
            raise self._dead
        receipt: Receipt = asyncio.get_running_loop().create_future()
        self._waiting.append(Parcel(message, texts, receipt))
        self._filled.set()
        return receipt

    async def settle(self) -> None:
        """Wait until what was put so far is acknowledged or refused."""
        if unsettled := [parcel.receipt for parcel in (*self._sending, *self._waiting) if not parcel.receipt.done()]:
            await asyncio.wait(unsettled)

    async def stop(self) -> None:
        """Send no more; whoever still waits for a receipt is told so."""
        await end(self._task)
        self._fail(BrokerUnavailable("The session was closed before Redis had acknowledged this."))

    async def _send_all(self) -> None:
        while True:
            await self._filled.wait()
            self._sending, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
            if not self._waiting:
                self._filled.clear()
            try:
                entries = await self._deliver(self._sending)
            except Overloaded as error:
                self._refuse_calls(error)
                continue
            except BrokerUnavailable as error:
                # Its receipts raise, and those of all that was put behind it and may build on it.
                self._fail(error)
                continue
            for parcel, entry in zip(self._sending, entries, strict=True):
                if not parcel.receipt.done():
                    parcel.receipt.set_result(entry)
            self._sending = []

    def _refuse_calls(self, error: Overloaded) -> None:
        """The calls that were to be sent are not, nor those behind them, which may build on them; all else goes on."""
        queued = [*self._sending, *self._waiting]
        self._sending, self._waiting = [], [parcel for parcel in queued if not isinstance(parcel.message, SubmitCall)]
        if self._waiting:
            self._filled.set()
        else:
            self._filled.clear()
        for parcel in queued:
            if isinstance(parcel.message, SubmitCall):
                _fail(parcel.receipt, error)

    def _die(self, death: ParrotError) -> None:
        self._dead = death
        self._fail(death)

    def _fail(self, error: ParrotError) -> None:
        unsent = [*self._sending, *self._waiting]
        self._sending, self._waiting = [], []
        self._filled.clear()
        for parcel in unsent:
            _fail(parcel.receipt, error)


def _fail(receipt: Receipt, error: ParrotError) -> None:
    if not receipt.done():
        receipt.set_exception(error)
        receipt.exception()  # seen, for asyncio: whom it concerns holds the receipt
