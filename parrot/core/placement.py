"""Which engine takes the next generation, and why, in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from parrot.core.graph import Generation
from parrot.wire.to_core import EngineUp


@dataclass(slots=True, eq=False)
class Engine:
    """An engine as ServeCore sees it.

    Attributes:
        about: what it said of itself when it came up.
        holds: the generations that it was given and that have not ended, by variable.
        draining: it will leave and is given nothing more.
        heard: when it last said anything, in seconds since the epoch.
    """

    about: EngineUp
    holds: dict[str, Generation] = field(default_factory=dict)
    draining: bool = False
    heard: float = 0.0

    @property
    def id(self) -> str:
        return self.about.engine

    @property
    def room(self) -> int:
        return 0 if self.draining else self.about.capacity.running - len(self.holds)

    @property
    def holds_suspect(self) -> bool:
        return len(self.holds) == 1 and any(generation.suspect for generation in self.holds.values())

    @property
    def load(self) -> float:
        return len(self.holds) / self.about.capacity.running


def least_loaded(engines: Iterable[Engine]) -> Engine | None:
    """The engine with room whose batch is emptiest, if any has room."""
    return min((engine for engine in engines if engine.room > 0), key=lambda engine: engine.load, default=None)


def explain(engine: Engine, rivals: int) -> str:
    """Why a generation went to this engine.

    Args:
        engine: the chosen one, before it was given the generation.
        rivals: how many other engines serve the model.
    """
    chosen = f"{engine.about.name} runs {len(engine.holds)} of {engine.about.capacity.running}"
    return f"{chosen}, the least loaded of {rivals + 1}" if rivals else f"{chosen}, the only engine for {engine.about.model}"
