"""The real ServeCore in virtual time: its machine, what it is told and when, and its death and return."""

from __future__ import annotations

from collections.abc import Callable
from time import thread_time
from typing import Any

from bench.simulator.clock import Clock
from bench.simulator.ledger import MemoryLedger
from bench.simulator.stopwatch import Stopwatch
from parrot.broker.ledger import Lead
from parrot.core.limits import Limits
from parrot.core.machine import Machine
from parrot.core.policy import Policy
from parrot.core.recovery import rebuild
from parrot.wire.keys import Keys
from parrot.wire.to_engine import Order

HOP_SECONDS = 0.0005  # of each arrow: app to core, core to engine, engine to core and app
LIMITS = Limits(results=60, active=10**9, tenant_active=10**9, session_calls=10**9)  # no policy may live off refusals
DOWN_SECONDS = 4.0  # the lease of a leader that died, and what its successor needs


class Core:
    """One ServeCore and the streams that it reads.

    Args:
        clock: whose time it lives in.
        make_policy: makes the policy of each leader.
        dispatch: takes its orders, by engine.
        lasting: keep what Redis would keep, so that it can die and come back.

    Attributes:
        seconds: of CPU in which messages were handled.
        leaders: how many have led.
    """

    def __init__(
        self, clock: Clock, make_policy: Callable[[], Policy], dispatch: Callable[[str, Order], None], *, lasting: bool = False
    ) -> None:
        self._clock = clock
        self._make_policy = make_policy
        self._dispatch = dispatch
        self._keys = Keys("simulated")
        self.ledger = MemoryLedger(self._keys) if lasting else None
        self._policies = [Stopwatch(make_policy())]
        self.machine: Machine | None = Machine(self._keys, LIMITS, now=clock.now, policy=self._policies[-1])
        self._inbox: list[Any] = []
        self._batches = 0
        self._awake = False
        self._alarm: float | None = None
        self.seconds = 0.0

    @property
    def leaders(self) -> int:
        return len(self._policies)

    @property
    def deciding_seconds(self) -> float:
        """Of CPU that policies have used."""
        return sum(policy.seconds for policy in self._policies)

    def tell(self, message: Any) -> None:
        """Write a task or an event to its stream."""
        self._clock.after(HOP_SECONDS, self._arrive, message)

    def die(self) -> None:
        """SIGKILL; a successor takes over when the lease has run out."""
        self.machine = None
        self._clock.after(DOWN_SECONDS, self._take_over)

    def _take_over(self) -> None:
        assert self.ledger is not None, "only a lasting core can come back"
        lead, found = Lead(self.leaders + 1, {}, self._batches), self.ledger.load()
        self._policies.append(Stopwatch(self._make_policy()))
        self.machine, unsent = rebuild(self._keys, LIMITS, lead, found, self._clock.now, self._policies[-1])
        self._send(unsent)
        self._wake()

    def _arrive(self, message: Any) -> None:
        self._inbox.append(message)
        self._wake()

    def _wake(self) -> None:
        """Handle what has come, with all that comes at this very moment."""
        if not self._awake:
            self._awake = True
            self._clock.at(self._clock.now, self._step)

    def _step(self) -> None:
        self._awake = False
        if self.machine is None:
            return  # what has come stays in the streams
        messages, self._inbox = self._inbox, []
        began = thread_time()
        batch = self.machine.handle(messages, self._clock.now)
        self.seconds += thread_time() - began
        if batch.abandoned:
            raise AssertionError(f"ServeCore gave up the engines {batch.abandoned}, which are well.")
        self._batches = batch.number
        if self.ledger is not None:
            self.ledger.apply(batch.operations)
        self._send(batch.orders)
        self._set_alarm(self.machine.deadline())

    def _send(self, orders: list[tuple[str, str, Order]]) -> None:
        for engine, _, order in orders:
            self._clock.after(HOP_SECONDS, self._dispatch, engine, order)

    def _set_alarm(self, due: float | None) -> None:
        if due is not None and (self._alarm is None or due < self._alarm):
            self._alarm = due = max(due, self._clock.now + HOP_SECONDS)  # a loop does not turn without end
            self._clock.at(due, self._ring, due)

    def _ring(self, due: float) -> None:
        if due == self._alarm:
            self._alarm = None
            self._wake()
