"""Renews the leader's lease from a thread of its own: a leader that thinks hard for a while is still the leader."""

from __future__ import annotations

import threading
import time

import structlog
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

from parrot.broker.scripts import script
from parrot.wire.keys import Keys

log = structlog.get_logger("parrot.core")

STUCK = 30.0  # seconds without a sign of life of the loop after which its lease is left to run out


class Renewal:
    """Renews a lease every third of its length, as a context manager; at the end the lease is laid down.

    It stops when the loop that it speaks for gives no sign of life (`alive`) for long: a standby that works is better than a leader
    that hangs. Whether a successor has taken over is not its business: the commit script checks that.

    Args:
        url: the broker.
        keys: the cell's names.
        epoch: of the lead.
        lease: its length in seconds.
    """

    def __init__(self, url: str, keys: Keys, epoch: int, lease: float) -> None:
        self._redis = Redis.from_url(url, socket_timeout=lease, socket_connect_timeout=lease, retry=Retry(NoBackoff(), 1))
        self._keys = keys
        self._epoch = epoch
        self._lease = lease
        self._ended = threading.Event()
        self._seen = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="renews the lead", daemon=True)

    def __enter__(self) -> Renewal:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._renew(0)
        self._redis.close()

    def alive(self) -> None:
        """The loop goes on."""
        self._seen = time.monotonic()

    def _run(self) -> None:
        while not self._ended.wait(self._lease / 3):
            if time.monotonic() - self._seen > STUCK:
                log.error("stuck", seconds=STUCK, consequence="the lead is left to a standby")
                return
            self._renew(int(self._lease * 1000))

    def _renew(self, milliseconds: int) -> None:
        called = script("renew")
        names = (self._keys.core, self._keys.leader)
        try:
            try:
                self._redis.evalsha(called.digest, 2, *names, self._epoch, milliseconds)
            except NoScriptError:
                self._redis.eval(called.source, 2, *names, self._epoch, milliseconds)
        except RedisError as error:
            # Tried again at the next turn; if the broker stays away the lease ends, and whoever reaches it first leads.
            log.warning("lease not renewed", error=str(error))
