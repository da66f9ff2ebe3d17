"""The outbox: in order, in batches, with receipts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from parrot.app.outbox import Outbox, Parcel, refused
from parrot.errors import BrokerUnavailable, Overloaded, ParrotError
from parrot.wire.to_core import CloseSession, SubmitCall


def call(number: int) -> SubmitCall:
    return SubmitCall(session=str(number), call=f"c{number}", function="f", template=[], outputs={})


def message(number: int) -> CloseSession:
    return CloseSession(session=str(number))


class Post:
    """Delivers when it is let to."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.open = asyncio.Event()
        self.error: Exception | None = None
        self.full = False

    async def deliver(self, parcels: Sequence[Parcel]) -> list[str]:
        await self.open.wait()
        if self.full and any(isinstance(parcel.message, SubmitCall) for parcel in parcels):
            raise Overloaded("3 calls are under way; 3 are allowed.")
        if self.error:
            raise self.error
        self.batches.append([parcel.message.session for parcel in parcels])  # type: ignore[attr-defined]
        return [f"{len(self.batches)}-{place}" for place, _ in enumerate(parcels)]


@pytest.fixture
async def post() -> Post:
    return Post()


@pytest.fixture
async def outbox(post: Post) -> AsyncIterator[Outbox]:
    outbox = Outbox(post.deliver)
    yield outbox
    await outbox.stop()


async def test_messages_are_sent_in_order_and_many_at_a_time(outbox: Outbox, post: Post) -> None:
    receipts = [outbox.put(message(0), {})]
    await asyncio.sleep(0)
    receipts += [outbox.put(message(i), {}) for i in range(1, 1000)]
    post.open.set()
    await asyncio.gather(*receipts)
    assert [number for batch in post.batches for number in batch] == [str(i) for i in range(1000)]
    assert [len(batch) for batch in post.batches] == [1, 512, 487]


async def test_a_receipt_is_given_when_the_message_is_acknowledged_not_before(outbox: Outbox, post: Post) -> None:
    receipt = outbox.put(message(0), {})
    await asyncio.sleep(0.01)
    assert not receipt.done()
    post.open.set()
    await receipt


async def test_a_failure_concerns_what_was_put_behind_it_and_not_what_comes_later(outbox: Outbox, post: Post) -> None:
    post.error = BrokerUnavailable("full")
    lost = [outbox.put(message(0), {})]
    await asyncio.sleep(0)
    lost.append(outbox.put(message(1), {}))
    post.open.set()
    await asyncio.wait(lost)
    assert all(refused(receipt) for receipt in lost)
    post.error = None
    await outbox.put(message(2), {})
    assert post.batches == [["2"]]


async def test_a_fault_of_the_sender_is_told_to_all_who_wait_and_all_who_come(outbox: Outbox, post: Post) -> None:
    post.error = ZeroDivisionError()
    post.open.set()
    with pytest.raises(ParrotError, match="outbox stopped by a fault in Parrot"):
        await outbox.put(message(0), {})
    with pytest.raises(ParrotError, match="outbox stopped"):
        outbox.put(message(1), {})


async def test_a_stopped_outbox_leaves_nobody_waiting(outbox: Outbox, post: Post) -> None:
    receipt = outbox.put(message(0), {})
    await outbox.stop()
    with pytest.raises(BrokerUnavailable, match="closed before"):
        await receipt


async def test_who_stops_waiting_for_a_receipt_does_not_stop_the_outbox(outbox: Outbox, post: Post) -> None:
    outbox.put(message(0), {}).cancel()
    post.open.set()
    await outbox.put(message(1), {})
    assert post.batches[-1][-1] == "1"


async def test_a_receipt_is_the_id_of_the_stream_entry(outbox: Outbox, post: Post) -> None:
    post.open.set()
    assert await asyncio.gather(*(outbox.put(message(i), {}) for i in range(2))) == ["1-0", "1-1"]


async def test_overload_refuses_the_calls_and_those_behind_them_and_nothing_else(outbox: Outbox, post: Post) -> None:
    """What stands behind a call that was refused may build on it."""
    post.full = True
    receipts = [outbox.put(one, {}) for one in (message(0), call(1))]
    await asyncio.sleep(0)
    receipts += [outbox.put(one, {}) for one in (message(2), call(3))]
    post.open.set()
    await asyncio.wait(receipts)
    assert [refused(receipt) for receipt in receipts] == [False, True, False, True]
    assert post.batches == [["0", "2"]]
    post.full = False
    await outbox.put(call(4), {})
    assert post.batches[1:] == [["4"]]


async def test_settling_waits_for_what_was_put_so_far(outbox: Outbox, post: Post) -> None:
    receipt = outbox.put(message(0), {})
    settling = asyncio.ensure_future(outbox.settle())
    await asyncio.sleep(0.01)
    assert not settling.done()
    post.open.set()
    await settling
    assert receipt.done()
    await outbox.settle()
