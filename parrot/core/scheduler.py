"""ServeCore's policy: who is next, where it goes, and why.

Order: tenants by what they have had (`shares`), then by urgency. Somebody waits for the result: programs that came first and have the
shorter way to go (`programs`), what is due soon sooner. Nobody waits: programs that have had least for the length of their way, after
those for which somebody waits, but for a bounded time only. Place: `placement`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import filterfalse, islice

from parrot.core.backlog import Backlog, Lane, Rank
from parrot.core.graph import Generation
from parrot.core.learning import LearnedLengths, Lengths, Speed
from parrot.core.load import Load, context_of, weight_of
from parrot.core.memory import Memory
from parrot.core.objectives import STRICTNESS, Objective
from parrot.core.placement import AHEAD, PATIENCE, Case, explain, has_room, ranked
from parrot.core.policy import Decision, Engine
from parrot.core.prefixes import PrefixIndex
from parrot.core.rules import Rules
from parrot.core.shares import Shares
from parrot.core.vacancies import Kind, Vacancies, kind_of, serves
from parrot.wire.to_core import EngineHolds, Usage

WAY = 4.0  # seconds by which a program that came earlier may be overtaken, for each second that its way is longer
MODELS = 1_000  # whose engines' speeds are known; the least recently used is forgotten
NOTED = 250  # things learned that are handed out for successors at once: a few milliseconds
LATELY = 10.0  # seconds for which sensitive work is remembered
HOLDERS, EMPTIEST = 3, 3  # engines that are looked at for a place
SCANNED = 12  # engines among which others are sought if these have prompts to compute first
LOOKED_AT = 8  # generations that may be passed over since no engine has room for them, before the rest waits too


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
        self._lengths = lengths or LearnedLengths()
        self._prefixes = PrefixIndex() if prefixes is None else prefixes  # an empty one is false
        self._objective = objective
        self._rules = rules or Rules()
        self._shares = Shares(weights)
        self._backlog = Backlog(self._rank, self._shares if self._rules.fairness else None)
        self._loads: dict[str, Load] = {}
        self._unknown = Speed()
        self._speeds = Memory("speed:", MODELS, Speed.read)  # by model, of the engine that was last heard of
        self._vacancies = Vacancies()
        self._vacant = 0  # bits of the engines that have a free place
        self._open: dict[bool, set[Kind]] = {}  # kinds of engines for what is sensitive, and for what is not, while decisions are made
        self._lanes: list[Lane] = []
        self._largest: dict[str | None, int] = {}
        self._sensitive = float("-inf")  # when sensitive work was last seen
        self._now = 0.0
        self._wake: float | None = None

    # What it is told -----------------------------------------------------------------------------

    def added(self, generations: Collection[Generation], now: float) -> None:
        for generation in generations:
            generation.tokens_out = self._lengths.expect(generation)
            generation.tail = self._seconds(generation)
            generation.program.whole().expect(generation, self._service(generation, self._lengths.computed(generation)))
            self._judge(generation)

    def changed(self, generations: Iterable[Generation]) -> None:
        for generation in generations:
            self._judge(generation)
            if generation in self._backlog:
                self._backlog.push(generation)
            # What an engine holds counts there as it was when it was given, until it leaves: a batch does not change by being renamed.

    def ready(self, generation: Generation, now: float) -> None:
        self._now = now
        program = generation.program.whole()
        generation.tokens_in = self._prompt(generation)
        generation.tokens_out = self._lengths.expect(generation)
        program.expect(generation, self._service(generation, generation.tokens_in))
        program.reckon(self._seconds)
        program.begin(generation)
        self._prefixes.need(generation.beginnings)
        self._backlog.push(generation)

    def waiting(self) -> Iterator[Generation]:
        return iter(self._backlog)

    def given(self, generation: Generation, engine: Engine, now: float) -> None:
        if generation in self._backlog:
            self._backlog.drop(generation)
            self._prefixes.need_no_more(generation.beginnings)
        else:  # a predecessor gave it, or it runs alone
            generation.program.whole().begin(generation)
        if generation.objective.sensitive:
            self._sensitive = now  # not when it became ready: that somebody waits for it is often said after that
        load = self._loads[engine.id]
        charge = load.give(generation, self._prefixes.held(engine.id, generation.beginnings), now)
        self._prefixes.comes(engine.id, generation.beginnings)
        self._shares.charge(generation.program.whole().tenant, charge.computed, charge.tokens_out)
        self._note_room(load)

    def left(self, generation: Generation, engine: Engine, usage: Usage | None, now: float) -> None:
        self._prefixes.came(engine.id, generation.beginnings, now)
        load = self._loads[engine.id]
        charge = load.take(generation, usage, now)
        if usage is not None:
            tenant, computed = generation.program.whole().tenant, usage.tokens_in - usage.tokens_cached
            self._shares.charge(tenant, computed - charge.computed, usage.tokens_out - charge.tokens_out)
            self._lengths.learn(generation, usage)
            self._speeds.note(engine.about.model, load.speed)
        self._note_room(load)

    def ended(self, generation: Generation, now: float) -> None:
        if generation in self._backlog:
            self._backlog.drop(generation)
            self._prefixes.need_no_more(generation.beginnings)

    def came(self, engine: Engine) -> None:
        self._prefixes.add(engine.id)
        alike = self._speeds.get(engine.about.model)
        load = self._loads[engine.id] = Load(engine, Speed() if alike is None else alike.copy())
        self._note_room(load)
        self._measure()

    def gone(self, engine: Engine) -> None:
        self._vacant &= ~self._prefixes.bit(engine.id)
        self._prefixes.remove(engine.id)
        self._vacancies.remove(engine)
        del self._loads[engine.id]
        self._measure()

    def _note_room(self, load: Load) -> None:
        """An engine holds more or less than before."""
        self._vacancies.update(load)
        bit = self._prefixes.bit(load.engine.id)
        self._vacant = self._vacant | bit if load.running < load.places else self._vacant & ~bit

    def _measure(self) -> None:
        """The largest context that an engine takes, by model, and of any."""
        self._largest = {}
        for load in self._loads.values():
            for model in (load.engine.about.model, None):
                self._largest[model] = max(self._largest.get(model, 0), load.engine.about.capacity.context_tokens)

    def reported(self, report: EngineHolds) -> bool:
        return self._prefixes.report(report)

    def learned(self) -> Mapping[str, str | None]:
        return {**self._speeds.changes(NOTED), **self._lengths.learned(NOTED)}

    def recall(self, found: Mapping[str, str]) -> None:
        self._speeds.recall(found)
        self._lengths.recall(found)

    # What it decides -----------------------------------------------------------------------------

    def next(self, engines: Mapping[str, Engine], now: float) -> Decision | None:
        self._now, self._wake = now, None
        if not self._open:  # asked for the first time since something has happened
            self._open = {sensitive: self._vacancies.kinds() for sensitive in (True, False)}
            self._list_lanes()
        for _ in range(LOOKED_AT):
            generation = self._backlog.first(self._lanes)
            if generation is None:
                break
            placed = self._place(generation, engines, now)
            if isinstance(placed, Decision):
                return placed
            if placed:
                self._keep_free(generation)
            self._backlog.pass_over()
        self._open = {}
        self._wake = self._next_filled(now) if self._backlog.look_again() else None
        return None

    def _keep_free(self, generation: Generation) -> None:
        """There is no room for a generation: none of those behind it gets what it waits for, but what is kept for sensitive work."""
        model, context = generation.call.model, self._context(generation)
        entitled = generation.objective.sensitive or self._now - generation.since > PATIENCE
        for sensitive in (False, True)[: 1 + entitled]:
            self._open[sensitive] = {kind for kind in self._open[sensitive] if not serves(kind, model, context)}
        self._list_lanes()

    def _list_lanes(self) -> None:
        """Whose turn it can be: what asks for an engine of a kind that is open."""
        self._lanes = [(model, sensitive) for sensitive, kinds in self._open.items() for model in _models(kinds)]

    def _next_filled(self, now: float) -> float | None:
        """When an engine will have computed so much of what it was given that it can take more."""
        return min((load.filled - AHEAD for load in self._loads.values() if load.filled > now + AHEAD), default=None)

    def priority(self, generation: Generation) -> int:
        return STRICTNESS[generation.objective.kind]

    def wake(self) -> float | None:
        return self._wake

    def _place(self, generation: Generation, engines: Mapping[str, Engine], now: float) -> Decision | bool:
        """Where a generation goes.

        Returns:
            False if it waits for the engine that holds its prompt although another has room, or if none comes into question at all; True
            if none is worth to be taken now: then none is for the next one like it either.
        """
        weight = weight_of(generation) if self._rules.harm else 1.0
        case = Case(generation, context_of(generation), now, weight, now - self._sensitive < LATELY, self._rules)
        candidates = self._candidates(generation, engines)
        if not self._rules.patience:
            candidates = (pair for pair in candidates if has_room(*pair, case))
        best, second = ranked(candidates, case)
        if best is None:
            return not self._rules.patience
        if best.wait:
            return second is None or second.wait > 0 or best.held <= second.held
        return Decision(
            generation,
            best.load.engine,
            why=explain(generation, best, second),
            runner_up=second.load.engine.id if second is not None else "",
            prefix=min(best.held, generation.tokens_in),
            slack=self.slack(generation, now),
        )

    def _candidates(self, generation: Generation, engines: Mapping[str, Engine]) -> Iterator[tuple[Load, int]]:
        """Those that hold most of the prompt, and those that are emptiest: one of them is the best, or nearly."""
        index, beginnings, model, context = self._prefixes, generation.beginnings, generation.call.model, self._context(generation)
        kinds = [kind for kind in self._open[generation.objective.sensitive] if serves(kind, model, context)]
        seen = set()
        if self._rules.prefixes:
            for name, held in index.cached(beginnings, self._vacant):
                engine = engines.get(name)
                if engine is None or kind_of(engine) not in kinds:
                    continue
                seen.add(name)
                yield self._loads[name], held
                if len(seen) >= HOLDERS:
                    break
        emptiest = self._vacancies.emptiest(kinds, engines)
        near = list(islice(emptiest, EMPTIEST))
        if all(map(self._is_filling, near)):
            near += islice(filterfalse(self._is_filling, islice(emptiest, SCANNED)), EMPTIEST)
        for engine in near:
            if engine.id not in seen:
                yield self._loads[engine.id], index.held(engine.id, beginnings) if self._rules.prefixes else 0

    def _is_filling(self, engine: Engine) -> bool:
        """It has prompts to compute before it can take more, however empty it is."""
        return self._loads[engine.id].filled > self._now + AHEAD

    def _context(self, generation: Generation) -> int:
        """Tokens of context that an engine should take; at most what the largest takes, which may then say that it is too little."""
        wanted = max(generation.tokens_in + generation.lowered.sampling.max_gen_length, generation.context)
        return min(wanted, self._largest.get(generation.call.model, wanted))

    def slack(self, generation: Generation, now: float) -> float | None:
        """Seconds that a generation could lose before something is late: its deadline, or else its program."""
        due = generation.objective.due
        if due is not None:
            return due - now - generation.tail
        if generation.objective.urgent:
            return generation.program.whole().way - generation.tail
        return None

    # What it reckons -----------------------------------------------------------------------------

    def _judge(self, generation: Generation) -> None:
        if self._objective is not None:
            generation.objective = self._objective(generation)

    def _rank(self, generation: Generation) -> Rank:
        """Seconds on one axis: the moment up to which others may go first; within a program the longer way first."""
        objective, program, rules = generation.objective, generation.program.whole(), self._rules
        program.reckon(self._seconds)  # more may have come below it since it became ready
        if not rules.ways and not rules.objectives:
            return (generation.order,)
        moment = program.arrived
        if rules.ways:
            moment += WAY * (program.way + program.rest / max(1, len(self._loads)))
        if rules.objectives and not objective.urgent:
            moment = program.arrived + PATIENCE + (program.attained if rules.ways else 0.0)
        if rules.objectives and objective.due is not None:
            moment = min(moment, objective.due - generation.tail)
        return (moment, -generation.tail, generation.order)

    def _prompt(self, generation: Generation) -> int:
        """Expected tokens of a prompt: as engines have counted them, as far as they have."""
        if (known := self._prefixes.counted(generation.beginnings)) is not None:
            counted, estimated = known
            return max(1, generation.beginnings.prompt_tokens - estimated + counted)
        return int(self._lengths.prompt(generation))

    def _speed(self, generation: Generation) -> Speed:
        """Of an engine that could take it."""
        model = generation.call.model
        load = next((load for load in self._loads.values() if model is None or load.engine.about.model == model), None)
        return self._unknown if load is None else load.speed

    def _service(self, generation: Generation, computed: float) -> float:
        """Engine time that a generation will need, of whose prompt so many tokens must be computed."""
        speed = self._speed(generation)
        return speed.prefill(computed) + generation.tokens_out * speed.share(context_of(generation))

    def _seconds(self, generation: Generation) -> float:
        """How long a generation will take by itself, on an engine like those that are there."""
        speed = self._speed(generation)
        return speed.prefill(generation.tokens_in) + generation.tokens_out * speed.step(context_of(generation))


def _models(kinds: Collection[Kind]) -> set[str | None]:
    """What can be asked for of engines of some kinds."""
    return {None, *(model for model, _ in kinds)} if kinds else set()
