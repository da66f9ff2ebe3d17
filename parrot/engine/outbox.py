"""What an engine has to say: all that is there goes in one flush, and the next flush begins when the broker has answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from parrot.broker.engine_link import EngineLink
from parrot.broker.variables import Publication
from parrot.wire.to_core import GenerationFailed, GenerationReturned


class Outbox:
    """Publications and events on their way to the broker.

    Args:
        link: the engine's end of the bus.
        published: called for each publication that was answered, with whether it set its variable.
    """

    def __init__(self, link: EngineLink, published: Callable[[Publication, bool], None]) -> None:
        self._link = link
        self._published = published
        self._publications: list[Publication] = []
        self._events: list[GenerationFailed | GenerationReturned] = []
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._emptied.set()

    def publish(self, publication: Publication) -> None:
        """Set a variable soon."""
        self._publications.append(publication)
        self._filled.set()
        self._emptied.clear()

    def tell(self, event: GenerationFailed | GenerationReturned) -> None:
        """Tell ServeCore soon."""
        self._events.append(event)
        self._filled.set()
        self._emptied.clear()

    async def run(self) -> None:
        """Flush as long as it is not cancelled."""
        while True:
            await self._filled.wait()
            await self._flush()
            if not self._publications and not self._events:
                self._filled.clear()
                self._emptied.set()

    async def emptied(self) -> None:
        """Wait until all has been answered."""
        await self._emptied.wait()

    async def _flush(self) -> None:
        publications, self._publications = self._publications, []
        events, self._events = self._events, []
        if publications:
            for publication, is_set in zip(publications, await self._link.publish(publications), strict=True):
                self._published(publication, is_set)
        if events:
            await self._link.tell(events)
