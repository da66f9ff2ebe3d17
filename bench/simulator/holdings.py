"""What a virtual engine tells ServeCore of its KV cache, in ServeCore's own names: changes, numbered, now and then the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from parrot.wire.to_core import EngineHolds


class Held(NamedTuple):
    """A beginning of a prompt.

    Attributes:
        name: ServeCore's name of it.
        block: the last full block in it: those before it are there as long as it is.
        tokens: in its full blocks.
    """

    name: int
    block: int
    tokens: int


class Holdings:
    """The beginnings that one engine holds.

    Args:
        engine: its id.

    Attributes:
        listeners: told at once, of a beginning and whether it is there.
    """

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self.listeners: list[Callable[[Held, bool], None]] = []
        self._by_block: dict[int, list[Held]] = {}
        self._held: dict[int, int] = {}  # tokens, by name
        self._told: set[int] = set()
        self._changed: dict[int, None] = {}
        self._sequence = 0

    @property
    def changed(self) -> bool:
        """Whether there is anything to report."""
        return bool(self._changed)

    def hold(self, beginnings: Iterable[Held]) -> None:
        """These are in the cache."""
        for one in beginnings:
            if one.name not in self._held:
                self._held[one.name] = one.tokens
                self._by_block.setdefault(one.block, []).append(one)
                self._change(one, there=True)

    def gone(self, block: int) -> None:
        """A block is no longer in the cache."""
        for one in self._by_block.pop(block, ()):
            del self._held[one.name]
            self._change(one, there=False)

    def all(self) -> list[tuple[int, int]]:
        """All that is held, with tokens."""
        return list(self._held.items())

    def _change(self, one: Held, there: bool) -> None:
        self._changed[one.name] = None
        for listener in self.listeners:
            listener(one, there)

    def report(self, whole: bool = False) -> EngineHolds | None:
        """What has changed since the last report, or all that is held; None if nothing has changed."""
        if whole:
            stored, removed = self.all(), []
        else:
            stored = [(name, self._held[name]) for name in self._changed if name in self._held and name not in self._told]
            removed = [name for name in self._changed if name not in self._held and name in self._told]
        self._changed.clear()
        if not whole and not stored and not removed:
            return None
        self._told.difference_update(removed)
        self._told.update(name for name, _ in stored)
        self._sequence += 1
        return EngineHolds.model_construct(engine=self._engine, sequence=self._sequence, whole=whole, stored=stored, removed=removed)
