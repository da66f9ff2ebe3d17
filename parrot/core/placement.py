"""Which engine takes a generation: the one where it costs least time, its own and that of those whom it would delay.

The cost of an engine, in seconds, is what the generation itself would take there,

    prompts that are being computed there + its own prompt, as far as it is not held there + its output, at the pace of that batch

and the harm that it does: while its prompt is computed the others halt, and as long as it runs they are slower. What is sensitive
there counts whole; members of groups and work for which nobody waits suffer less from it, since they are many and wait for the last one.
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import nsmallest
from typing import NamedTuple

from parrot.core.graph import Generation
from parrot.core.load import Load, context_of, weight_of
from parrot.core.rules import Rules

AHEAD = 0.25  # seconds of prompts that may wait in an engine to be computed: what keeps it busy, and no more
FULL = 0.95  # of the KV cache that may be given away: what is expected is not exact
PATIENT = 0.1  # what a second of delay counts for work that is not sensitive
CAP = 1.5  # how much slower a step may become for sensitive work by neighbours that are not
RESERVE = 8  # one in so many places is kept for sensitive work, where there is such


class Cost(NamedTuple):
    """What a generation would cost on one engine.

    Attributes:
        seconds: own and harm, which is what is compared.
        own: until it is done.
        load: of the engine.
        held: tokens of its prompt that need not be computed.
    """

    seconds: float
    own: float
    load: Load
    held: int


def has_room(load: Load, generation: Generation, held: int, now: float, rules: Rules, sensitive_lately: bool, patient: bool) -> bool:
    """Whether an engine can take a generation now without making others wait.

    Args:
        load: of the engine.
        generation: that can run.
        held: tokens of its prompt that the engine has.
        now: seconds since the epoch.
        rules: which hold.
        sensitive_lately: sensitive work has come of late, so that some may come soon.
        patient: the generation has not waited so long that it must be taken.
    """
    running, capacity = load.running, load.engine.about.capacity
    if running >= capacity.running:
        return False
    if not running:
        return True  # it will never be emptier
    if rules.backlog and load.filled > now + AHEAD:
        return False
    if rules.waves and weight_of(generation) * (load.remaining(now) + now - generation.since) < harm_of_prompt(load, generation, held):
        return False
    if load.tokens + generation.tokens_in - held + generation.tokens_out > FULL * capacity.kv_tokens:
        return False
    if generation.objective.sensitive or not patient:
        return True
    if rules.reserve and sensitive_lately and running >= capacity.running - capacity.running // RESERVE:
        return False
    with_it = load.speed.step(load.context + context_of(generation))
    return not (rules.harm and load.sensitive and with_it > CAP * load.speed.step(load.sensitive_context))


def harm_of_prompt(load: Load, generation: Generation, held: int) -> float:
    """Seconds that programs on an engine lose while the prompt of one more generation is computed there."""
    return load.speed.prefill(max(0, generation.tokens_in - held)) * load.weight


def cost(load: Load, generation: Generation, held: int, now: float, rules: Rules) -> Cost:
    """What a generation would cost on an engine."""
    speed, context = load.speed, context_of(generation)
    computing = speed.prefill(max(1.0, generation.tokens_in - held))
    own = max(0.0, load.filled - now) + computing + generation.tokens_out * speed.step(load.context + context)
    delay = computing + generation.tokens_out * speed.slower(context)
    harm = delay * (load.sensitive + PATIENT * (load.running - load.sensitive)) if rules.harm else 0.0
    return Cost(own + harm, own, load, held)


def ranked(loads: Mapping[Load, int], generation: Generation, now: float, rules: Rules) -> tuple[Cost, Cost | None]:
    """The best of some engines that have room, of which there is one at least, and the next best.

    Args:
        loads: of the engines, and the tokens of the prompt that each holds.
        generation: that is to be placed.
        now: seconds since the epoch.
        rules: which hold.
    """
    costs = [cost(load, generation, held, now, rules) for load, held in loads.items()]
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
