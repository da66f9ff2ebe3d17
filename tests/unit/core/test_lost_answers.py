"""What an engine was given and will never answer runs again, and nothing else does."""

from __future__ import annotations

import pytest

from parrot.core.engine_rules import MAX_LOST
from parrot.core.generation_rules import FoundSet
from parrot.core.graph import Generation
from parrot.wire.to_core import EngineBeat, EngineDown, GenerationDone, GenerationFailed, Usage
from parrot.wire.to_engine import Cancel, Job
from tests.unit.core.cell import Cell, call, engine_up, open_session


@pytest.fixture
def cell() -> Cell:
    """An engine that was given a.x."""
    cell = Cell()
    cell.tell(open_session(), engine_up())
    cell.tell(call("a", "A: {{x}}"))
    return cell


def last_entry(cell: Cell) -> str:
    """The id of what was last sent to an engine."""
    return cell.jobs[-1][1]


def beat(read: str, *holds: str, engine: str = "e1") -> EngineBeat:
    return EngineBeat(engine=engine, read=read, holds=list(holds))


def producer(cell: Cell, variable: str) -> Generation:
    generation = cell.machine.graph.variables[variable].producer
    assert generation is not None
    return generation


def test_a_job_that_its_engine_has_read_and_holds_no_more_runs_again_and_nobody_is_to_blame(cell: Cell) -> None:
    read = last_entry(cell)
    cell.take_jobs()
    cell.tell(beat(read))
    (job,) = cell.take_jobs()
    assert (job.variable, job.attempt) == ("a.x", 2)
    assert (producer(cell, "a.x").mishaps.errors, producer(cell, "a.x").mishaps.deaths) == (0, frozenset())
    for why in (cell.variable("a.x")["why"], cell.call("a")["why"]):
        assert why.endswith("; again, since e1 has read the job and holds it no more, but what became of it was lost")
    cell.tell(cell.publish(job))
    assert cell.news() == [("a.x", "ready")]


def test_its_engine_is_told_first_that_a_value_that_it_may_have_published_does_not_stand(cell: Cell) -> None:
    orders = cell.tell(beat(last_entry(cell))).orders
    assert orders[0][2] == Cancel(variable="a.x", attempt=1)
    assert [engine for engine, _, _ in orders] == ["e1", "e1"]


def test_where_no_engine_has_room_the_record_says_why_it_waits_again(cell: Cell) -> None:
    cell.tell(EngineBeat(engine="e1", draining=True))
    cell.tell(EngineBeat(engine="e1", draining=True, read=last_entry(cell), holds=[]))
    assert "waits for an engine that serves any model: those that do are leaving" in cell.variable("a.x")["why"]
    assert "again, since e1 has read the job" in cell.variable("a.x")["why"]
    assert cell.variable("a.x")["engine"] == ""


def test_a_job_that_it_has_not_read_is_on_its_way(cell: Cell) -> None:
    for read in ("", "0-1", "1-9"):
        assert cell.tell(beat(read)).orders == []
    assert producer(cell, "a.x").engine == "e1"


def test_ids_are_compared_as_numbers() -> None:
    cell = Cell()
    cell.tell(open_session(), engine_up(running=99))
    while cell.machine.cell.batch.number < 10:
        cell.tell()
    cell.tell(*(call(f"c{i}", "A: {{x}}") for i in range(11)))
    assert last_entry(cell) == "10-10"
    everything = [f"c{i}.x" for i in range(11)]
    assert cell.tell(beat("9-11")).orders == []
    assert cell.tell(beat("10-9", *everything[:10])).orders == []
    cell.take_jobs()
    cell.tell(beat("10-10", *everything[:10]))
    assert [job.variable for job in cell.take_jobs()] == ["c10.x"]


def test_what_it_lists_it_will_answer(cell: Cell) -> None:
    assert cell.tell(beat(last_entry(cell), "a.x")).orders == []


def test_of_an_engine_that_does_not_say_nothing_is_concluded(cell: Cell) -> None:
    assert cell.tell(EngineBeat(engine="e1")).orders == []
    assert cell.tell(EngineBeat(engine="e1", read=last_entry(cell))).orders == []


def test_what_it_lists_and_was_never_given_changes_nothing(cell: Cell) -> None:
    assert cell.tell(beat(last_entry(cell), "a.x", "stranger")).orders == []


def test_an_answer_that_comes_before_the_beat_counts(cell: Cell) -> None:
    (job,), read = [order for _, _, order in cell.jobs], last_entry(cell)
    assert cell.tell(cell.publish(job), beat(read)).orders == []  # type: ignore[arg-type]
    assert cell.call("a")["state"] == "done"


