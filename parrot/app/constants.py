"""Long constant texts: stored once in a session, then named by their hash."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from threading import Lock
from time import monotonic
from typing import NamedTuple

from parrot.broker.texts import LIFE_SECONDS
from parrot.wire.digests import block_digests
from parrot.wire.keys import content_hash

_FRESH_SECONDS = LIFE_SECONDS / 2  # stored again after half of their life, so that none expires while it is used
_ROOM = 4 * 1024 * 1024  # characters


class Name(NamedTuple):
    """How a long text is called.

    Attributes:
        hash: of the whole text (`content_hash`).
        blocks: of its beginnings (`block_digests`).
    """

    hash: str
    blocks: list[int]


class Names:
    """The names of the texts that were used last: a system prompt is hashed once, not with every call. For use in any thread.

    Args:
        room: characters of texts that are remembered at most.
    """

    def __init__(self, room: int = _ROOM) -> None:
        self._room = room
        self._held = 0
        self._names: dict[str, Name] = {}  # what was used last stands last
        self._lock = Lock()

    def of(self, text: str) -> Name:
        """The name of a text."""
        with self._lock:
            name = self._names.pop(text, None)
            if name is None:
                name = Name(content_hash(text), block_digests(text))
                self._held += len(text)
            self._names[text] = name
            while self._held > self._room:
                oldest = next(iter(self._names))
                del self._names[oldest]
                self._held -= len(oldest)
        return name


class ConstantStore:
    """Stores texts that are not known to be stored.

    Args:
        put: stores texts by hash.
        clock: seconds.
    """

    def __init__(self, put: Callable[[Mapping[str, str]], Awaitable[None]], clock: Callable[[], float] = monotonic) -> None:
        self._put = put
        self._clock = clock
        self._stored: dict[str, float] = {}

    def forget(self) -> None:
        """What was stored may be gone: the server that is there now may have lost it."""
        self._stored.clear()

    async def keep(self, texts: Mapping[str, str]) -> None:
        """See to it that texts are stored, by hash."""
        now = self._clock()
        due = {digest: text for digest, text in texts.items() if self._stored.get(digest, -_FRESH_SECONDS) <= now - _FRESH_SECONDS}
        if due:
            await self._put(due)
            self._stored |= dict.fromkeys(due, now)
