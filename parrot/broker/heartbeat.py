"""An engine's heartbeat, from a thread of its own: an engine whose loop is busy for a while is not dead."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from types import TracebackType

import structlog
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from parrot.broker.connection import kept_alive
from parrot.broker.renewal import STUCK
from parrot.wire.codec import encode
from parrot.wire.keys import Keys
from parrot.wire.to_core import EngineBeat

log = structlog.get_logger("parrot.engine")

JOBS_LIFE = 3600  # seconds that a job stream outlives the last beat: what nobody is left to delete goes by itself

_PATIENCE = 3.0  # seconds for the broker to answer
_PAUSE = 0.2  # seconds after which a beat that did not get through is sent again


class Heartbeat:
    """Says that an engine lives as long as its loop goes on, and forgets the jobs that were read; as an async context manager.

    The loop tells the load; each is sent at once. While the loop is busy the last one is repeated, but not for ever: of a loop
    that has said nothing for `STUCK` seconds no more is said, so that its jobs go to others.

    Args:
        url: the broker.
        keys: the cell's names.
        engine: the id of this incarnation.
        seconds: how often the loop tells.
        read: the id of the last job that was read; called in the thread.

    Attributes:
        lost: set when ServeCore does not count on this incarnation any more: it has deleted its job stream.
    """

    def __init__(self, url: str, keys: Keys, engine: str, seconds: float, read: Callable[[], str]) -> None:
        self.lost = asyncio.Event()
        self._redis = Redis.from_url(
            url, socket_timeout=_PATIENCE, socket_connect_timeout=_PATIENCE, retry=Retry(NoBackoff(), 0), **kept_alive(url)
        )
        self._keys = keys
        self._engine = engine
        self._seconds = seconds
        self._read = read
        self._beat: EngineBeat | None = None
        self._told = 0.0
        self._news = threading.Event()
        self._ended = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    async def __aenter__(self) -> Heartbeat:
        self._thread.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        self._news.set()
        await asyncio.to_thread(self._thread.join)  # what is said after this comes after the last beat

    def tell(self, beat: EngineBeat) -> None:
        """The loop goes on, and this is the load."""
        self._beat, self._told = beat, time.monotonic()
        self._news.set()

    def _run(self) -> None:
        while self._next():
            if self._beat is None or self._stuck():
                continue
            try:
                counted_on = self._send(self._beat)
            except RedisError as error:
                # Said again soon. If the broker stays away for longer than the lease, ServeCore cannot hear anybody.
                log.warning("heartbeat failed", engine=self._engine, error=str(error), again_in_seconds=_PAUSE)
                self._ended.wait(_PAUSE)
                self._news.set()
                continue
            if not counted_on:
                self._loop.call_soon_threadsafe(self.lost.set)
                break
        self._redis.close()

    def _next(self) -> bool:
        """Wait for the next beat; False at the end."""
        self._news.wait(1.5 * self._seconds)
        self._news.clear()
        return not self._ended.is_set()

    def _stuck(self) -> bool:
        silence = time.monotonic() - self._told
        if silence > STUCK:
            log.error("stuck", engine=self._engine, seconds=round(silence, 1), consequence="its jobs go to other engines")
        return silence > STUCK

    def _send(self, beat: EngineBeat) -> bool:
        """Say it; whether ServeCore still counts on this incarnation."""
        jobs = self._keys.jobs(self._engine)
        pipe = self._redis.pipeline(transaction=False)
        pipe.xadd(self._keys.events, encode(beat))  # type: ignore[arg-type]
        pipe.xtrim(jobs, minid=_after(self._read()), approximate=False)
        pipe.expire(jobs, JOBS_LIFE)
        pipe.exists(jobs)
        return bool(pipe.execute()[-1])


def _after(entry: str) -> str:
    """The smallest id above an entry's."""
    milliseconds, _, sequence = entry.partition("-")
    return f"{milliseconds}-{int(sequence) + 1}"
