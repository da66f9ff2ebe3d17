"""Which of the beginnings that ServeCore named an engine's KV cache holds, and what to report of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain

from parrot.engine.protocol import CacheNews
from parrot.wire.to_core import EngineHolds

ROOM = 20_000  # beginnings; a report of all of them is some 600 KB


@dataclass(slots=True)
class _Beginning:
    """Attributes:
    tokens: of its full blocks.
    block: the name of the last of these; it is there only while those before it are.
    said: as how many tokens it was reported; 0 as not held.
    """

    tokens: int
    block: int
    said: int


class Residency:
    """The beginnings that jobs brought lately; those that no job brought for the longest time are forgotten, which reads as removed.

    Args:
        engine: the id of this incarnation.
        news: `Engine.cache_news`, which nobody else asks.
        holds: `Engine.holds`.
        room: how many beginnings to know.
    """

    def __init__(self, engine: str, news: Callable[[], CacheNews], holds: Callable[[int], bool], room: int = ROOM) -> None:
        self._engine = engine
        self._news = news
        self._holds = holds
        self._room = room
        self._sequence = 0
        self._known: dict[int, _Beginning] = {}  # by name, the least recently brought first
        self._by_block: dict[int, set[int]] = {}
        self._unsure: set[int] = set()  # names of which something may have changed since the last report
        self._forgotten: dict[int, int] = {}  # what was said of those that were forgotten since then

    def know(self, name: int, tokens: int, block: int) -> None:
        """A job brings a beginning.

        Args:
            name: ServeCore's name of it.
            tokens: of its full blocks; above 0.
            block: the name of the last of these.
        """
        known = self._known.pop(name, None)
        if known is None or (known.tokens, known.block) != (tokens, block):
            said = self._forgotten.pop(name, 0) if known is None else self._unlink(name, known)
            known = _Beginning(tokens, block, said)
            self._by_block.setdefault(block, set()).add(name)
            self._unsure.add(name)
        self._known[name] = known
        if len(self._known) > self._room:
            self._forget(next(iter(self._known)))

    def changes(self) -> EngineHolds | None:
        """What has changed since the last report; None if nothing has."""
        news = self._news()
        for block in chain(news.stored, news.removed) if self._by_block else ():
            self._unsure |= self._by_block.get(block, set())
        stored, removed = self._look(self._unsure)
        removed += self._forgotten
        self._unsure, self._forgotten = set(), {}
        if not stored and not removed:
            return None
        return EngineHolds(engine=self._engine, sequence=self._next(), stored=stored, removed=removed)

    def all(self) -> EngineHolds:
        """All that is held; the next report says what has changed since this one."""
        self._news()  # what it says is in what is held
        self._look(self._known)
        self._unsure, self._forgotten = set(), {}
        held = [(name, known.said) for name, known in self._known.items() if known.said]
        return EngineHolds(engine=self._engine, sequence=self._next(), whole=True, stored=held)

    def _look(self, names: Iterable[int]) -> tuple[list[tuple[int, int]], list[int]]:
        """Compare what is with what was said."""
        stored, removed = [], []
        for name in names:
            known = self._known[name]
            tokens = known.tokens if self._holds(known.block) else 0
            if tokens == known.said:
                continue
            known.said = tokens
            if tokens:
                stored.append((name, tokens))
            else:
                removed.append(name)
        return stored, removed

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    def _forget(self, name: int) -> None:
        said = self._unlink(name, self._known.pop(name))
        self._unsure.discard(name)
        if said:
            self._forgotten[name] = said

    def _unlink(self, name: int, known: _Beginning) -> int:
        """A beginning does not stand for its block any more; gives what was said of it."""
        names = self._by_block[known.block]
        names.discard(name)
        if not names:
            del self._by_block[known.block]
        return known.said
