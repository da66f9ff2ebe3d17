"""The engines of a cell with their loads, and which of them are looked at for a generation."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import filterfalse, islice

from parrot.core.graph import Generation
from parrot.core.learning import Speed
from parrot.core.load import EngineKind, Load
from parrot.core.placement import AHEAD, FULL
from parrot.core.policy import Engine
from parrot.core.prefixes import PrefixIndex
from parrot.core.vacancies import Vacancies, crowded, serves

HOLDERS, EMPTIEST = 2, 2  # engines that are looked at for a place: two choices are nearly as good as all (Mitzenmacher, 2001)
MUCH = 2.0  # times as crowded are the emptiest engines as one that is looked at though it is fuller, since it is faster
SCANNED = 12  # engines among which others are sought if these have prompts to compute first


class Candidates:
    """Those that hold most of a prompt, and those that are emptiest: one of them is the best, or nearly.

    Args:
        prefixes: says what engines hold.
        look_up: whether that counts.

    Attributes:
        loads: of the engines, by id.
    """

    def __init__(self, prefixes: PrefixIndex, look_up: bool) -> None:
        self.loads: dict[str, Load] = {}
        self._prefixes = prefixes
        self._look_up = look_up
        self._vacancies = Vacancies()
        self._vacant = 0  # bits of the engines that have a free place
        self._largest: dict[str | None, int] = {}
        self._kinds: list[EngineKind] = []  # of all that are there, those that take less first

    def __bool__(self) -> bool:
        """Whether any engine has a free place."""
        return bool(self._vacancies)

    def add(self, engine: Engine, speed: Speed) -> None:
        """An engine is there."""
        self._prefixes.add(engine.id)
        self.loads[engine.id] = Load(engine, speed)
        self.update(self.loads[engine.id])
        self._measure()

    def remove(self, engine: Engine) -> None:
        """It is no longer there."""
        self._vacant &= ~self._prefixes.bits[engine.id]
        self._vacancies.remove(self.loads[engine.id])
        self._prefixes.remove(engine.id)
        del self.loads[engine.id]
        self._measure()

    def update(self, load: Load) -> None:
        """An engine holds more or less than before."""
        self._vacancies.update(load)
        bit = self._prefixes.bits[load.engine.id]
        self._vacant = self._vacant | bit if load.running < load.places else self._vacant & ~bit

    def kinds(self, engines: Iterable[str]) -> list[EngineKind]:
        """The kinds of engines that have a free place, as far as one of these is of them: they may take something now."""
        there = {self.loads[name].kind for name in engines}
        return [kind for kind in self._vacancies.kinds() if kind in there]

    def serving(self, generation: Generation, kinds: Collection[EngineKind]) -> list[EngineKind]:
        """Those of some kinds that come into question for a generation."""
        model, context = generation.call.model, self._context(generation)
        return [kind for kind in kinds if serves(kind, model, context)]

    def least(self, generation: Generation) -> EngineKind | None:
        """The smallest kind that comes into question for a generation, whether such engines may take something now or not."""
        model, context = generation.call.model, self._context(generation)
        return next((kind for kind in self._kinds if serves(kind, model, context)), None)

    def within(self, load: Load) -> list[EngineKind]:
        """The kinds that take no more than an engine does: who asks for them by their model, or for any, may take it instead."""
        return [kind for kind in self._kinds if kind[1] <= load.kind[1]]

    def of(
        self, generation: Generation, kinds: Collection[EngineKind], engines: Mapping[str, Engine], now: float
    ) -> Iterator[tuple[Load, int]]:
        """The engines to look at, with the tokens of the prompt that each holds.

        Args:
            generation: that is to be placed.
            kinds: of engines that come into question.
            engines: by id, those that may take something now.
            now: seconds since the epoch.
        """
        index, beginnings = self._prefixes, generation.beginnings
        seen = set()
        if self._look_up:
            for name, held in index.cached(beginnings, self._vacant):
                if name not in engines or self.loads[name].kind not in kinds:
                    continue
                seen.add(name)
                yield self.loads[name], held
                if len(seen) >= HOLDERS:
                    break
        for engine in self._emptiest(generation, kinds, engines, now):
            if engine.id not in seen:
                yield self.loads[engine.id], index.held(engine.id, beginnings) if self._look_up else 0

    def next_filled(self, now: float) -> float | None:
        """When an engine will have computed so much of what it was given that it can take more."""
        return min((load.filled - AHEAD for load in self.loads.values() if load.filled > now + AHEAD), default=None)

    def _emptiest(self, generation: Generation, kinds: Collection[EngineKind], engines: Mapping[str, Engine], now: float) -> list[Engine]:
        tokens = generation.tokens_in + generation.tokens_out

        def is_filling(engine: Engine) -> bool:
            """It has prompts to compute before it can take more, however empty it is."""
            return self.loads[engine.id].filled > now + AHEAD

        def fits(engine: Engine) -> bool:
            """Its cache takes the generation beside what it holds."""
            load = self.loads[engine.id]
            return load.tokens + tokens <= FULL * load.kv_tokens

        emptiest = self._vacancies.emptiest(kinds, engines)
        near = list(islice(emptiest, EMPTIEST))
        if all(map(is_filling, near)):
            near += islice(filterfalse(is_filling, islice(emptiest, SCANNED)), EMPTIEST)
        for load in self._vacancies.quickest(kinds):
            if load.engine.id in engines and all(MUCH * crowded(load) < crowded(self.loads[engine.id]) for engine in near):
                near.append(load.engine)
        if not any(map(fits, near)):  # a large one may have room though it is fuller
            near += [engine for engine in self._vacancies.roomiest(kinds) if engine.id in engines and engine not in near]
        return near

    def _context(self, generation: Generation) -> int:
        """Tokens that an engine must take; no more than the largest does, which may then say that it is too little."""
        wanted = generation.context_wanted
        return min(wanted, self._largest.get(generation.call.model, wanted))

    def _measure(self) -> None:
        """The kinds that are there, and the largest context that an engine takes, by model, and of any."""
        self._kinds = sorted({load.kind for load in self.loads.values()}, key=lambda kind: (kind[1], kind[0]))
        self._largest = {}
        for load in self.loads.values():
            for model in (load.engine.about.model, None):
                self._largest[model] = max(self._largest.get(model, 0), load.engine.about.capacity.context_tokens)
