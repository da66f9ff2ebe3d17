"""When each generation has to begin, so that what is due is in time."""

from __future__ import annotations

import random
from math import inf

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parrot.core.graph import Generation
from parrot.criteria import Criterion
from parrot.wire.to_core import OpenSession
from tests.unit.core.stage import Stage, ask, up, want, words


def generation(stage: Stage, name: str) -> Generation:
    found = stage.machine.graph.variables[f"{name}.x"].producer
    assert found is not None
    return found


def from_scratch(one: Generation) -> float:
    """By the definition: over all ways down to something that is due."""
    dues = [due for due in (one.made.due, one.call.deadline) if due is not None]
    ends = [*dues, *(from_scratch(consumer) for consumer in one.made.consumers if not consumer.ended)]
    return min(ends, default=inf) - one.seconds


@pytest.fixture
def stage() -> Stage:
    """One engine with one place, which is taken."""
    stage = Stage(up("e1", running=1))
    stage.tell(ask("busy"))
    return stage


def test_what_comes_after_what_is_due_and_nobody_waits_for_does_not_make_it_late(stage: Stage) -> None:
    stage.tell(ask("due"), want("due", Criterion.DEADLINE, stage.now + 10))
    alone = float(stage.call("due")["slack"])
    stage.tell(ask("after", "{{i}} ", most=4_000, i="due.x"))
    stage.tell(ask("last", "{{i}} ", most=4_000, i="after.x"))
    stage.tell(want("due", Criterion.DEADLINE, stage.now + 10.001))
    assert float(stage.call("due")["slack"]) == pytest.approx(alone, abs=0.01)
    assert generation(stage, "last").late == inf


def test_what_is_due_later_but_further_away_counts_too(stage: Stage) -> None:
    """Its deadline is not the earliest one, and yet it leaves less time."""
    stage.tell(ask("first"), ask("long", "{{i}} ", most=2_000, i="first.x"), want("first", Criterion.DEADLINE, stage.now + 100))
    early = generation(stage, "first").late
    stage.tell(want("long", Criterion.DEADLINE, stage.now + 101))
    assert generation(stage, "first").objective.due == stage.now + 100
    assert generation(stage, "first").late < early
    assert float(stage.call("first")["slack"]) == pytest.approx(generation(stage, "first").late - stage.now, abs=0.001)
    stage.tell(want("long", Criterion.DEADLINE, stage.now + 1_000))
    assert generation(stage, "first").late == pytest.approx(early)


def test_what_was_asked_for_at_once_goes_before_what_has_more_time_though_more_comes_after_it(stage: Stage) -> None:
    stage.tell(ask("slow"), ask("after", "{{i}} ", most=2_000, i="slow.x"), want("slow", Criterion.DEADLINE, stage.now + 60))
    stage.tell(ask("quick", words(100)), want("quick", Criterion.DEADLINE, stage.now + 30))
    stage.finish("busy")
    assert stage.running()["e1"] == ["quick"]


def test_a_deadline_of_a_session_is_one_of_its_calls(stage: Stage) -> None:
    stage.tell(OpenSession(session="hurried", name="a program", deadline=stage.now + 50))
    stage.tell(ask("a", session="hurried"))
    assert generation(stage, "a").objective.due == stage.now + 50
    assert generation(stage, "a").late == pytest.approx(stage.now + 50 - generation(stage, "a").seconds)


@pytest.mark.usefixtures("many")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_whatever_is_asked_in_whatever_order_it_is_as_if_found_from_scratch(seed: int) -> None:
    chance, stage = random.Random(seed), Stage()
    names: list[str] = []
    for number in range(12):
        inputs = chance.sample(names, min(len(names), chance.choice((0, 1, 2, 3))))
        slots = {f"i{place}": f"{name}.x" for place, name in enumerate(inputs)}
        deadline = stage.now + chance.randint(50, 90) if chance.random() < 0.2 else None
        request = ask(f"c{number}", "".join(f"{{{{{slot}}}}} " for slot in slots), most=chance.choice((16, 500)), **slots)
        stage.tell(request.model_copy(update={"deadline": deadline}))
        names.append(f"c{number}")
        if chance.random() < 0.6:
            criterion = chance.choice((Criterion.DEADLINE, Criterion.LATENCY, Criterion.THROUGHPUT))
            stage.tell(want(chance.choice(names), criterion, chance.choice((None, stage.now + chance.randint(10, 99)))))
        for name in names:
            assert generation(stage, name).late == pytest.approx(from_scratch(generation(stage, name)))
            assert (generation(stage, name).late < inf) == (generation(stage, name).objective.due is not None)
