"""The state of one cell, which all rules share: they read it, change it, and write what follows into its batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from parrot.core import records
from parrot.core.batch import Batch
from parrot.core.beginnings import UNREAD
from parrot.core.fleet import Fleet
from parrot.core.graph import Generation, Graph, Session
from parrot.core.limits import Limits
from parrot.core.policy import Policy
from parrot.core.timers import Timers
from parrot.wire.keys import Keys


class Cell:
    """The state of one cell.

    Args:
        keys: the cell's names.
        limits: what is allowed.
        first_batch: number of the first batch.
        now: the time, in seconds since the epoch.
        policy: decides who is next, and where.

    Attributes:
        batch: what the rules are writing; handed out and begun anew by `turn_over`.
        now, at: the time of the batch, in seconds since the epoch, and as it is written into keys.
        changed: sessions whose progress is to be written with this batch.
        queued: generations that became ready in this batch.
        stirred: generations whose objective is to be derived again.
        unserved: those of which was said that there is no engine for them, by the model that they ask for.
        misinformed: those that may wait for something else by now than was said of them.
        passed_on: when what was learned was last written for successors, in seconds since the epoch.
    """

    def __init__(self, keys: Keys, limits: Limits, first_batch: int, now: float, policy: Policy) -> None:
        self.keys = keys
        self.limits = limits
        self.graph = Graph(limits.isolate)
        self.fleet = Fleet(policy)
        self.timers = Timers()
        self.batch = Batch(first_batch)
        self.now, self.at = now, records.clock(now)
        self.changed: dict[str, Session] = {}
        self.queued: list[Generation] = []
        self.stirred: list[Generation] = []
        self.unserved: dict[str | None, dict[Generation, None]] = {}
        self.misinformed: dict[Generation, None] = {}
        self.passed_on = float("-inf")

    def begin(self, now: float) -> None:
        """Set the time of the batch, in seconds since the epoch."""
        self.now, self.at = now, records.clock(now)

    def turn_over(self) -> Batch:
        """Hand out the batch, and begin the next one."""
        batch, self.batch = self.batch, Batch(self.batch.number + 1)
        return batch

    def begun(self, generations: Sequence[Generation], submitted: float | None = None) -> None:
        """The generations of a call are in the graph; `submitted`: when, if not now."""
        generations[0].program.whole().add(generations, self.now if submitted is None else submitted)
        self.fleet.policy.added(generations, self.now)
        self.stirred.extend(generations)

    def over(self, generation: Generation) -> None:
        """A generation has ended, and no engine holds it any more."""
        generation.program.whole().drop(generation)
        if (unserved := self.unserved.get(model := generation.call.model)) is not None:
            unserved.pop(generation, None)
            if not unserved:
                del self.unserved[model]
        self.fleet.policy.ended(generation, self.now)

    def queue(self, generations: Iterable[Generation]) -> None:
        """Generations can run: they wait for an engine now."""
        for generation in generations:
            if generation.beginnings is UNREAD:
                generation.since = generation.since or self.now  # a predecessor knew since when
                self.graph.read_prompt(generation)
            self.fleet.push(generation, self.now)
            self.queued.append(generation)
