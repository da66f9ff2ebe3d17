"""Engine deaths are pinned on the call that causes them, not on its neighbours."""

from __future__ import annotations

import pytest

from parrot.core.batch import place
from parrot.core.engine_rules import MAX_DEATHS
from parrot.core.suspects import TURN
from parrot.wire.to_core import CancelVariable, EngineBeat, EngineDown, GenerationDone
from parrot.wire.to_engine import Cancel
from tests.unit.core.cell import KEYS, Cell, call, engine_up, open_session
from tests.unit.core.stage import Stage, ask, up, words


@pytest.fixture
def cell() -> Cell:
    cell = Cell()
    cell.tell(open_session(), engine_up())
    return cell


def die(cell: Cell, engine: str) -> None:
    """An engine falls silent while all others are heard."""
    cell.now += 3.0
    cell.tell(*(EngineBeat(engine=name) for name in cell.machine.fleet.engines if name != engine))


def test_a_call_that_kills_its_engines_is_given_up_and_its_neighbours_are_not(cell: Cell) -> None:
    cell.tell(call("poison", "P: {{x}}"), *(call(f"c{i}", "A: {{x}}") for i in range(3)))
    deaths = 0
    while cell.call("poison")["state"] != "failed":
        (engine,) = cell.machine.fleet.engines
        jobs = cell.take_jobs()
        if any(job.call == "poison" for job in jobs):
            die(cell, engine)
            deaths += 1
            cell.tell(engine_up(f"dead-{deaths}"))
        else:
            cell.tell(*(cell.publish(job, engine) for job in jobs))
    assert deaths == MAX_DEATHS
    assert cell.variable("poison.x")["error_code"] == "poison"
    (letter,) = cell.store.streams[KEYS.dead]
    assert letter["code"] == "poison"
    assert "function_poison" in letter["entry"]
    while jobs := cell.take_jobs():
        cell.tell(*(cell.publish(job, cell.variable(job.variable)["engine"]) for job in jobs))
    assert [cell.call(f"c{i}")["state"] for i in range(3)] == ["done"] * 3


def test_a_suspect_runs_alone(cell: Cell) -> None:
    cell.tell(*(call(f"c{i}", "A: {{x}}") for i in range(2)))
    for number in (2, 3):
        die(cell, f"e{number - 1}")
        cell.tell(engine_up(f"e{number}"))
    suspect = cell.take_jobs()[-1]
    cell.tell(call("young", "A: {{x}}"))
    assert cell.take_jobs() == []
    assert "runs nothing else" in cell.variable(suspect.variable)["why"]
    cell.tell(cell.publish(suspect, "e3"))
    (other,) = cell.take_jobs()
    assert {suspect.call, other.call} == {"c0", "c1"}


def test_suspects_are_not_starved_by_others(cell: Cell) -> None:
    cell.tell(call("c0", "A: {{x}}"))
    die(cell, "e1")
    cell.tell(engine_up("e2"))
    die(cell, "e2")
    cell.tell(engine_up("busy"), *(call(f"n{i}", "A: {{x}}") for i in range(8)))
    assert cell.variable("c0.x")["engine"] == "busy"


def busy_cell_with_a_suspect(cell: Cell, *engines: str) -> None:
    """Two engines have died of c0; those that are left, and were busy, have just been heard."""
    cell.tell(call("c0", "A: {{x}}"))
    die(cell, "e1")
    cell.tell(engine_up("e2"))
    cell.tell(*(engine_up(engine) for engine in engines), *(call(f"n{i}", "A: {{x}}") for i in range(6)))
    cell.jobs.clear()
    die(cell, "e2")


def held(cell: Cell, engine: str) -> set[str]:
    return {generation.call.id for generation in cell.machine.fleet.engines[engine].holds.values()}


def told_to_let_go(cell: Cell) -> tuple[str, dict[str, str]]:
    """An engine that was told to let go what it holds, and what that is, by the entry that says so."""
    (engine,) = (name for name, engine in cell.machine.fleet.engines.items() if engine.clearing)
    return engine, {entry: order.variable for to, entry, order in cell.jobs if to == engine and isinstance(order, Cancel)}


