"""Who goes first: moments on one axis, up to which others may go before a generation.

Somebody waits for it: a program that came first and has the shorter way to go, and of it what has the least slack. It must end in time:
what has the least slack, when it has to begin at the latest. Nobody waits: the program that has had least for how long it is, after those
for which somebody waits, but for a bounded time only.
"""

from __future__ import annotations

from parrot.core.graph import Generation
from parrot.core.objectives import Kind
from parrot.core.rules import Rules
from parrot.core.turns import Rank

LATER = 240.0  # seconds for which what nobody waits for lets come first what somebody waits for
SERVED = 30.0  # seconds by which a program for which nobody waits may be overtaken by one of which less has been served
FOREVER = 1e9  # seconds, instead of `LATER`, where nothing ages
WAY = 16.0  # seconds by which a program that came earlier may be overtaken, for each of the first seconds that its way is longer


def rank(generation: Generation, engines: int, rules: Rules) -> Rank:
    """The smaller, the earlier; within a program the longer way first, which has the least slack.

    What nobody waits for, but must end in time, has when it should begin before that: by this it goes among its like, whenever it came.

    Args:
        generation: that waits; the ways of its program are reckoned.
        engines: how many there are.
        rules: which hold.
    """
    objective, program = generation.objective, generation.program.whole()
    later = LATER if rules.ageing else FOREVER
    moment = program.arrived
    if rules.ways:
        way = program.way_of(generation)
        longer = WAY * (way + program.rest_of(generation) / max(1, engines)) + way - generation.tail
        moment += later * longer / (later + longer)  # however long it is: before what comes at the same time and nobody waits for
    if not objective.urgent:
        moment = program.arrived + later + (SERVED * program.served if rules.attained else 0.0)
    if objective.due is None or not rules.deadlines:
        return (moment, -generation.tail, generation.order)
    if objective.kind is not Kind.DEADLINE:
        return (min(moment, generation.late), -generation.tail, generation.order)
    begins = generation.late - program.rest_of(generation) / max(1, engines)
    spare = max(0.0, begins - program.arrived)
    moment = max(moment, program.arrived + later * spare / (later + spare))  # how long its way will be is not sure
    return (begins, min(moment, generation.late), -generation.tail, generation.order)


def slack(generation: Generation, now: float) -> float | None:
    """Seconds that a generation could lose before something is late: its deadline, or else its program. None if nothing can be late."""
    if generation.objective.due is not None:
        return generation.late - now
    if generation.objective.urgent:
        return generation.program.whole().way_of(generation) - generation.tail
    return None
