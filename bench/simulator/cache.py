"""The KV blocks of a virtual engine: in use, or kept in case a prompt begins the same way, as in vLLM's automatic prefix caching."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class BlockCache:
    """Blocks with a name are shared by all whose prompts begin alike; the others are private. What nobody uses is kept while there is room.

    vLLM keeps two copies of a block that two sequences compute at once; here the second copy is given up as soon as it is full.

    Args:
        capacity: how many blocks there are.
        gone: told the name of a block that is no longer there.
    """

    def __init__(self, capacity: int, gone: Callable[[int], None]) -> None:
        self.capacity = capacity
        self._gone = gone
        self._users: dict[int, int] = {}
        self._kept: dict[int, None] = {}  # in the order in which they are given up: the least recently used first
        self._private = 0

    @property
    def free(self) -> int:
        """Blocks that no sequence uses."""
        return self.capacity - len(self._users) - self._private

    def __contains__(self, name: int) -> bool:
        return name in self._users or name in self._kept

    def hits(self, names: Sequence[int]) -> int:
        """How many of these blocks are there, up to the first that is not."""
        for place, name in enumerate(names):
            if name not in self._users and name not in self._kept:
                return place
        return len(names)

    def unused(self, names: Sequence[int]) -> int:
        """How many of these blocks, which are there, no sequence uses: to use them takes them from what is free."""
        users = self._users
        return sum(name not in users for name in names)

    def use(self, names: Sequence[int]) -> None:
        """A sequence uses blocks that are there."""
        users = self._users
        for name in names:
            users[name] = users.get(name, 0) + 1
            self._kept.pop(name, None)

    def take(self, blocks: int) -> None:
        """A sequence takes private blocks, of which so many are free."""
        self._private += blocks
        self._give_up()

    def fill(self, name: int) -> None:
        """A private block is full, and shared from now on."""
        self._private -= 1
        self.use((name,))

    def release(self, names: Sequence[int], private: int) -> None:
        """A sequence ends, or must make room: its last blocks are given up before its first ones.

        Args:
            names: the shared ones that it uses, in order.
            private: how many it has besides.
        """
        self._private -= private
        users = self._users
        for name in reversed(names):
            left = users[name] - 1
            if left:
                users[name] = left
            else:
                del users[name]
                self._kept[name] = None

    def _give_up(self) -> None:
        while len(self._kept) > self.free:
            name = next(iter(self._kept))
            del self._kept[name]
            self._gone(name)

    def check(self) -> None:
        """Recount.

        Raises:
            AssertionError: the books do not agree.
        """
        assert self._private >= 0, f"{self._private} private blocks"
        assert len(self._kept) <= self.free, f"{len(self._kept)} blocks are kept where {self.free} are free"
        assert not self._users.keys() & self._kept.keys(), "blocks are in use and kept at once"
        assert min(self._users.values(), default=1) > 0, "blocks are used by nobody"
