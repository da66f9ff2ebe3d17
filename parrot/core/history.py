"""How much of a stream that was read stays there, for people who look."""

from __future__ import annotations

from collections import deque


class History:
    """Says from time to time what may be forgotten of one stream.

    Args:
        keep: entries to keep behind the cursor; up to twice as many stay, so that trimming is rare.
    """

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._reads: deque[tuple[str, int]] = deque()
        self._kept = 0

    def add(self, cursor: str, entries: int) -> str | None:
        """Note a read.

        Args:
            cursor: id of its last entry.
            entries: how many there were.

        Returns:
            The id before which all may be forgotten, if it is time for that.
        """
        self._reads.append((cursor, entries))
        self._kept += entries
        if self._kept < 2 * self._keep:
            return None
        before = cursor
        while self._reads and self._kept - self._reads[0][1] >= self._keep:
            before, dropped = self._reads.popleft()
            self._kept -= dropped
        return before