def test_an_engine_is_cleared_for_a_suspect_and_what_it_held_goes_on_elsewhere(cell: Cell) -> None:
    busy_cell_with_a_suspect(cell, "a", "b")
    alone, moved = told_to_let_go(cell)
    cell.tell(EngineBeat(engine=alone))
    assert held(cell, alone) == {"c0"}
    assert held(cell, "b" if alone == "a" else "a") == {f"n{i}" for i in range(6)}
    assert moved
    assert all("tried alone" in cell.variable(name)["why"] and "deaths" not in cell.variable(name) for name in moved.values())


def test_an_engine_that_is_told_to_let_go_what_it_holds_dies_of_that_and_not_of_the_suspect(cell: Cell) -> None:
    busy_cell_with_a_suspect(cell, "a", "b")
    engine, told = told_to_let_go(cell)
    assert {f"{name}.x" for name in held(cell, engine)} == set(told.values())
    cell.tell(EngineBeat(engine=engine, read="0-1", holds=list(told.values())))  # it was said before
    cell.tell(EngineBeat(engine=engine, holds=[]))  # it has read nothing at all yet
    assert {f"{name}.x" for name in held(cell, engine)} == set(told.values())
    die(cell, engine)
    assert all(engine in cell.variable(name)["deaths"] for name in told.values())
    assert cell.variable("c0.x")["deaths"] == "e1 e2"


def test_an_engine_that_has_let_go_what_it_held_dies_of_the_suspect(cell: Cell) -> None:
    busy_cell_with_a_suspect(cell, "a", "b")
    engine, told = told_to_let_go(cell)
    read = max(told, key=place)
    cell.tell(EngineBeat(engine=engine, read=read, holds=list(told.values())[:1]))  # one is still being stopped
    assert held(cell, engine) == {next(iter(told.values())).removesuffix(".x")}
    cell.tell(EngineBeat(engine=engine, read=read, holds=[]))
    assert held(cell, engine) == {"c0"}
    die(cell, engine)
    assert not any(engine in cell.variable(name).get("deaths", "") for name in told.values())
    assert cell.variable("c0.x")["error_code"] == "poison"


def test_what_is_done_before_it_is_let_go_counts(cell: Cell) -> None:
    busy_cell_with_a_suspect(cell, "a", "b")
    engine, told = told_to_let_go(cell)
    for name in told.values():
        cell.tell(GenerationDone(engine=engine, variable=name, attempt=int(cell.variable(name)["attempt"])))
    assert (held(cell, engine), cell.machine.fleet.engines[engine].is_empty) == (set(), False)
    cell.tell(EngineBeat(engine=engine, read=max(told, key=place), holds=[]))
    assert held(cell, engine) == {"c0"}


def test_an_engine_takes_work_again_if_the_suspect_for_which_it_was_cleared_is_not_wanted_any_more(cell: Cell) -> None:
    busy_cell_with_a_suspect(cell, "a", "b")
    engine, told = told_to_let_go(cell)
    cell.tell(CancelVariable(session="s", variable="c0.x"))
    cell.tell(EngineDown(engine="b" if engine == "a" else "a", reason="drained"))
    assert {f"{name}.x" for name in held(cell, engine)} == set(told.values())
    cell.tell(EngineBeat(engine=engine, read=max(told, key=place), holds=[]))
    assert held(cell, engine) == {f"n{i}" for i in range(6)}


def test_a_successor_knows_what_an_engine_was_told_to_let_go(cell: Cell) -> None:
    busy_cell_with_a_suspect(cell, "a", "b")
    engine, told = told_to_let_go(cell)
    cell.restart()
    cell.tell(EngineBeat(engine=engine, read="0-1", holds=list(told.values())))
    assert {f"{name}.x" for name in held(cell, engine)} == set(told.values())


def test_a_suspect_is_not_blamed_for_what_was_cancelled_where_it_is_tried(cell: Cell) -> None:
    cell.tell(call("c0", "A: {{x}}"))
    die(cell, "e1")
    cell.tell(engine_up("e2", running=1))
    cell.tell(engine_up("a"), call("p", "P: {{x}}"))
    assert held(cell, "a") == {"p"}
    cell.now += 3.0  # e2 is silent; a's beat was said before it read that p is cancelled
    cell.tell(CancelVariable(session="s", variable="p.x"), EngineBeat(engine="a", read="0-1", holds=["p.x"]))
    die(cell, "a")
    assert "error_code" not in cell.variable("c0.x")


