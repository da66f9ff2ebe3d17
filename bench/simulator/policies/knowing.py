"""What ServeCore's own policy can be told that it would otherwise have to find out: for oracles."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bench.simulator.holdings import Held
from bench.simulator.surroundings import Surroundings
from parrot.core.graph import Generation
from parrot.core.learning import LearnedLengths
from parrot.core.objectives import Objective
from parrot.core.prefixes import PrefixIndex
from parrot.wire.to_core import EngineHolds


class TrueLengths(LearnedLengths):
    """Knows how long prompts are and how long outputs will be.

    Args:
        surroundings: where that is written.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__()
        self._contents = surroundings.contents

    def prompt(self, generation: Generation) -> float:
        return float(self._contents.tokens(generation.lowered.prompt))

    def expect(self, generation: Generation) -> float:
        return float(self._contents.output(generation.variable).tokens)


class PerfectIndex(PrefixIndex):
    """Sees what an engine's cache holds at the moment when it changes; what engines report is not needed.

    Args:
        surroundings: the engines.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__()
        self._workers = surroundings.workers
        self._seen: dict[str, int] = {}

    def add(self, engine: str) -> None:
        super().add(engine)
        holdings = self._workers[engine].holdings
        self._see(engine, holdings.all(), [])
        holdings.listeners.append(partial(self._changed, engine))

    def report(self, report: EngineHolds, now: float) -> bool:
        return True

    def _changed(self, engine: str, one: Held, there: bool) -> None:
        self._see(engine, [(one.name, one.tokens)] if there else [], [] if there else [one.name])

    def _see(self, engine: str, stored: list[tuple[int, int]], removed: list[int]) -> None:
        self._seen[engine] = sequence = self._seen.get(engine, 0) + 1
        said = EngineHolds.model_construct(engine=engine, sequence=sequence, whole=False, stored=stored, removed=removed)
        super().report(said, 0.0)  # what it holds is known at each moment, so that nothing has to settle


def by_hand(surroundings: Surroundings) -> Callable[[Generation], Objective]:
    """What authors say of their calls."""
    objectives = surroundings.objectives
    return lambda generation: objectives[generation.variable]
