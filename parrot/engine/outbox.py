"""What an engine has to say: all that is there goes in one flush, and the next flush begins when the broker has answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator

from parrot.broker.engine_link import Answer, EngineLink
from parrot.broker.tokens import Part
from parrot.broker.variables import Publication
from parrot.errors import BrokerUnavailable
from parrot.wire.to_core import EngineHolds, GenerationFailed, GenerationReturned
from parrot.wire.to_engine import Job


class Outbox:
    """Parts, publications and events on their way to the broker, in this order: a value comes after all parts of its stream.

    Args:
        link: the engine's end of the bus.
        published: called for each publication with its answer.
        refused: called for each part that was not taken, with the error if there was one.
    """

    def __init__(
        self,
        link: EngineLink,
        published: Callable[[Publication, Answer], None],
        refused: Callable[[Job, BrokerUnavailable | None], None],
    ) -> None:
        self._link = link
        self._published = published
        self._refused = refused
        self._parts: list[tuple[Job, Part]] = []
        self._publications: list[Publication] = []
        self._events: list[EngineHolds | GenerationFailed | GenerationReturned] = []
        self._flushing: list[str] = []  # what the present flush ends
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._emptied.set()

    @property
    def streaming(self) -> bool:
        """Whether parts wait for the broker."""
        return bool(self._parts)

    @property
    def telling(self) -> bool:
        """Whether events wait for the broker."""
        return bool(self._events)

    def ends(self) -> Iterator[str]:
        """The variables of generations whose end waits for the broker, or for its answer."""
        yield from self._flushing
        yield from _ended(self._publications, self._events)

    def append(self, job: Job, part: Part) -> None:
        """Append a part to a token stream soon."""
        self._parts.append((job, part))
        self._fill()

    def publish(self, publication: Publication) -> None:
        """Set a variable soon."""
        self._publications.append(publication)
        self._fill()

    def tell(self, event: EngineHolds | GenerationFailed | GenerationReturned) -> None:
        """Tell ServeCore soon."""
        self._events.append(event)
        self._fill()

    async def run(self) -> None:
        """Flush as long as it is not cancelled."""
        while True:
            await self._filled.wait()
            await self._flush()
            if not self._parts and not self._publications and not self._events:
                self._filled.clear()
                self._emptied.set()

    async def emptied(self) -> None:
        """Wait until all has been answered."""
        await self._emptied.wait()

    def _fill(self) -> None:
        self._filled.set()
        self._emptied.clear()

    async def _flush(self) -> None:
        parts, self._parts = self._parts, []
        publications, self._publications = self._publications, []
        events, self._events = self._events, []
        self._flushing = [*_ended(publications, events)]
        if parts:
            for (job, _), answer in zip(parts, await self._link.append(parts), strict=True):
                if answer is not True:
                    self._refused(job, answer or None)
        if publications:
            for publication, answer in zip(publications, await self._link.publish(publications), strict=True):
                self._published(publication, answer)
        if events:
            await self._link.tell(events)
        self._flushing = []


def _ended(publications: Iterable[Publication], events: Iterable[EngineHolds | GenerationFailed | GenerationReturned]) -> Iterator[str]:
    yield from (publication.job.variable for publication in publications)
    yield from (event.variable for event in events if not isinstance(event, EngineHolds))
