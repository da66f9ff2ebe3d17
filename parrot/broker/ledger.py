"""ServeCore's durable state: take the lead, load, commit a batch, dispatch its jobs.

The state is its own outbox: a placed generation names its engine and the id of its job's stream entry. Whoever is not sure that
a job was sent sends it again under the same id, and Redis refuses the second one. So one commit and the sends after it need no
common transaction, which a cluster could not give: job streams lie in other slots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import structlog
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from parrot.broker.scripts import run
from parrot.broker.streams import append
from parrot.errors import BrokerUnavailable, NotLeader
from parrot.wire.codec import VERSION, encode
from parrot.wire.keys import Keys
from parrot.wire.states import ENDED
from parrot.wire.to_core import CloseSession
from parrot.wire.to_engine import Order
from parrot.wire.to_ledger import Op

log = structlog.get_logger("parrot.core")

Record = dict[str, str]

# What a machine is rebuilt from. Values, and whatever else is for people, stay where they are.
SESSION = ("name", "tenant", "state", "deadline", "expires")
CALL = ("request", "submitted", "prefix_expected", "prefix_found", "attained", "length", "arrived")
VARIABLE = (
    *("call", "programs", "state", "attempt", "engine", "job", "reordered", "errors", "deaths", "criterion", "due", "error", "depth"),
    *("gathers", "prefix_expected", "tokens_out", "content", "length", "ready", "placed"),
)
ENGINE = ("about",)
PORTION = 500  # records that are read at once: about a millisecond of the server's time


@dataclass(frozen=True, slots=True)
class Lead:
    """What a new leader starts from.

    Attributes:
        epoch: grows with each leader; the commit script refuses all but the newest.
        cursors: by stream name, the last entry that is done.
        batches: how many batches were committed.
        forgetful: the broker has lost what it had acknowledged, as after a power loss, or may have and nobody can tell.
        restarted: it is another run of the server than that of the last batch: tasks that nobody has read may be lost.
    """

    epoch: int
    cursors: dict[str, str]
    batches: int
    forgetful: bool = False
    restarted: bool = False


@dataclass(slots=True)
class Snapshot:
    """All records of a cell that a machine is rebuilt from, by id, in the order in which they were made; of `active` empty ones too.

    `learned` is one record, which says what its policy has learned. `batches` is the number of the last batch that is in it for sure.
    """

    sessions: dict[str, Record] = field(default_factory=dict)
    calls: dict[str, list[str]] = field(default_factory=dict)
    variables: dict[str, list[str]] = field(default_factory=dict)
    active: dict[str, Record] = field(default_factory=dict)
    variable: dict[str, Record] = field(default_factory=dict)
    engines: dict[str, Record] = field(default_factory=dict)
    learned: Record = field(default_factory=dict)
    batches: int = 0


class Ledger:
    """Access to the durable state of one cell.

    Args:
        redis: a client.
        keys: the cell's names.
    """

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._epoch = 0
        self._batches = 0
        self._server = ""
        self._doubts = False  # from when the lead is taken to the first batch

    async def lead(self, leader: str, lease: float) -> Lead | float:
        """Begin a new epoch, unless somebody leads; whoever led before can commit nothing from here on.

        Args:
            leader: name of the candidate, for people.
            lease: in seconds; to be renewed with a `Renewal`.

        Returns:
            The lead, or for how many seconds the lease of the present leader still runs.
        """
        keys = self._keys
        epoch, *rest = await run(self._redis, "lead", [keys.core, keys.leader], leader, int(lease * 1000))
        if epoch == 0:
            left, holder = rest
            if int(holder) != self._epoch:
                self._epoch = 0  # another one leads: what is there from now on is not ours
            return float(left) / 1000
        tasks, events, batches = (raw.decode() for raw in rest[:3])
        forgetful = self._is_forgetful(epoch - 1, int(batches), restarted=rest[3] == 1)
        self._epoch, self._batches, self._server = epoch, int(batches), rest[4].decode()
        self._doubts = self._doubts or forgetful
        return Lead(epoch, {keys.tasks: tasks, keys.events: events}, int(batches), self._doubts, rest[3] == 1)

    def _is_forgetful(self, epoch: int, batches: int, *, restarted: bool) -> bool:
        """Whether what the broker had acknowledged may be missing.

        A restart (or a failover: the server is another one then, too) may have cost the end of what was written. If all batches that we
        know of are there, and nobody has led since, none is missing. Whoever did not lead cannot know that.

        What others wrote after our last batch may be missing even so: tasks and events, as if they had never been sent. A publication is
        gone with its event, so that what is there agrees with what we know; its engine was answered and does not say it again, but its
        next heartbeat shows that it holds the job no more. A job may be missing from its stream: who takes the lead sends all that are
        out again, under their ids. Only on a server that does not let us see which run it is could a restart pass unnoticed, if it takes
        no longer than redis-py tries to connect (seconds): a job that was lost then, with none after it, is not sent again.

        Args:
            epoch, batches: of the last lead, as the server knows it.
            restarted: it is not the run of the server in which that lead was taken.
        """
        if batches < self._batches:
            return True
        return restarted and epoch != self._epoch

    async def commit(self, cursors: Mapping[str, str], batches: int, operations: Sequence[Op]) -> list[int]:
        """Write a batch: operations, read cursors and batch number together.

        Returns:
            The positions of operations that were refused because their variable had ended meanwhile. What was refused since its key is
            not of the schema's type is logged: only an operator can have made it so.

        Raises:
            NotLeader: another ServeCore has taken over; nothing was written.
            BrokerUnavailable: the broker has lost what it had acknowledged; nothing was written.
        """
        keys = self._keys
        position = ("tasks", cursors[keys.tasks], "events", cursors[keys.events], "batches", str(batches), "server", self._server)
        batch = orjson.dumps({"position": position, "operations": operations})
        answer = await run(self._redis, "commit", [keys.core], self._epoch, batch, batches, self._batches)
        if answer == b"superseded":
            self._epoch = 0
            raise NotLeader(f"Another ServeCore leads the cell {keys.cell} now.")
        if answer == b"lost":
            raise BrokerUnavailable(
                "Redis has lost what it had acknowledged. With `appendfsync always` it would not, even in a power loss."
            )
        self._batches, self._doubts = batches, False
        refused: list[int]
        refused, wrong = answer
        for position in wrong:
            name, key = operations[position][:2]
            log.error("operation refused: the key has the wrong type", operation=name, key=key, remedy="delete the key")
        return refused

    async def dispatch(self, orders: Iterable[tuple[str, str, Order]]) -> list[str]:
        """Append orders to their engines' streams, each once however often it is sent: engine, id of the entry, order.

        An order for an engine that has left goes nowhere: its stream is gone, and that it left is an event of its own.

        Returns:
            Engines that cannot be reached: somebody else has written to their job streams, with an id above all of ServeCore's, or has
            put something else in their place.
        """
        by_engine: dict[str, list[tuple[str, str, str]]] = {}
        for engine, entry, order in orders:
            fields = encode(order)
            by_engine.setdefault(engine, []).append((entry, str(fields["kind"]), str(fields["body"])))
        return [engine for engine, entries in by_engine.items() if await self._send(engine, entries) < 0]

    async def _send(self, engine: str, entries: list[tuple[str, str, str]]) -> int:
        written: int = await run(self._redis, "dispatch", [self._keys.jobs(engine)], VERSION, orjson.dumps(entries), self._batches)
        return written

    async def move_on(self) -> None:
        """Append a task that asks for nothing, so that our place in the stream of tasks is soon behind those that a server has lost.

        Apps look whether ServeCore is past a task to know that what it would have made will not come. In a quiet cell it would not be
        before somebody says something.
        """
        await append(self._redis, self._keys.tasks, [CloseSession(session="-")])

    async def abandon(self, engines: Iterable[str]) -> None:
        """Delete the job streams of engines that are gone."""
        for engine in engines:
            await self._redis.delete(self._keys.jobs(engine))

    async def trim(self, stream: str, before: str) -> None:
        """Forget the entries of a stream that are older than the id `before`."""
        await self._redis.xtrim(stream, minid=before, approximate=True)

    async def load(self, foreseen: Snapshot | None = None) -> Snapshot:
        """Read all records that are alive, through their indexes; never a SCAN.

        Args:
            foreseen: what `foresee` has read; used if the last leader has written nothing since.
        """
        keys = self._keys
        if foreseen is not None and foreseen.batches == self._batches:
            found = foreseen
            given = [name for name, record in found.variable.items() if _may_have_changed(record)]
            found.variable |= {name: {} for name in given} | await self._records(given, keys.variable, VARIABLE)
        else:
            found = await self.foresee()
        found.engines = await self._records(await self._members(keys.engines), keys.engine, ENGINE)
        found.learned = await self._learned()
        return found

    async def foresee(self) -> Snapshot:
        """Read what stays as it is while no batch is added: what leaders alone write. Variables that engines were given do not."""
        keys = self._keys
        found = Snapshot(batches=int(await self._redis.hget(keys.core, "batches") or 0))
        (sessions,) = await self._listed([keys.sessions], lambda pipe, key: pipe.zrange(key, 0, -1))
        found.sessions = await self._records(sessions, keys.session, SESSION)
        found.calls = await self._lists(sessions, keys.calls)
        found.variables = await self._lists(sessions, keys.variables)
        active = await self._members(keys.active)
        found.active = {name: {} for name in active} | await self._records(active, keys.call, CALL)
        # Of sessions that are over, whose results only wait to expire, the names are enough: there may be far more of them than work.
        living = [name for name, session in found.sessions.items() if "expires" not in session]
        found.variable = await self._records([name for session in living for name in found.variables[session]], keys.variable, VARIABLE)
        return found

    async def _learned(self) -> Record:
        try:
            fields: Any = await self._redis.hgetall(self._keys.learned)  # bounded: some megabytes at the very most
        except ResponseError as error:
            if not is_wrong_type(error):
                raise
            _say_wrong_type(self._keys.learned)  # it is learned again
            return {}
        return {name.decode(errors="replace"): text.decode(errors="replace") for name, text in fields.items()}

    async def _members(self, key: str) -> list[str]:
        (members,) = await self._listed([key], lambda pipe, one: pipe.smembers(one))
        return sorted(members)

    async def _records(self, ids: Sequence[str], key: Callable[[str], str], fields: Sequence[str]) -> dict[str, Record]:
        records: dict[str, Record] = {}
        for begin in range(0, len(ids), PORTION):
            names = ids[begin : begin + PORTION]
            asked = orjson.dumps({"keys": [key(name) for name in names], "fields": fields})
            rows = await run(self._redis, "read", [self._keys.core], asked)
            for name, row in zip(names, rows, strict=True):
                present = zip(fields, row, strict=False)  # the row of what is no hash is empty
                record = {field: value.decode(errors="replace") for field, value in present if value is not None}
                if record:
                    records[name] = record
        return records

    async def _lists(self, ids: Sequence[str], key: Callable[[str], str]) -> dict[str, list[str]]:
        rows = await self._listed([key(name) for name in ids], lambda pipe, one: pipe.lrange(one, 0, -1))
        return dict(zip(ids, rows, strict=True))

    async def _listed(self, keys: Sequence[str], command: Callable[[Any, str], object]) -> list[list[str]]:
        """What keys list, in one round trip; nothing where one is no list of that type."""
        pipe = self._redis.pipeline(transaction=False)
        for key in keys:
            command(pipe, key)
        rows: list[list[str]] = []
        for key, answer in zip(keys, await pipe.execute(raise_on_error=False), strict=True):
            if isinstance(answer, ResponseError) and is_wrong_type(answer):
                _say_wrong_type(key)  # what it listed is gone for good, so there is nothing to wait for
                answer = ()
            elif isinstance(answer, Exception):
                raise answer
            rows.append([raw.decode() for raw in answer])
        return rows


def as_read(record: Record, fields: Sequence[str]) -> Record:
    """What a new leader reads of a record: stand-ins for Redis hand out no more, or it would be missed in Redis only."""
    return {field: record[field] for field in fields if field in record}


def _may_have_changed(variable: Record) -> bool:
    """Whether somebody else than a leader may have written to it: an engine that was ever given it, even if it was given up."""
    return variable.get("attempt", "0") != "0" and variable.get("state") not in ENDED


def _say_wrong_type(key: str) -> None:
    """Only an operator can have made it so."""
    log.error("key has the wrong type", key=key, consequence="taken for empty", remedy="delete the key")


def is_wrong_type(error: ResponseError) -> bool:
    """Whether Redis refused a command since its key is of another type."""
    return str(error).startswith("WRONGTYPE")
