"""Which engine takes a generation: the one where it costs least time, its own and that of those whom it would delay.

The cost of an engine, in seconds, is what the generation itself would take there,

    prompts that are being computed there + its own prompt, as far as it is not held there + its output, at the pace of that batch

and the harm that it does: while its prompt is computed the others halt, and as long as it runs they are slower. What is sensitive
there counts whole; of a group only the last one counts, so that all its members together are as one; work for which nobody waits
counts less.
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import nsmallest
from typing import NamedTuple

from parrot.core.graph import Generation
from parrot.core.load import Load, context_of
from parrot.core.rules import Rules

AHEAD = 0.25  # seconds of prompts that may wait in an engine to be computed: what keeps it busy, and no more
ANEW = 4.0  # what a second counts in which a prompt is computed anew: what comes after it will want it there, and it displaces others'
SOON = 0.01  # seconds at least until an engine without room has some
FULL = 0.95  # of the KV cache that may be given away: what is expected is not exact
PATIENCE = 60.0  # seconds after which the comfort of others does not count any more
CAP = 1.5  # how much slower a step may become for sensitive work by neighbours that are not
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


class Situation(NamedTuple):
    """What holds for all decisions of one moment.

    Attributes:
        now: seconds since the epoch.
        sensitive_lately: sensitive work has come of late, so that some may come soon.
        rules: which hold.
    """

    now: float
    sensitive_lately: bool
    rules: Rules


def has_room(load: Load, generation: Generation, held: int, situation: Situation) -> bool:
    """Whether an engine can take a generation now without making others wait.

    Args:
        load: of the engine.
        generation: that can run.
        held: tokens of its prompt that the engine has.
        situation: of the moment.
    """
    running, capacity, now, rules = load.running, load.engine.about.capacity, situation.now, situation.rules
    if running >= capacity.running:
        return False
    if not running:
        return True  # it will never be emptier
    if rules.backlog and load.filled > now + AHEAD:
        return False
    waited = now - generation.since
    if load.tokens + generation.tokens_in - held + generation.tokens_out > FULL * capacity.kv_tokens:
        return False
    if generation.objective.sensitive or waited > PATIENCE:
        return True
    if rules.reserve and situation.sensitive_lately and running >= capacity.running - capacity.running // RESERVE:
        return False
    with_it = load.speed.step(load.context + context_of(generation))
    return not (rules.harm and load.sensitive and with_it > CAP * load.speed.step(load.sensitive_context))


def wait(load: Load, generation: Generation, held: int, now: float) -> float:
    """Seconds until an engine that has no room for a generation should have some: until enough of what it holds is done."""
    capacity = load.engine.about.capacity
    places = 1 / capacity.running if load.running >= capacity.running else 0.0
    tokens = load.tokens + generation.tokens_in - held + generation.tokens_out - FULL * capacity.kv_tokens
    part = max(places, tokens / load.tokens if load.tokens else 0.0)
    return max(0.0, load.filled - AHEAD - now, min(1.0, part) * load.remaining(now))


def cost(load: Load, generation: Generation, held: int, situation: Situation) -> Cost:
    """What a generation would cost on an engine, once that has room."""
    waiting = 0.0 if has_room(load, generation, held, situation) else max(SOON, wait(load, generation, held, situation.now))
    speed, context = load.speed, context_of(generation)
    computing = speed.prefill(max(1.0, generation.tokens_in - held))
    own = max(waiting, load.filled - situation.now, 0.0) + computing + generation.tokens_out * speed.step(load.context + context)
    delay = computing + generation.tokens_out * speed.slower(context)
    harm = delay * load.weight if situation.rules.harm else 0.0
    return Cost(own + (ANEW - 1.0) * computing + harm, own, waiting, load, held)


def ranked(loads: Mapping[Load, int], generation: Generation, situation: Situation) -> tuple[Cost, Cost | None]:
    """The best of some engines, of which there is one at least, and the next best.

    Args:
        loads: of the engines, and the tokens of the prompt that each holds.
        generation: that is to be placed.
        situation: of the moment.
    """
    costs = [cost(load, generation, held, situation) for load, held in loads.items()]
    best, *rest = nsmallest(2, costs, key=_seconds)
    return best, rest[0] if rest else None


def _seconds(one: Cost) -> float:
    return one.seconds


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
        return f"{said}; no other engine has room for it"
    other = f"next best {second.load.engine.about.name}: {second.own:.2f} s, holds {second.held:,}, runs {len(second.load.engine.holds)}"
    if second.own < best.own:
        other += ", but there it would delay others more"
    return f"{said}; {other}"
