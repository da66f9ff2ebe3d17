"""What changes in a KV cache between two questions. Pure."""

from __future__ import annotations

from parrot.engine.protocol import CacheNews


class Changes:
    """Gathers what changes in a KV cache. What went and came back before anybody asked has not changed, nor has what came and went."""

    def __init__(self) -> None:
        self._stored: set[int] = set()
        self._removed: set[int] = set()

    def store(self, block: int) -> None:
        """A block that was not there is there now."""
        if block in self._removed:
            self._removed.discard(block)
        else:
            self._stored.add(block)

    def remove(self, block: int) -> None:
        """A block that was there is there no more."""
        if block in self._stored:
            self._stored.discard(block)
        else:
            self._removed.add(block)

    def take(self) -> CacheNews:
        """All since the last time."""
        news = CacheNews(self._stored, self._removed)
        self._stored, self._removed = set(), set()
        return news
