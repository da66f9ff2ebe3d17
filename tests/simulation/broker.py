"""Redis as the scripts in `parrot/broker/lua` and the readers see it, in virtual time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from typing import Any

from parrot.broker.audit import Holdings
from parrot.broker.heartbeat import JOBS_LIFE
from parrot.broker.ledger import CALL, ENGINE, SESSION, VARIABLE, Lead, Snapshot, as_read
from parrot.core.batch import Batch
from parrot.wire.states import CallState
from parrot.wire.to_core import GenerationDone
from parrot.wire.to_engine import Job, Order
from parrot.wire.to_ledger import Op
from tests.simulation.world import World
from tests.unit.core.cell import KEYS, Store

ENTRY = tuple[int, ...]


class Broker(Store):
    """One server.

    Attributes:
        tasks, events: the streams, as messages.
        jobs: by engine, the stream of its orders.
        ends: how often each variable was ended, in whatever way.
        refused: variables that the last commit would have moved, had they not ended.
    """

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self.tasks: list[Any] = []
        self.events: list[Any] = []
        self.jobs: dict[str, list[tuple[ENTRY, Order]]] = {}
        self.ends: Counter[str] = Counter()
        self.refused: list[str] = []
        self.wake_core: Callable[[], None] = lambda: None
        self.wake_engine: dict[str, Callable[[], None]] = {}
        self._last: dict[str, ENTRY] = {}
        self._unsynced: list[Callable[[], object]] = []  # how to undo what a power loss would take, the oldest first
        self._epoch = 0
        self._cursors = (0, 0)
        self._batches = 0
        self._ends_of_life: list[tuple[float, str]] = []
        self._appliers = {name: getattr(self, f"_{name.lower()}") for name in COMMANDS}

    # Streams --------------------------------------------------------------------------------------

    def submit(self, task: Any) -> None:
        self.tasks.append(task)
        self._unsynced.clear()
        self.wake_core()

    def tell(self, event: Any) -> None:
        self.events.append(event)
        self._unsynced.append(self.events.pop)
        self.wake_core()

    def make_jobs(self, engine: str, wake: Callable[[], None]) -> None:
        self._unsynced.clear()
        self.wake_engine[engine] = wake
        self.jobs[engine] = []
        self._last[engine] = (0, 1)
        self.expire(KEYS.jobs(engine), JOBS_LIFE)

    def drop_jobs(self, engine: str) -> None:
        self._unsynced.clear()
        self.jobs.pop(engine, None)
        self.expiring.pop(KEYS.jobs(engine), None)

    def dispatch(self, engine: str, orders: list[tuple[ENTRY, Order]]) -> None:
        """dispatch.lua"""
        if engine not in self.jobs:
            return
        jobs, last = self.jobs[engine], self._last[engine]
        new = [(entry, order) for entry, order in orders if entry > last]
        if new:
            jobs += new
            self._last[engine] = new[-1][0]
            self._unsynced.append(partial(self._undo_dispatch, engine, len(new), last))
        self.wake_engine[engine]()

    def _undo_dispatch(self, engine: str, count: int, last: ENTRY) -> None:
        del self.jobs[engine][-count:]
        self._last[engine] = last

    # ServeCore's side -----------------------------------------------------------------------------

    def lead(self) -> tuple[Lead, tuple[int, int]]:
        self._unsynced.clear()
        self._epoch += 1
        return Lead(self._epoch, {}, self._batches), self._cursors

    def commit(self, epoch: int, cursors: tuple[int, int], batch: Batch) -> bool:
        """commit.lua"""
        if not self.leads(epoch):
            return False
        self._unsynced.clear()
        self._cursors, self._batches = cursors, batch.number
        self.refused = [key.removeprefix(KEYS.variable("")) for name, key, *_ in batch.operations if name == "move" and self._ended(key)]
        self.apply(batch.operations)
        return True

    def leads(self, epoch: int) -> bool:
        return epoch == self._epoch

    def apply(self, operations: list[Op]) -> None:
        self.expire_all()
        appliers = self._appliers
        for name, *arguments in operations:
            appliers[name](*arguments)

    def load(self) -> Snapshot:
        self.expire_all()
        hashes, lists, sets = self.hashes, self.lists, self.sets
        sessions = list(sets.get(KEYS.sessions, ()))
        variables = {name: list(lists.get(KEYS.variables(name), ())) for name in sessions}
        found = {name: hashes.get(KEYS.variable(name)) for names in variables.values() for name in names}
        return Snapshot(
            sessions={name: as_read(hashes[KEYS.session(name)], SESSION) for name in sessions if KEYS.session(name) in hashes},
            calls={name: list(lists.get(KEYS.calls(name), ())) for name in sessions},
            variables=variables,
            active={name: as_read(hashes[KEYS.call(name)], CALL) for name in sorted(sets.get(KEYS.active, ()))},
            variable={name: as_read(record, VARIABLE) for name, record in found.items() if record is not None},
            engines={name: as_read(hashes[KEYS.engine(name)], ENGINE) for name in sorted(sets.get(KEYS.engines, ()))},
            learned=dict(hashes.get(KEYS.learned, {})),
        )

    # Engines' side --------------------------------------------------------------------------------

    def current(self, variable: str, attempt: int) -> bool:
        """As in fence.lua."""
        record = self.hashes.get(KEYS.variable(variable), {})
        return record.get("attempt") == str(attempt) and record.get("state") in ("pending", "generating")

    def claim(self, job: Job) -> bool:
        """claim.lua"""
        if not self.current(job.variable, job.attempt):
            return False
        record = self.hashes[KEYS.variable(job.variable)]
        self._unsynced.append(partial(record.update, state=record["state"]))
        record["state"] = "generating"
        return True

    def streamed(self, variable: str) -> int:
        """The number of the last part of a token stream; 0 if there is none."""
        return len(self.streams.get(KEYS.tokens(variable), ()))

    def follows(self, variable: str, number: int) -> bool:
        """As in fence.lua."""
        return self.streamed(variable) >= number - 1

    def append(self, job: Job, engine: str, number: int, kind: str) -> bool:
        """append.lua; of a part only its kind and who wrote it."""
        if not self.current(job.variable, job.attempt) or not self.follows(job.variable, number):
            return False
        if number > self.streamed(job.variable):
            stream = self.streams.setdefault(KEYS.tokens(job.variable), [])
            stream.append({"number": str(number), "kind": kind, "engine": engine})
            self._unsynced.append(stream.pop)
        return True

    def publish(self, job: Job, value: str, engine: str, number: int) -> bool:
        """publish.lua; with the last part of the token stream."""
        if not self.current(job.variable, job.attempt) or not self.follows(job.variable, number):
            return False
        stream = self.streams.setdefault(KEYS.tokens(job.variable), [])
        stream.append({"number": str(number), "kind": "more", "engine": engine})
        state = self.hashes[KEYS.variable(job.variable)]["state"]
        self.hashes[KEYS.variable(job.variable)] |= {"state": "ready", "value": value, "publisher": engine}
        self.ends[job.variable] += 1
        self._xadd(KEYS.news(job.session), "*", "variable", job.variable, "state", "ready")
        self.tell(GenerationDone.model_construct(engine=engine, variable=job.variable, attempt=job.attempt))
        self._unsynced[-1] = partial(self._undo_publish, job, state)
        return True

    def _undo_publish(self, job: Job, state: str) -> None:
        record = self.hashes[KEYS.variable(job.variable)]
        del record["value"], record["publisher"]
        record["state"] = state
        self.ends[job.variable] -= 1
        self.streams[KEYS.tokens(job.variable)].pop()
        self.streams[KEYS.news(job.session)].pop()
        self.events.pop()

    def _hset(self, key: str, *flat: str) -> None:
        self.hashes.setdefault(key, {}).update(zip(flat[::2], flat[1::2], strict=True))

    # Power loss -----------------------------------------------------------------------------------

    def lose_power(self) -> None:
        """The end of what was written is gone, but no batch of ServeCore and nothing that an app or an operator said."""
        lost = self._world.chance.randint(0, len(self._unsynced))
        self._world.say("redis loses power and its last", lost, "writes")
        for _ in range(lost):
            self._unsynced.pop()()

    # What ends and what expires -------------------------------------------------------------------

    def _end(self, key: str, news: str, variable: str, state: str, *flat: str) -> None:
        if not self._ended(key):
            self.ends[variable] += 1
            super()._end(key, news, variable, state, *flat)

    def _expire(self, key: str, life: str) -> None:
        self.expire(key, int(life))

    def expire(self, key: str, life: int) -> None:
        if self.has(key):
            self.expiring[key] = self._world.now + life  # type: ignore[assignment]
            heappush(self._ends_of_life, (self._world.now + life, key))

    def has(self, key: str) -> bool:
        return key in self.hashes or key in self.lists or key in self.sets or key in self.streams or key[8:-6] in self.jobs

    def expire_all(self) -> None:
        """Forget what has expired."""
        while self._ends_of_life and self._ends_of_life[0][0] <= self._world.now:
            _, key = heappop(self._ends_of_life)
            if self.expiring.get(key, self._world.now + 1) <= self._world.now:
                del self.expiring[key]
                for kind in (self.hashes, self.lists, self.streams):
                    kind.pop(key, None)  # type: ignore[attr-defined]
                if key.endswith(":jobs"):
                    self.drop_jobs(key[8:-6])

    # For checks -----------------------------------------------------------------------------------

    def keys(self) -> list[str]:
        """All keys; those that only ServeCore writes as messages or numbers are not among them."""
        self.expire_all()
        sets = [key for key, members in self.sets.items() if members]
        return [*self.hashes, *self.lists, *sets, *self.streams, *map(KEYS.jobs, self.jobs)]

    def holdings(self) -> Holdings:
        """What `parrot doctor` would read."""
        found = self.load()
        call, variable = KEYS.call(""), KEYS.variable("")
        return Holdings(
            lives={key: None if key not in self.expiring else int(self.expiring[key] - self._world.now) for key in self.keys()},
            sessions={name: found.sessions.get(name, {}) for name in found.calls},
            calls=found.calls,
            variables=found.variables,
            active=set(self.sets.get(KEYS.active, ())),
            engines=found.engines,
            call={key.removeprefix(call): record for key, record in self.hashes.items() if key.startswith(call)},
            variable={key.removeprefix(variable): record for key, record in self.hashes.items() if key.startswith(variable)},
        )

    def ended(self, call: str) -> bool:
        """Whether a call has ended."""
        return self.hashes.get(KEYS.call(call), {}).get("state") in (CallState.DONE, CallState.FAILED, CallState.CANCELLED)


COMMANDS = ("HSET", "HDEL", "move", "end", "answer", "unless", "bury", "XADD", "RPUSH", "SADD", "SREM", "ZADD", "ZREM", "EXPIRE", "DEL")
