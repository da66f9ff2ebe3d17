"""The rivals do what the systems do that they stand for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator

import pytest

from bench.simulator.app import App, Given, Pause, Read
from bench.simulator.metrics import figures
from bench.simulator.policies.affinity import Affinity
from bench.simulator.policies.attained import Attained
from bench.simulator.policies.contestants import CONTESTANTS, ORACLE, OURS, STRONG
from bench.simulator.policies.least_loaded import LeastLoaded
from bench.simulator.policies.prefix_aware import PrefixAware
from bench.simulator.policies.round_robin import RoundRobin
from bench.simulator.policies.unknowing import PriorLengths, ShortSighted
from bench.simulator.run import Run
from bench.simulator.worker import Worker
from bench.simulator.workload import Kind, Workload
from parrot.core.prefixes import PrefixIndex
from parrot.criteria import LATENCY
from parrot.wire.to_core import EngineHolds, Usage
from parrot.wire.to_engine import Order, Reorder
from tests.unit.bench.simulator.runs import TALKS, Notes, go, setting
from tests.unit.core.making import make_generation


def hits(outcome: object) -> float:
    return figures(outcome)["hit_rate"]  # type: ignore[arg-type]


def test_round_robin_takes_turns() -> None:
    notes = Notes()
    go(notes.on(RoundRobin), workload=TALKS, programs=1, rate=0.01)
    assert notes.engines["talk-0"] in (["e0", "e1", "e0"], ["e1", "e0", "e1"])


def test_the_least_loaded_engine_is_the_one_with_the_fewest_requests() -> None:
    notes = Notes()
    go(notes.on(LeastLoaded), workload=BURST, programs=20, rate=1.0)
    first = [engines[0] for engines in notes.engines.values()][:20]
    assert Counter(first) == {"e0": 10, "e1": 10}


def single(app: App) -> Generator[Read | Pause, None, None]:
    prompt: list[str | Given] = [app.contents.write(f"kind {app.story.number % 2}", 2000), Given(app.write("own", 100))]
    yield app.read(app.call("single", prompt, tokens=20), LATENCY)


BURST = Workload("burst", "", (Kind("single", single, burst=(20, 20)),))
SINGLES = Workload("singles", "", (Kind("single", single),))


def test_the_prefix_aware_router_goes_where_the_prefix_is() -> None:
    notes = Notes()
    outcome = go(notes.on(PrefixAware), workload=SINGLES, programs=30, rate=1.0)
    last = {f"single-{number}": engines[0] for number, engines in enumerate(notes.engines.values()) if number >= 4}
    assert len({engine for session, engine in last.items() if int(session.split("-")[1]) % 2}) == 1
    assert hits(outcome) > 0.9


def test_the_strong_baseline_keeps_sessions_where_they_are() -> None:
    notes = Notes()
    outcome = go(notes.on(Affinity), workload=TALKS, programs=30, rate=1.0)
    assert all(len(set(engines)) == 1 for engines in notes.engines.values())
    assert hits(outcome) > hits(go(RoundRobin, workload=TALKS, programs=30, rate=1.0))


def test_a_burst_behind_one_prefix_is_spread_when_its_engine_is_overloaded() -> None:
    notes = Notes()
    go(notes.on(Affinity), workload=BURST, programs=20, rate=1.0)
    spread = Counter(engines[0] for engines in notes.engines.values())
    assert min(spread.values()) >= len(notes.engines) * 0.3


def test_those_who_have_had_least_go_first_in_the_queues_of_engines() -> None:
    priorities: dict[str, list[int]] = {}

    class Noting(Attained):
        def priority(self, generation):  # type: ignore[no-untyped-def]
            found = super().priority(generation)
            priorities.setdefault(generation.call.session, []).append(found)
            return found

    go(Noting, workload=TALKS, programs=5, rate=1.0)
    for had in priorities.values():
        assert had[0] == 0
        assert had == sorted(set(had))


def afterthought(app: App) -> Generator[Read | Pause, None, None]:
    """Somebody asks for a result while it is made."""
    answer = app.call("talk", [app.text(app.write("question", 3_000))], tokens=200)
    yield Pause(0.1)
    yield app.read(answer, LATENCY)


@pytest.mark.parametrize(("policy", "reordered"), [("attained", False), (STRONG, False), (OURS, True)])
def test_engines_are_told_of_changed_priorities_by_policies_that_change_them(
    policy: str, reordered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Order] = []
    take = Worker.take
    monkeypatch.setattr(Worker, "take", lambda worker, order: (told.append(order), take(worker, order)))
    workload = Workload("afterthoughts", "", (Kind("afterthought", afterthought),))
    Run(setting(workload=workload, programs=20, rate=4.0), CONTESTANTS[policy].make).go()
    assert any(isinstance(order, Reorder) for order in told) == reordered


def test_routers_leave_their_books_empty() -> None:
    kept: list[Affinity] = []

    class Kept(Affinity):
        def __init__(self, surroundings):  # type: ignore[no-untyped-def]
            super().__init__(surroundings)
            kept.append(self)

    outcome = Run(setting(workload=TALKS, programs=20, rate=0.2), Kept).go()
    (policy,) = kept
    assert outcome.generations >= 60
    under_way = sum(work.requests for work in policy.work.values())
    assert under_way == len(policy._given) <= 2  # whoever came after those that count
    if not under_way:
        assert all(not work.prefill and not work.context and not work.coming for work in policy.work.values())


def test_an_oracle_sees_what_is_cached_at_once_and_does_not_find_less() -> None:
    found = {
        name: hits(Run(setting(workload=TALKS, programs=40, rate=3.0), CONTESTANTS[name].make).go()) for name in (OURS, ORACLE, STRONG)
    }
    assert found[ORACLE] >= found[OURS] - 0.05


def test_lengths_that_are_never_learned_stay_what_was_believed_at_first() -> None:
    lengths, generation = PriorLengths(), make_generation()
    before = lengths.expect(generation)
    lengths.learn(generation, Usage(tokens_in=10, tokens_out=900, seconds=1.0, running=1.0))
    assert lengths.expect(generation) == before


def test_an_index_that_does_not_look_ahead_forgets_what_will_be_needed() -> None:
    for index, kept in ((PrefixIndex(10), True), (ShortSighted(10), False)):
        index.add("e1")
        index.need([1])
        for name in range(1, 100):
            index.report(EngineHolds(engine="e1", sequence=name, stored=[(name, 50)]), 0.0)
        index.need_no_more([1])
        assert (1 in index._nodes) == kept