def test_a_suspect_whose_turn_is_over_is_still_found_if_its_engine_dies_before_it_is_let_go(cell: Cell) -> None:
    suspects_on_one_engine(cell, 2)
    cell.now += TURN
    cell.tell(EngineBeat(engine="a"))
    assert cell.machine.fleet.engines["a"].clearing
    die(cell, "a")
    assert (cell.variable("c0.x")["error_code"], cell.variable("c1.x")["deaths"]) == ("poison", "e1 e2")


def test_what_has_killed_an_engine_that_was_to_let_it_go_runs_alone_if_it_has_killed_another(cell: Cell) -> None:
    cell.tell(call("c0", "A: {{x}}"), call("p", "P: {{x}}"))
    die(cell, "e1")
    cell.tell(engine_up("e2", running=1))
    cell.tell(engine_up("a"))
    assert held(cell, "a") == {"p"}
    die(cell, "e2")
    die(cell, "a")
    cell.tell(engine_up("b"), *(call(f"n{i}", "A: {{x}}") for i in range(4)))
    cell.tell(engine_up("d"), EngineBeat(engine="b"))
    assert sorted(held(cell, engine) for engine in "bd" if held(cell, engine) <= {"c0", "p"}) in ([{"c0"}], [{"c0"}, {"p"}])
    assert "p" not in {name for engine in "bd" if len(held(cell, engine)) > 1 for name in held(cell, engine)}


def test_a_suspect_that_waits_says_that_it_is_to_run_alone(cell: Cell) -> None:
    busy_cell_with_a_suspect(cell, "a", "b")
    assert cell.variable("c0.x")["why"].startswith("waits to run alone on an engine: 2 engines died while they held it")


def test_a_suspect_that_names_no_model_is_not_tried_where_it_does_not_fit_though_that_is_the_largest_of_its_model() -> None:
    stage = Stage(up("small", context=1_000, model="s"), *(up(f"large{number}", context=50_000, model="l") for number in range(3)))
    stage.tell(ask("c", words(5_000, "c")))
    for _ in range(2):
        stage.wait(1.0)
        stage.tell(EngineDown(engine=stage.where["c"], reason="broke", died=True))
    stage.wait(1.0)
    assert stage.where["c"] in stage.machine.fleet.engines.keys() - {"small"}


def test_a_lone_engine_is_cleared_too_and_the_others_go_on_after_the_suspect(cell: Cell) -> None:
    busy_cell_with_a_suspect(cell, "a")
    cell.tell(EngineBeat(engine="a"))
    assert held(cell, "a") == {"c0"}
    (job,) = [job for job in cell.take_jobs() if job.call == "c0"]
    cell.tell(cell.publish(job, "a"))
    assert held(cell, "a") == {f"n{i}" for i in range(6)}


def test_no_more_than_every_other_engine_is_cleared_for_suspects(cell: Cell) -> None:
    cell.tell(*(call(f"c{i}", "A: {{x}}") for i in range(4)))
    die(cell, "e1")
    cell.tell(engine_up("e2"))
    cell.tell(*(engine_up(engine) for engine in "abcd"), *(call(f"n{i}", "A: {{x}}") for i in range(16)))
    die(cell, "e2")
    for _ in range(8):
        cell.tell(*(EngineBeat(engine=engine) for engine in "abcd"))
    assert sum(held(cell, engine) < {f"c{i}" for i in range(4)} for engine in "abcd") == 2


def suspects_on_one_engine(cell: Cell, count: int) -> None:
    """Two engines have died of so many calls at once; one is left."""
    cell.tell(*(call(f"c{i}", "A: {{x}}") for i in range(count)))
    die(cell, "e1")
    cell.tell(engine_up("e2"))
    die(cell, "e2")
    cell.tell(engine_up("a"))


def turns(cell: Cell, beats: int) -> str:
    """Who holds the engine after each of so many beats; it gets the next one when it has said that it has let one go."""
    seen = []
    for _ in range(beats):
        cell.now += TURN
        cell.tell(EngineBeat(engine="a"))
        seen += held(cell, "a")
    return " ".join(seen)


def test_suspects_that_wait_for_an_engine_take_turns_and_each_turn_is_twice_as_long(cell: Cell) -> None:
    suspects_on_one_engine(cell, 3)
    assert held(cell, "a") == {"c0"}
    assert turns(cell, 13) == "c0 c1 c1 c2 c2 c0 c0 c0 c1 c1 c1 c2 c2"
    assert all("tried alone" in cell.variable(f"c{i}.x")["why"] for i in (0, 1))


