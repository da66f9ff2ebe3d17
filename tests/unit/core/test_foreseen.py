"""What the graph will need of engines' caches is known from submission on, and let go once."""

from __future__ import annotations

from parrot.core.machine import Machine
from parrot.core.prefixes import PrefixIndex
from parrot.core.scheduler import Scheduler
from parrot.wire.to_core import CancelVariable
from tests.unit.core.cell import KEYS, open_session
from tests.unit.core.stage import SHARED, Stage, ask, up, words


def needed(stage: Stage) -> list[int]:
    """How many need each beginning that somebody needs, the shortest first."""
    return list(stage.scheduler._prefixes._needed.values())


def two_steps(stage: Stage) -> None:
    stage.tell(ask("first"), ask("second", SHARED + "{{i}} ", i="first.x"))


def test_what_a_call_begins_with_is_needed_before_it_can_run() -> None:
    stage = Stage()
    stage.tell(ask("first"))
    assert needed(stage) == []
    stage.tell(ask("second", SHARED + "{{i}} ", i="first.x"), ask("third", SHARED + "{{i}} ", i="second.x"))
    counts = needed(stage)
    assert set(counts) == {2}


def test_what_comes_after_a_value_that_is_missing_is_not_foreseen() -> None:
    stage = Stage()
    stage.tell(ask("first"), ask("second", "{{i}} " + SHARED, i="first.x"))
    assert needed(stage) == []


def test_it_is_needed_once_when_it_can_run_and_no_more_when_it_was_placed() -> None:
    stage = Stage(up("e1", running=1))
    two_steps(stage)
    stage.tell(ask("busy"))
    stage.finish("first")
    assert stage.running()["e1"] == ["busy"]
    assert set(needed(stage)) == {1}
    stage.finish("busy")
    assert stage.running()["e1"] == ["second"]
    assert needed(stage) == []


def test_it_is_needed_no_more_when_it_was_cancelled() -> None:
    stage = Stage(up("e1"))
    two_steps(stage)
    assert needed(stage)
    stage.tell(CancelVariable(session="s", variable="second.x"))
    assert needed(stage) == []


def test_it_is_needed_as_before_after_a_takeover_and_what_runs_needs_nothing() -> None:
    stage = Stage(up("e1"))
    two_steps(stage)
    before = needed(stage)
    stage.restart()
    stage.scheduler = stage.machine.fleet.policy  # type: ignore[assignment]
    assert needed(stage) == before
    stage.finish("first")
    assert needed(stage) == []


def test_what_will_be_needed_is_not_forgotten() -> None:
    stage = Stage()
    stage.scheduler = Scheduler(prefixes=PrefixIndex(most=64))
    stage.machine = Machine(KEYS, stage.limits, policy=stage.scheduler)
    stage.tell(open_session(), up("e1"))
    stage.tell(ask("reads", SHARED))
    stage.finish("reads")
    stage.report("e1", "reads")
    two_steps(stage)
    kept = set(stage.scheduler._prefixes._needed) & set(stage.scheduler._prefixes._nodes)
    for number in range(40):
        stage.tell(ask(f"other{number}", words(500, f"o{number}")))
        stage.finish(f"other{number}")
        stage.report("e1", f"other{number}")
        stage.now += 10.0
    nodes = stage.scheduler._prefixes._nodes
    assert kept
    assert all(name in nodes and nodes[name].holders for name in kept)
