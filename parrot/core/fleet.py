"""The engines of a cell, what each holds, and what waits for them."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import NamedTuple

from parrot.core.backlog import Backlog
from parrot.core.graph import Generation
from parrot.core.placement import Engine, explain, least_loaded


class Placement(NamedTuple):
    """A decision: which generation goes to which engine, and why, in words."""

    generation: Generation
    engine: Engine
    why: str


class Fleet:
    """Who works, on what, and who is next. Knows nothing of variables, keys or messages."""

    def __init__(self) -> None:
        self.engines: dict[str, Engine] = {}
        self._backlog = Backlog()
        self._suspects = Backlog()
        self._ready = 0

    def push(self, generation: Generation) -> None:
        """A generation can run. One that comes back keeps its place before those that became ready after it."""
        if generation.order == 0:
            self._ready += 1
            generation.order = self._ready
        (self._suspects if generation.suspect else self._backlog).push(generation)

    def waiting(self) -> Iterator[Generation]:
        """All that wait for an engine, in no order."""
        yield from self._backlog
        yield from self._suspects

    def hold(self, generation: Generation, engine: Engine) -> None:
        """An engine has been given a generation."""
        generation.engine = engine.id
        engine.holds[generation.variable] = generation

    def take(self, generation: Generation) -> str:
        """Take a generation from the engine that holds it.

        Returns:
            That engine's id, or an empty name.
        """
        holder, generation.engine = generation.engine, ""
        if holder in self.engines:
            self.engines[holder].holds.pop(generation.variable, None)
        return holder

    def lose(self, engine: Engine) -> list[Generation]:
        """An engine is gone.

        Returns:
            What it held.
        """
        del self.engines[engine.id]
        for generation in engine.holds.values():
            generation.engine = ""
        return list(engine.holds.values())

    def assign(self, now: float) -> Iterator[Placement]:
        """Decide who takes what, as long as anything waits and any engine has room; each decision is carried out before the next."""
        reserved = yield from self._assign_suspects(now)
        while True:
            wanted = (engine for engine in self.engines.values() if engine not in reserved and self._backlog.serves(engine.about.model))
            engine = least_loaded(one for one in wanted if not one.holds_suspect)
            if engine is None:
                return
            why = explain(engine, self._rivals(engine))
            yield self._give(self._backlog.pop(engine.about.model), engine, why)

    def _assign_suspects(self, now: float) -> Generator[Placement, None, list[Engine]]:
        """Let those that engines died of run alone, so that it shows which one it was.

        Each goes to an engine that has just been heard: one that is silent may have died of something else, for which a suspect would be
        blamed that never ran.

        Returns:
            Engines that take nothing more until they are empty and heard, since suspects wait for them.
        """
        reserved: list[Engine] = []
        for engine in sorted(self.engines.values(), key=lambda engine: (len(engine.holds), engine.heard < now)):
            model = engine.about.model
            if engine.draining or not self._suspects.serves(model) or any(other.about.model == model for other in reserved):
                continue
            if engine.holds or engine.heard < now:
                reserved.append(engine)
                continue
            generation = self._suspects.pop(model)
            why = f"{engine.about.name} runs nothing else: {len(generation.deaths)} engines died while they held this call"
            yield self._give(generation, engine, why)
        return reserved

    def _give(self, generation: Generation, engine: Engine, why: str) -> Placement:
        generation.attempt += 1
        self.hold(generation, engine)
        return Placement(generation, engine, why)

    def _rivals(self, engine: Engine) -> int:
        return sum(other.about.model == engine.about.model for other in self.engines.values()) - 1
