"""Programs go through the real machine and virtual engines, and each ends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.simulator.core import HOP_SECONDS
from bench.simulator.metrics import figures
from bench.simulator.policies.affinity import Affinity
from bench.simulator.policies.contestants import CONTESTANTS, OURS
from bench.simulator.policies.least_loaded import LeastLoaded
from bench.simulator.policies.round_robin import RoundRobin
from bench.simulator.profiles import A100_13B
from bench.simulator.run import Run, Setting
from bench.simulator.surroundings import Surroundings
from bench.simulator.workload import Workload
from bench.simulator.workloads import ALL
from parrot.core.policy import Policy
from tests.unit.bench.simulator.runs import BOTH, TALKS, go, setting


def test_a_program_alone_takes_the_time_of_its_calls_its_pauses_and_its_hops() -> None:
    outcome = go(RoundRobin, workload=TALKS, programs=1, rate=0.001)
    (story,) = outcome.stories
    profile, size = A100_13B, A100_13B.block_tokens
    expected, context, cached = 0.0, 500, 0
    for turn in range(3):
        context += 300
        hits = cached if turn == 2 else 0  # two engines in turn: the third call finds what the first one left
        expected += profile.step(1, context, context - hits) + profile.decode(1, context, 19) + 3 * HOP_SECONDS + 1.0
        cached = (context + 19) // size * size if turn == 0 else cached
        context += 20
    assert story.ended is not None
    assert story.ended - story.arrived == pytest.approx(expected)
    assert (story.calls, story.paused, story.tokens_out) == (3, 3.0, 60)
    assert story.streams[0].first - story.streams[0].asked == pytest.approx(profile.step(1, 800, 800) + 3 * HOP_SECONDS)


def test_a_run_always_takes_the_same_course() -> None:
    first, second = go(LeastLoaded, programs=30), go(LeastLoaded, programs=30)
    assert [story.ended for story in first.stories] == [story.ended for story in second.stories]


def test_all_policies_get_the_same_programs_at_the_same_moments() -> None:
    one, other = go(RoundRobin, programs=30), go(Affinity, programs=30)
    assert [story.arrived for story in one.stories] == [story.arrived for story in other.stories]
    assert [(story.kind, story.tokens_in, story.tokens_out) for story in one.stories] == [
        (story.kind, story.tokens_in, story.tokens_out) for story in other.stories
    ]


def test_other_seeds_bring_other_programs() -> None:
    assert [story.arrived for story in go(RoundRobin, seed=1).stories] != [story.arrived for story in go(RoundRobin, seed=2).stories]


def test_the_first_programs_warm_up_and_are_not_counted() -> None:
    outcome = go(RoundRobin, programs=40)
    assert [story.number for story in outcome.stories] == list(range(6, 40))
    assert all(story.ended is not None for story in outcome.stories)
    assert outcome.began == outcome.stories[0].arrived


def test_in_a_closed_loop_as_many_as_were_asked_for_are_under_way() -> None:
    outcome = go(RoundRobin, programs=40, rate=0.0, closed=5)
    for story in outcome.stories[5:]:
        under_way = sum(other.arrived <= story.arrived and (other.ended or 0.0) > story.arrived for other in outcome.stories)
        assert under_way <= 5


@pytest.mark.parametrize("policy", [name for name in CONTESTANTS if not name.startswith("no-")])
def test_every_policy_brings_every_program_to_its_end(policy: str) -> None:
    contestant = CONTESTANTS[policy]
    asked = replace(setting(programs=40), lost=contestant.lost, deaths=contestant.deaths)
    outcome = Run(asked, contestant.make).go()
    assert len(outcome.stories) == 34
    assert all(story.ended is not None for story in outcome.stories)
    assert outcome.leaders == 1 + contestant.deaths


@pytest.mark.parametrize("policy", [name for name in CONTESTANTS if not name.startswith("no-")])
def test_every_policy_can_die_and_a_new_one_goes_on(policy: str) -> None:
    made: list[Policy] = []

    def make(surroundings: Surroundings) -> Policy:
        made.append(CONTESTANTS[policy].make(surroundings))
        return made[-1]

    outcome = Run(setting(programs=40, rate=4.0, deaths=2), make).go()
    assert all(story.ended is not None for story in outcome.stories)
    assert outcome.leaders == len(made) == 3
    assert len({type(one) for one in made}) == 1


@pytest.mark.parametrize("workload", ALL, ids=lambda workload: workload.name)
def test_every_workload_runs(workload: Workload) -> None:
    asked = Setting(workload, A100_13B, 4, 4, rate=1.0)
    found = figures(Run(asked, CONTESTANTS[OURS].make).go())
    assert found["generations"] >= 1
    assert ("completion_mean" in found) != bool(workload.overload)


def test_calls_wait_for_a_dead_core_and_are_not_lost() -> None:
    calm, troubled = (Run(setting(programs=40, rate=4.0, deaths=deaths), CONTESTANTS[OURS].make).go() for deaths in (0, 2))
    assert troubled.leaders == 3
    assert sum(story.calls for story in calm.stories) == sum(story.calls for story in troubled.stories)
    assert figures(troubled)["completion_p99"] > figures(calm)["completion_p99"]


def test_bursts_come_at_one_moment() -> None:
    moments = [story.arrived for story in go(RoundRobin, workload=BOTH, programs=40).stories]
    assert len(set(moments)) < len(moments)
