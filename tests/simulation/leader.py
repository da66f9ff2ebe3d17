"""ServeCore as a process: `parrot/core/loop.py` in virtual time, in stages between which it can die or be stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from parrot.core.batch import Batch
from parrot.core.check import check_machine
from parrot.core.generation_rules import FoundSet
from parrot.core.limits import Limits
from parrot.core.machine import Machine
from parrot.core.recovery import rebuild
from parrot.wire.to_core import GenerationDone, GenerationFailed
from parrot.wire.to_engine import Order
from tests.simulation.broker import Broker
from tests.simulation.faults import Faults
from tests.simulation.world import Process, World
from tests.unit.core.cell import KEYS

Sends = list[tuple[str, list[tuple[tuple[int, ...], Order]]]]


class Leader(Process):
    """One incarnation: takes the lead, and leads until it dies or is superseded.

    Args:
        successor: called when another incarnation should start, now or while this one is stopped.
    """

    def __init__(self, world: World, broker: Broker, faults: Faults, limits: Limits, successor: Callable[[], None], number: int) -> None:
        super().__init__(world, f"core-{number}")
        self._broker = broker
        self._faults = faults
        self._limits = limits
        self._successor = successor
        self._busy = True
        self._alarm = 0.0
        self._own: list[FoundSet] = []
        self.machine: Machine | None = None
        self.alive = True
        self.later(0.01, self._lead)

    def wake(self) -> None:
        """Something was written to a stream that it reads."""
        if not self._busy:
            self._busy = True
            self.later(0.001 + self.world.chance.random() * 0.004, self._step)

    def kill(self) -> None:
        """SIGKILL; nobody comes instead."""
        self.alive = False
        self.die()

    def cut_off(self) -> None:
        """Redis was away: what was under way is void, and whoever led takes the lead again."""
        if self.leads():
            self.die()
            self._busy, self._alarm = True, 0.0
            self.later(0.01, self._lead)

    def leads(self) -> bool:
        """Whether it is the one whose commits count."""
        return self.alive and self.machine is not None and self._broker.leads(self._epoch)

    def _lead(self) -> None:
        lead, self._cursors = self._broker.lead()
        self._epoch = lead.epoch
        self.world.say(self.name, "leads, epoch", lead.epoch)
        self._stage(self._take_over, lead)

    def _take_over(self, lead: Any) -> None:
        self.machine, unsent = rebuild(KEYS, self._limits, lead, self._broker.load(), self.world.now)
        self._send(_by_engine(unsent), self._step)

    def _step(self) -> None:
        assert self.machine is not None
        tasks, events = self._read(self._broker.tasks, self._cursors[0]), self._read(self._broker.events, self._cursors[1])
        cursors = self._cursors[0] + len(tasks), self._cursors[1] + len(events)
        batch = self.machine.handle([*self._own, *tasks, *filter(self._understands, events)], self.world.now)
        self._own.clear()
        if self.world.chance.random() < 0.02:
            findings = check_machine(self.machine)
            assert not findings, findings
        self._stage(self._commit, cursors, batch)

    def _read(self, stream: list[Any], cursor: int) -> list[Any]:
        """What is new; in parts now and then, so that one stream runs ahead of the other."""
        most = self.world.chance.choice((0, 1, 5)) if self.world.happens(self._faults.late) else 512
        return stream[cursor : cursor + most]

    def _understands(self, event: Any) -> bool:
        return not (isinstance(event, GenerationDone | GenerationFailed) and self.world.happens(self._faults.not_understood))

    def _commit(self, cursors: tuple[int, int], batch: Batch) -> None:
        if not self._broker.commit(self._epoch, cursors, batch):
            self.world.say(self.name, "is superseded")
            self.kill()
            return
        self._cursors = cursors
        self._own += map(FoundSet, self._broker.refused)
        if self.world.traced:
            for operation in batch.operations:
                self.world.say(self.name, *operation)
        self._stage(self._send, _by_engine(batch.orders), self._abandon, batch.abandoned)

    def _send(self, sends: Sends, then: Callable[..., None], *arguments: Any) -> None:
        if not sends:
            then(*arguments)
            return
        (engine, orders), *rest = sends
        self._broker.dispatch(engine, orders)
        self._stage(self._send, rest, then, *arguments)

    def _abandon(self, engines: list[str]) -> None:
        for engine in engines:
            self.world.say(self.name, "abandons", engine)
            self._broker.drop_jobs(engine)
        self._wait()

    def _wait(self) -> None:
        assert self.machine is not None
        self._busy = False
        if self._own or self._cursors != (len(self._broker.tasks), len(self._broker.events)):
            self.wake()
        elif (due := self.machine.deadline()) is not None and (due < self._alarm or self._alarm <= self.world.now):
            self._alarm = due
            self.later(max(0.001, due - self.world.now), self._ring, due)

    def _ring(self, due: float) -> None:
        if due == self._alarm:
            self._alarm = 0.0
            self.wake()

    def _stage(self, what: Callable[..., None], *arguments: Any) -> None:
        """From one step to the next: here it is killed, or stopped for longer than any lease."""
        world, faults = self.world, self._faults
        if world.happens(faults.core_dies):
            world.say(self.name, "is killed before", what.__name__)
            self.kill()
            world.after(world.chance.random(), self._successor)
        elif world.happens(faults.core_stops):
            world.say(self.name, "is stopped before", what.__name__)
            seconds = world.chance.random() * 6
            self.stop(seconds)
            self.later(seconds, what, *arguments)
            if world.chance.random() < faults.second_leader:
                world.after(world.chance.random() * seconds, self._successor)
        else:
            what(*arguments)


def _by_engine(orders: list[tuple[str, str, Order]]) -> Sends:
    sends: dict[str, list[tuple[tuple[int, ...], Order]]] = {}
    for engine, entry, order in orders:
        sends.setdefault(engine, []).append((tuple(map(int, entry.split("-"))), order))
    return list(sends.items())
