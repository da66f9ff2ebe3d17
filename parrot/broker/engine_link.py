"""An engine's end of the bus: jobs in, values and events out. Whatever is sent is sent until the broker has answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

import structlog

from parrot.broker.connection import connect, in_sentences
from parrot.broker.streams import START, Entry, StreamReader, append
from parrot.broker.texts import Texts
from parrot.broker.variables import Publication, Value, Variables
from parrot.errors import BrokerUnavailable, MessageError
from parrot.wire.codec import encode
from parrot.wire.keys import Keys
from parrot.wire.to_core import EngineBeat, EngineUp, Event
from parrot.wire.to_engine import Job, Piece
from parrot.wire.to_ledger import bury

log = structlog.get_logger("parrot.engine")

T = TypeVar("T")
Content = Value | str  # what a piece of kind `variable` or `hash` stands for

_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0)  # seconds between attempts to reach the broker; the last one repeats
_FIRST = "0-1"  # below every id that ServeCore gives a job


class EngineLink:
    """The bus as one incarnation of an engine sees it.

    When the broker is away, every method waits and tries again; all of them may be repeated without harm: claims and publications are
    fenced by the attempt, and ServeCore knows events that come twice.

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
        self._reader = StreamReader(self._redis, {self._stream: START})

    async def register(self, up: EngineUp) -> None:
        """Make the job stream, then tell ServeCore: it sends jobs to streams that are there, and to no others."""

        async def attempt() -> None:
            if not await self._redis.exists(self._stream):
                await self._redis.execute_command("XADD", self._stream, "MAXLEN", 0, _FIRST, "made", "empty")  # type: ignore[no-untyped-call]
            await append(self._redis, self._keys.events, [up])

        await self._until_answered(attempt)

    async def jobs(self, block_ms: int) -> list[Entry]:
        """The next entries of the job stream; blocks up to `block_ms` while there are none."""
        return await self._until_answered(lambda: self._reader.read(block_ms))

    async def begin(self, jobs: Sequence[Job], pieces: Sequence[Piece], now: str) -> tuple[list[bool], dict[Piece, Content]]:
        """Claim jobs and read what they need, in one round trip.

        Args:
            jobs: to be started.
            pieces: of kind `variable` and `hash`, to be read.
            now: the time, as it is written into keys.

        Returns:
            For each job whether this engine may run it, and the pieces that have a content.
        """
        if not pieces:
            return await self._until_answered(lambda: self._variables.claim(jobs, now)), {}
        variables = [piece for piece in pieces if piece.kind == "variable"]
        texts = [piece for piece in pieces if piece.kind == "hash"]

        async def attempt() -> tuple[list[bool], list[Value | None], list[str | None]]:
            return await asyncio.gather(
                self._variables.claim(jobs, now),
                self._variables.values(piece.value for piece in variables),
                self._texts.get(piece.value for piece in texts),
            )

        claims, values, constants = await self._until_answered(attempt)
        found = zip((*variables, *texts), (*values, *constants), strict=True)
        return claims, {piece: content for piece, content in found if content is not None}

    async def publish(self, publications: Sequence[Publication]) -> list[bool]:
        """Set variables, each once; False where it was set before, perhaps by a publication of ours whose answer was lost."""
        return await self._until_answered(lambda: self._variables.publish(publications))

    async def tell(self, events: Iterable[Event]) -> None:
        """Append events for ServeCore."""
        said = list(events)
        await self._until_answered(lambda: append(self._redis, self._keys.events, said))

    async def beat(self, beat: EngineBeat) -> bool:
        """Say that the engine lives, and forget the jobs that were read.

        Returns:
            Whether ServeCore still counts on this incarnation: when it gives one up, it deletes its job stream.
        """

        async def attempt() -> bool:
            pipe = self._redis.pipeline(transaction=False)
            pipe.xadd(self._keys.events, encode(beat))  # type: ignore[arg-type]
            pipe.xtrim(self._stream, minid=_after(self._reader.cursors[self._stream]), approximate=False)
            pipe.exists(self._stream)
            return bool((await pipe.execute())[-1])

        return await self._until_answered(attempt)

    async def bury(self, entry: Entry, error: MessageError) -> None:
        """Put an entry that could not be understood among the dead letters."""
        operation = bury(self._keys.dead, entry.stream, entry.id, error, entry.fields)
        await self._until_answered(lambda: self._redis.execute_command(*operation))  # type: ignore[no-untyped-call]

    async def leave(self) -> None:
        """Delete the job stream: what comes now goes nowhere, and ServeCore knows that the engine is gone."""
        await self._until_answered(lambda: self._redis.delete(self._stream))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _until_answered(self, attempt: Callable[[], Awaitable[T]]) -> T:
        failures = 0
        while True:
            try:
                with in_sentences(self._url):
                    return await attempt()
            except BrokerUnavailable as error:
                # Nothing is lost: the same is said or asked again, until there is an answer.
                pause = _PAUSES[min(failures, len(_PAUSES) - 1)]
                failures += 1
                log.warning("broker unavailable", engine=self.engine, error=str(error), again_in_seconds=pause)
                await asyncio.sleep(pause)


def _after(entry: str) -> str:
    """The smallest id above an entry's."""
    milliseconds, _, sequence = entry.partition("-")
    return f"{milliseconds}-{int(sequence) + 1}"
