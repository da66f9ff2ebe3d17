"""ServeCore's state machine: messages and the time go in, operations and jobs come out.

The only place where decisions are made. No I/O and no clock: the loop (`loop.py`) gives it what it read, commits `operations`
in one script and then sends `jobs`. What it decides follows from what it was told alone, so that a successor that is told
the same goes on the same way. The decisions themselves are in the rules, a file for each kind of thing that they are about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from parrot.core import unserved
from parrot.core.batch import Batch
from parrot.core.call_rules import deadline_over, submit_call
from parrot.core.cell import Cell
from parrot.core.engine_rules import engine_beat, engine_down, engine_holds, engine_up, lease_over, spare
from parrot.core.fleet import Fleet
from parrot.core.generation_rules import (
    FoundSet,
    assign,
    found_set,
    generation_done,
    generation_failed,
    generation_returned,
    generation_revoked,
)
from parrot.core.graph import Graph
from parrot.core.limits import Limits
from parrot.core.passing_on import pass_on
from parrot.core.policy import Policy
from parrot.core.scheduler import Scheduler
from parrot.core.session_rules import cancel_session, close_session, idle_over, note_progress, open_session, results_over
from parrot.core.timers import Timers
from parrot.core.undecodable import SetInVain
from parrot.core.variable_rules import cancel_variable, declare_variable, set_in_vain, set_variable, want_variable
from parrot.wire.keys import Keys
from parrot.wire.to_core import (
    CancelSession,
    CancelVariable,
    CloseSession,
    DeclareVariable,
    EngineBeat,
    EngineDown,
    EngineHolds,
    EngineUp,
    Event,
    GenerationDone,
    GenerationFailed,
    GenerationReturned,
    GenerationRevoked,
    OpenSession,
    SetVariable,
    SubmitCall,
    Task,
    WantVariable,
)

RULES: dict[type[Any], Callable[[Cell, Any], None]] = {
    OpenSession: open_session,
    CloseSession: close_session,
    CancelSession: cancel_session,
    DeclareVariable: declare_variable,
    SetVariable: set_variable,
    SetInVain: set_in_vain,
    WantVariable: want_variable,
    CancelVariable: cancel_variable,
    SubmitCall: submit_call,
    EngineUp: engine_up,
    EngineBeat: engine_beat,
    EngineHolds: engine_holds,
    EngineDown: engine_down,
    GenerationDone: generation_done,
    GenerationFailed: generation_failed,
    GenerationReturned: generation_returned,
    GenerationRevoked: generation_revoked,
    FoundSet: found_set,
}
ALARMS: dict[str, Callable[[Cell, str], None]] = {
    "lease": lease_over,
    "results": results_over,
    "idle": idle_over,
    "deadline": deadline_over,
    "unserved": unserved.over,
}


class Machine:
    """The state of one cell, and its rules.

    Args:
        keys: the cell's names.
        limits: what is allowed.
        first_batch: number of the first batch; numbers never repeat in a cell, since ids of orders derive from them.
        now: the time at which it takes over, in seconds since the epoch.
        policy: decides who is next, and where; a `Scheduler` by default.
    """

    def __init__(self, keys: Keys, limits: Limits, first_batch: int = 1, now: float = 0.0, policy: Policy | None = None) -> None:
        self.cell = Cell(keys, limits, first_batch, now, policy or Scheduler())

    @property
    def graph(self) -> Graph:
        return self.cell.graph

    @property
    def fleet(self) -> Fleet:
        return self.cell.fleet

    @property
    def timers(self) -> Timers:
        return self.cell.timers

    def handle(self, messages: Iterable[Task | Event | SetInVain | FoundSet], now: float) -> Batch:
        """Take in messages and the passing of time.

        Args:
            messages: in the order in which they were read.
            now: seconds since the epoch.

        Returns:
            What to commit and what to send after that.
        """
        cell = self.cell
        cell.begin(now)
        for message in messages:
            RULES[type(message)](cell, message)
        for kind, whom in cell.timers.due(now):
            ALARMS[kind](cell, whom)
        assign(cell)
        note_progress(cell)
        pass_on(cell)
        return cell.turn_over()

    def deadline(self) -> float | None:
        """When `handle` must be called even if no message comes, in seconds since the epoch."""
        due = [when for when in (self.timers.next(), self.fleet.policy.wake()) if when is not None]
        return min(due, default=None)

    def spare(self, now: float) -> None:
        """Nobody could be heard for a while: no engine is taken for dead before it had another lease to speak."""
        spare(self.cell, now)
