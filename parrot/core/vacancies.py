"""Engines with free places, by how full they are, so that the emptiest are found without looking at all."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterator

from parrot.core.lazy_heap import LazyHeap
from parrot.core.load import EngineKind, Load
from parrot.core.policy import Engine

LEVELS = 32  # of fullness that are told apart
ALIKE = 10_000.0  # tokens of context of a batch, by which the speeds of engines are compared


class Vacancies:
    """The engines of one cell that are not full, by kind and level."""

    def __init__(self) -> None:
        self._levels: dict[EngineKind, list[dict[str, Engine]]] = {}
        self._filled: dict[EngineKind, int] = {}  # levels at which there are engines, as bits
        self._at: dict[str, int] = {}
        self._loads: dict[str, Load] = {}  # of those that are not full
        self._roomy: dict[EngineKind, LazyHeap[float]] = {}  # by how many tokens their caches have left
        self._quick: dict[EngineKind, LazyHeap[float]] = {}  # by how crowded they are

    def __bool__(self) -> bool:
        return bool(self._at)

    def kinds(self) -> list[EngineKind]:
        """The kinds of which an engine has a free place, those that came first before others."""
        return [kind for kind, filled in self._filled.items() if filled]

    def update(self, load: Load) -> None:
        """An engine is there, or holds more or less than before."""
        engine, running, kind = load.engine.id, load.running, load.kind
        if running >= load.places:
            self.remove(load)
            return
        self._loads[engine] = load
        if kind not in self._levels:
            self._levels[kind], self._filled[kind] = [{} for _ in range(LEVELS + 1)], 0
            self._roomy[kind], self._quick[kind] = LazyHeap(self._used), LazyHeap(self._crowded)
        self._roomy[kind].push(engine)
        self._quick[kind].push(engine)
        level = 1 + int((LEVELS - 1) * min(1.0, load.fullness)) if running else 0
        before = self._at.get(engine)
        if before == level:
            same = self._levels[kind][level]
            same[engine] = same.pop(engine)  # behind its equals: it is the last one to be looked at again
            return
        if before is not None:
            self._leave_level(load, before)
        self._levels[kind][level][engine] = load.engine
        self._filled[kind] |= 1 << level
        self._at[engine] = level

    def remove(self, load: Load) -> None:
        """An engine is full, or gone."""
        before = self._at.pop(load.engine.id, None)
        if before is not None:
            self._leave_level(load, before)
            del self._loads[load.engine.id]

    def _leave_level(self, load: Load, number: int) -> None:
        level = self._levels[load.kind][number]
        del level[load.engine.id]
        if not level:
            self._filled[load.kind] &= ~(1 << number)

    def emptiest(self, kinds: Collection[EngineKind], among: Container[str]) -> Iterator[Engine]:
        """Engines with a free place, the emptier ones first.

        Args:
            kinds: of which.
            among: ids of the engines that come into question.
        """
        left = 0
        for kind in kinds:
            left |= self._filled.get(kind, 0)
        while left:
            lowest = left & -left
            left ^= lowest
            for kind in kinds:
                if self._filled.get(kind, 0) & lowest:
                    for engine in self._levels[kind][lowest.bit_length() - 1].values():
                        if engine.id in among:
                            yield engine

    def roomiest(self, kinds: Collection[EngineKind]) -> Iterator[Engine]:
        """Of each of some kinds the engine with a free place that has most tokens of its cache left, however full it is."""
        for kind in kinds:
            if kind in self._roomy and (first := self._roomy[kind].first()) is not None:
                yield self._loads[first[1]].engine

    def quickest(self, kinds: Collection[EngineKind]) -> Iterator[Load]:
        """Of each of some kinds the engine with a free place that is least `crowded`, however full it is."""
        for kind in kinds:
            if kind in self._quick and (first := self._quick[kind].first()) is not None:
                yield self._loads[first[1]]

    def _crowded(self, engine: str) -> float | None:
        load = self._loads.get(engine)
        return None if load is None or not load.engine.free else crowded(load)

    def _used(self, engine: str) -> float | None:
        load = self._loads.get(engine)
        return None if load is None or not load.engine.free else load.tokens - load.kv_tokens


def crowded(load: Load) -> float:
    """How much of an engine would be taken with one more, as seconds of a step of a batch that is alike for all: engines may be unlike."""
    return max((load.running + 1) / load.places, load.tokens / load.kv_tokens) * load.speed.step(ALIKE)


def serves(kind: EngineKind, model: str | None, context: int) -> bool:
    """Whether engines of a kind serve a model, or any if none is named, with so many tokens of context."""
    return model in (None, kind[0]) and kind[1] >= context
