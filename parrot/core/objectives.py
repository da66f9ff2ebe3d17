"""What each generation should be optimised for, deduced from what is asked of the variables below it (Parrot, OSDI'24, section 5.2).

A reader's criterion holds for the generation that makes the variable and is handed up to what that one waits for:

==========  ==============================  ==================================================================================
asked for   its maker                       what the maker waits for
==========  ==============================  ==================================================================================
latency     latency                         latency: each second lost on the way is lost at the end
ttft        ttft                            latency: before the last step begins nothing can be read
tpot        tpot                            throughput: a halt before the first token breaks no stream
deadline    deadline                        deadline: the same moment; what is left of the way says how urgent it is
throughput  throughput                      throughput
==========  ==============================  ==================================================================================

Where a generation waits for several calls at once, those form a task group: none of them alone matters, only the last one. They and
what they wait for have the objective `group`, and may share a batch that would be too large for one that must be quick; if nobody
waits, but they must end in time, it is `deadline` all the same. A member that itself waits for several calls makes a group within the
group. What all members wait for is serial again: each second lost there is lost for all, so it gets what their consumer hands up, as if
it were its only maker. What several ask for takes the strictest.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from functools import partial
from heapq import heappop, heappush
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from parrot.core.asks import MANY, Asks
from parrot.criteria import Criterion

if TYPE_CHECKING:
    from parrot.core.graph import Generation, Graph, Variable


class Kind(StrEnum):
    """Kinds of objectives, the strictest first."""

    LATENCY = "latency"
    TTFT = "ttft"
    TPOT = "tpot"
    GROUP = "group"
    DEADLINE = "deadline"
    THROUGHPUT = "throughput"


KINDS = tuple(Kind)
STRICTNESS = {kind: rank for rank, kind in enumerate(Kind)}  # lower is stricter
_SENSITIVE = (Kind.LATENCY, Kind.TTFT, Kind.TPOT)
_OWN = {criterion: Kind(criterion.value) for criterion in Criterion}
_HANDED_UP = {Kind.TTFT: Kind.LATENCY, Kind.TPOT: Kind.THROUGHPUT}  # all others as they are


class Objective(NamedTuple):
    """What a generation is optimised for.

    Attributes:
        kind: how.
        group: the call whose inputs the group makes; empty for what is in none.
        due: the earliest moment at which something that depends on it ceases to be of use, in seconds since the epoch.
    """

    kind: Kind
    group: str = ""
    due: float | None = None

    @property
    def urgent(self) -> bool:
        """Somebody waits for what comes of it."""
        return self.kind is not Kind.THROUGHPUT

    @property
    def sensitive(self) -> bool:
        """It suffers by itself from each neighbour in its batch; a member of a group does not, since only the last one counts."""
        return self.kind in _SENSITIVE


CHAIN = 16  # steps that are followed back from a member of a group, one after the other, to what others wait for too

NO_GROUP = "~~"  # after the ids of calls: what is in a group says so
PLAIN = {kind: Objective(kind) for kind in Kind}  # most have one of these, and share it
IDLE = PLAIN[Kind.THROUGHPUT]


def strictest(one: Objective, other: Objective) -> Objective:
    """What satisfies both."""
    if one == other:
        return one
    due = one.due if other.due is None else other.due if one.due is None else min(one.due, other.due)
    if one.kind == other.kind:
        return Objective(one.kind, min(one.group or other.group, other.group or one.group), due)
    stricter = one if STRICTNESS[one.kind] < STRICTNESS[other.kind] else other
    return Objective(stricter.kind, stricter.group, due)


def own(graph: Graph, generation: Generation) -> Objective:
    """What is asked of a generation itself: by readers of its variable, and by the deadlines of its call and session."""
    made, call = generation.made, generation.call
    dues = [due for due in (made.due, call.deadline, graph.sessions[call.session].deadline) if due is not None]
    kind = Kind.THROUGHPUT if made.criterion is None else _OWN[made.criterion]
    if dues and STRICTNESS[kind] > STRICTNESS[Kind.DEADLINE]:
        kind = Kind.DEADLINE  # nobody waits for it, but it must end in time
    return Objective(kind, "", min(dues, default=None))


def handed_up(consumer: Generation, objective: Objective) -> Objective:
    """What a generation with an objective asks of those that it waits for."""
    alone = handed_up_alone(objective)
    if consumer.gathers and alone.kind is not Kind.THROUGHPUT:
        return Objective(Kind.DEADLINE if alone.kind is Kind.DEADLINE else Kind.GROUP, consumer.call.id, alone.due)
    return alone


def handed_up_alone(objective: Objective) -> Objective:
    """What a generation with an objective asks of the only one that it waits for, or of what all wait for that it waits for."""
    kind, group, due = objective
    kind = _HANDED_UP.get(kind, kind)
    if kind is Kind.THROUGHPUT and due is not None:
        kind = Kind.DEADLINE  # however it is read, it must end in time
    return Objective(kind, group, due)


def derive(graph: Graph, generation: Generation, bound: Objective | None = None) -> Objective:
    """The objective of one generation, given those of its consumers.

    Args:
        graph: theirs.
        generation: of which nothing is to be believed.
        bound: nothing stricter is asked of it than this and what is asked of it itself, if that is known: then who else asks for what
            need not be heard once that is reached.
    """
    objective = own(graph, generation)
    bound = None if bound is None else strictest(bound, objective)
    for place, one in enumerate(who_ask(generation)):
        if objective == bound:
            return objective
        if place == MANY:
            return strictest(objective, _most(order_asks(graph, generation)))
        if not one.ended:
            objective = strictest(objective, asked(generation.variable, one))
    return objective


def who_ask(generation: Generation) -> Iterable[Generation]:
    """Those that ask something of a generation, since they wait for it; some that have ended may lie among them."""
    return chain(generation.gatherers or (), generation.made.consumers)


def asked(made: str, one: Generation) -> Objective:
    """What one of those asks of the maker of a variable: of the head of its group more than of the members."""
    return handed_up_alone(one.objective) if one.head == made else handed_up(one, one.objective)


def order_asks(graph: Graph, generation: Generation) -> Asks:
    """What many consumers ask of a generation, in order."""
    if generation.asks is None:
        generation.asks = Asks(graph.variables, who_ask(generation), partial(_strictness, generation.variable))
    return generation.asks


def _most(asks: Asks) -> Objective:
    strictness = asks.strictest()
    if strictness is None:
        return IDLE
    rank, group = strictness
    return Objective(KINDS[rank], group if group != NO_GROUP else "", asks.due())


def _strictness(made: str, one: Generation) -> tuple[int, str]:
    objective = asked(made, one)
    return STRICTNESS[objective.kind], objective.group or NO_GROUP


def refresh(graph: Graph, generations: Iterable[Generation]) -> list[Generation]:
    """Derive objectives again, and those of all ancestors that they change; work for what changes, and no more.

    Args:
        graph: theirs.
        generations: of which something has changed: what is asked of them, or who consumes what they make.

    Returns:
        Those whose objective has become another one.
    """
    pending, changed = _Pending(), []
    for generation in generations:
        pending.push(generation, IDLE, True)
    while pending.queue:
        _, _, generation = heappop(pending.queue)
        before, bound = generation.objective, pending.bounds[generation]
        objective = derive(graph, generation, bound) if generation in pending.weaker else bound
        if objective == before:
            continue
        generation.objective = PLAIN[objective.kind] if objective == PLAIN[objective.kind] else objective
        changed.append(generation)
        ask, asked = handed_up(generation, objective), handed_up(generation, before)
        for producer in makers(graph, generation):
            pending.push(producer, ask, strictest(ask, asked) != ask)
            if producer.asks is not None:
                producer.asks.told(generation)
        if (head := _head(graph, generation)) is not None:
            ask, asked = handed_up_alone(objective), handed_up_alone(before)
            pending.push(head, ask, strictest(ask, asked) != ask)
            if head.asks is not None:
                head.asks.told(generation)
    return changed


class _Pending:
    """Those that are to be derived.

    Attributes:
        queue: the deepest first: a consumer is deeper than what it waits for, so that each is derived once.
        bounds: stricter they cannot become.
        weaker: those of whom somebody asks less, so that all who ask must be heard.
    """

    def __init__(self) -> None:
        self.queue: list[tuple[int, int, Generation]] = []
        self.bounds: dict[Generation, Objective] = {}
        self.weaker: set[Generation] = set()

    def push(self, generation: Generation, ask: Objective, less: bool) -> None:
        """Something is asked of one that was not asked before; or less, perhaps."""
        if generation.ended:
            return
        if generation not in self.bounds:
            heappush(self.queue, (-generation.made.depth, len(self.bounds), generation))
            self.bounds[generation] = generation.objective
        self.bounds[generation] = strictest(self.bounds[generation], ask)
        if less:
            self.weaker.add(generation)


def producers(graph: Graph, generation: Generation) -> Iterable[Generation]:
    """The generations that it waits for, and that of which all of those wait."""
    yield from makers(graph, generation)
    if (head := _head(graph, generation)) is not None:
        yield head


def makers(graph: Graph, generation: Generation) -> Iterable[Generation]:
    """The generations that it waits for."""
    for name in generation.lowered.inputs:
        producer = graph.variables[name].producer
        if producer is not None:
            yield producer


def _head(graph: Graph, generation: Generation) -> Generation | None:
    return graph.variables[generation.head].producer if generation.head else None


def members(generation: Generation, inputs: Iterable[Variable]) -> list[Generation]:
    """The makers of a generation's inputs that it waits for at once: a task group, if they are of several calls.

    Not counted are calls that have ended, earlier outputs of its own call, and what the last one of its inputs waits for: those come one
    after the other.
    """
    producers = [needed.producer for needed in inputs if needed.producer is not None and needed.producer.call is not generation.call]
    depths = {producer.made.depth for producer in producers}
    if len(depths) < 2:
        return producers
    last = max(depths)
    lists = {id(inputs): inputs for producer in producers if producer.made.depth == last for inputs in (producer.lowered.inputs,)}
    before = {name for inputs in lists.values() for name in inputs}
    return [producer for producer in producers if producer.variable not in before]


def head_of(graph: Graph, group: Iterable[Generation]) -> Generation | None:
    """What every member of a task group waits for, the last of it; None if there is nothing, or several that run at once."""
    common: set[str] | None = None
    for member in {id(member.lowered.inputs): member for member in group}.values():  # what waits for the same has the same before it
        common = _awaited(graph, member) if common is None else common & _awaited(graph, member)
        if not common:
            return None
    heads = [producer for name in common or () if (producer := graph.variables[name].producer) is not None]
    last = max(heads, key=lambda head: head.made.depth)
    before = _awaited(graph, last)
    return last if all(head is last or head.variable in before for head in heads) else None


def _awaited(graph: Graph, generation: Generation) -> set[str]:
    """The variables that a generation waits for, and those that these wait for, as long as it is one after the other."""
    found: set[str] = set()
    for _ in range(CHAIN):
        waits = [name for name in generation.lowered.inputs if graph.variables[name].producer is not None]
        found.update(waits)
        only = graph.variables[waits[0]].producer if len(waits) == 1 else None
        if only is None:
            break
        generation = only
    return found
