"""An engine that drains is given nothing more, while it finishes what it has."""

from __future__ import annotations

import pytest

from parrot.wire.to_core import EngineBeat, EngineDown, GenerationReturned
from tests.unit.core.cell import Cell, call, engine_up, open_session
from tests.unit.core.stage import Stage, ask, up, want, words


@pytest.fixture
def cell() -> Cell:
    cell = Cell()
    cell.tell(open_session(), engine_up("e1"), call("a", "A: {{x}}"))
    return cell


DRAINS = EngineBeat(engine="e1", draining=True)


def test_what_comes_then_waits_for_another_engine(cell: Cell) -> None:
    cell.tell(DRAINS, call("b", "B: {{x}}"))
    assert cell.call("b")["state"] == "queued"
    cell.tell(engine_up("e2"))
    assert cell.variable("b.x")["engine"] == "e2"


def test_what_it_hands_back_is_not_given_to_it_again(cell: Cell) -> None:
    cell.tell(DRAINS, GenerationReturned(engine="e1", variable="a.x", attempt=1))
    assert cell.call("a")["state"] == "queued"


def test_what_it_finishes_counts(cell: Cell) -> None:
    (job,) = cell.take_jobs()
    cell.tell(DRAINS)
    cell.tell(cell.publish(job), EngineDown(engine="e1"))
    assert cell.call("a")["state"] == "done"


def test_not_even_a_suspect_runs_alone_on_it(cell: Cell) -> None:
    for generation in cell.machine.fleet.engines["e1"].holds.values():
        generation.suffers(deaths=frozenset({"x", "y"}))
    cell.tell(DRAINS, GenerationReturned(engine="e1", variable="a.x", attempt=1))
    assert cell.call("a")["state"] == "queued"


def test_who_waits_for_an_engine_that_begins_to_drain_goes_elsewhere() -> None:
    """e1 takes nothing more, and e2 is idle: to wait for e1 is in vain."""
    stage = Stage(up("e1", running=1), up("e2", running=1))
    shared = words(30_000, "shared")
    stage.tell(ask("a", shared + "{{own}} ", own="=1", most=1_000), ask("b", words(100, "b")))
    stage.wait(8.0)
    stage.finish("b")
    stage.tell(ask("c", shared + "{{own}} ", own="=2", most=16), want("c"))
    assert stage.call("c")["why"].startswith("waits for e1")
    stage.tell(EngineBeat(engine="e1", draining=True))
    stage.wait(1.0)
    assert stage.where.get("c") == "e2"
