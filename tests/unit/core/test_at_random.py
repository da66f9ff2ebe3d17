"""Whatever happens to a cell: no engine idles for long beside work that it could do, all comes to its end, and nothing is left over."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from parrot.core.graph import Generation
from parrot.core.limits import Limits
from parrot.core.policy import Engine
from parrot.criteria import Criterion
from parrot.wire.to_core import CancelVariable, EngineBeat, EngineDown, GenerationFailed, GenerationReturned, SubmitCall
from tests.unit.core.cell import close_session, text
from tests.unit.core.stage import DAY, Stage, ask, up, want, words

BOOKS = (300, 700, 2_000, 8_000)  # tokens of texts that calls share
IDLE = 15.0  # seconds that an engine may be idle beside whom it could take
WAKES = 3_000  # of the machine between two moments, more of which would be a busy loop


class Play:
    """A cell to which things happen, all of them drawn from a seed.

    Args:
        deaths: whether engines die, so that calls come under suspicion.
        takeovers: whether a new leader comes now and then.
    """

    def __init__(self, seed: int, *, deaths: bool = False, takeovers: bool = False) -> None:
        self.random = Random(seed)
        self.deaths, self.takeovers = deaths, takeovers
        self.stage = Stage(limits=Limits(lease=DAY, unserved=300.0, idle=DAY))
        self.stage.tell(*(text(f"b{number}", words(tokens, f"book{number}")) for number, tokens in enumerate(BOOKS)))
        self.calls: list[str] = []
        self.engines = 0
        self.ends: dict[tuple[str, int], float] = {}  # of attempts
        self.idle: dict[str, float] = {}  # since when engines could take what waits
        self.longest = 0.0

    # What happens --------------------------------------------------------------------------------

    def step(self) -> None:
        draw, stage = self.random, self.stage
        alive = list(stage.machine.fleet.engines)
        what = draw.random()
        if what < 0.45:
            stage.tell(*(self.call() for _ in range(draw.choice((1, 1, 3, 20)))))
        elif what < 0.55 and self.calls:
            stage.tell(want(draw.choice(self.calls[-40:]), draw.choice(list(Criterion)), draw.choice((None, stage.now + 20))))
        elif what < 0.60 and self.calls:
            stage.tell(CancelVariable(session="s", variable=f"{draw.choice(self.calls[-40:])}.x"))
        elif what < 0.65 or len(alive) < 2:
            self.engine()
        elif what < 0.68 and len(alive) > 2:
            stage.tell(EngineDown(engine=draw.choice(alive), died=self.deaths and draw.random() < 0.5))
        elif what < 0.70:
            stage.tell(EngineBeat(engine=draw.choice(alive), draining=draw.random() < 0.5))
        elif what < 0.71 and self.takeovers:
            self.take_over()
        else:
            self.advance(stage.now + draw.choice((0.01, 0.3, 1.0, 5.0)))

    def call(self) -> SubmitCall:
        draw, name, inputs = self.random, f"c{len(self.calls)}", dict[str, str]()
        prompt = f"{name}: "
        if draw.random() < 0.2:
            prompt = words(draw.choice((50, 500, 3_000, 12_000)), draw.choice("pqr")) + prompt
        if draw.random() < 0.6:
            prompt, inputs["b"] = "{{b}} " + prompt, f"b{draw.randrange(len(BOOKS))}"
        for place, needed in enumerate(draw.sample(self.calls[-30:], min(len(self.calls), draw.choice((0, 0, 0, 1, 1, 2, 4))))):
            prompt, inputs[f"i{place}"] = f"{prompt}{{{{i{place}}}}} ", f"{needed}.x"
        self.calls.append(name)
        made = ask(name, prompt, most=draw.choice((16, 100, 400)), model=draw.choice((None, None, "m", "m", "n")), **inputs)
        deadline = self.stage.now + draw.choice((5, 50, 500)) if draw.random() < 0.1 else None
        return made.model_copy(update={"deadline": deadline})

    def engine(self) -> None:
        draw, self.engines = self.random, self.engines + 1
        running, kv = draw.choice((1, 1, 2, 4, 16)), draw.choice((4_000, 20_000, 200_000))
        self.stage.tell(up(f"e{self.engines}", running, kv, draw.choice((1_000, 6_000, 30_000)), draw.choice("mmn")))

    def take_over(self) -> None:
        self.stage.jobs.clear()
        self.stage.restart()
        self.stage.scheduler = self.stage.machine.fleet.policy  # type: ignore[assignment]
        self.beat()
        self.idle.clear()

    # Time passes ---------------------------------------------------------------------------------

    def advance(self, until: float) -> None:
        """Engines end what they hold, and the machine is called when it asks for that."""
        for _ in range(WAKES):
            ending = self.next_end()
            due = self.stage.machine.deadline()
            moments = [moment for moment in (ending and ending[0], due) if moment is not None]
            if min(moments, default=until) >= until:
                self.stage.now = max(self.stage.now, until)
                self.beat()
                self.look()
                return
            self.stage.now = max(self.stage.now, min(moments))
            if ending and ending[0] <= self.stage.now:
                self.end(ending[1])
            else:
                self.stage.tell()
            self.look()
        raise AssertionError(f"The machine was woken {WAKES} times before {until}.")

    def next_end(self) -> tuple[float, str] | None:
        """When the next attempt ends, and of which call; how long it takes is drawn when it is first seen."""
        found = None
        for names in self.stage.running().values():
            for name in names:
                attempt = (name, self.stage.job(name)[1].attempt)
                if attempt not in self.ends:
                    self.ends[attempt] = self.stage.now + self.random.choice((0.1, 1.0, 3.0, 10.0, 20.0))
                found = min(found or (self.ends[attempt], name), (self.ends[attempt], name))
        return found

    def end(self, name: str) -> None:
        """An attempt ends: nearly always well."""
        engine, job = self.stage.job(name)
        how: dict[str, Any] = {"engine": engine, "variable": job.variable, "attempt": job.attempt}
        what = self.random.random()
        if what < 0.03:
            self.stage.tell(GenerationReturned(**how))
        elif what < 0.05:
            self.stage.tell(GenerationFailed(**how, code="engine_error", reason="It broke."))
        else:
            self.stage.finish(name)
            if self.random.random() < 0.7 and engine in self.stage.machine.fleet.engines:
                self.stage.report(engine, name, lost=self.random.random() < 0.1)

    def beat(self) -> None:
        self.stage.tell(*(EngineBeat(engine=name, draining=engine.draining) for name, engine in self.stage.machine.fleet.engines.items()))

    # What must hold ------------------------------------------------------------------------------

    def look(self) -> None:
        """How long engines have been idle beside what they could take, and what does not wait for the holder of its prompt.

        Nor does it count who makes room for a suspect.
        """
        fleet, now = self.stage.machine.fleet, self.stage.now
        waiting = [one for one in fleet.waiting() if ", which holds" not in self.stage.scheduler.awaits(one)]
        for engine in fleet.engines.values():
            if engine.holds or engine.draining or any(one.suspect for one in waiting) or not any(self.fits(one, engine) for one in waiting):
                self.idle.pop(engine.id, None)
            else:
                self.longest = max(self.longest, now - self.idle.setdefault(engine.id, now))

    def fits(self, generation: Generation, engine: Engine) -> bool:
        model = generation.call.model
        largest = (
            max(
                other.about.capacity.context_tokens
                for other in self.stage.machine.fleet.engines.values()
                if model in (None, other.about.model)
            )
            if model in (None, engine.about.model)
            else 0
        )
        needs = generation.context_wanted
        return 0 < min(needs, largest) <= engine.about.capacity.context_tokens and largest > 0

    def wind_up(self) -> None:
        """Nothing new comes, and there are engines for all."""
        for name in list(self.stage.machine.fleet.engines):
            self.stage.tell(EngineBeat(engine=name, draining=False))
        self.stage.tell(*(up(f"last-{model}", 2, 200_000, 30_000, model) for model in "mn"))
        limit = self.stage.now + 20_000
        while self.stage.machine.graph.calls:
            assert self.stage.now < limit, [self.stage.scheduler.awaits(one) for one in self.stage.machine.fleet.waiting()]
            self.advance(self.stage.now + 1.0)

    def check_leftovers(self) -> None:
        stage, scheduler = self.stage, self.stage.scheduler
        assert not len(scheduler._backlog)
        assert not scheduler._aside
        assert not scheduler._shares._present
        assert not scheduler._prefixes._needed
        assert not any(node.users for node in scheduler._prefixes._nodes.values())
        assert list(scheduler._prefixes.check()) == []
        for load in scheduler._candidates.loads.values():
            assert not load._charges
            assert load.tokens == load.context == load.weight == load.sensitive == 0
        stage.tell(close_session())
        stage.now += 4_000
        self.beat()
        graph = stage.machine.graph
        assert not any((graph.sessions, graph.calls, graph.variables, graph.owners, graph.tenants))
        for name in list(stage.machine.fleet.engines):
            stage.tell(EngineDown(engine=name))
        assert len(scheduler._prefixes) == 0
        assert {kind for kind, _ in stage.machine.timers} <= {"unserved"}


@pytest.mark.parametrize("how", [{}, {"deaths": True}, {"deaths": True, "takeovers": True}], ids=["calm", "deaths", "takeovers"])
@pytest.mark.parametrize("seed", [3, 38])
def test_all_comes_to_its_end_no_engine_idles_and_nothing_is_left_over(seed: int, how: dict[str, bool]) -> None:
    play = Play(seed, **how)
    for _ in range(2):
        play.engine()
    for _ in range(250):
        play.step()
    play.wind_up()
    assert play.longest <= IDLE
    play.check_leftovers()