def test_a_suspect_for_which_no_other_waits_has_its_engine_until_it_ends(cell: Cell) -> None:
    suspects_on_one_engine(cell, 1)
    assert turns(cell, 20) == " ".join(["c0"] * 20)
    assert cell.variable("c0.x")["attempt"] == "3"


def test_a_suspect_that_kills_in_its_second_turn_is_found_and_the_others_are_not_blamed(cell: Cell) -> None:
    suspects_on_one_engine(cell, 2)
    assert turns(cell, 4) == "c0 c1 c1 c0"
    die(cell, "a")
    assert (cell.variable("c0.x")["error_code"], cell.variable("c1.x")["deaths"]) == ("poison", "e1 e2")


def test_an_engine_for_which_a_suspect_waits_takes_nothing_more(cell: Cell) -> None:
    cell.tell(engine_up("e2", running=1, model="other"), call("c0", "A: {{x}}", model="m"))
    die(cell, "e1")
    cell.tell(engine_up("e3"))
    die(cell, "e3")
    cell.take_jobs()
    cell.tell(engine_up("e4"))
    (suspect,) = cell.take_jobs()
    cell.tell(call("c1", "A: {{x}}", model="m"))
    assert cell.take_jobs() == []
    cell.tell(cell.publish(suspect, "e4"))
    assert [job.call for job in cell.take_jobs()] == ["c1"]


def test_a_suspect_goes_only_to_an_engine_that_has_just_been_heard(cell: Cell) -> None:
    """Else it would be blamed for the death of one that had died before."""
    cell.tell(call("c0", "A: {{x}}"))
    for number in (2, 3):
        die(cell, f"e{number - 1}")
        cell.tell(engine_up(f"e{number}"))
    cell.tell(engine_up("idle"))
    cell.now += 1.0
    cell.tell(EngineDown(engine="e3"))
    assert cell.variable("c0.x")["engine"] == ""
    cell.tell(EngineBeat(engine="idle"))
    assert cell.variable("c0.x")["engine"] == "idle"


def test_a_drain_or_a_false_alarm_does_not_count_as_a_death(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"))
    die(cell, "e1")
    assert cell.variable("a.x")["deaths"] == "e1"
    cell.tell(engine_up("e2").model_copy(update={"previous": "e1"}))
    assert cell.variable("a.x")["deaths"] == ""
    cell.tell(EngineDown(engine="e2"))
    assert cell.variable("a.x")["deaths"] == ""


def test_suspicion_survives_a_restart(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"))
    for number in range(2, 2 + MAX_DEATHS):
        die(cell, f"e{number - 1}")
        cell.restart()
        cell.tell(engine_up(f"e{number}"))
    assert cell.variable("a.x")["error_code"] == "poison"


def test_an_engine_that_says_that_it_broke_counts_as_a_death(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"))
    for number in range(2, 2 + MAX_DEATHS):
        cell.tell(EngineDown(engine=f"e{number - 1}", reason="out of memory", died=True))
        cell.tell(engine_up(f"e{number}"))
        cell.tell(EngineBeat(engine=f"e{number}"))
    assert cell.variable("a.x")["error_code"] == "poison"


def test_a_suspect_says_its_slack() -> None:
    cell = Cell()
    cell.tell(open_session(), engine_up("e1"), call("a", "A: {{x}}").model_copy(update={"deadline": cell.now + 100}))
    for number in (1, 2):
        cell.tell(EngineDown(engine=f"e{number}", died=True))
        cell.tell(engine_up(f"e{number + 1}"))
    assert "runs nothing else" in cell.variable("a.x")["why"]
    assert 0 < float(cell.call("a")["slack"]) < 100


@pytest.mark.parametrize("largest", [20_000, 2_000])
def test_a_suspect_goes_to_an_engine_that_takes_its_context_or_to_the_largest_which_says_that_it_is_too_long(largest: int) -> None:
    stage = Stage(up("l1", context=20_000), up("l2", context=20_000))
    stage.tell(ask("long", words(6_000)))
    stage.tell(EngineDown(engine=stage.where["long"], died=True))
    stage.tell(up("small", context=1_000), up("larger", context=largest))
    stage.tell(EngineDown(engine=stage.where["long"], died=True))
    stage.wait(0.5)
    assert stage.running() == {"small": [], "larger": ["long"]}
