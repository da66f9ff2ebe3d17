"""Long constant texts: stored once in a session, then named by their hash."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from time import monotonic

from parrot.broker.texts import LIFE_SECONDS

_FRESH_SECONDS = LIFE_SECONDS / 2  # stored again after half of their life, so that none expires while it is used


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

    async def keep(self, texts: Mapping[str, str]) -> None:
        """See to it that texts are stored, by hash."""
        now = self._clock()
        due = {digest: text for digest, text in texts.items() if self._stored.get(digest, -_FRESH_SECONDS) <= now - _FRESH_SECONDS}
        if due:
            await self._put(due)
            self._stored |= dict.fromkeys(due, now)
