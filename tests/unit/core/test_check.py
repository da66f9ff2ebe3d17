"""The conservation check finds what does not add up, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from parrot.broker.audit import Holdings
from parrot.core.check import check, check_machine
from parrot.wire.to_core import CancelVariable
from tests.unit.core.cell import KEYS, Cell, call, close_session, engine_up, open_session, text


@pytest.fixture
def cell() -> Cell:
    """One call is held by an engine, one waits for it, one is queued, one is done, one failed."""
    cell = Cell()
    cell.tell(open_session(), engine_up(running=1), text("v"), call("done", "{{i}} D: {{x}}", i="v"))
    cell.tell(cell.publish(*cell.take_jobs()), call("failed", "{{i}} F: {{x}}", i="no-such"))
    cell.tell(call("held", "H: {{x}}"), call("waits", "{{i}} W: {{x}}", i="held.x"), call("queued", "Q: {{x}}"))
    return cell


def holdings(cell: Cell) -> Holdings:
    store = cell.store
    call_, variable = KEYS.call(""), KEYS.variable("")
    sessions, engines = list(store.sets[KEYS.sessions]), list(store.sets.get(KEYS.engines, ()))
    keys = [*store.hashes, *store.lists, *store.sets, *store.streams, *map(KEYS.jobs, engines)]
    return Holdings(
        lives={key: store.expiring.get(key) for key in keys},
        sessions={name: dict(store.hashes[KEYS.session(name)]) for name in sessions},
        calls={name: list(store.lists.get(KEYS.calls(name), ())) for name in sessions},
        variables={name: list(store.lists.get(KEYS.variables(name), ())) for name in sessions},
        active=set(store.sets.get(KEYS.active, ())),
        engines={name: dict(store.hashes[KEYS.engine(name)]) for name in engines},
        call={key.removeprefix(call_): dict(record) for key, record in store.hashes.items() if key.startswith(call_)},
        variable={key.removeprefix(variable): dict(record) for key, record in store.hashes.items() if key.startswith(variable)},
    )


def test_a_cell_at_work_is_well(cell: Cell) -> None:
    assert check(KEYS, holdings(cell)) == []
    assert check_machine(cell.machine) == []


def test_a_cell_whose_sessions_are_over_is_well(cell: Cell) -> None:
    cell.tell(close_session(), *(CancelVariable(session="s", variable=f"{name}.x") for name in ("held", "waits", "queued")))
    assert check(KEYS, holdings(cell)) == []
    assert check_machine(cell.machine) == []


def test_a_cell_that_was_rebuilt_is_well(cell: Cell) -> None:
    cell.restart()
    cell.tell()
    assert check(KEYS, holdings(cell)) == []
    assert check_machine(cell.machine) == []


BREAKS: list[tuple[str, Callable[[Holdings], object]]] = [
    ("The call held is placed and is not in the set of active calls", lambda held: held.active.discard("held")),
    ("The call done is done and is in the set of active calls", lambda held: held.active.add("done")),
    ("The call ghost is in the set of active calls and has no record", lambda held: held.active.add("ghost")),
    ("The call done is listed by its session and has no record", lambda held: held.call.pop("done")),
    ("The call done is listed 2 times", lambda held: held.calls["s"].append("done")),
    ("The call done is listed by no session", lambda held: held.calls["s"].remove("done")),
    ("The call done is in the state 'odd'", lambda held: held.call["done"].update(state="odd")),
    ("The request of the call held cannot be read", lambda held: held.call["held"].update(request="{")),
    ("is done, but its output done.x is failed", lambda held: held.variable["done.x"].update(state="failed", error_code="x")),
    ("is done, but its output done.x is pending", lambda held: held.variable["done.x"].update(state="pending")),
    ("All outputs of the call held have ended", lambda held: held.variable["held.x"].update(state="ready", value="")),
    ("waits.x waits for held.x, which is failed", lambda held: held.variable["held.x"].update(state="failed", error_code="x")),
    ("waits.x waits for held.x, which is gone", lambda held: held.variable.pop("held.x")),
    ("waits.x was given to e1 although its input held.x", lambda held: held.variable["waits.x"].update(engine="e1")),
    ("held.x is held by e1, but no job is named", lambda held: held.variable["held.x"].pop("job")),
    ("queued.x are ready, but it is neither queued nor held", lambda held: held.variable["queued.x"].pop("why")),
    ("held.x is held by the engine e1, which is not registered", lambda held: held.engines.clear()),
    ("The variable v is ready and has no value", lambda held: held.variable["v"].pop("value")),
    ("failed.x is failed and does not say why", lambda held: held.variable["failed.x"].pop("error_code")),
    ("v is pending, but no call under way makes it", lambda held: held.variable["v"].update(state="pending")),
    ("The variable v is listed by no session", lambda held: held.variables["s"].remove("v")),
    ("The variable v is listed 2 times", lambda held: held.variables["s"].append("v")),
    ("The variable v is in the state 'odd'", lambda held: held.variable["v"].update(state="odd")),
    ("The engine e1 is registered and has no job stream", lambda held: held.lives.pop(KEYS.jobs("e1"))),
    ("The engine e1 is registered and has no record", lambda held: held.engines.update(e1={})),
    ("The engine e2 has a record and is not registered", lambda held: held.lives.update({KEYS.engine("e2"): None})),
    ("jobs belongs to no registered engine", lambda held: held.lives.update({KEYS.jobs("e2"): None})),
    ("The session s is alive, but its key parrot:{test}:var:v expires", lambda held: held.lives.update({KEYS.variable("v"): 5})),
    ("The session s is listed, but its record has expired", lambda held: held.sessions.update(s={})),
    ("The session z has a record and is not listed", lambda held: held.lives.update({KEYS.session("z"): 5})),
    ("text:abc belongs to nothing", lambda held: held.lives.update({KEYS.text("abc"): None})),
    ("var:w:tokens belongs to nothing", lambda held: held.lives.update({KEYS.tokens("w"): None})),
    ("session:z:news belongs to nothing", lambda held: held.lives.update({KEYS.news("z"): None})),
    ("parrot:{test}:odd belongs to nothing", lambda held: held.lives.update({f"{KEYS.prefix}odd": None})),
]


@pytest.mark.parametrize(("says", "harm"), BREAKS, ids=[says for says, _ in BREAKS])
def test_what_does_not_add_up_is_said(cell: Cell, says: str, harm: Callable[[Holdings], object]) -> None:
    held = holdings(cell)
    harm(held)
    assert any(says in finding for finding in check(KEYS, held))


def test_a_session_that_is_over_must_expire_with_all_its_keys(cell: Cell) -> None:
    cell.tell(close_session(), *(CancelVariable(session="s", variable=f"{name}.x") for name in ("held", "waits", "queued")))
    held = holdings(cell)
    held.lives[KEYS.variable("v")] = None
    del held.sessions["s"]["expires"]
    findings = check(KEYS, held)
    assert any("does not say when it expires" in finding for finding in findings)
    assert any("its key parrot:{test}:var:v would stay for ever" in finding for finding in findings)


def test_streams_of_engines_of_other_cells_are_theirs(cell: Cell) -> None:
    held = holdings(cell)
    held.lives[KEYS.jobs("other")] = None
    held.elsewhere.add("other")
    assert check(KEYS, held) == []


def lose(cell: Cell) -> None:
    cell.machine.fleet.engines["e1"].holds.clear()


def miscount(cell: Cell) -> None:
    cell.machine.graph.calls["held"].unfinished += 1


def misjudge(cell: Cell) -> None:
    generation = cell.machine.graph.variables["waits.x"].producer
    assert generation is not None
    generation.missing = 0


def forget_queue(cell: Cell) -> None:
    generation = cell.machine.graph.variables["queued.x"].producer
    assert generation is not None
    cell.machine.fleet.policy._backlog._waiting.clear()  # type: ignore[attr-defined]


MACHINE_BREAKS: list[tuple[str, Callable[[Cell], object]]] = [
    ("held by the engine e1, which does not hold it", lose),
    ("held by the engine e1, which is not known", lambda cell: cell.machine.fleet.engines.clear()),
    ("The call held counts 2 unfinished generations; there are 1", miscount),
    ("waits.x counts 0 missing inputs; there are 1", misjudge),
    ("queued.x can run, and is neither in the backlog nor held", forget_queue),
    ("held.x counts the generation of waits.x 0 times", lambda cell: cell.machine.graph.variables["held.x"].consumers.clear()),
    ("The session s counts 0 active calls", lambda cell: setattr(cell.machine.graph.sessions["s"], "active", 0)),
    ("Calls of tenants are counted", lambda cell: cell.machine.graph.tenants.clear()),
    ("No timer lease is set for e1", lambda cell: cell.machine.timers.drop(("lease", "e1"))),
    (
        "No timer unserved is set for gpt-9",
        lambda cell: (cell.tell(call("a", "{{x}}", model="gpt-9")), cell.machine.timers.drop(("unserved", "gpt-9"))),
    ),
    ("A timer unserved is set for m", lambda cell: cell.machine.timers.set(("unserved", "m"), 0)),
    ("A timer results is set for s", lambda cell: cell.machine.timers.set(("results", "s"), 0)),
]


@pytest.mark.parametrize(("says", "harm"), MACHINE_BREAKS, ids=[says for says, _ in MACHINE_BREAKS])
def test_what_does_not_add_up_in_a_machine_is_said(cell: Cell, says: str, harm: Callable[[Cell], object]) -> None:
    harm(cell)
    assert any(says in finding for finding in check_machine(cell.machine))
