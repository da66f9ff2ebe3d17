"""Any command, as a person typed it: what `parrot redis` sends where no redis-cli is installed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from redis.asyncio import ConnectionPool
from redis.exceptions import ResponseError

from parrot.broker.connection import in_sentences, no_url
from parrot.errors import ParrotError

ENDLESS = frozenset({"MONITOR", "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"})  # commands that go on answering


class CommandError(ParrotError):
    """The server did not accept a command that a person typed."""

    code = "command"


async def send(url: str, command: Sequence[str]) -> AsyncIterator[Any]:
    """Send one command and give its answer as the server sent it: bytes, integers, None and lists of these.

    Args:
        url: the server.
        command: its words.

    Yields:
        One answer; of a command such as MONITOR, all that follow.

    Raises:
        BrokerUnavailable: the server does not answer.
        CommandError: the server answered with an error.
        ConfigurationError: the URL cannot be understood.
    """
    try:
        # RESP2, as redis-cli speaks it; no time limit, for a command such as XREAD BLOCK 0.
        pool = ConnectionPool.from_url(url, protocol=2, decode_responses=False, socket_connect_timeout=5)
    except ValueError as error:
        raise no_url(url, error) from None
    try:
        with in_sentences(url), _refusals():
            connection = await pool.get_connection()  # type: ignore[no-untyped-call]
            await connection.send_command(*command)
            yield await connection.read_response()
            while command[0].upper() in ENDLESS:
                yield await connection.read_response()
    finally:
        await pool.disconnect()


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except ResponseError as error:
        raise CommandError(str(error)) from None  # told to the person who typed the command
