"""What a leader has learned is there for its successor, and is written rarely."""

from __future__ import annotations

import pytest

from parrot.core import learning
from parrot.core.limits import Limits
from parrot.core.passing_on import RARELY
from parrot.wire.to_core import EngineDown, Usage
from parrot.wire.to_ledger import Op
from tests.unit.core.cell import KEYS, Cell, call, engine_up, open_session


@pytest.fixture
def cell() -> Cell:
    cell = Cell(Limits(lease=10**6))
    cell.tell(open_session(), engine_up())
    return cell


def submit(cell: Cell, name: str, function: str = "f") -> list[Op]:
    """Answers what is written of what was learned before."""
    cell.tell(call(name, "A: {{x}}").model_copy(update={"function": function}))
    return written(cell)


def do(cell: Cell, name: str, function: str = "f") -> list[Op]:
    """One call from its beginning to its end; answers what is written of what was learned when it is done."""
    submit(cell, name, function)
    (job,) = cell.take_jobs()
    usage = Usage(tokens_in=10, tokens_out=40, first_token_seconds=0.5, seconds=0.5 + 0.3 * 39, running=1.0)
    cell.tell(cell.publish(job).model_copy(update={"usage": usage}))
    return written(cell)


def written(cell: Cell) -> list[Op]:
    return [operation for operation in cell.batch.operations if operation[1] == KEYS.learned]


def test_what_was_learned_is_written_with_the_batch_that_is_committed_anyhow(cell: Cell) -> None:
    ((name, _, *flat),) = do(cell, "a")
    assert name == "HSET"
    assert set(flat[::2]) == {"length:f.x", "length:*", "speed:m", "speed:m@e1"}


def test_it_is_written_rarely_and_then_what_has_changed_since(cell: Cell) -> None:
    do(cell, "a", "f")
    cell.now += RARELY - 0.1
    assert do(cell, "b", "g") == []
    cell.now += 0.2
    ((_, _, *flat),) = submit(cell, "c")
    assert set(flat[::2]) == {"length:g.x", "length:*", "speed:m", "speed:m@e1"}


def test_no_batch_is_committed_for_it_alone(cell: Cell) -> None:
    do(cell, "a")
    do(cell, "b")
    cell.now += RARELY
    assert cell.tell().operations == []
    assert submit(cell, "c") != []


def test_nothing_is_written_if_nothing_was_learned(cell: Cell) -> None:
    cell.now += RARELY
    cell.tell(call("a", "A: {{x}}"))
    assert KEYS.learned not in cell.store.hashes


def learn(cell: Cell) -> None:
    for number in range(30):
        cell.now += RARELY
        do(cell, f"c{number}")


def test_a_successor_expects_what_its_predecessor_had_learned(cell: Cell) -> None:
    learn(cell)
    predecessor = cell.machine
    cell.restart()
    assert cell.machine is not predecessor
    submit(cell, "next")
    (generation,) = cell.machine.fleet.engines["e1"].holds.values()
    assert generation.tokens_out == pytest.approx(40, rel=0.02)
    assert generation.tail == pytest.approx(40 * 0.3, rel=0.1)


def test_a_new_engine_is_believed_to_be_as_fast_as_others_of_its_model_were(cell: Cell) -> None:
    learn(cell)
    cell.tell(EngineDown(engine="e1", reason="gone"))
    cell.restart()
    cell.tell(engine_up("e2"), engine_up("e3", model="other"))
    for model, seconds in (("m", 0.3), ("other", 0.02)):
        cell.tell(call(model, "A: {{x}}", model=model))
        (generation,) = [one for engine in cell.machine.fleet.engines.values() for one in engine.holds.values() if one.call.id == model]
        assert generation.tail / generation.tokens_out == pytest.approx(seconds, rel=0.1)


def test_what_is_forgotten_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "FUNCTIONS", 3)
    cell = Cell(Limits(lease=10**6))
    cell.tell(open_session(), engine_up())
    for name in "abcd":
        cell.now += RARELY
        do(cell, name, function=name)
    assert cell.store.hashes[KEYS.learned].keys() == {"length:c.x", "length:d.x", "length:*", "speed:m", "speed:m@e1"}


def test_what_somebody_else_wrote_stops_no_takeover_and_is_deleted(cell: Cell) -> None:
    do(cell, "a")
    cell.store.hashes[KEYS.learned] |= {"length:g.x": "odd", "speed:m": '{"prompt_tokens": -1}', "speed:m@e1": "", "whatever": ""}
    cell.restart()
    cell.tell(engine_up("e2"))
    assert cell.store.hashes[KEYS.learned].keys() == {"length:f.x", "length:*", "whatever"}
