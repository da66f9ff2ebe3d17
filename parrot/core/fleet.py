"""The engines of a cell, what each holds, and what waits for them."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from math import inf

from parrot.core.graph import Generation
from parrot.core.policy import Decision, Engine, Policy
from parrot.core.suspects import Suspects, Takes
from parrot.core.urgency import slack
from parrot.wire.to_core import Usage


class Fleet:
    """Who works, on what, and who is next. Knows nothing of variables, keys or messages.

    Args:
        policy: decides; but what engines have died of runs alone, whoever decides.
    """

    def __init__(self, policy: Policy) -> None:
        self.engines: dict[str, Engine] = {}
        self.policy = policy
        self._suspects = Suspects()
        self._ready = 0

    def add(self, engine: Engine) -> None:
        """An engine is there."""
        self.engines[engine.id] = engine
        self.policy.came(engine)

    def serves(self, model: str | None, staying: bool = False) -> bool:
        """Whether an engine is there with a model, and stays if that is asked for; any will do if no model is named."""
        return any(model in (None, engine.about.model) and not (staying and engine.draining) for engine in self.engines.values())

    def push(self, generation: Generation, now: float) -> None:
        """A generation can run. One that comes back keeps its place before those that became ready after it."""
        if generation.order == 0:
            self._ready += 1
            generation.order = self._ready
        if generation.suspect:
            self._suspects.push(generation)
        else:
            self.policy.ready(generation, now)

    def waiting(self) -> Iterator[Generation]:
        """All that wait for an engine, in no order."""
        yield from self.policy.waiting()
        yield from self._suspects

    def hold(self, generation: Generation, engine: Engine, now: float) -> None:
        """An engine has been given a generation."""
        generation.engine = engine.id
        engine.holds[generation.variable] = generation
        self.policy.given(generation, engine, now)

    def take(self, generation: Generation, now: float, usage: Usage | None = None) -> str:
        """Take a generation from the engine that holds it.

        Args:
            generation: whichever.
            now: seconds since the epoch.
            usage: what it cost, if that engine has done it.

        Returns:
            That engine's id, or an empty name.
        """
        holder, generation.engine = generation.engine, ""
        engine = self.engines.get(holder)
        if engine is not None and engine.holds.pop(generation.variable, None) is not None:
            engine.clearing = engine.clearing and bool(engine.holds)
            self.policy.left(generation, engine, usage, now)
        return holder

    def lose(self, engine: Engine, now: float) -> list[Generation]:
        """An engine is gone.

        Returns:
            What it held.
        """
        held = list(engine.holds.values())
        for generation in held:
            self.take(generation, now)
        del self.engines[engine.id]
        self.policy.gone(engine)
        return held

    def clear(self, now: float) -> list[Engine]:
        """Engines that are to let go what they hold, since suspects shall have them for themselves.

        To let an engine run dry takes as long as its longest generation; elsewhere, what it held goes on from its last checkpoint. No more
        than every other engine of a model is cleared, but one if there is only one; suspects beyond that take turns.
        """
        found: list[Engine] = []
        largest = self._largest() if self._suspects else {}
        for model in largest:
            alike = [engine for engine in self.engines.values() if engine.about.model == model and self._may_try(engine, largest)]
            if not alike or not all(engine.holds for engine in alike):
                continue
            apart = [engine for engine in alike if not engine.free]
            if 2 * len(apart) < len(alike):
                clearable = [engine for engine in alike if engine.free]
            else:
                clearable = [engine for engine in apart if not engine.clearing and _turn_ends(engine) <= now]
            heard = [engine for engine in clearable if engine.heard >= now]
            if heard:
                found.append(min(heard, key=lambda engine: (_turn_ends(engine), len(engine.holds))))
        for engine in found:
            engine.clearing = True
        return found

    def assign(self, now: float) -> Iterator[Decision]:
        """Decide who takes what, until nothing more is to be sent for now; each decision is carried out before the next."""
        reserved = yield from self._assign_suspects(now)
        free = {name: engine for name, engine in self.engines.items() if engine.free and engine not in reserved}
        while (decision := self.policy.next(free, now)) is not None:
            self._give(decision, now)
            yield decision

    def _assign_suspects(self, now: float) -> Generator[Decision, None, list[Engine]]:
        """Let those that engines died of run alone, so that it shows which one it was.

        Each goes to an engine that has just been heard: one that is silent may have died of something else, for which a suspect would be
        blamed that never ran.

        Returns:
            Engines that take nothing more until they are empty and have said so, since suspects wait for them.
        """
        reserved: list[Engine] = []
        if not self._suspects:
            return reserved
        largest = self._largest()
        for engine in sorted(self.engines.values(), key=lambda engine: (len(engine.holds), not engine.is_empty, engine.heard < now)):
            model = engine.about.model
            if any(other.about.model == model for other in reserved) or not self._may_try(engine, largest):
                continue
            if not engine.is_empty or engine.heard < now:
                reserved.append(engine)
                continue
            generation = self._suspects.pop(_takes(engine, largest), now)
            why = f"{engine.about.name} runs nothing else: {len(generation.mishaps.deaths)} engines died while they held this call"
            decision = Decision(generation, engine, why, slack=slack(generation, now))
            self._give(decision, now)
            yield decision
        return reserved

    def _largest(self) -> dict[str, int]:
        """The largest context that an engine takes, in tokens, by model."""
        largest: dict[str, int] = {}
        for engine in self.engines.values():
            model, takes = engine.about.model, engine.about.capacity.context_tokens
            largest[model] = max(takes, largest.get(model, 0))
        return largest

    def _may_try(self, engine: Engine, largest: Mapping[str, int]) -> bool:
        """Whether it stays, and a suspect waits that fits into it."""
        return not engine.draining and self._suspects.serves(_takes(engine, largest))

    def _give(self, decision: Decision, now: float) -> None:
        decision.generation.attempt += 1
        self.hold(decision.generation, decision.engine, now)


def _takes(engine: Engine, largest: Mapping[str, int]) -> Takes:
    """Tokens of context that an engine takes; what is too long for all that it asks for is tried on the largest, which says so."""
    model, takes = engine.about.model, engine.about.capacity.context_tokens
    return {model: takes if takes < largest[model] else inf, None: takes if takes < max(largest.values()) else inf}


def _turn_ends(engine: Engine) -> float:
    """When others that must run alone may have an engine on which one does."""
    return min(generation.mishaps.turn_ends for generation in engine.holds.values())
