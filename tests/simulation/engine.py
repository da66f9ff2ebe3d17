"""An engine worker as a process: `parrot/engine/runner.py` and its link to the bus, in virtual time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from parrot.broker.heartbeat import JOBS_LIFE
from parrot.wire.to_core import EngineBeat, EngineDown, GenerationFailed, GenerationReturned
from parrot.wire.to_engine import Cancel, Job, Order
from tests.simulation.broker import ENTRY, Broker
from tests.simulation.faults import Faults
from tests.simulation.program import Program, value_of
from tests.simulation.world import Process, World
from tests.unit.core.cell import KEYS, engine_up

BEAT = 1.0
MAX_ERRORS = 2  # that engines report of one innocent generation; ServeCore gives up at the third


@dataclass(slots=True)
class Log:
    """What really happened, for the verdict.

    Attributes:
        kills: by call, how many engines it has killed.
        errors: by variable, how often an engine reported a failure of its own.
        accidents: incarnations of engines that died or fell silent through no call's fault.
    """

    kills: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    accidents: set[str] = field(default_factory=set)


class Engine(Process):
    """A worker that always comes back, each time under a new id.

    Attributes:
        id: of the present incarnation.
    """

    def __init__(self, world: World, broker: Broker, program: Program, faults: Faults, log: Log, name: str, model: str) -> None:
        super().__init__(world, name)
        self._broker = broker
        self._program = program
        self._faults = faults
        self._model = model
        self._room = world.chance.randint(1, 6)
        self._incarnation = 0
        self._log = log
        self._up = False
        self._draining = False
        self.id = ""
        self.later(world.chance.random(), self._start, None)

    def _start(self, previous: str | None) -> None:
        self._incarnation += 1
        self.id = f"{self.name}-{self._incarnation}"
        self._up, self._draining, self._reading = True, False, False
        self._read_to: ENTRY = (0, 0)
        self._waiting: list[Job] = []
        self._running: dict[tuple[str, int], Job] = {}
        self._broker.make_jobs(self.id, self._wake)
        if self.world.happens(self._faults.engine_dies / 10):
            self._killed()
            return
        update = {} if previous is None else {"previous": previous}
        self._tell(engine_up(self.id, self._room, self._model).model_copy(update=update))
        self.world.say(self.id, "is up", f"(was {previous})" if previous else "")
        self._beat()

    def is_well(self) -> bool:
        return self._up and self._stopped_until <= self.world.now

    # Trouble --------------------------------------------------------------------------------------

    def trouble(self) -> None:
        """Something happens to the machine, through no fault of what runs on it."""
        if not self.is_well() or self._draining:
            return
        faults, world = self._faults, self.world
        if world.happens(faults.engine_dies):
            self._log.accidents.add(self.id)
            self._killed()
        elif world.happens(faults.engine_stops):
            self._log.accidents.add(self.id)
            seconds = world.chance.random() * 8
            world.say(self.id, "is stopped for", seconds)
            self.stop(seconds)
        elif world.happens(faults.engine_drains):
            self._drain()

    def _killed(self) -> None:
        self.world.say(self.id, "is killed")
        self._up = False
        self.die()
        self.later(0.1 + self.world.chance.random() * 4, self._start, None)

    def _drain(self) -> None:
        self.world.say(self.id, "drains")
        self._draining = True
        self._hand_back(self._waiting)
        self._waiting = []
        self.later(self.world.chance.random() * 0.3, self.leave)

    def leave(self, back: bool = True) -> None:
        """Hand back what is left, say goodbye, and come back as a new process if wanted."""
        if not self._up:
            self.die()
            return
        self._up = False
        unread = [order for _, order in self._unread() if isinstance(order, Job)]
        self._hand_back([*self._waiting, *self._running.values(), *unread])
        self._tell(EngineDown.model_construct(engine=self.id))
        self._broker.drop_jobs(self.id)
        self.die()
        if back:
            self.later(self.world.chance.random() * 2, self._start, None)

    # Life -----------------------------------------------------------------------------------------

    def _beat(self) -> None:
        broker, world = self._broker, self.world
        if self.id not in broker.jobs:
            world.say(self.id, "learns that it was given up")
            self._up = False
            self.die()
            self.later(0.01, self._start, self.id)
            return
        if world.happens(self._faults.beat_lost):
            self._log.accidents.add(self.id)
        else:
            self._say_beat()
        broker.expire(KEYS.jobs(self.id), JOBS_LIFE)
        self.later(BEAT, self._beat)

    def _say_beat(self) -> None:
        """The last one is repeated now and then, as by the thread that says it while the engine's loop is busy."""
        holds = [job.variable for job in (*self._waiting, *self._running.values())]
        read = "-".join(map(str, self._read_to))
        beat = EngineBeat.model_construct(engine=self.id, running=len(self._running), waiting=len(self._waiting), read=read, holds=holds)
        self._broker.tell(beat)
        if self.world.happens(self._faults.said_twice):
            self.later(self.world.chance.random() * BEAT, self._broker.tell, beat)

    def _tell(self, event: Any) -> None:
        """Events are said again, at once, when it is not sure that they were heard."""
        for _ in range(2 if self.world.happens(self._faults.said_twice) else 1):
            self._broker.tell(event)

    def _hand_back(self, jobs: list[Job]) -> None:
        for job in jobs:
            self._tell(GenerationReturned.model_construct(engine=self.id, variable=job.variable, attempt=job.attempt))

    # Work -----------------------------------------------------------------------------------------

    def _wake(self) -> None:
        if self._up and not self._reading:
            self._reading = True
            self.later(0.001 + self.world.chance.random() * 0.003, self._read)

    def _read(self) -> None:
        self._reading = False
        if self._draining:
            return
        for entry, order in self._unread():
            self._read_to = entry
            if isinstance(order, Job):
                self._waiting.append(order)
            elif isinstance(order, Cancel):
                self._waiting = [job for job in self._waiting if (job.variable, job.attempt) != (order.variable, order.attempt)]
                self._running.pop((order.variable, order.attempt), None)
        self._fill_up()

    def _unread(self) -> list[tuple[ENTRY, Order]]:
        return [one for one in self._broker.jobs.get(self.id, ()) if one[0] > self._read_to]

    def _fill_up(self) -> None:
        while self._waiting and len(self._running) < self._room and not self._draining:
            job = self._waiting.pop(0)
            if self._broker.claim(job):
                self._begin(job)

    def _begin(self, job: Job) -> None:
        self._running[job.variable, job.attempt] = job
        number = self._broker.streamed(job.variable) + 1
        self._broker.append(job, self.id, number, "reset")
        self.world.say(self.id, "runs", job.variable, "attempt", job.attempt)
        nature, seconds = self._program.nature(job.call), 0.02 + self.world.chance.random() * 0.4
        if nature == "poison":
            self.later(seconds / 4, self._poisoned, job)
        elif nature == "bad":
            self.later(seconds / 4, self._fail, job, "context_too_long")
        elif self._log.errors[job.variable] < MAX_ERRORS and self.world.happens(self._faults.engine_errs):
            self._log.errors[job.variable] += 1
            self.later(seconds, self._fail, job, "engine")
        else:
            self.later(seconds / 2, self._checkpoint, job, number + 1)
            self.later(seconds, self._finish, job, value_of(job.prompt, self._broker), number + 2)

    def _poisoned(self, job: Job) -> None:
        if (job.variable, job.attempt) in self._running:
            self._log.kills[job.call] += 1
            self.world.say(job.call, "kills", self.id)
            self._killed()

    def _checkpoint(self, job: Job, number: int) -> None:
        """Write down what there is so far, and stop if that is refused; it may have ended when the answer comes."""
        if (job.variable, job.attempt) in self._running and not self._broker.append(job, self.id, number, "more"):
            self.later(self.world.chance.random() * 0.3, self._told_to_stop, job)

    def _told_to_stop(self, job: Job) -> None:
        if self._running.pop((job.variable, job.attempt), None) is not None:
            self.world.say(self.id, "stops", job.variable)
            self._fill_up()

    def _fail(self, job: Job, code: str) -> None:
        if self._running.pop((job.variable, job.attempt), None) is not None:
            self._tell(GenerationFailed(engine=self.id, variable=job.variable, attempt=job.attempt, code=code, reason="No."))
            self._fill_up()

    def _finish(self, job: Job, value: str, number: int) -> None:
        if self._running.pop((job.variable, job.attempt), None) is None:
            return
        accepted = self._broker.publish(job, value, self.id, number)
        self.world.say(self.id, "publishes", job.variable, "attempt", job.attempt, "" if accepted else "(refused)")
        if self.world.happens(self._faults.said_twice):
            self._broker.publish(job, value, self.id, number)  # the answer was lost, so it asks again
        self._fill_up()
