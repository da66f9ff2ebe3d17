"""KV blocks: their names; and those of a simulated engine: which are in use, which are kept in case a prompt begins the same way. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from parrot.engine.changes import Changes
from parrot.errors import EngineError


def block_name(before: int, tokens: Sequence[int]) -> int:
    """The name of a full block.

    Args:
        before: the name of the block before it, or `root_name`.
        tokens: its own.
    """
    return hash((before, *tokens))  # hashes of integers are the same in every process


def root_name(salt: str) -> int:
    """What stands in the place of the block before the first one: prompts with different salts have no block in common."""
    return hash(tuple(salt.encode())) if salt else 0


def block_names(tokens: Sequence[int], size: int, root: int = 0) -> list[int]:
    """The names of the full blocks of a prompt; equal prefixes have equal names.

    Args:
        tokens: the prompt.
        size: tokens of one block.
        root: `root_name` of the prompt's salt.
    """
    names: list[int] = []
    name = root
    for end in range(size, len(tokens) + 1, size):
        name = block_name(name, tokens[end - size : end])
        names.append(name)
    return names


@dataclass(frozen=True, slots=True)
class Hold:
    """Blocks that one sequence uses.

    Attributes:
        shared: names of the full blocks of its prompt, which others may use as well.
        private: how many blocks it has besides.
        hits: how many of `shared`, from the start, were there already.
    """

    shared: Sequence[int]
    private: int
    hits: int


class BlockCache:
    """Blocks in use are counted; blocks that nobody uses are kept until room is needed, the least recently used go first.

    Args:
        capacity: how many blocks there are.

    Attributes:
        changes: of the blocks that have a name.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.changes = Changes()
        self._users: dict[int, int] = {}
        self._kept: dict[int, None] = {}  # in the order in which they are given up
        self._private = 0

    def __contains__(self, block: int) -> bool:
        return block in self._users or block in self._kept

    @property
    def used(self) -> int:
        """Blocks that sequences hold now."""
        return len(self._users) + self._private

    def acquire(self, shared: Sequence[int], private: int) -> Hold | None:
        """Take blocks for a sequence; None, and nothing taken, if there are not enough.

        Args:
            shared: names of the full blocks of its prompt, in order.
            private: blocks for the rest of the prompt and the output.
        """
        if self.used + private + sum(name not in self._users for name in shared) > self.capacity:
            return None
        hits = next((i for i, name in enumerate(shared) if name not in self), len(shared))
        for name in shared:
            if name not in self:
                self.changes.store(name)
            self._users[name] = self._users.get(name, 0) + 1
            self._kept.pop(name, None)
        self._private += private
        self._give_up()
        return Hold(shared, private, hits)

    def release(self, hold: Hold, made: Sequence[int] = ()) -> None:
        """Give the blocks of a sequence back.

        Args:
            hold: what `acquire` gave.
            made: names of the full blocks that its output filled, kept like those of the prompt.
        """
        self._private -= hold.private
        for name in reversed(made):  # ends of prompts are given up before their starts
            if name not in self:
                self.changes.store(name)
            if name not in self._users:
                self._keep(name)
        for name in reversed(hold.shared):
            self._users[name] -= 1
            if not self._users[name]:
                del self._users[name]
                self._keep(name)
        self._give_up()

    def _keep(self, name: int) -> None:
        self._kept.pop(name, None)
        self._kept[name] = None

    def _give_up(self) -> None:
        while len(self._kept) > self.capacity - self.used:
            name = next(iter(self._kept))
            del self._kept[name]
            self.changes.remove(name)

    def check(self) -> None:
        """Recount: nothing is counted twice, and no more blocks are in use than there are.

        Raises:
            EngineError: the books do not agree.
        """
        if self.used + len(self._kept) > self.capacity or self._private < 0 or min(self._users.values(), default=1) < 1:
            raise EngineError(f"Of {self.capacity} blocks, {self.used} are in use and {len(self._kept)} are kept.")
        if both := self._users.keys() & self._kept.keys():
            raise EngineError(f"The block {both.pop()} is in use and given up at once.")
