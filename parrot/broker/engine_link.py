"""An engine's end of the bus: jobs in, values and events out. Whatever is sent is sent until the broker has answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

import structlog
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError

from parrot.broker.connection import connect, in_sentences
from parrot.broker.heartbeat import JOBS_LIFE, Heartbeat
from parrot.broker.streams import START, Entry, StreamReader, append
from parrot.broker.texts import Texts
from parrot.broker.tokens import Part, Tokens
from parrot.broker.variables import Publication, Value, Variables
from parrot.errors import BrokerUnavailable, MessageError
from parrot.wire.keys import Keys
from parrot.wire.to_core import EngineUp, Event
from parrot.wire.to_engine import Job, Piece
from parrot.wire.to_ledger import bury

log = structlog.get_logger("parrot.engine")

T = TypeVar("T")
Content = Value | str  # what a piece of kind `variable` or `hash` stands for
Answer = bool | BrokerUnavailable  # an error: Redis refuses this one, and would do so again

_PASSING = ("MISCONF", "NOREPLICAS", "BUSY", "UNKILLABLE", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN")  # errors of a server that has trouble
_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0)  # seconds between attempts to reach the broker; the last one repeats
_FIRST = "0-1"  # below every id that ServeCore gives a job


class Begun(NamedTuple):
    """What was found when jobs were claimed.

    Attributes:
        claims: for each job whether this engine may run it.
        contents: of the pieces that have one.
        parts: by variable, what earlier attempts have written.
    """

    claims: list[Answer]
    contents: dict[Piece, Content]
    parts: dict[str, list[Part]]


class _RefusedError(Exception):
    """Redis refuses a command for good; the cause says why."""

    def __init__(self, error: BrokerUnavailable) -> None:
        self.error = error


class EngineLink:
    """The bus as one incarnation of an engine sees it.

    When the broker is away or full, every method waits and tries again; all of them may be repeated without harm: claims, parts and
    publications are fenced by the attempt, and ServeCore knows events that come twice. What Redis refuses for good is the fault of one
    item: the others of its batch go on without it.

    Args:
        url: the broker.
        keys: the names of the cell.
        engine: the id of this incarnation.

    Raises:
        ConfigurationError: the URL cannot be understood.
    """

    def __init__(self, url: str, keys: Keys, engine: str) -> None:
        self.engine = engine
        self._url = url
        self._keys = keys
        self._redis = connect(url)
        self._stream = keys.jobs(engine)
        self._variables = Variables(self._redis, keys)
        self._texts = Texts(self._redis, keys)
        self._tokens = Tokens(self._redis, keys)
        self._reader = StreamReader(self._redis, {self._stream: START})

    async def register(self, up: EngineUp) -> None:
        """Make the job stream, then tell ServeCore: it sends jobs to streams that are there, and to no others."""

        async def attempt() -> None:
            if not await self._redis.exists(self._stream):
                await self._redis.execute_command("XADD", self._stream, "MAXLEN", 0, _FIRST, "made", "empty")  # type: ignore[no-untyped-call]
                await self._redis.expire(self._stream, JOBS_LIFE)
            await append(self._redis, self._keys.events, [up])

        await self._until_answered(attempt)

    async def jobs(self, block_ms: int) -> list[Entry]:
        """The next entries of the job stream; blocks up to `block_ms` while there are none."""
        return await self._until_answered(lambda: self._reader.read(block_ms))

    async def begin(self, jobs: Sequence[Job], pieces: Sequence[Piece], now: str) -> Begun:
        """Claim jobs and read what they need, in one round trip.

        Args:
            jobs: to be started.
            pieces: of kind `variable` and `hash`, to be read.
            now: the time, as it is written into keys.
        """
        try:
            return await self._until_answered(lambda: self._begin(jobs, pieces, now), patient=False)
        except _RefusedError as refused:
            if len(jobs) == 1:
                return Begun([refused.error], {}, {})
        begun = Begun([], {}, {})
        for job in jobs:
            claims, contents, parts = await self.begin([job], [piece for piece in pieces if piece in job.prompt], now)
            begun.claims.extend(claims)
            begun.contents.update(contents)
            begun.parts.update(parts)
        return begun

    async def _begin(self, jobs: Sequence[Job], pieces: Sequence[Piece], now: str) -> Begun:
        again = [job.variable for job in jobs if job.attempt > 1]
        if not pieces and not again:
            return Begun([*await self._variables.claim(jobs, now)], {}, {})
        variables = [piece for piece in pieces if piece.kind == "variable"]
        texts = [piece for piece in pieces if piece.kind == "hash"]
        claims, values, constants, parts = await asyncio.gather(
            self._variables.claim(jobs, now),
            self._variables.values(piece.value for piece in variables),
            self._texts.get(piece.value for piece in texts),
            self._tokens.read(again),
        )
        found = zip((*variables, *texts), (*values, *constants), strict=True)
        contents: dict[Piece, Content] = {piece: content for piece, content in found if content is not None}
        return Begun([*claims], contents, dict(zip(again, parts, strict=True)))

    async def append(self, parts: Sequence[tuple[Job, Part]]) -> list[Answer]:
        """Append parts to token streams; False where the attempt must stop."""
        return await self._each(parts, self._tokens.append)

    async def publish(self, publications: Sequence[Publication]) -> list[Answer]:
        """Set variables, each once; False where it was set before, perhaps by a publication of ours whose answer was lost."""
        return await self._each(publications, self._variables.publish)

    async def tell(self, events: Iterable[Event]) -> None:
        """Append events for ServeCore."""
        said = list(events)
        await self._until_answered(lambda: append(self._redis, self._keys.events, said))

    def heartbeat(self, seconds: float) -> Heartbeat:
        """What says that the engine lives; to be told the load every so many seconds."""
        return Heartbeat(self._url, self._keys, self.engine, seconds, lambda: self._reader.cursors[self._stream])

    async def bury(self, entry: Entry, error: MessageError) -> None:
        """Put an entry that could not be understood among the dead letters."""
        operation = bury(self._keys.dead, entry.stream, entry.id, error, entry.fields)
        try:
            await self._until_answered(lambda: self._redis.execute_command(*operation), patient=False)  # type: ignore[no-untyped-call]
        except _RefusedError as refused:
            # The letter is lost, but for this line: those behind it must not wait.
            log.error("dead letter not kept", stream=entry.stream, id=entry.id, error=str(refused.error), letter=str(entry.fields)[:1000])

    async def leave(self) -> None:
        """Delete the job stream: what comes now goes nowhere, and ServeCore knows that the engine is gone."""
        await self._until_answered(lambda: self._redis.delete(self._stream))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _each(self, items: Sequence[T], attempt: Callable[[Sequence[T]], Awaitable[list[bool]]]) -> list[Answer]:
        """All in one round trip, if Redis takes them so."""
        try:
            return [*await self._until_answered(lambda: attempt(items), patient=False)]
        except _RefusedError as refused:
            if len(items) == 1:
                return [refused.error]
        return [(await self._each([item], attempt))[0] for item in items]

    async def _until_answered(self, attempt: Callable[[], Awaitable[T]], *, patient: bool = True) -> T:
        """Try until there is an answer.

        Args:
            attempt: what to try.
            patient: wait even where Redis refuses for good, until an operator has mended it.

        Raises:
            _RefusedError: Redis refuses for good.
        """
        failures = 0
        while True:
            try:
                with in_sentences(self._url):
                    return await attempt()
            except BrokerUnavailable as error:
                if not patient and _is_final(error):
                    raise _RefusedError(error) from error
                # Nothing is lost: the same is said or asked again, until there is an answer.
                pause = _PAUSES[min(failures, len(_PAUSES) - 1)]
                failures += 1
                log.warning("broker unavailable", engine=self.engine, error=str(error), again_in_seconds=pause)
                await asyncio.sleep(pause)


def _is_final(error: BrokerUnavailable) -> bool:
    """Whether Redis answered and would answer the same again; not so if it is full, starting, or a replica."""
    cause = error.__cause__
    passing = isinstance(cause, OutOfMemoryError | ReadOnlyError) or str(cause).startswith(_PASSING)
    return isinstance(cause, ResponseError) and not passing
