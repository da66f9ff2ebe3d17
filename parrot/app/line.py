"""A session's line to its cell: what it sends and what it hears."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from parrot.app.constants import ConstantStore
from parrot.app.news import News
from parrot.app.outbox import Outbox, Parcel, Receipt
from parrot.broker.connection import connect, in_sentences
from parrot.broker.streams import START, Entry, StreamReader, append
from parrot.broker.texts import Texts
from parrot.broker.variables import Outcome, Variables
from parrot.wire.codec import Message
from parrot.wire.keys import Keys


class Line:
    """What a session needs of Redis. Used on one event loop; connects at the first message.

    Args:
        url: the server.
        keys: the names of the cell.
        session: the session's id.
    """

    def __init__(self, url: str, keys: Keys, session: str) -> None:
        self._url = url
        self._tasks = keys.tasks
        self._redis = connect(url)
        self._constants = ConstantStore(Texts(self._redis, keys).put)
        self._variables = Variables(self._redis, keys)
        self._reader = StreamReader(self._redis, {keys.news(session): START})

    async def start(self) -> None:
        """Begin to send and hear."""
        self._outbox = Outbox(self._deliver)
        self._news = News(self._hear, self.look)

    async def stop(self) -> None:
        """Hang up. What was not acknowledged, and who still waits, is told so."""
        await self._outbox.stop()
        await self._news.stop()
        await self._redis.aclose()

    def send(self, message: Message, texts: Mapping[str, str]) -> Receipt:
        """Send a message behind all others.

        Args:
            message: a task for ServeCore.
            texts: long constant texts that it names, by hash.
        """
        return self._outbox.put(message, texts)

    async def ended(self, variable: str, patient: bool) -> Outcome:
        """Wait until a variable has ended; see `News.ended`."""
        return await self._news.ended(variable, patient)

    async def look(self, variables: Sequence[str]) -> list[Outcome]:
        """Where variables stand now.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """
        with in_sentences(self._url):
            return await self._variables.outcomes(variables)

    async def _deliver(self, parcels: Sequence[Parcel]) -> None:
        with in_sentences(self._url):
            await self._constants.keep({digest: text for parcel in parcels for digest, text in parcel.texts.items()})
            await append(self._redis, self._tasks, [parcel.message for parcel in parcels])

    async def _hear(self) -> list[Entry]:
        with in_sentences(self._url):
            return await self._reader.read()
