"""The loop that drives the machine: read, decode, handle, commit, dispatch."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable

import structlog

from parrot.broker.connection import connect, in_sentences, without_password
from parrot.broker.ledger import Lead, Ledger
from parrot.broker.renewal import Renewal
from parrot.broker.streams import Entry, StreamReader
from parrot.config import Settings
from parrot.core.history import History
from parrot.core.machine import Batch, Limits, Machine
from parrot.core.recovery import rebuild
from parrot.errors import BrokerUnavailable, MessageError, NotLeader
from parrot.wire import to_core
from parrot.wire.keys import Keys
from parrot.wire.to_core import Event, Task
from parrot.wire.to_ledger import Op, bury

log = structlog.get_logger("parrot.core")

HISTORY = 1_000  # entries of each stream that stay after they were read, for people who look
STANDBY_LOOKS = 0.5  # seconds after which a standby looks again: a leader that ends lays its lease down before it runs out
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
    redis = connect(settings.redis_url)
    keys = Keys(settings.cell)
    failures = 0
    try:
        while True:
            try:
                with in_sentences(settings.redis_url):
                    ledger = Ledger(redis, keys)
                    lead = await _await_lead(ledger, settings)
                    failures = 0
                    with Renewal(settings.redis_url, keys, lead.epoch, settings.lease_seconds) as renewal:
                        core = await Core.take_over(ledger, keys, limits_of(settings), lead)
                        log.info("leading", cell=settings.cell, epoch=lead.epoch, redis=without_password(settings.redis_url))
                        ready()
                        reader = StreamReader(redis, core.cursors)
                        while True:
                            renewal.alive()
                            await core.step(await reader.read(core.patience_ms()))
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


async def _await_lead(ledger: Ledger, settings: Settings) -> Lead:
    """Stand by until the lead is free, and take it."""
    standing_by = False
    while True:
        lead = await ledger.lead(f"{socket.gethostname()}:{os.getpid()}", settings.lease_seconds)
        if isinstance(lead, Lead):
            return lead
        if not standing_by:
            log.info("standing by", cell=settings.cell)
            standing_by = True
        await asyncio.sleep(min(lead, STANDBY_LOOKS) + 0.005)


def limits_of(settings: Settings) -> Limits:
    """The machine's limits, from the settings."""
    return Limits(
        lease=settings.lease_seconds,
        results=settings.result_seconds,
        idle=settings.idle_seconds,
        active=settings.max_active,
        tenant_active=settings.max_tenant_active,
        session_calls=settings.max_session_calls,
        depth=settings.max_depth,
    )


class Core:
    """A machine that leads, with its place in the streams.

    Attributes:
        cursors: by stream, the last entry that was read; the reader moves them.
    """

    def __init__(self, ledger: Ledger, keys: Keys, machine: Machine, cursors: dict[str, str]) -> None:
        self._ledger = ledger
        self._keys = keys
        self._machine = machine
        self._histories = {stream: History(HISTORY) for stream in cursors}
        self.cursors = cursors

    @classmethod
    async def take_over(cls, ledger: Ledger, keys: Keys, limits: Limits, lead: Lead) -> Core:
        """Go on where the last leader of a cell stopped."""
        machine, unsent = rebuild(keys, limits, lead, await ledger.load(), time.time())
        await ledger.dispatch(unsent)
        core = cls(ledger, keys, machine, lead.cursors)
        await core.step([])
        return core

    def patience_ms(self) -> int:
        """How long the machine can go without being called."""
        deadline = self._machine.deadline()
        return 3_600_000 if deadline is None else max(1, int((deadline - time.time()) * 1000) + 1)

    async def step(self, entries: list[Entry]) -> None:
        """Handle what was read and the passing of time, to the end."""
        messages, buried = self._decode(entries)
        batch = self._machine.handle(messages, time.time())
        batch.operations.extend(buried)
        if entries or batch.operations:
            await self._carry_out(batch)
        await self._trim(entries)

    async def _carry_out(self, batch: Batch) -> None:
        refused = await self._ledger.commit(self.cursors, batch.number, batch.operations)
        for position in refused:
            # The variable was set while we decided; the event that says so is on its way and tells the machine.
            log.debug("operation refused", operation=batch.operations[position][:2])
        if batch.orders:
            await self._ledger.dispatch(batch.orders)
        await self._ledger.abandon(batch.abandoned)

    def _decode(self, entries: list[Entry]) -> tuple[list[Task | Event], list[Op]]:
        messages: list[Task | Event] = []
        buried: list[Op] = []
        for entry in entries:
            door = to_core.tasks if entry.stream == self._keys.tasks else to_core.events
            try:
                messages.append(door.decode(entry.fields))
            except MessageError as error:
                # The entry goes to the dead letters in the same commit that moves the cursor past it.
                log.warning("dead letter", stream=entry.stream, id=entry.id, reason=str(error))
                buried.append(bury(self._keys.dead, entry.stream, entry.id, error, entry.fields))
        return messages, buried

    async def _trim(self, entries: list[Entry]) -> None:
        for stream, history in self._histories.items():
            count = sum(entry.stream == stream for entry in entries)
            if count and (before := history.add(self.cursors[stream], count)):
                await self._ledger.trim(stream, before)
