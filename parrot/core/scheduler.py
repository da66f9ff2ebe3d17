"""ServeCore's policy: who is next, where it goes, and why.

Order: tenants by what they have had (`shares`), then by `urgency`. Place: `placement`, of what `candidates` finds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from math import ceil
from typing import NamedTuple

from parrot.core.backlog import Backlog, Lane
from parrot.core.beginnings import UNREAD
from parrot.core.candidates import Candidates
from parrot.core.expectations import Expectations
from parrot.core.graph import Generation
from parrot.core.learning import LearnedLengths, Lengths
from parrot.core.load import EngineKind, Load
from parrot.core.objectives import STRICTNESS, Kind, Objective
from parrot.core.placement import AHEAD, SOON, case_of, explain, has_room, is_entitled, ranked, waits_for
from parrot.core.policy import Decision, Engine
from parrot.core.prefixes import PrefixIndex
from parrot.core.programs import Program, judge
from parrot.core.rules import Rules
from parrot.core.shares import Shares
from parrot.core.turns import Rank
from parrot.core.urgency import rank, slack
from parrot.wire.to_core import EngineHolds, Usage

LATELY = 10.0  # seconds for which sensitive work is remembered
LOOKED_AT = 128  # generations that a round may find without placing one; those that wait for something of their own are put aside
CALLED = 4  # of those that were put aside for other engines, which are looked at again when one has got emptier


class Awaited(NamedTuple):
    """What a generation waits for that was put aside: its name, and why, in words."""

    name: str
    words: str


class Scheduler:
    """Implements `parrot.core.policy.Policy`.

    Args:
        lengths: says how long outputs will be.
        prefixes: says what engines hold.
        objective: of a generation; the deduced one by default.
        rules: which hold.
        weights: of tenants; 1 for all that are not named.
    """

    def __init__(
        self,
        lengths: Lengths | None = None,
        prefixes: PrefixIndex | None = None,
        objective: Callable[[Generation], Objective] | None = None,
        rules: Rules | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        self._rules = rules or Rules()
        if not self._rules.objectives:
            objective = _alike
        elif not self._rules.groups:
            objective = _apart
        self._objective = objective
        self._prefixes = PrefixIndex() if prefixes is None else prefixes  # an empty one is false
        self._candidates = Candidates(self._prefixes, self._rules.prefixes)
        self._expectations = Expectations(lengths or LearnedLengths(), self._prefixes, self._candidates.loads)
        self._shares = Shares(weights)
        self._backlog = Backlog(self._rank, self._shares if self._rules.fairness else None)
        self._open: dict[bool, list[EngineKind]] = {}  # for what is sensitive, and for what is not, in one round
        self._lanes: list[Lane] = []
        self._sensitive = float("-inf")  # when sensitive work was last seen
        self._wake: float | None = None
        self._aside: dict[Generation, Awaited] = {}  # what those that were put aside wait for, or did when they were last looked at
        self._reworded: dict[Generation, None] = {}  # of which that has changed
        self._due: dict[str, float] = {}  # what they wait for, and when that should be there
        self._stirred: dict[Program, None] = {}  # of which something has come or ended since the last round
        self._reckoned: dict[Program, None] = {}  # of which ways have been found anew since then

    # What it is told -----------------------------------------------------------------------------

    def added(self, generations: Collection[Generation], now: float) -> None:
        for generation in generations:
            self._expectations.added(generation)
            self._judge(generation)
            self._prefixes.need(generation.foreseen.names)
        judge(generations)
        self._stir(generations)

    def changed(self, generations: Collection[Generation], now: float) -> None:
        for generation in generations:
            self._judge(generation)
        judge(generations)
        self._stir(generations)
        for generation in generations:
            if generation in self._backlog:
                self._backlog.push(generation)
            elif (load := self._candidates.loads.get(generation.engine)) is not None:  # asked for only after it was given to an engine
                load.renamed(generation)
                if generation.objective.sensitive:
                    self._sensitive = now

    def ready(self, generation: Generation, now: float) -> None:
        self._can_run(generation)
        self._prefixes.need(generation.beginnings.others)
        self._foresee_no_more(generation)
        self._backlog.push(generation)

    def waiting(self) -> Iterator[Generation]:
        return iter(self._backlog)

    def given(self, generation: Generation, engine: Engine, now: float) -> None:
        self._foresee_no_more(generation)
        if not self._drop(generation):  # a predecessor gave it, or it runs alone
            self._can_run(generation)
        if generation.objective.sensitive:
            self._sensitive = now  # not when it became ready: that somebody waits for it is often said after that
        load = self._load(engine)
        charge = load.give(generation, self._prefixes.held(engine.id, generation.beginnings), now)
        self._prefixes.comes(engine.id, generation.beginnings)
        self._charge(generation, charge.computed, charge.tokens_out)
        self._candidates.update(load)

    def left(self, generation: Generation, engine: Engine, usage: Usage | None, now: float) -> None:
        self._prefixes.came(engine.id, generation.beginnings, now)
        load = self._load(engine)
        charge = load.take(generation, usage, now)
        if usage is None:  # if it goes on elsewhere, it is charged for what is done there; else for what should have been done until now
            left = charge.left(now) if generation.ended else 1.0
            self._charge(generation, -left * charge.computed, -left * charge.tokens_out)
        else:
            self._charge(generation, usage.tokens_in - usage.tokens_cached - charge.computed, usage.tokens_out - charge.tokens_out)
            self._expectations.learn(generation, load, usage)
        self._candidates.update(load)
        self._call(load)

    def ended(self, generation: Generation, now: float) -> None:
        self._foresee_no_more(generation)
        self._drop(generation)
        self._stir((generation,))

    def came(self, engine: Engine) -> None:
        self._candidates.add(engine, self._expectations.speed_of(engine.about))
        self._expectations.engines_changed()
        self._reckoned.update((generation.program.whole(), None) for generation in self._backlog)  # broad programs are shorter now
        for awaited in self._backlog.awaited():
            self._backlog.call(awaited, 1)

    def gone(self, engine: Engine) -> None:
        self._candidates.remove(engine)
        self._expectations.engines_changed()
        for generation in self._aside:
            self._awaits_nothing(generation)
        for awaited in self._backlog.awaited():  # another kind may be the smallest one that comes into question
            self._backlog.call(awaited, len(self._backlog))

    def heard(self, engine: Engine, now: float) -> None:
        self._prefixes.settle(engine.id, now)

    def reported(self, report: EngineHolds, now: float) -> bool:
        return self._prefixes.report(report, now)

    def learned(self) -> Mapping[str, str | None]:
        return self._expectations.learned()

    def recall(self, found: Mapping[str, str]) -> None:
        self._expectations.recall(found)

    # What it decides -----------------------------------------------------------------------------

    def priority(self, generation: Generation) -> int:
        return STRICTNESS[generation.objective.kind] if self._rules.priority else 0

    def awaits(self, generation: Generation) -> str:
        return self._aside[generation].words if generation in self._aside else ""

    def reworded(self) -> Collection[Generation]:
        reworded, self._reworded = self._reworded, {}
        return [generation for generation in reworded if generation in self._backlog]

    def wake(self) -> float | None:
        return self._wake

    def next(self, engines: Mapping[str, Engine], now: float) -> Decision | None:
        self._wake = None
        if not self._open:  # asked for the first time since something has happened
            self._improve()
            self._call_due(now)
            self._open = {sensitive: self._candidates.kinds(engines) for sensitive in (True, False)}
            self._list_lanes()
        looked_at, fewer = 0, False
        while self._candidates and self._lanes and looked_at < LOOKED_AT:
            generation = self._backlog.first(self._lanes)
            if generation is None:
                break
            looked_at += 1
            placed = self._place(generation, engines, now)
            if isinstance(placed, Decision):
                return placed
            if placed is None:
                self._keep_free(generation, now)
                self._awaits_nothing(generation)
                self._backlog.pass_over()
            else:
                self._awaits(generation, placed)
                self._backlog.put_aside(placed.name)
                fewer = True
        self._open = {}
        moments = [*self._due.values()]
        if fewer and looked_at == LOOKED_AT:
            moments.append(now + SOON)  # those behind them are looked at next
        if self._backlog.look_again() and (moment := self._candidates.next_filled(now)) is not None:
            moments.append(moment)
        self._wake = min(moments, default=None)
        return None

    def _improve(self) -> None:
        """Ranks become better when less is left of a program than was thought, or less time."""
        for program in self._stirred:
            self._reckon(program.whole())
            self._weigh(program.whole())
        for program in self._reckoned:
            for generation in program.begun:  # none if it has become part of another one, which was reckoned then
                self._backlog.improve(generation)
        self._stirred, self._reckoned = {}, {}
        self._backlog.sort_in()

    def _call_due(self, now: float) -> None:
        """Who waits for what should be there by now is looked at again: another engine may be worth more, if it is not."""
        for awaited in [awaited for awaited in self._due if self._drains(awaited)]:
            del self._due[awaited]
            self._backlog.call(awaited, len(self._backlog))  # it will not be there
        for awaited in [awaited for awaited, moment in self._due.items() if moment <= now]:
            del self._due[awaited]
            if self._backlog.call(awaited, 1):
                self._due[awaited] = _later(now)  # who is called may be put aside for something else

    def _place(self, generation: Generation, engines: Mapping[str, Engine], now: float) -> Decision | Awaited | None:
        """Where a generation goes.

        Returns:
            None if no engine is worth to be taken now: then none is for the next one like it either. What it waits for by itself, if that
            is something else: the engine that holds its prompt although another one has room, or any of those that are large enough.
        """
        kinds = self._candidates.serving(generation, self._open[generation.objective.sensitive])
        shared = self._prefixes.shared(generation.beginnings) if self._rules.prefixes and self._rules.replicas else (0, 1.0)
        case = case_of(generation, now, now - self._sensitive < LATELY, self._rules, shared, self._backlog.ahead)
        candidates = self._candidates.of(generation, kinds, engines, now)
        if not self._rules.patience:
            candidates = (pair for pair in candidates if has_room(*pair, case))
        best, second, free = ranked(candidates, case)
        if best is None:
            kind = self._candidates.least(generation) if self._rules.patience else None
            if kind is None:
                return None
            name = _name(generation.call.model, kind[1])
            if name not in self._due:  # such an engine may compute prompts, or be kept free for others
                self._due[name] = min(self._candidates.next_filled(now) or _later(now), _later(now))
            return Awaited(name, f"waits for an engine with room that takes {kind[1]:,} tokens of context")
        if best.wait and free is not None and not free.load.running and best.held <= free.held:
            best, second = free, best  # nobody is disturbed there, and nothing is gained by waiting but a little speed
        if best.wait:
            if free is None or best.held <= free.held:
                return None
            engine, filled = best.load.engine.id, best.load.filled - AHEAD
            moment = filled if filled > now and best.load.running < best.load.places else _later(now, best.wait)
            self._due[engine] = min(moment, self._due.get(engine, moment))
            return Awaited(engine, waits_for(generation, best, free))
        return Decision(
            generation,
            best.load.engine,
            why=explain(generation, best, second),
            runner_up=second.load.engine.id if second is not None else "",
            prefix=min(best.held, generation.tokens_in),
            slack=slack(generation, now),
        )

    def _keep_free(self, generation: Generation, now: float) -> None:
        """There is no room for a generation: none of those behind it gets what it waits for, but what is kept for sensitive work."""
        for sensitive in (False, True)[: 1 + is_entitled(generation, now, self._rules)]:
            serving = self._candidates.serving(generation, self._open[sensitive])
            self._open[sensitive] = [kind for kind in self._open[sensitive] if kind not in serving]
        self._list_lanes()

    def _list_lanes(self) -> None:
        """Whose turn it can be: what asks for an engine of a kind that is open."""
        self._lanes = [(model, sensitive) for sensitive, kinds in self._open.items() for model in _models(kinds)]

    # Small things --------------------------------------------------------------------------------

    def _load(self, engine: Engine) -> Load:
        return self._candidates.loads[engine.id]

    def _drains(self, awaited: str) -> bool:
        """Whether that is an engine which takes nothing more."""
        load = self._candidates.loads.get(awaited)
        return load is not None and load.engine.draining

    def _awaits(self, generation: Generation, awaited: Awaited) -> None:
        """It waits for something of its own."""
        before = self._aside.get(generation)
        if before is None or before.name != awaited.name or not before.words:  # else its words differ by a few seconds
            self._reworded[generation] = None
        self._aside[generation] = awaited

    def _awaits_nothing(self, generation: Generation) -> None:
        """It waits for room, as all do; the name is kept for those who waited for the same."""
        before = self._aside.get(generation)
        if before is not None and before.words:
            self._aside[generation] = before._replace(words="")
            self._reworded[generation] = None

    def _foresee_no_more(self, generation: Generation) -> None:
        self._prefixes.need_no_more(generation.foreseen.names)
        generation.foreseen = UNREAD

    def _drop(self, generation: Generation) -> bool:
        """It waits no more; False if it did not."""
        if generation not in self._backlog:
            return False
        self._backlog.drop(generation)
        awaited = self._aside.pop(generation, None)
        if awaited is not None:
            self._backlog.call(awaited.name, 1)  # who waits for the same may follow it
        self._prefixes.need_no_more(generation.beginnings.others)
        return True

    def _call(self, load: Load) -> None:
        """An engine has got emptier: who is first of those that wait for it is looked at again, and some that wait for others."""
        self._backlog.call(load.engine.id, 1)
        for model, context in self._candidates.within(load):
            if model == load.kind[0]:
                self._backlog.call(_name(model, context), 1)
            self._backlog.call(_name(None, context), 1)
        for _ in range(CALLED):  # it may be worth more to them by now than what they wait for
            self._backlog.call_next()

    def _charge(self, generation: Generation, tokens_in: float, tokens_out: float) -> None:
        tenant = generation.program.whole().tenant
        if self._shares.charge(tenant, tokens_in, tokens_out):
            self._backlog.has_less(tenant)

    def _can_run(self, generation: Generation) -> None:
        """Its prompt is known."""
        if self._expectations.ready(generation):
            self._reckoned[generation.program.whole()] = None

    def _reckon(self, program: Program) -> None:
        if program.reckon(self._expectations.seconds):
            self._reckoned[program] = None

    def _weigh(self, program: Program) -> None:
        """What runs of it counts as one again, where far fewer or more run than when that was last found."""
        if program.weigh():
            for generation in program.begun:
                if (load := self._candidates.loads.get(generation.engine)) is not None:
                    load.renamed(generation)

    def _stir(self, generations: Iterable[Generation]) -> None:
        for generation in generations:
            self._stirred[generation.program.whole()] = None

    def _judge(self, generation: Generation) -> None:
        if self._objective is not None:
            generation.objective = self._objective(generation)

    def _rank(self, generation: Generation) -> Rank:
        self._reckon(generation.program.whole())  # more may have come below it since it became ready
        return rank(generation, len(self._candidates.loads), self._rules)


def _alike(generation: Generation) -> Objective:
    """What a server takes for granted that knows nothing of its users."""
    return Objective(Kind.LATENCY)


def _apart(generation: Generation) -> Objective:
    """What it is where each is waited for by itself."""
    objective = generation.objective
    return objective._replace(kind=Kind.LATENCY, group="") if objective.kind is Kind.GROUP else objective


def _later(now: float, seconds: float = 0.0) -> float:
    """When to look again, not before so many seconds: at the same moments for all, so that they are few."""
    return AHEAD * ceil((now + max(AHEAD, seconds)) / AHEAD)


def _name(model: str | None, context: int) -> str:
    """Names any engine with a model, or with any, that takes so many tokens or more, as what is waited for."""
    return f"{model or ''} {context}"


def _models(kinds: Collection[EngineKind]) -> Iterable[str | None]:
    """What can be asked for of engines of some kinds, always in the same order: the same is decided wherever the same happens."""
    return dict.fromkeys((None, *(model for model, _ in kinds))) if kinds else ()
