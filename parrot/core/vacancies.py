"""Engines with free places, by how full they are, so that the emptiest are found without looking at all."""

from __future__ import annotations

from collections.abc import Container, Iterator

from parrot.core.load import Load
from parrot.core.policy import Engine

LEVELS = 32  # of fullness that are told apart


Kind = tuple[str, int]  # model, and tokens of context that it takes


class Vacancies:
    """The engines of one cell that are not full, by kind and level."""

    def __init__(self) -> None:
        self._levels: dict[Kind, list[dict[str, Engine]]] = {}
        self._at: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._at)

    def models(self) -> list[str]:
        """The models of which an engine has a free place, each once."""
        return list(dict.fromkeys(model for (model, _), levels in self._levels.items() if any(levels)))

    def update(self, load: Load) -> None:
        """An engine is there, or holds more or less than before."""
        engine = load.engine
        self.remove(engine)
        if load.running >= engine.about.capacity.running:
            return
        levels = self._levels.get(kind_of(engine))
        if levels is None:
            levels = self._levels[kind_of(engine)] = [{} for _ in range(LEVELS + 1)]
        level = 1 + int((LEVELS - 1) * min(1.0, load.fullness)) if load.running else 0
        levels[level][engine.id] = engine  # behind its equals: it is the last one to be looked at again
        self._at[engine.id] = level

    def remove(self, engine: Engine) -> None:
        """An engine is full, or gone."""
        before = self._at.pop(engine.id, None)
        if before is not None:
            del self._levels[kind_of(engine)][before][engine.id]

    def emptiest(self, model: str | None, context: int, among: Container[str]) -> Iterator[Engine]:
        """Engines with a free place, the emptier ones first.

        Args:
            model: which they serve; None for any.
            context: tokens of context that they must take.
            among: ids of the engines that come into question.
        """
        kinds = [levels for (name, most), levels in self._levels.items() if (model is None or name == model) and most >= context]
        for alike in zip(*kinds, strict=True):
            for level in alike:
                for engine in level.values():
                    if engine.id in among:
                        yield engine


def kind_of(engine: Engine) -> Kind:
    """What decides for whom an engine comes into question."""
    return engine.about.model, engine.about.capacity.context_tokens
