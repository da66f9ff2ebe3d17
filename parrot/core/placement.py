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
from parrot.core.learning import Speed
from parrot.core.policy import Engine
from parrot.core.rules import Rules

FULL = 0.95  # of the KV cache that may be given away: what is expected is not exact
PATIENT = 0.1  # what a second of delay counts for work that is not sensitive
CAP = 1.5  # how much slower a step may become for sensitive work by neighbours that are not
RESERVE = 8  # one in so many places is kept for sensitive work, where there is such


class Cost(NamedTuple):
    """What a generation would cost on one engine.

    Attributes:
        seconds: own and harm, which is what is compared.
        own: until it is done.
        engine: which.
        held: tokens of its prompt that need not be computed.
    """

    seconds: float
    own: float
    engine: Engine
    held: int


def has_room(engine: Engine, generation: Generation, held: int, speed: Speed, rules: Rules, sensitive_lately: bool, patient: bool) -> bool:
    """Whether an engine can take a generation now without making others wait.

    Args:
        engine: not draining.
        generation: that can run.
        held: tokens of its prompt that the engine has.
        speed: of the engine.
        rules: which rules hold.
        sensitive_lately: sensitive work has come of late, so that some may come soon.
        patient: the generation has not waited so long that it must be taken.
    """
    running, slots = len(engine.holds), engine.about.capacity.running
    if running >= slots:
        return False
    if not running:
        return True  # it will never be emptier
    if engine.tokens + generation.tokens_in - held + generation.tokens_out > FULL * engine.about.capacity.kv_tokens:
        return False
    if generation.objective.sensitive or not patient:
        return True
    if rules.reserve and sensitive_lately and running >= slots - slots // RESERVE:
        return False
    return not (rules.harm and engine.sensitive and speed.step(running + 1) > CAP * speed.step(engine.sensitive))


def cost(engine: Engine, generation: Generation, held: int, speed: Speed, now: float, rules: Rules) -> Cost:
    """What a generation would cost on an engine."""
    running = len(engine.holds)
    computing = speed.prefill(max(1.0, generation.tokens_in - held))
    own = max(0.0, engine.filled - now) + computing + generation.tokens_out * speed.step(running + 1)
    delay = computing + generation.tokens_out * speed.neighbour
    harm = delay * (engine.sensitive + PATIENT * (running - engine.sensitive)) if rules.harm else 0.0
    return Cost(own + harm, own, engine, held)


def ranked(
    engines: Mapping[Engine, int],
    generation: Generation,
    speeds: Mapping[str, Speed],
    now: float,
    rules: Rules,
) -> tuple[Cost, Cost | None]:
    """The best of some engines that have room, of which there is one at least, and the next best."""
    costs = [cost(engine, generation, held, speeds[engine.id], now, rules) for engine, held in engines.items()]
    best, *rest = nsmallest(2, costs, key=_seconds)
    return best, rest[0] if rest else None


def _seconds(one: Cost) -> float:
    return one.seconds


def explain(generation: Generation, best: Cost, second: Cost | None) -> str:
    """Why a generation goes to this engine, in words."""
    engine = best.engine
    words = [f"{engine.about.name} should have it done in {best.own:.2f} s"]
    if best.held:
        held = min(best.held, generation.tokens_in)
        words.append(f"since it holds {held:,} of about {generation.tokens_in:,} prompt tokens and runs {len(engine.holds)}")
    else:
        words.append(f"running {len(engine.holds)} of {engine.about.capacity.running}")
    said = ", ".join(words)
    if second is None:
        return f"{said}; no other engine has room for it"
    other = f"next best {second.engine.about.name}: {second.own:.2f} s, holds {second.held:,}, runs {len(second.engine.holds)}"
    if second.own < best.own:
        other += ", but there it would delay others more"
    return f"{said}; {other}"
