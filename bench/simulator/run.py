"""One run: a workload, a policy, some engines, and ServeCore between them."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from bench.simulator.app import App, Story
from bench.simulator.bound import Bound
from bench.simulator.clock import Clock
from bench.simulator.contents import Contents
from bench.simulator.core import HOP_SECONDS, Core
from bench.simulator.profile import Profile
from bench.simulator.sequence import Sequence
from bench.simulator.surroundings import Surroundings
from bench.simulator.worker import Worker
from bench.simulator.workload import Kind, Workload
from parrot.core.policy import Policy
from parrot.wire.to_engine import Order

WARM_UP = 0.15  # of the programs, that are not counted
FORGET_SECONDS = 5.0  # after a program has ended, until its texts are forgotten: its last jobs may still be on their way


@dataclass(frozen=True, slots=True)
class Setting:
    """What is run.

    Attributes:
        workload: what arrives.
        profile: of the engines.
        engines: how many.
        programs: that arrive until the end of what is counted; more come after them until those have ended.
        rate: programs per second; 0 for a closed loop.
        closed: programs under way in a closed loop.
        seed: of all chance.
        lost: how many reports of engines are lost, from 0 to 1.
        deaths: how often ServeCore dies.
        reorders: engines give what waits in them another place when its priority changes.
    """

    workload: Workload
    profile: Profile
    engines: int
    programs: int
    rate: float = 0.0
    closed: int = 0
    seed: int = 0
    lost: float = 0.0
    deaths: int = 0
    reorders: bool = True


@dataclass(slots=True)
class Outcome:
    """What came of it.

    Attributes:
        stories: of the programs that count.
        began, ended: the steady window: from the first arrival that counts to the last, in seconds since the epoch.
        finished: programs that ended in it.
        service: by tenant, tokens in it: those taken in, and twice those made.
        tokens_out: made in it.
        generations: in all.
        deciding, handling: seconds of CPU that the policy and the whole machine have used.
        preemptions: sequences that had to make room in an engine.
        busy: how much of the window the engines had work, from 0 to 1.
        leaders: of ServeCore.
        overloaded: it was ended before all had ended.
    """

    stories: list[Story]
    began: float = 0.0
    ended: float = 0.0
    finished: int = 0
    service: dict[str, float] = field(default_factory=dict)
    tokens_out: int = 0
    generations: int = 0
    deciding: float = 0.0
    handling: float = 0.0
    preemptions: int = 0
    busy: float = 0.0
    leaders: int = 1
    overloaded: bool = False


class Run:
    """Everything of one run.

    Args:
        setting: what is run.
        make_policy: the policy under test.
    """

    def __init__(self, setting: Setting, make_policy: Callable[[Surroundings], Policy]) -> None:
        self._setting = setting
        self._clock = Clock()
        self._contents = Contents(setting.profile.block_tokens)
        self._workers: dict[str, Worker] = {}
        self._surroundings = Surroundings(self._workers, self._contents, setting.profile, {})
        self._core = Core(self._clock, partial(make_policy, self._surroundings), self._dispatch, lasting=setting.deaths > 0)
        for number in range(setting.engines):
            name = f"e{number}"
            self._workers[name] = Worker(
                name,
                self._clock,
                setting.profile,
                self._contents,
                tell=self._core.tell,
                first=self._first,
                published=self._published,
                lost=setting.lost,
                reorders=setting.reorders,
                seed=setting.seed,
            )
        self._chance = random.Random(f"{setting.seed} {setting.workload.name} arrivals")
        self._apps: dict[str, App] = {}
        self._arrived = 0
        self._counted = range(int(setting.programs * WARM_UP), setting.programs)
        self._left = len(self._counted)
        self._outcome = Outcome([], overloaded=setting.workload.overload > 0)
        self._window = False

    def go(self) -> Outcome:
        """From the first arrival to the end of the last program that counts."""
        gc.collect()
        gc.disable()  # as in ServeCore; what a run leaves is collected before the next
        try:
            for worker in self._workers.values():
                worker.start()
            self._clock.after(1.0, self._begin)
            self._clock.run(self._over)
        finally:
            gc.enable()
        outcome, core = self._outcome, self._core
        outcome.deciding, outcome.handling, outcome.leaders = core.deciding_seconds, core.seconds, core.leaders
        return outcome

    def _over(self) -> bool:
        if self._setting.workload.overload:
            return self._outcome.ended > 0  # those that have not ended never would
        return not self._left

    # Arrivals ---------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._setting.closed:
            for _ in range(self._setting.closed):
                self._arrive_alone()
        else:
            self._clock.after(self._gap(), self._come)

    def _gap(self) -> float:
        return self._chance.expovariate(self._setting.rate / self._setting.workload.burst)

    def _come(self) -> None:
        self._arrive()
        if self._arrived < 2 * self._setting.programs:  # a policy that starves something must not make the run endless
            self._clock.after(self._gap(), self._come)

    def _arrive(self) -> None:
        for kind in self._setting.workload.arrival(self._chance):
            self._start(kind)

    def _arrive_alone(self) -> None:
        """In a closed loop one comes for each that has ended."""
        self._start(self._setting.workload.arrival(self._chance)[0])

    def _start(self, kind: Kind) -> None:
        number = self._arrived
        self._arrived += 1
        app = App(
            number,
            kind.name,
            kind.tenant,
            self._setting.seed,
            self._clock,
            self._contents,
            Bound(self._setting.profile),
            self._surroundings.objectives,
            self._core.tell,
            self._ended,
        )
        self._apps[app.session] = app
        if number == self._counted.start:
            self._open_window()
        if number in self._counted:
            self._outcome.stories.append(app.story)
        app.start(kind.script)
        if number == self._counted.stop - 1:
            self._close_window()

    def _open_window(self) -> None:
        self._window, self._outcome.began = True, self._clock.now
        self._busy_before = self._busy_seconds()
        for death in range(self._setting.deaths):
            gap = len(self._counted) / self._setting.rate / (self._setting.deaths + 1)
            self._clock.after(gap * (death + 1), self._core.die)

    def _close_window(self) -> None:
        outcome = self._outcome
        self._window, outcome.ended = False, self._clock.now
        seconds = max(1e-9, outcome.ended - outcome.began)
        outcome.busy = (self._busy_seconds() - self._busy_before) / seconds / len(self._workers)
        outcome.preemptions = sum(worker.engine.preemptions for worker in self._workers.values())

    def _busy_seconds(self) -> float:
        return sum(worker.engine.busy_seconds for worker in self._workers.values())

    # What happens -----------------------------------------------------------------------------------

    def _dispatch(self, engine: str, order: Order) -> None:
        self._workers[engine].take(order)

    def _first(self, sequence: Sequence) -> None:
        for listener in self._surroundings.on_first:
            listener(sequence.job.variable)

    def _published(self, engine: str, sequence: Sequence) -> None:
        job = sequence.job
        app = self._apps[job.session]
        app.story.tokens_in += sequence.prompt
        app.story.tokens_cached += sequence.cached
        app.story.tokens_out += sequence.made
        self._outcome.generations += 1
        if self._window:
            tenant = app.story.tenant
            service = sequence.prompt + 2 * sequence.made
            self._outcome.service[tenant] = self._outcome.service.get(tenant, 0.0) + service
            self._outcome.tokens_out += sequence.made
        if self._core.ledger is not None:
            self._core.ledger.publish(job.variable)
        self._clock.after(HOP_SECONDS, app.came, job.variable, sequence.first + HOP_SECONDS, sequence.made)

    def _ended(self, app: App) -> None:
        self._outcome.finished += self._window
        self._left -= app.story.number in self._counted
        self._clock.after(FORGET_SECONDS, self._forget, app)
        if self._setting.closed:
            self._arrive_alone()

    def _forget(self, app: App) -> None:
        del self._apps[app.session]
        app.forget()
