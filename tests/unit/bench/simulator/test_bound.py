"""The bound is what the longest way through a program takes, and nothing ever takes less."""

from __future__ import annotations

import pytest

from bench.simulator.bound import Bound
from bench.simulator.policies.contestants import CONTESTANTS, OURS
from bench.simulator.profiles import A100_13B
from bench.simulator.workload import Workload
from bench.simulator.workloads import ALL
from tests.unit.bench.simulator.runs import go


def alone(context: int, tokens: int) -> float:
    return A100_13B.decode(1, context - 1, tokens)


def test_calls_one_after_the_other_add_up() -> None:
    bound = Bound(A100_13B)
    bound.call("a", [], 100, 10)
    bound.call("b", ["a", "a text"], 200, 20)
    bound.read(["b"])
    assert bound.waited == pytest.approx(alone(100, 10) + alone(200, 20))


def test_of_calls_side_by_side_the_longest_counts() -> None:
    bound = Bound(A100_13B)
    for name, tokens in (("a", 10), ("b", 90), ("c", 30)):
        bound.call(name, [], 100, tokens)
    bound.call("all", ["a", "b", "c"], 50, 5)
    bound.read(["all"])
    assert bound.waited == pytest.approx(alone(100, 90) + alone(50, 5))


def test_what_is_done_during_a_pause_is_not_waited_for() -> None:
    bound = Bound(A100_13B)
    bound.call("a", [], 100, 10)
    bound.pause(1_000.0)
    bound.read(["a"])
    assert bound.waited == 0.0
    bound.call("b", [], 100, 10)
    bound.read(["b"])
    assert bound.waited == pytest.approx(alone(100, 10))


@pytest.mark.parametrize("workload", [one for one in ALL if not one.overload], ids=lambda one: one.name)
def test_no_program_is_ever_faster(workload: Workload) -> None:
    outcome = go(CONTESTANTS[OURS].make, workload=workload, programs=12, rate=0.3)
    waited = [story.ended - story.arrived - story.paused for story in outcome.stories if story.ended is not None]
    assert all(0.0 <= story.bound <= seconds + 1e-9 for story, seconds in zip(outcome.stories, waited, strict=True))
    assert any(story.bound > 0.0 for story in outcome.stories)  # what is ready when it is opened was waited for by nobody
