"""Who is first by a key that changes all the time, without looking at all."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush, heapreplace
from typing import Any, Generic, Protocol, TypeVar

STALE = 64  # entries that may lie about beside twice those that count


class _Ordered(Protocol):
    def __lt__(self, other: Any, /) -> bool: ...


Key = TypeVar("Key", bound=_Ordered)


class LazyHeap(Generic[Key]):
    """Names, the one with the smallest key first.

    A key that has become smaller must be told; one that has grown is noticed when it comes to the top, and sinks.

    Args:
        key: of a name, as it is now; None once it is not there any more.
    """

    def __init__(self, key: Callable[[str], Key | None]) -> None:
        self._key = key
        self._heap: list[tuple[Key, str]] = []
        self._counts: dict[str, Key] = {}  # the key of the one entry of each name that counts
        self._full = STALE  # entries, from which on it is worthwhile to look which ones count

    def __len__(self) -> int:
        """Entries, those that do not count any more too."""
        return len(self._heap)

    def push(self, name: str) -> None:
        """A name is new, or its key may have become smaller."""
        key = self._key(name)
        known = self._counts.get(name)
        if key is None or (known is not None and not key < known):
            return
        self._counts[name] = key
        heappush(self._heap, (key, name))
        if len(self._heap) > self._full:
            self._counts = {one: now for one in self._counts if (now := self._key(one)) is not None}
            self._heap = [(now, one) for one, now in self._counts.items()]
            heapify(self._heap)
            self._full = 2 * len(self._heap) + STALE

    def first(self) -> tuple[Key, str] | None:
        """The smallest key, and whose it is; None if there is nobody."""
        heap, counts = self._heap, self._counts
        while heap:
            known, name = heap[0]
            if name not in counts or counts[name] != known:
                heappop(heap)
                continue
            key = self._key(name)
            if key is None:
                heappop(heap)
                del counts[name]
            elif known < key:
                counts[name] = key
                heapreplace(heap, (key, name))
            else:
                return key, name
        return None
