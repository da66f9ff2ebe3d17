"""Engines with free places, by how full they are, so that the emptiest are found without looking at all."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterator

from parrot.core.load import Load
from parrot.core.policy import Engine

LEVELS = 32  # of fullness that are told apart

Kind = tuple[str, int]  # model, and tokens of context that it takes


class Vacancies:
    """The engines of one cell that are not full, by kind and level."""

    def __init__(self) -> None:
        self._levels: dict[Kind, list[dict[str, Engine]]] = {}
        self._filled: dict[Kind, int] = {}  # levels at which there are engines, as bits
        self._at: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._at)

    def kinds(self) -> set[Kind]:
        """The kinds of which an engine has a free place."""
        return {kind for kind, filled in self._filled.items() if filled}

    def update(self, load: Load) -> None:
        """An engine is there, or holds more or less than before."""
        engine = load.engine
        if load.running >= load.places:
            self.remove(engine)
            return
        level = 1 + int((LEVELS - 1) * min(1.0, load.fullness)) if load.running else 0
        kind, before = kind_of(engine), self._at.get(engine.id)
        if before is not None:
            if before == level:
                same = self._levels[kind][level]
                same[engine.id] = same.pop(engine.id)  # behind its equals: it is the last one to be looked at again
                return
            self.remove(engine)
        if kind not in self._levels:
            self._levels[kind], self._filled[kind] = [{} for _ in range(LEVELS + 1)], 0
        self._levels[kind][level][engine.id] = engine
        self._filled[kind] |= 1 << level
        self._at[engine.id] = level

    def remove(self, engine: Engine) -> None:
        """An engine is full, or gone."""
        before = self._at.pop(engine.id, None)
        if before is not None:
            kind = kind_of(engine)
            level = self._levels[kind][before]
            del level[engine.id]
            if not level:
                self._filled[kind] &= ~(1 << before)

    def emptiest(self, kinds: Collection[Kind], among: Container[str]) -> Iterator[Engine]:
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


def kind_of(engine: Engine) -> Kind:
    """What decides for whom an engine comes into question."""
    return engine.about.model, engine.about.capacity.context_tokens


def serves(kind: Kind, model: str | None, context: int) -> bool:
    """Whether engines of a kind serve a model, or any if none is named, with so many tokens of context."""
    return model in (None, kind[0]) and kind[1] >= context
