"""What the settings become in a machine; and when what is decided is written."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from parrot.broker.ledger import Lead
from parrot.broker.streams import START, Entry
from parrot.config import load
from parrot.core.batch import Batch
from parrot.core.generation_rules import FoundSet
from parrot.core.limits import Limits
from parrot.core.loop import MANY, Core, policy_of
from parrot.core.machine import Machine
from parrot.core.scheduler import Scheduler
from parrot.errors import NotLeader
from parrot.wire.codec import encode
from parrot.wire.to_core import OpenSession, Usage
from parrot.wire.to_ledger import move, put
from tests.unit.core.cell import KEYS, Cell
from tests.unit.core.stage import DAY, ask, up


def served(weights: dict[str, float], most: int) -> Counter[str]:
    """The calls that a full engine was given first, by tenant, while all of them have many waiting."""
    cell = Cell(Limits(lease=DAY))
    cell.machine = Machine(KEYS, cell.limits, policy=policy_of(load(tenant_weights=weights)))
    cell.tell(*(OpenSession(session=tenant, name="a program", tenant=tenant) for tenant in ("paid", "free")), up("e1", running=1))
    cell.tell(*(ask(f"{tenant}{number}", session=tenant) for number in range(most) for tenant in ("free", "paid")))
    found: Counter[str] = Counter()
    for _ in range(most):
        (job,) = cell.take_jobs()
        found[job.session] += 1
        cell.now += 1.0
        usage = Usage(tokens_in=10, tokens_out=16, first_token_seconds=0.1, seconds=0.5, running=1.0)
        cell.tell(cell.publish(job).model_copy(update={"usage": usage}))
    return found


def test_tenants_are_served_by_their_weights() -> None:
    assert served({}, 40) == {"paid": 20, "free": 20}
    assert served({"paid": 3.0}, 40) == {"paid": 30, "free": 10}


class SlowLedger:
    """Writes a batch when it is let to."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.written: list[int] = []
        self.may_write = asyncio.Semaphore(0)
        self.superseded = False
        self.refused: list[int] = []

    async def commit(self, cursors: Mapping[str, str], number: int, operations: Sequence[Any]) -> list[int]:
        self.begun.append(number)
        await self.may_write.acquire()
        if self.superseded:
            raise NotLeader("Another one leads.")
        self.written.append(number)
        return self.refused

    async def abandon(self, engines: Sequence[str]) -> None: ...


def leading(ledger: SlowLedger) -> Core:
    lead = Lead(1, {KEYS.tasks: START, KEYS.events: START}, 0)
    return Core(ledger, KEYS, Limits(), Scheduler, Machine(KEYS, Limits()), lead)  # type: ignore[arg-type]


def opened(number: int, entries: int = MANY) -> list[Entry]:
    """One session, said many times."""
    fields = encode(OpenSession(session=f"s{number}", name="s"))
    said = {str(name).encode(): str(value).encode() for name, value in fields.items()}
    return [Entry(KEYS.tasks, f"{number}-{place}", said) for place in range(entries)]


async def soon() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_batch_is_decided_while_the_one_before_is_written_and_written_after_it() -> None:
    ledger = SlowLedger()
    core = leading(ledger)
    await core.step(opened(1))
    second = asyncio.create_task(core.step(opened(2)))
    await soon()
    assert set(core._machine.graph.sessions) == {"s1", "s2"}
    assert (ledger.begun, second.done()) == ([1], False)
    ledger.may_write.release()
    await second
    await soon()
    assert (ledger.begun, ledger.written) == ([1, 2], [1])
    await core.leave()


async def test_what_follows_from_few_entries_is_written_before_more_is_read() -> None:
    ledger = SlowLedger()
    core = leading(ledger)
    step = asyncio.create_task(core.step(opened(1, MANY - 1)))
    await soon()
    assert (ledger.begun, step.done()) == ([1], False)
    ledger.may_write.release()
    await step
    assert ledger.written == [1]


async def test_what_was_decided_after_a_batch_that_is_not_written_is_not_written_either() -> None:
    ledger = SlowLedger()
    core = leading(ledger)
    await core.step(opened(1))
    ledger.superseded = True
    ledger.may_write.release()
    with pytest.raises(NotLeader):
        await core.step(opened(2))
    await core.leave()
    assert (ledger.begun, ledger.written) == ([1], [])


async def test_who_reads_hears_at_once_that_the_last_batch_was_not_written() -> None:
    class Patient:
        async def read(self, block_ms: int) -> list[Entry]:
            await asyncio.sleep(60)
            raise AssertionError("nobody waits for so long")

    ledger = SlowLedger()
    core = leading(ledger)
    await core.step(opened(1))
    turn = asyncio.create_task(core.turn(Patient()))  # type: ignore[arg-type]
    await soon()
    assert not turn.done()
    ledger.superseded = True
    ledger.may_write.release()
    with pytest.raises(NotLeader):
        await turn


async def test_the_machine_is_told_of_a_variable_that_was_set_before_what_was_decided_of_it_could_be_written() -> None:
    ledger = SlowLedger()
    ledger.may_write.release()
    core = leading(ledger)
    ledger.refused = [1, 2]
    batch = Batch(1)
    batch.write(move(KEYS.variable("a.x"), {}), put(KEYS.core, {}), move(KEYS.variable("b.x"), {}))
    await core._carry_out([], batch)
    assert core._own == [FoundSet("b.x")]
    assert core.patience_ms() == 1  # it is told at once
