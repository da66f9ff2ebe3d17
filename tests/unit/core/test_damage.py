"""Whatever an operator deletes: a new leader takes over, tells whoever waits for what is gone, and all else goes on."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parrot.core.check import check_machine
from parrot.wire.to_core import EngineBeat
from parrot.wire.to_engine import Job
from tests.unit.core.cell import KEYS, Cell, call, close_session, engine_up, open_session, text

OWN = [KEYS.session("s"), KEYS.calls("s"), KEYS.variables("s"), KEYS.news("s")]
CALLS = {"held": "A: {{x}}", "waits": "{{i}} B: {{x}}", "two": "{{v}} C: {{x}} D: {{y}}", "empty": "{{e}} E: {{x}}"}
MADE = ["held.x", "waits.x", "two.x", "two.y", "empty.x"]


def damaged() -> Cell:
    """Session s at work in every way, and its neighbour t."""
    cell = Cell()
    cell.tell(open_session("s"), open_session("t"), engine_up(running=2), text("v"), text("e", None))
    for name, prompt in CALLS.items():
        inputs = {"waits": {"i": "held.x"}, "two": {"v": "v"}, "empty": {"e": "e"}}.get(name, {})
        cell.tell(call(name, prompt, **inputs))
    cell.tell(call("other", "A: {{x}}", session="t"), call("next", "{{i}} B: {{x}}", session="t", i="other.x"))
    return cell


def delete(cell: Cell, *keys: str) -> None:
    for kind in (cell.store.hashes, cell.store.lists, cell.store.streams):
        for key in keys:
            kind.pop(key, None)


def work(cell: Cell) -> None:
    """What engines do until nothing is left to be done."""
    for _ in range(50):
        cell.now += 1.0
        read = cell.jobs[-1][1] if cell.jobs else ""
        jobs, events = cell.take_jobs(), []
        for job in jobs:
            record = cell.store.hashes.get(KEYS.variable(job.variable), {})
            if record.get("attempt") == str(job.attempt) and record.get("state") == "pending":
                events.append(cell.publish(job))
        cell.tell(*events, EngineBeat(engine="e1", read=read, holds=[]))


def end(cell: Cell) -> None:
    """Take over, and work to the end: everything adds up, and the neighbour is well."""
    cell.jobs += [order for order in cell.restart() if isinstance(order[2], Job)]
    cell.tell(EngineBeat(engine="e1"))
    assert check_machine(cell.machine) == []
    work(cell)
    cell.tell(close_session("s"), close_session("t"))
    work(cell)
    assert check_machine(cell.machine) == []
    assert not cell.store.sets[KEYS.active]
    assert [cell.call(name)["state"] for name in ("other", "next")] == ["done", "done"]


def test_a_session_of_which_nothing_is_left_is_forgotten() -> None:
    cell = damaged()
    delete(cell, *OWN, *map(KEYS.call, CALLS), *map(KEYS.variable, ["v", "e", *MADE]))
    end(cell)
    assert "s" not in cell.store.sets[KEYS.sessions]


def test_calls_of_a_session_that_was_deleted_fail_and_expire() -> None:
    cell = damaged()
    delete(cell, *OWN)
    end(cell)
    for name in CALLS:
        assert cell.call(name)["state"] == "failed"
        assert cell.store.expiring[KEYS.call(name)] == cell.limits.results
    for name in MADE:
        assert (
            cell.variable(name)["error"]
            == f"The session s of the call {name.split('.')[0]} was deleted or replaced in Redis, but not by Parrot."
        )
        assert cell.store.expiring[KEYS.variable(name)] == cell.limits.results
    assert sorted(cell.news()) == [(name, "failed") for name in sorted(MADE)]
    assert cell.store.expiring[KEYS.news("s")] == cell.limits.results


def test_what_was_written_to_a_session_after_it_was_deleted_does_not_make_it_whole() -> None:
    cell = damaged()
    delete(cell, *OWN, *map(KEYS.call, CALLS), *map(KEYS.variable, ["v", "e", *MADE]))
    work(cell)
    assert "name" not in cell.store.hashes[KEYS.session("s")]
    end(cell)
    assert "s" not in cell.store.sets[KEYS.sessions]
    assert KEYS.session("s") in cell.store.expiring


@pytest.mark.parametrize(
    ("key", "failed"),
    [
        (KEYS.calls("s"), MADE),
        (KEYS.variables("s"), MADE),
        (KEYS.call("held"), ["held.x", "waits.x"]),
        (KEYS.variable("held.x"), ["held.x", "waits.x"]),
        (KEYS.variable("v"), ["two.x", "two.y"]),
        (KEYS.variable("e"), ["empty.x"]),
        (KEYS.news("s"), []),
    ],
)
def test_where_one_key_is_gone_what_needs_it_fails_and_the_rest_goes_on(key: str, failed: list[str]) -> None:
    cell = damaged()
    delete(cell, key)
    cell.jobs += [order for order in cell.restart() if isinstance(order[2], Job)]
    cell.tell()
    work(cell)
    states = {name: cell.variable(name)["state"] for name in MADE}
    expected = dict.fromkeys(MADE, "ready") | {"empty.x": "pending"} | dict.fromkeys(failed, "failed")
    assert states == expected
    assert all("deleted or replaced in Redis, but not by Parrot" in cell.variable(name)["error"] for name in failed)


def test_a_call_whose_request_cannot_be_read_fails_alone() -> None:
    cell = damaged()
    cell.store.hashes[KEYS.call("held")]["request"] = "{"
    end(cell)
    assert cell.variable("waits.x")["error_code"] == "upstream"
    assert cell.variable("two.y")["state"] == "ready"


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_whatever_was_deleted_whenever_everything_ends(seed: int) -> None:
    chance, cell = random.Random(seed), damaged()
    keys = [*OWN, *map(KEYS.call, CALLS), *map(KEYS.variable, ["v", "e", *MADE])]
    if chance.random() < 0.5:
        work(cell)
    delete(cell, *chance.sample(keys, chance.randint(1, len(keys))))
    if chance.random() < 0.5:
        work(cell)
    end(cell)
