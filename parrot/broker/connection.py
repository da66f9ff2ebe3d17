"""Connecting to Redis, with its errors turned into sentences."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from redis import exceptions
from redis.asyncio import Connection, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from parrot.errors import BrokerUnavailable, ConfigurationError
from parrot.passwords import without_password


class _Cancellable:
    """A connection whose commands can be cancelled at any moment.

    redis-py waits for each write with `asyncio.wait_for`, which before Python 3.12 can swallow a cancellation that comes as the write
    finishes: the cancelled task would simply go on. `asyncio.timeout` does not.
    """

    socket_timeout: float | None

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        limit, self.socket_timeout = self.socket_timeout, None
        try:
            async with asyncio.timeout(limit):
                await super().send_packed_command(command, check_health)  # type: ignore[misc]
        except TimeoutError:
            raise exceptions.TimeoutError("Timeout writing to socket") from None
        finally:
            self.socket_timeout = limit


class _TcpConnection(_Cancellable, Connection):
    pass


class _TlsConnection(_Cancellable, SSLConnection):
    pass


class _UnixConnection(_Cancellable, UnixDomainSocketConnection):
    pass


_CONNECTIONS: dict[type, type] = {Connection: _TcpConnection, SSLConnection: _TlsConnection, UnixDomainSocketConnection: _UnixConnection}


class _RestartedError(exceptions.RedisError):
    """The server is another run than before; not a `ConnectionError`, so that redis-py does not just try again."""


class Run:
    """The run of the server that a client talks to.

    Another one may have lost the end of what this one had acknowledged, and with it what was read from it: commands that would go there
    are refused, on whichever connection, until `begin`.
    """

    def __init__(self) -> None:
        self._id = b""

    def begin(self) -> None:
        """Whichever run is there is the one from now on."""
        self._id = b""

    async def greet(self, connection: Connection) -> None:
        """Begin a connection.

        A server that does not say which run it is (or not to us) is taken for the same: without this it could not be used at all.

        Raises:
            _RestartedError: it is another run.
        """
        await connection.on_connect()
        await connection.send_command("INFO", "server", check_health=False)
        try:
            about = await connection.read_response()
        except exceptions.ResponseError:
            return  # it does not say
        found = re.search(rb"run_id:(\w+)", about)
        there = found[1] if found else self._id
        if self._id and there != self._id:
            raise _RestartedError(f"run {there.decode()} instead of {self._id.decode()}")
        self._id = there


BLOCK_MS = 5_000  # a blocking read comes back at least this often; it wakes at once when something is written


def connect(url: str, *, run: Run | None = None, connected: Callable[[], None] | None = None) -> Redis:
    """A client for the server at `url`; connects at the first command, and again when a connection breaks.

    Args:
        url: `redis://[user:password@]host:port/db`, `rediss://…` for TLS, or `unix://path`.
        run: to which commands may go; none goes to another one.
        connected: called with each connection that was made.

    Raises:
        ConfigurationError: the URL cannot be understood.
    """

    async def greet(connection: Connection) -> None:
        await (connection.on_connect() if run is None else run.greet(connection))
        if connected is not None:
            connected()

    try:
        redis = Redis.from_url(
            url,
            decode_responses=False,
            socket_connect_timeout=5,
            socket_timeout=BLOCK_MS / 1000 + 5,
            **kept_alive(url),
            retry=Retry(ExponentialBackoff(cap=1.0, base=0.05), retries=3),
            redis_connect_func=None if run is None and connected is None else greet,
        )
        pool = redis.connection_pool
        pool.connection_class = _CONNECTIONS.get(pool.connection_class, pool.connection_class)
        pool.make_connection()  # type: ignore[no-untyped-call]  # which does not connect, but knows what can be said in a URL
        return redis
    except (ValueError, TypeError) as error:
        raise no_url(url, error) from None


def kept_alive(url: str) -> dict[str, Any]:
    """The option for connections that break without a word; over a Unix socket none do, and redis-py does not take it."""
    return {} if url.startswith("unix:") else {"socket_keepalive": True}


def no_url(url: str, error: Exception) -> ConfigurationError:
    """What to say of a URL that redis-py does not understand, which may quote a part of the password."""
    why = "in a user name and a password, write : / ? # @ as %3A %2F %3F %23 %40" if "@" in url else str(error)
    return ConfigurationError(f"{without_password(url)!r} is not a Redis URL: {why}. Write redis://host:port/db.")


@contextmanager
def in_sentences(url: str) -> Iterator[None]:
    """Turn what redis-py raises inside the block into errors that say what to do.

    Raises:
        BrokerUnavailable: the server cannot be reached, refuses the login or the command, or is full.
    """
    place = without_password(url)
    try:
        yield
    except (exceptions.AuthenticationError, exceptions.NoPermissionError) as error:
        raise BrokerUnavailable(f"Redis at {place} refuses this user: {error}. Check user and password in the URL.") from error
    except _RestartedError as error:
        raise BrokerUnavailable(f"Redis at {place} was started again ({error}): what it had acknowledged last may be missing.") from error
    except exceptions.OutOfMemoryError as error:
        raise BrokerUnavailable(f"Redis at {place} is full: {error}. Give it more memory, or wait until results expire.") from error
    except (exceptions.ConnectionError, exceptions.TimeoutError) as error:
        raise BrokerUnavailable(
            f"No Redis server answers at {place} ({error}). Start one, e.g. with `parrot dev`, or set PARROT_REDIS_URL."
        ) from error
    except exceptions.RedisError as error:
        raise BrokerUnavailable(f"Redis at {place} refused a command: {error}") from error
