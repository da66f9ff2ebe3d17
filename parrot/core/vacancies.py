"""Engines with free places, by how full they are, so that the emptiest are found without looking at all."""

from __future__ import annotations

from collections.abc import Container, Iterator

from parrot.core.load import Load
from parrot.core.policy import Engine

LEVELS = 32  # of fullness that are told apart


class Vacancies:
    """The engines of one cell that are not full, by model and level."""

    def __init__(self) -> None:
        self._levels: dict[str, list[dict[str, Engine]]] = {}
        self._at: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._at)

    def __contains__(self, engine: Engine) -> bool:
        return engine.id in self._at

    def models(self) -> list[str]:
        """The models of which an engine has a free place."""
        return [model for model, levels in self._levels.items() if any(levels)]

    def update(self, load: Load) -> None:
        """An engine is there, or holds more or less than before."""
        engine = load.engine
        level = int(LEVELS * min(1.0, load.fullness)) if load.running else 0
        before = self._at.get(engine.id)
        if load.running >= engine.about.capacity.running:
            self.remove(engine)
        elif before != level:
            self.remove(engine)
            levels = self._levels.get(engine.about.model)
            if levels is None:
                levels = self._levels[engine.about.model] = [{} for _ in range(LEVELS + 1)]
            levels[level][engine.id] = engine
            self._at[engine.id] = level

    def remove(self, engine: Engine) -> None:
        """An engine is full, or gone."""
        before = self._at.pop(engine.id, None)
        if before is not None:
            del self._levels[engine.about.model][before][engine.id]

    def emptiest(self, model: str | None, among: Container[str]) -> Iterator[Engine]:
        """Engines with a free place, the emptier ones first.

        Args:
            model: which they serve; None for any.
            among: ids of the engines that come into question.
        """
        found = self._levels.values() if model is None else [self._levels[model]] if model in self._levels else []
        for alike in zip(*found, strict=True):
            for level in alike:
                for engine in level.values():
                    if engine.id in among:
                        yield engine