def test_a_beat_that_comes_again_says_nothing_of_jobs_that_were_sent_since(cell: Cell) -> None:
    old = beat(last_entry(cell))
    cell.take_jobs()
    cell.tell(old, old)
    cell.tell(old)
    assert [job.attempt for job in cell.take_jobs()] == [2]
    cell.tell(GenerationFailed(engine="e1", variable="a.x", attempt=2, code="engine", reason="No."))
    cell.tell(old)
    assert [job.attempt for job in cell.take_jobs()] == [3]


def test_an_answer_of_the_lost_attempt_that_was_only_late_still_counts_once(cell: Cell) -> None:
    """Engines say it in order, so that this cannot be; but a publication is a fact, whoever tells it when."""
    (job,) = [order for _, _, order in cell.jobs]
    event = cell.publish(job)  # type: ignore[arg-type]
    cell.tell(beat(last_entry(cell)))
    cell.tell(event, event)
    assert cell.call("a")["state"] == "done"
    assert isinstance(event, GenerationDone)


def test_an_engine_that_came_up_in_this_batch_is_given_its_first_job_once() -> None:
    cell = Cell()
    cell.tell(open_session(), call("a", "A: {{x}}"))
    cell.tell(engine_up(), beat(""))
    cell.tell(beat(""))
    assert [job.attempt for job in cell.take_jobs()] == [1]


def test_after_a_takeover_a_job_that_was_sent_again_under_its_old_id_is_judged_by_that_id(cell: Cell) -> None:
    read = last_entry(cell)
    assert [entry for _, entry, _ in cell.restart()] == [read]
    cell.tell()
    cell.take_jobs()
    assert cell.tell(beat("0-1")).orders == []
    assert cell.tell(beat(read, "a.x")).orders == []
    cell.tell(beat(read))
    assert [job.attempt for job in cell.take_jobs()] == [2]


def test_a_suspect_runs_alone_again_and_another_death_is_not_counted(cell: Cell) -> None:
    for number in (2, 3):
        cell.tell(EngineDown(engine=f"e{number - 1}", died=True), engine_up(f"e{number}"))
    read = last_entry(cell)
    cell.take_jobs()
    cell.tell(beat(read, engine="e3"))
    read = last_entry(cell)
    cell.tell(call("young", "A: {{x}}"))
    assert cell.take_jobs() == []  # not before the engine has read that the attempt before is not wanted
    cell.tell(beat(read, engine="e3"))
    (job,) = cell.take_jobs()
    assert (job.variable, job.attempt) == ("a.x", 4)
    assert producer(cell, "a.x").mishaps.deaths == {"e1", "e2"}


def test_an_engine_that_was_given_up_is_told_so_whatever_it_holds(cell: Cell) -> None:
    cell.tell(EngineDown(engine="e1"), engine_up("e2"))
    batch = cell.tell(beat(last_entry(cell)))
    assert (batch.abandoned, batch.orders) == (["e1"], [])


# Answers that nobody understands ------------------------------------------------------------------


def test_a_variable_that_is_found_set_though_nobody_said_so_lets_what_waits_for_it_go_on(cell: Cell) -> None:
    cell.tell(call("b", "B: {{i}} {{y}}", i="a.x"))
    read = last_entry(cell)
    (job,) = cell.take_jobs()
    cell.publish(job)
    orders = cell.tell(beat(read)).orders  # what is written of the new attempt is refused
    (again,) = [order for _, _, order in orders if isinstance(order, Job)]
    cell.take_jobs()
    assert (again.variable, again.attempt) == ("a.x", 2)
    orders = cell.tell(FoundSet("a.x")).orders
    assert orders[0][2] == Cancel(variable="a.x", attempt=2)
    assert [job.variable for job in cell.take_jobs()] == ["b.y"]
    assert cell.call("a")["state"] == "done"
    assert cell.tell(FoundSet("a.x"), FoundSet("nobody.x")).orders == []


def test_a_variable_that_is_found_set_before_its_engine_said_so_waits_for_that(cell: Cell) -> None:
    """The message says what it has cost."""
    (job,) = cell.take_jobs()
    event = cell.publish(job).model_copy(update={"usage": Usage(tokens_out=7)})
    cell.tell(FoundSet("a.x"))
    assert cell.call("a")["state"] != "done"
    cell.tell(event)
    assert cell.call("a")["state"] == "done"
    assert cell.machine.graph.variables["a.x"].tokens == 7


def test_a_generation_of_which_nothing_is_ever_heard_fails_with_what_waits_for_it(cell: Cell) -> None:
    cell.tell(call("b", "B: {{i}} {{y}}", i="a.x"))
    for number in range(1, MAX_LOST + 1):
        (job,) = cell.take_jobs()
        assert job.attempt == number
        cell.tell(beat(f"{cell.batch.number}-99"))
    assert cell.take_jobs() == []
    assert cell.news() == [("a.x", "failed"), ("b.y", "failed")]
    assert f"{MAX_LOST} times an engine was done with it" in cell.variable("a.x")["error"]
