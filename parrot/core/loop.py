"""The loop that drives the machine: read, decode, handle, commit, dispatch."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial

import structlog

from parrot.broker.connection import BLOCK_MS, Run, connect, in_sentences
from parrot.broker.ledger import Lead, Ledger
from parrot.broker.renewal import Renewal
from parrot.broker.streams import Entry, StreamReader
from parrot.config import Settings
from parrot.core import COMPILED
from parrot.core.batch import Batch
from parrot.core.generation_rules import FoundSet
from parrot.core.history import History
from parrot.core.limits import Limits
from parrot.core.machine import Machine
from parrot.core.policy import Policy
from parrot.core.records import clock
from parrot.core.recovery import Foresight, foresee, rebuild
from parrot.core.scheduler import Scheduler
from parrot.core.undecodable import SetInVain, answers, set_in_vain
from parrot.errors import BrokerUnavailable, InternalError, MessageError, NotLeader, ParrotError
from parrot.passwords import without_password
from parrot.wire import to_core
from parrot.wire.keys import Keys
from parrot.wire.to_core import EngineDown, Event, Task
from parrot.wire.to_engine import Order
from parrot.wire.to_ledger import Op, bury

log = structlog.get_logger("parrot.core")

PORTION_BYTES = 16 * 1024 * 1024  # of messages that are committed together: Redis takes no command of more than 512 MiB
MOST_READ = 128  # entries of each stream that are handled at once: engines go to work on some while others are decided on
MANY = 8  # entries from which on it pays to write what follows while more is read and decided on
FIRST_READ = 16  # entries of each stream; a leader that died of too many large ones must not die of them again
HISTORY = 1_000  # entries of each stream that stay after they were read, for people who look
STANDBY_LOOKS = 0.5  # seconds after which a standby looks again: a leader that ends lays its lease down before it runs out
SILENT = 0.55  # of a lease that is left when its holder, who renews it each third, seems to be dead
LATE = 0.5  # seconds that a read may take longer than it was told to, on a busy machine
PATIENCE = (0.1, 0.2, 0.5, 1.0)  # seconds between attempts to reach the broker; the last one repeats


async def serve(settings: Settings, ready: Callable[[], None] = lambda: None) -> None:
    """Lead a cell whenever nobody else does, until cancelled.

    When the broker goes away or another ServeCore takes over, what was not committed is read again by whoever leads next.

    Args:
        settings: where the broker is, which cell to lead, and the limits.
        ready: called each time the lead was taken.

    Raises:
        ConfigurationError: the broker's URL cannot be understood.
    """
    run = Run()
    redis = connect(settings.redis_url, run=run)  # when it restarts, what was not committed is decided again, on what is left
    keys = Keys(settings.cell)
    ledger = Ledger(redis, keys)
    failures = 0
    try:
        while True:
            run.begin()
            try:
                with in_sentences(settings.redis_url):
                    lead, foresight = await _await_lead(ledger, settings)
                    failures = 0
                    with Renewal(settings.redis_url, keys, lead.epoch, settings.lease_seconds) as renewal:
                        core = await Core.take_over(ledger, keys, limits_of(settings), partial(policy_of, settings), lead, foresight)
                        where = without_password(settings.redis_url)
                        log.info("leading", cell=settings.cell, epoch=lead.epoch, redis=where, compiled=COMPILED)
                        ready()
                        reader = StreamReader(redis, core.cursors, count=MOST_READ, first=FIRST_READ)
                        try:
                            while True:
                                renewal.alive()
                                await core.turn(reader)
                        finally:
                            await core.leave()
            except NotLeader as error:
                # Our last batch was not written; the new leader reads the same messages.
                log.warning("superseded", error=str(error))
            except BrokerUnavailable as error:
                # Nothing is lost: what was not committed will be read again by whoever leads next, which may be us.
                delay = PATIENCE[min(failures, len(PATIENCE) - 1)]
                failures += 1
                log.warning("broker unavailable", error=str(error), again_in_seconds=delay)
                await asyncio.sleep(delay)
    finally:
        await redis.aclose()


async def _await_lead(ledger: Ledger, settings: Settings) -> tuple[Lead, Foresight]:
    """Stand by until the lead is free, and take it.

    Returns:
        The lead, and what was done for it while the last leader seemed to be dead.
    """
    standing_by, foresight = False, Foresight()
    while True:
        lead = await ledger.lead(f"{socket.gethostname()}:{os.getpid()}", settings.lease_seconds)
        if isinstance(lead, Lead):
            return lead, foresight
        if not standing_by:
            log.info("standing by", cell=settings.cell)
            standing_by = True
        if lead > SILENT * settings.lease_seconds:
            foresight = Foresight()  # it is well
        elif foresight.found is None:
            with _collector_at_rest():
                foresight = foresee(await ledger.foresee())
            continue
        await asyncio.sleep(min(lead, STANDBY_LOOKS) + 0.005)


def limits_of(settings: Settings) -> Limits:
    """The machine's limits, from the settings."""
    return Limits(
        lease=settings.lease_seconds,
        results=settings.result_seconds,
        idle=settings.idle_seconds,
        unserved=settings.unserved_seconds,
        active=settings.max_active,
        tenant_active=settings.max_tenant_active,
        session_calls=settings.max_session_calls,
        depth=settings.max_depth,
        isolate=settings.isolate_tenants,
    )


