"""Which engine takes a generation: the one where it costs least time, its own and that of those whom it would delay.

The cost of an engine, in seconds, is what the generation itself would take there,

    prompts that are being computed there + its own prompt, as far as it is not held there + its output, at the pace of that batch

and the harm that it does: while its prompt is computed the others halt, and as long as it runs they are slower. On both sides what is
read as it comes, or nobody waits for, counts half; of other calls of one program that run at once only the last one counts, so that they
are together as one.
So the parts of a large program rather wait than halt many chats, and since a pace counts the prompts that came lately, chats keep away
from where such work is: engines come to differ without anybody saying which one is for what.

A beginning that many use makes its engine slow, as each step reads all contexts. To compute it on another one harms those who are there
once, but serves all who come after; so of this harm a generation counts the part that falls to it if users spread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from parrot.core.graph import Generation
from parrot.core.load import Load, context_of, weight_of
from parrot.core.rules import Rules

AHEAD = 0.25  # seconds of prompts that may wait in an engine to be computed: what keeps it busy, and no more
ANEW = 4.0  # what a second counts in which a prompt is computed anew: what comes after it will want it there, and it displaces others'
SOON = 0.01  # seconds at least until an engine without room has some
FULL = 0.95  # of the KV cache that may be given away: what is expected is not exact
PATIENCE = 60.0  # seconds after which the comfort of others does not count any more
NOTABLE = 0.01  # seconds of difference that are worth a word
CAP = 3.0  # how much slower a step may become for sensitive work by neighbours that are not
RESERVE = 8  # one in so many places is kept for sensitive work, where there is such


class Cost(NamedTuple):
    """What a generation would cost on one engine.

    Attributes:
        seconds: own and harm, which is what is compared.
        own: until it is done.
        wait: until the engine has room, which is part of it.
        load: of the engine.
        held: tokens of its prompt that need not be computed.
    """

    seconds: float
    own: float
    wait: float
    load: Load
    held: int


class Case(NamedTuple):
    """A generation that is to be placed, and what holds for all engines at this moment.

    Attributes:
        tokens_in, tokens_out: of the generation.
        context: that it would add to a batch, in tokens.
        weight: what a second of delay to it counts.
        entitled: it takes room wherever there is some, whomever it disturbs.
        reserve: some places are kept for sensitive work, which has come of late, so that more may come soon.
        now: seconds since the epoch.
        rules: which hold.
        known: tokens of the longest beginning of its prompt that any engine holds.
        users: generations that would share it on an engine more that held it, this one too.
        ahead: how many wait for an engine and go before it, by the engine's id.
    """

    tokens_in: int
    tokens_out: float
    context: float
    weight: float
    entitled: bool
    reserve: bool
    now: float
    rules: Rules
    known: int
    users: float
    ahead: Callable[[str], int]


def case_of(
    generation: Generation, now: float, sensitive_lately: bool, rules: Rules, shared: tuple[int, float], ahead: Callable[[str], int]
) -> Case:
    """What there is to know of a generation that is to be placed now; `shared` is what the prefix index says of its prompt."""
    return Case(
        generation.tokens_in,
        generation.tokens_out,
        context_of(generation),
        weight_of(generation) if rules.harm else 1.0,
        is_entitled(generation, now, rules),
        rules.reserve and sensitive_lately,
        now,
        rules,
        *shared,
        ahead,
    )


def is_entitled(generation: Generation, now: float, rules: Rules) -> bool:
    """Whether a generation takes room wherever there is some: it is sensitive, or has waited for long enough."""
    return generation.objective.sensitive or (rules.insistence and now - generation.since > PATIENCE)


def has_room(load: Load, held: int, case: Case) -> bool:
    """Whether an engine that holds so many tokens of the prompt can take the generation now without making others wait."""
    running = load.running
    if running >= load.places:
        return False
    if not running:
        return True  # it will never be emptier
    if load.filled > case.now + AHEAD and case.rules.backlog:
        return False
    if load.tokens + case.tokens_in - held + case.tokens_out > FULL * load.kv_tokens:
        return False
    if case.entitled:
        return True
    if case.reserve and running >= load.places - load.places // RESERVE:
        return False
    if not (load.sensitive and case.rules.harm and case.rules.cap):
        return True
    return load.speed.step(load.context + case.context) <= CAP * load.speed.step(load.sensitive_context)


def wait(load: Load, held: int, case: Case) -> float:
    """Seconds until an engine that has no room for a generation should have some: until enough of what it holds is done.

    Those that wait for it too and go before are believed to be like this one.
    """
    ahead = case.ahead(load.engine.id)
    places = max(0, load.running + ahead + 1 - load.places) / load.places
    computed = case.tokens_in - held
    tokens = load.tokens + (ahead + 1) * (computed + case.tokens_out) - FULL * load.kv_tokens
    part = max(places, tokens / load.tokens if load.tokens else 0.0)
    filled = load.filled + ahead * max(0, computed) * load.speed.token_seconds
    return max(SOON, filled - AHEAD - case.now, min(1.0 + ahead, part) * load.remaining(case.now))


def cost(load: Load, held: int, case: Case) -> Cost:
    """What a generation would cost on an engine, once that has room."""
    speed, computing = load.speed, max(1.0, case.tokens_in - held) * load.speed.token_seconds
    waiting = 0.0 if has_room(load, held, case) else wait(load, held, case)
    step = speed.step_seconds + speed.context_seconds * (load.context + case.context)
    own = max(waiting, load.filled - case.now) + computing + case.tokens_out * step * (load.pace(case.now) if case.rules.pace else 1.0)
    anew = computing
    if case.known > held:  # what others hold and use is computed here for those who come after as well
        anew -= (case.known - held) * (1.0 - 1.0 / case.users) * speed.token_seconds
    seconds = case.weight * own + (ANEW - 1.0) * computing
    if load.weight and case.rules.harm:
        seconds += load.weight * (anew + case.tokens_out * speed.context_seconds * case.context)
    return Cost(seconds, own, waiting, load, held)


class Ranking(NamedTuple):
    """What some engines would cost.

    Attributes:
        best: of them, and second: the next best.
        free: the best of those that have room.
    """

    best: Cost | None
    second: Cost | None
    free: Cost | None


def ranked(loads: Iterable[tuple[Load, int]], case: Case) -> Ranking:
    """Compare some engines.

    Args:
        loads: of the engines, and the tokens of the prompt that each holds.
        case: what is to be placed.
    """
    best: Cost | None = None
    second: Cost | None = None
    free: Cost | None = None
    for load, held in loads:
        one = cost(load, held, case)
        if not one.wait and (free is None or one.seconds < free.seconds):
            free = one
        if best is None or one.seconds < best.seconds:
            second = best  # not as a pair: mypyc would insist that none of it is None
            best = one
        elif second is None or one.seconds < second.seconds:
            second = one
    return Ranking(best, second, free)


def explain(generation: Generation, best: Cost, second: Cost | None) -> str:
    """Why a generation goes to this engine, in words."""
    engine = best.load.engine
    words = [f"{engine.about.name} should have it done in {best.own:.2f} s"]
    if best.held:
        held = min(best.held, generation.tokens_in)
        words.append(f"since it holds {held:,} of about {generation.tokens_in:,} prompt tokens and runs {len(engine.holds)}")
    else:
        words.append(f"running {len(engine.holds)} of {engine.about.capacity.running}")
    said = ", ".join(words)
    if second is None:
        return f"{said}; no other engine came into question"
    other = f"next best {second.load.engine.about.name}: {second.own:.2f} s, holds {second.held:,}, runs {len(second.load.engine.holds)}"
    return f"{said}; {other}{_costs_more(best, second)}"


def _costs_more(best: Cost, other: Cost) -> str:
    """Why another engine is not taken where it would be done sooner, in words; nothing where it would not."""
    if other.own >= best.own - NOTABLE:
        return ""
    delays = ", others delayed" if other.load.weight else ""
    anew = ", more of its prompt computed" if other.held < best.held else ""
    return f", but there it would cost more in all{delays}{anew}"


def waits_for(generation: Generation, best: Cost, free: Cost) -> str:
    """Why a generation waits for an engine though another one has room, in words that hold when that has changed."""
    name, held = best.load.engine.about.name, min(best.held, generation.tokens_in)
    holds = f", which holds {held:,} of about {generation.tokens_in:,} prompt tokens" if held else ""
    other = f"{free.load.engine.about.name} had room and would have taken {free.own:.2f} s"
    return f"waits for {name}{holds}: it should be done there in {best.own:.2f} s; {other}{_costs_more(best, free)}"
