"""A session's line to its cell: what it sends and what it hears."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from parrot.app.bell import Bell, Ring
from parrot.app.constants import ConstantStore
from parrot.app.news import News
from parrot.app.outbox import Outbox, Parcel, Receipt
from parrot.broker.connection import connect, in_sentences
from parrot.broker.directory import Directory
from parrot.broker.entries import VariableHead
from parrot.broker.streams import START, Entry, StreamReader
from parrot.broker.submission import Submission
from parrot.broker.texts import Texts
from parrot.broker.token_reader import TokenReader
from parrot.broker.tokens import Part, Tokens
from parrot.broker.variables import Outcome
from parrot.broker.whereabouts import Whereabouts
from parrot.wire.codec import Message
from parrot.wire.keys import Keys


class Line:
    """What a session needs of Redis. Used on one event loop; connects at the first message.

    Args:
        url: the server.
        keys: the names of the cell.
        session: the session's id.
        tenant: on whose account its calls run.
    """

    def __init__(self, url: str, keys: Keys, session: str, tenant: str) -> None:
        self._url = url
        self._session = session
        self._redis = connect(url, connected=self._begin_anew)
        self._constants = ConstantStore(Texts(self._redis, keys).put)
        self._submission = Submission(self._redis, keys, tenant)
        self._whereabouts = Whereabouts(self._redis, keys)
        self._directory = Directory(self._redis, keys)
        self._tokens = Tokens(self._redis, keys)
        self._token_reader = TokenReader(self._redis, keys)
        self._news_reader = StreamReader(self._redis, {keys.news(session): START})

    async def start(self) -> None:
        """Begin to send and hear."""
        self._outbox = Outbox(self._deliver)
        self._news = News(self._hear, self.look)
        self._bell = Bell(self._growth)

    async def stop(self) -> None:
        """Hang up. What was not acknowledged, and who still waits, is told so."""
        await self._outbox.stop()
        await self._news.stop()
        await self._bell.stop()
        await self._redis.aclose()

    def send(self, message: Message, texts: Mapping[str, str]) -> Receipt:
        """Send a message behind all others.

        Args:
            message: a task for ServeCore.
            texts: long constant texts that it names, by hash.
        """
        return self._outbox.put(message, texts)

    async def settle(self) -> None:
        """Wait until what was sent so far is acknowledged or refused."""
        await self._outbox.settle()

    async def ended(self, variable: str, made_by: str, patient: bool) -> Outcome:
        """Wait until a variable has ended; see `News.ended`."""
        return await self._news.ended(variable, made_by, patient)

    async def look(self, variables: Mapping[str, str]) -> list[Outcome]:
        """Where variables stand now.

        Args:
            variables: by id, the task that makes each: the id of its stream entry.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """
        with in_sentences(self._url):
            return await self._whereabouts.look(variables)

    def listen(self, variable: str, after: int) -> Ring:
        """A ring for when a variable gets more parts than those up to a number; see `Bell.listen`."""
        return self._bell.listen(variable, after)

    async def parts(self, variable: str, after: int) -> list[Part]:
        """The next parts of a variable that are there.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """
        with in_sentences(self._url):
            return await self._token_reader.after(variable, after)

    async def all_parts(self, variable: str) -> list[Part]:
        """All parts of a variable that are there.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """
        with in_sentences(self._url):
            (parts,) = await self._tokens.read([variable])
        return parts

    async def heads(self, variables: Sequence[str] | None = None) -> list[VariableHead]:
        """What is known of variables of the session, in the order in which they were made.

        Args:
            variables: their ids; all of the session by default. Those that it does not have are left out.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """
        with in_sentences(self._url):
            return await self._directory.heads(self._session, variables)

    def _begin_anew(self) -> None:
        """After a power loss or a failover there is a new connection, to a server that may lack texts that were stored."""
        self._constants.forget()

    async def _deliver(self, parcels: Sequence[Parcel]) -> list[str]:
        with in_sentences(self._url):
            await self._constants.keep({digest: text for parcel in parcels for digest, text in parcel.texts.items()})
            return await self._submission.send([parcel.message for parcel in parcels])

    async def _hear(self) -> list[Entry]:
        with in_sentences(self._url):
            return await self._news_reader.read()

    async def _growth(self, known: Mapping[str, int]) -> dict[str, int]:
        with in_sentences(self._url):
            return await self._token_reader.growth(known)