def policy_of(settings: Settings) -> Policy:
    """A new policy for a machine, from the settings."""
    return Scheduler(weights=settings.tenant_weights)


class Core:
    """A machine that leads, with its place in the streams.

    What follows from many entries is written while the next ones are read and decided on: one batch after the other, and orders go out
    when their batch was written.

    Attributes:
        cursors: by stream, the last entry that was read; the reader moves them.
    """

    def __init__(self, ledger: Ledger, keys: Keys, limits: Limits, make_policy: Callable[[], Policy], machine: Machine, lead: Lead) -> None:
        self._ledger = ledger
        self._keys = keys
        self._limits = limits
        self._make_policy = make_policy  # a machine that is built anew gets a new one
        self._machine = machine
        self._histories = {stream: History(HISTORY) for stream in lead.cursors}
        self._done = Lead(lead.epoch, dict(lead.cursors), lead.batches, lead.forgetful)  # as a successor would find it
        self._heard = time.monotonic()
        self._writing: asyncio.Task[None] | None = None
        self._own: list[Event | FoundSet] = []  # messages of ours, to be handled before what is read next
        self.cursors = lead.cursors

    @classmethod
    async def take_over(
        cls,
        ledger: Ledger,
        keys: Keys,
        limits: Limits,
        make_policy: Callable[[], Policy],
        lead: Lead,
        foresight: Foresight,
    ) -> Core:
        """Go on where the last leader of a cell stopped."""
        with _collector_at_rest():
            machine, unsent = rebuild(
                keys, limits, lead, await ledger.load(foresight.found), time.time(), make_policy(), foresight.prepared
            )
        core = cls(ledger, keys, limits, make_policy, machine, lead)
        machine.spare(time.time())  # with very many calls all that may have taken longer than a lease
        await core._dispatch(unsent)
        if lead.forgetful:
            # Engines may have read jobs and published values that are gone now: they come back under new ids, and nothing that they held
            # stands.
            if engines := list(machine.fleet.engines):
                log.error("the broker may have lost what it had acknowledged", consequence="engines begin anew", engines=engines)
            core._dismiss(engines, "the broker may have lost what it had acknowledged")
        if lead.restarted:
            await ledger.move_on()
        await core.step([])
        return core

    async def leave(self) -> None:
        """Write nothing more. What was not written is decided again by whoever leads next."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)  # its error would come after the one for which we leave

    def patience_ms(self) -> int:
        """How long the machine can go without being called."""
        if self._own:
            return 1
        deadline = self._machine.deadline()
        return 3_600_000 if deadline is None else max(1, int((deadline - time.time()) * 1000) + 1)

    async def turn(self, reader: StreamReader) -> None:
        """Read what has come, or wait for it, and handle it to the end."""
        patience = min(self.patience_ms(), BLOCK_MS)
        entries = await self._read(reader, patience)
        before, self._heard = self._heard, time.monotonic()
        if self._heard - before > patience / 1000 + LATE:
            # The broker hung or was away, or we were stopped or slow: that nobody was heard is no sign of death.
            self._machine.spare(time.time())
        await self.step(entries)

    async def _read(self, reader: StreamReader, patience: int) -> list[Entry]:
        """What has come; nothing if what is written meanwhile shows that there is something to do before."""
        if self._writing is None:
            return await reader.read(patience)
        reading = asyncio.create_task(reader.read(patience))
        try:
            await asyncio.wait((reading, self._writing), return_when=asyncio.FIRST_COMPLETED)
            if self._writing.done():
                await self._written()
            return [] if self._own and not reading.done() else await reading
        finally:
            reading.cancel()  # if it is not done: its place in the streams moves only with an answer, which will be asked for again
            await asyncio.gather(reading, return_exceptions=True)

    async def step(self, entries: list[Entry]) -> None:
        """Handle what was read and the passing of time; the last batch may still be being written."""
        for portion in portions(entries):
            try:
                batch = self._decide(portion)
            except Exception:  # a fault of ours that this portion brought to light; nothing of it was written
                log.exception("cannot handle", entries=len(portion))
                await self._written()
                await self._step_one_by_one(portion)
                continue
            await self._written()
            if len(portion) < MANY:
                await self._carry_out(portion, batch)
            else:
                self._writing = asyncio.create_task(self._carry_out(portion, batch))
        await self._trim(entries)  # all that may not have been written yet is among what is kept

    async def _written(self) -> None:
        """Wait until the batch that is being written has been, and its orders were sent."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            await writing

    async def _step_one_by_one(self, entries: list[Entry]) -> None:
        """Find the entry that cannot be handled, so that it alone is put aside.

        The machine may have stopped half-way in a decision: it is built anew from the last commit.
        """
        await self._start_over()
        await self._carry_out([], self._decide([]))  # what is due; if this fails too, no entry is to blame: whoever runs us learns of it
        for entry in entries:
            try:
                batch = self._decide([entry])
            except Exception as error:  # the entry goes to the dead letters, and whoever waits for it is told
                log.exception("dead letter", stream=entry.stream, id=entry.id)
                await self._start_over()
                fault = InternalError(f"ServeCore failed to handle it: {type(error).__name__}: {error}")
                batch = self._machine.handle(self._in_vain(entry, fault), time.time())
                batch.write(*self._put_aside(entry, fault))
            await self._carry_out([entry], batch)

    async def _start_over(self) -> None:
        found = await self._ledger.load()
        self._machine, unsent = rebuild(self._keys, self._limits, self._done, found, time.time(), self._make_policy())
        self._machine.spare(time.time())
        await self._dispatch(unsent)

    def _decide(self, entries: list[Entry]) -> Batch:
        messages, put_aside = self._decode(entries)
        batch = self._machine.handle([*self._own, *messages], time.time())
        batch.write(*put_aside)
        self._own.clear()
        return batch

    async def _carry_out(self, entries: list[Entry], batch: Batch) -> None:
        if not entries and not batch.operations:
            return
        cursors = self._done.cursors | {entry.stream: entry.id for entry in entries}
        refused = await self._ledger.commit(cursors, batch.number, batch.operations)
        self._done = Lead(self._done.epoch, cursors, batch.number)
        for position in refused:
            # The variable was set while we decided; the event that says so is on its way, as a rule.
            name, key = batch.operations[position][:2]
            log.debug("operation refused", operation=(name, key))
            if name == "move":
                self._own.append(FoundSet(key.removeprefix(self._keys.variable(""))))
        await self._ledger.abandon(batch.abandoned)
        await self._dispatch(batch.orders)

    async def _dispatch(self, orders: list[tuple[str, str, Order]]) -> None:
        unreachable = await self._ledger.dispatch(orders) if orders else []
        if unreachable:
            # Each engine comes back under a new id, with a stream of its own, once it sees that this one is gone.
            log.warning("job streams hold what ServeCore did not write", engines=unreachable)
            self._dismiss(unreachable, "somebody else wrote to its job stream")

    def _dismiss(self, engines: Iterable[str], reason: str) -> None:
        self._own += [EngineDown(engine=engine, reason=reason) for engine in engines]

    def _decode(self, entries: list[Entry]) -> tuple[list[Task | Event | SetInVain], list[Op]]:
        messages: list[Task | Event | SetInVain] = []
        put_aside: list[Op] = []
        for entry in entries:
            door = to_core.tasks if entry.stream == self._keys.tasks else to_core.events
            try:
                messages.append(door.decode(entry.fields))
            except MessageError as error:
                log.warning("dead letter", stream=entry.stream, id=entry.id, reason=str(error))
                messages += self._in_vain(entry, error)
                put_aside += self._put_aside(entry, error)
        return messages, put_aside

    def _put_aside(self, entry: Entry, error: ParrotError) -> list[Op]:
        """The entry goes to the dead letters in the same commit that moves the cursor past it; whoever waits for it is told."""
        letter = bury(self._keys.dead, entry.stream, entry.id, error, entry.fields)
        if entry.stream != self._keys.tasks:
            return [letter]
        return [letter, *answers(self._keys, entry.fields, error, self._limits.results, clock(time.time()))]

    def _in_vain(self, entry: Entry, error: ParrotError) -> list[SetInVain]:
        return set_in_vain(entry.fields, error) if entry.stream == self._keys.tasks else []

    async def _trim(self, entries: list[Entry]) -> None:
        for stream, history in self._histories.items():
            count = sum(entry.stream == stream for entry in entries)
            if count and (before := history.add(self.cursors[stream], count)):
                await self._ledger.trim(stream, before)


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Nothing of a machine that is being built is garbage: to look for some would take as long as to build it."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()  # nor is it looked through later, for as long as it takes; what ends is freed all the same, since it makes no cycles


def portions(entries: list[Entry]) -> Iterator[list[Entry]]:
    """What was read, in parts of a bounded size that are handled one after the other; one empty part if there is nothing."""
    portion: list[Entry] = []
    size = 0
    for entry in entries:
        bytes_ = sum(map(len, entry.fields.values()))
        if portion and size + bytes_ > PORTION_BYTES:
            yield portion
            portion, size = [], 0
        portion.append(entry)
        size += bytes_
    yield portion
