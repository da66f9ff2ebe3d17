"""Small runs for tests."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

from bench.simulator.app import App, Given, Pause, Read, Var
from bench.simulator.policies.at_once import AtOnce
from bench.simulator.profiles import A100_13B
from bench.simulator.run import Outcome, Run, Setting
from bench.simulator.surroundings import Surroundings
from bench.simulator.workload import Kind, Workload
from parrot.core.policy import Policy
from parrot.criteria import LATENCY, TTFT


def talk(app: App) -> Generator[Read | Pause, None, None]:
    """A conversation with a pause in it."""
    said: list[str | Var | Given] = [app.contents.write("Hello.", 500)]
    for turn in range(3):
        said.append(Given(app.write(f"question {turn}", 300)))
        answer = app.call("talk", said, tokens=20)
        yield app.read(answer, TTFT)
        said.append(answer)
        yield Pause(1.0)


def fan(app: App) -> Generator[Read | Pause, None, None]:
    """Some calls at once, and one that gathers them."""
    parts = [app.call("part", [app.text(app.write(f"part {number}", 200))], tokens=10 + number) for number in range(4)]
    yield app.read(app.call("whole", [*parts], tokens=30), LATENCY)


TALKS = Workload("talks", "", (Kind("talk", talk),))
BOTH = Workload("both", "", (Kind("talk", talk, tenant="a"), Kind("fan", fan, share=2, tenant="b", burst=(1, 3))))


def setting(workload: Workload = BOTH, programs: int = 20, rate: float = 2.0, **others: float | int | bool) -> Setting:
    return Setting(workload, A100_13B, 2, programs, rate=rate, **others)  # type: ignore[arg-type]


@dataclass
class Notes:
    """Where each call of each session went."""

    engines: dict[str, list[str]] = field(default_factory=dict)

    def on(self, kind: type[AtOnce]) -> type[AtOnce]:
        """A policy that writes them."""
        engines = self.engines

        class Noting(kind):  # type: ignore[misc, valid-type]
            def choose(self, generation, among):  # type: ignore[no-untyped-def]
                chosen = super().choose(generation, among)
                engines.setdefault(generation.call.session, []).append(chosen.id)
                return chosen

        return Noting


def go(make: type[AtOnce], **settings: object) -> Outcome:
    def policy(surroundings: Surroundings) -> Policy:
        try:
            return make(surroundings)  # type: ignore[call-arg]
        except TypeError:
            return make()

    return Run(setting(**settings), policy).go()  # type: ignore[arg-type]
