"""A successor knows what its predecessor knew."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parrot.core.graph import Generation
from parrot.core.limits import Limits
from parrot.core.objectives import Kind
from parrot.core.programs import Program
from parrot.core.records import seconds
from parrot.criteria import Criterion
from parrot.wire.to_core import CancelVariable, EngineDown, EngineHolds, GenerationFailed, OpenSession, Usage
from parrot.wire.to_engine import Job, Reorder
from tests.unit.core.cell import KEYS, Cell, call, close_session, engine_up, open_session, text
from tests.unit.core.stage import Stage, ask, short, up, want, words


@pytest.fixture
def cell() -> Cell:
    cell = Cell()
    cell.tell(open_session(), engine_up())
    return cell


def test_a_placed_job_is_sent_again_under_the_same_id(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"))
    assert cell.restart() == cell.jobs


def test_job_ids_go_on_after_a_restart(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"))
    cell.restart()
    cell.tell(call("b", "A: {{x}}"))
    first, second = (tuple(map(int, entry.split("-"))) for _, entry, order in cell.jobs if isinstance(order, Job))
    assert first < second


def test_waiting_and_queued_calls_go_on_in_order() -> None:
    cell = Cell()
    cell.tell(open_session(), call("a", "A: {{x}}"), call("b", "{{i}} B: {{y}}", i="a.x"), call("c", "C: {{x}}"))
    assert cell.restart() == []
    cell.tell(engine_up())
    jobs = cell.take_jobs()
    assert [job.call for job in jobs] == ["a", "c"]
    cell.tell(cell.publish(jobs[0]))
    assert [job.call for job in cell.take_jobs()] == ["b"]


def test_a_publication_that_the_predecessor_was_not_told_of_counts(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"), call("b", "{{i}} B: {{y}}", i="a.x"))
    event = cell.publish(*cell.take_jobs())
    cell.restart()
    cell.tell()
    assert [job.call for job in cell.take_jobs()] == ["b"]
    assert cell.call("a")["state"] == "done"
    cell.tell(event)
    assert cell.take_jobs() == []


def test_a_closed_session_still_expires_after_a_restart(cell: Cell) -> None:
    cell.tell(text("v"), close_session())
    cell.restart()
    cell.now += cell.limits.results
    cell.tell()
    assert cell.machine.graph.sessions == {}


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_program_ends_whenever_the_leader_is_replaced(seed: int) -> None:
    """Random programs, random order of work, a restart at any point between two batches: every call is done once."""
    chance = random.Random(seed)
    cell = Cell()
    cell.tell(open_session(), engine_up("e1", running=3), engine_up("e2", running=2))
    names = [f"c{i}" for i in range(20)]
    for i, name in enumerate(names):
        inputs = {f"i{k}": f"{chance.choice(names[:i])}.x" for k in range(chance.randint(0, 3)) if i}
        prompt = "".join(f"{{{{{slot}}}}} " for slot in inputs) + "go: {{x}}"
        cell.tell(call(name, prompt, **inputs))
    held: dict[str, tuple[str, object]] = {}
    events: list[object] = []
    while any(cell.call(name)["state"] != "done" for name in names):
        for engine, entry, job in cell.jobs:
            if isinstance(job, Job):
                held.setdefault(entry, (engine, job))
        cell.jobs.clear()
        step = chance.random()
        if step < 0.2:
            assert {entry for _, entry, _ in cell.restart(foreseen=chance.random() < 0.5)} <= set(held)
            cell.tell()
        elif held and step < 0.7:
            engine, job = held.pop(chance.choice(sorted(held)))
            if cell.variable(job.variable)["state"] != "ready":  # type: ignore[attr-defined]
                events.append(cell.publish(job, engine))  # type: ignore[arg-type]
        elif events:
            cell.tell(*events)
            events.clear()
    assert [state for _, state in cell.news()] == ["ready"] * len(names)


def test_calls_that_turn_out_to_be_done_do_not_end_a_closed_session_before_its_other_calls_are_known(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"), call("b", "B: {{y}}"), close_session())
    first, second = cell.take_jobs()
    cell.publish(first)
    cell.restart()
    cell.tell()
    assert "expires" not in cell.store.hashes[KEYS.session("s")]
    cell.tell(cell.publish(second))
    assert cell.call("b")["state"] == "done"
    assert cell.store.expiring[KEYS.call("a")] == cell.limits.results


def test_results_that_a_successor_finds_complete_live_from_then_on(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"), close_session())
    cell.publish(*cell.take_jobs())
    cell.restart()
    cell.tell()
    assert list(cell.machine.graph.sessions) == ["s"]
    assert seconds(cell.store.hashes[KEYS.session("s")]["expires"]) == cell.now + cell.limits.results
    assert seconds(cell.call("a")["ended"]) == cell.now


def test_a_session_that_expired_while_nobody_led_is_forgotten(cell: Cell) -> None:
    cell.tell(close_session())
    for key in cell.store.expiring:
        cell.store.hashes.pop(key, None)
    cell.restart()
    cell.tell()
    assert cell.store.sets[KEYS.sessions] == {}


def test_deaths_and_errors_are_known_to_a_successor_even_if_another_engine_took_over_at_once(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"))
    cell.tell(GenerationFailed(engine="e1", variable="a.x", attempt=1, code="engine", reason="No."))
    cell.now += 3.0
    cell.tell(engine_up("e2"))
    cell.restart()
    generation = cell.machine.graph.variables["a.x"].producer
    assert generation is not None
    assert (generation.engine, generation.mishaps.deaths, generation.mishaps.errors) == ("e2", {"e1"}, 1)


def test_calls_of_the_same_moment_are_taken_up_in_the_order_of_their_session() -> None:
    cell = Cell()
    cell.tell(open_session(), call("z", "A: {{x}}"), call("a", "{{i}} A: {{x}}", i="z.x"))
    cell.restart()
    assert list(cell.machine.graph.calls) == ["z", "a"]
    assert [cell.machine.graph.variables[name].depth for name in ("z.x", "a.x")] == [1, 2]


def test_after_a_power_loss_no_attempt_number_is_given_out_that_may_have_been_given_out_before(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"))
    cell.restart(forgetful=True)
    cell.take_jobs()
    cell.tell(EngineDown(engine="e1"), engine_up("e2"))
    (job,) = cell.take_jobs()
    assert job.attempt > 100


def test_what_was_skipped_after_a_power_loss_is_known_to_a_successor_that_sees_nothing_of_the_loss(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"))
    cell.restart(forgetful=True)
    cell.tell(EngineDown(engine="e1"))
    cell.restart()
    cell.take_jobs()
    cell.tell(engine_up("e2"))
    (job,) = cell.take_jobs()
    assert job.attempt > 100


def test_a_call_whose_variable_somebody_deleted_fails_and_its_neighbours_go_on(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"), call("b", "{{i}} B: {{y}}", i="a.x"), call("c", "C: {{z}}"))
    _, neighbour = cell.take_jobs()
    del cell.store.hashes[KEYS.variable("a.x")]
    cell.restart()
    cell.tell(cell.publish(neighbour))
    assert [cell.call(name)["state"] for name in ("a", "b", "c")] == ["failed", "failed", "done"]
    assert [cell.variable(name)["error_code"] for name in ("a.x", "b.y")] == ["internal", "upstream"]


def test_an_engine_that_could_not_be_heard_gets_another_lease(cell: Cell) -> None:
    cell.tell(call("a", "A: {{x}}"))
    cell.now += cell.limits.lease + 1
    cell.machine.spare(cell.now)
    cell.tell()
    assert "e1" in cell.machine.fleet.engines
    cell.now += cell.limits.lease + 0.1
    cell.tell()
    assert "e1" not in cell.machine.fleet.engines


def test_the_limits_of_a_new_leader_are_told_at_once(cell: Cell) -> None:
    cell.limits = Limits(active=7, tenant_active=5)
    cell.restart()
    cell.tell()
    told = cell.store.hashes[KEYS.core]
    assert (told["limit_active"], told["limit_tenant"]) == ("7", "5")


# Programs, priorities, prompts -------------------------------------------------------------------


def program(stage: Stage, name: str) -> Program:
    producer = stage.machine.graph.variables[f"{name}.x"].producer
    assert producer is not None
    return producer.program.whole()


@pytest.fixture
def fan() -> Stage:
    """Two calls that are connected by a value that is there already, and by a call that has ended."""
    stage = Stage(up("e1", running=2))
    stage.tell(ask("root"), ask("second"), ask("both", "{{i}} {{j}} ", i="root.x", j="second.x"))
    for name in ("root", "second", "both"):
        stage.finish(name, seconds=5.0)
    stage.tell(ask("a", "{{i}} ", i="root.x"), ask("b", "{{i}} ", i="second.x"))
    return stage


def test_calls_that_only_what_has_ended_connects_are_one_program_after_a_takeover(fan: Stage) -> None:
    assert program(fan, "a") is program(fan, "b")
    fan.restart()
    assert program(fan, "a") is program(fan, "b")


def test_what_a_program_has_had_is_not_doubled_by_a_takeover(fan: Stage) -> None:
    had = program(fan, "a").attained
    fan.restart()
    fan.tell(ask("end", "{{i}} {{j}} ", i="a.x", j="b.x"))
    assert (had, program(fan, "end").attained) == (15.0, 15.0)


def test_tokens_found_are_counted_with_those_of_outputs_before_a_takeover() -> None:
    stage = Stage(up("e1", running=1))
    stage.tell(ask("c", words(500) + "{{y}} and "))
    for _ in range(2):
        usage = Usage(tokens_in=900, tokens_cached=450, tokens_out=16, first_token_seconds=0.3, running=1.0, seconds=1.0)
        stage.tell(stage.publish(stage.sent[-1][1], "e1").model_copy(update={"usage": usage}))
        expected = stage.call("c")["prefix_expected"]
        stage.restart()
        stage.tell()
    assert (stage.call("c")["state"], stage.call("c")["prefix_found"], stage.call("c")["prefix_expected"]) == ("done", "900", expected)


def test_slack_of_what_runs_counts_its_prompt_after_a_takeover_too() -> None:
    slacks = []
    for restart in (False, True):
        stage = Stage(up("e1", running=1, context=1_000_000))
        stage.tell(ask("long", words(80_000)))
        if restart:
            stage.restart()
        stage.tell(want("long", Criterion.DEADLINE, stage.now + 100))
        slacks.append(float(stage.call("long")["slack"]))
    assert slacks[0] == pytest.approx(slacks[1], abs=1.0)


def test_an_engine_is_told_a_priority_that_the_leader_died_before_it_could_send() -> None:
    """What was asked is committed, and nobody will say it again."""
    stage = Stage(up("e1", running=4))
    stage.tell(ask("a"))
    stage.tell(want("a"))
    (told,) = [(engine, entry, order) for engine, entry, order in stage.batch.orders if isinstance(order, Reorder)]
    unsent = stage.restart()
    assert [type(order) for _, _, order in unsent] == [Job, Reorder]
    assert unsent[1] == told
    stage.tell(EngineDown(engine="e1", died=False), up("e2"))
    assert [type(order) for _, _, order in stage.restart()] == [Job]  # it is told with the job there


def test_the_last_of_a_group_is_one_after_a_takeover_too() -> None:
    stage = Stage(up("e1", running=1))
    stage.tell(ask("m0"), ask("m1"), ask("reduce", "{{i0}} {{i1}} ", i0="m0.x", i1="m1.x"), want("reduce"))
    stage.finish("m0")
    before = {name: stage.call(name) for name in ("m1", "reduce")}
    assert before["m1"]["group"] == "reduce"
    unsent = stage.restart()
    stage.tell(want("reduce"))
    assert {name: stage.call(name) for name in before} == before
    assert not [order for _, _, order in [*unsent, *stage.batch.orders] if isinstance(order, Reorder)]
    assert producer(stage, "m1.x").objective.kind is Kind.GROUP


def producer(stage: Stage, variable: str) -> Generation:
    made = stage.machine.graph.variables[variable].producer
    assert made is not None
    return made


def test_what_the_first_output_was_expected_to_find_is_not_forgotten_if_the_second_is_placed_after_a_takeover() -> None:
    found = []
    for restart in (False, True):
        stage = Stage(up("e1", running=1))
        stage.tell(ask("seed", words(500, "p")))
        stage.finish("seed")
        stage.report("e1", "seed")
        stage.tell(ask("c", words(500, "p") + "{{y}} and "))  # y, then x
        first = int(stage.call("c")["prefix_expected"])
        assert first > 400
        if restart:
            stage.restart()  # the second output was not placed yet
            stage.tell()
        stage.finish("c")
        found.append(int(stage.call("c")["prefix_expected"]) - first)
    assert found[0] > 400
    assert found[1] > 400, found


def test_what_a_done_call_connects_with_a_call_under_way_is_one_program_after_a_takeover() -> None:
    stage = Stage(up("e1", running=1))
    stage.tell(ask("a", "{{y}} and "))
    stage.finish("a")  # y; x runs
    stage.tell(ask("c", "{{i}} ", i="a.y"))
    stage.tell(up("e2", running=1))
    stage.finish("c")
    for restart in (False, True):
        if restart:
            stage.restart()
        name = f"d{restart}"
        stage.tell(ask(name, "{{i}} ", i="c.x"))
        assert producer(stage, f"{name}.x").program.whole() is producer(stage, "a.x").program.whole(), restart


def test_what_only_a_later_output_of_a_call_connects_is_one_program_after_a_takeover() -> None:
    stage = Stage(up("e1", running=1))
    stage.tell(ask("a"))
    stage.finish("a")
    stage.tell(ask("b", "First {{y}} then {{i}} ", i="a.x"))  # its first output needs nothing
    stage.finish("b")
    stage.finish("b")
    for restart in (False, True):
        if restart:
            stage.restart()
        stage.tell(ask(f"p{restart}", "{{i}} ", i="a.x"), ask(f"q{restart}", "{{i}} ", i="b.x"))
        assert producer(stage, f"p{restart}.x").program.whole() is producer(stage, f"q{restart}.x").program.whole(), restart


def test_a_cancelled_output_asks_nothing_after_a_takeover_either() -> None:
    stage = Stage(up("e1", running=1))
    stage.tell(ask("head"), ask("c", "{{i}} {{y}} and ", i="head.x"), ask("keep", "{{i}} ", i="c.y"))  # y, then x
    stage.tell(want("c"))
    assert producer(stage, "head.x").objective.kind is Kind.LATENCY
    stage.tell(CancelVariable(session="s", variable="c.x"))
    assert producer(stage, "head.x").objective.kind is Kind.THROUGHPUT
    stage.restart()
    stage.tell()
    assert producer(stage, "head.x").objective.kind is Kind.THROUGHPUT


def test_what_nobody_needs_is_cancelled_after_a_takeover_too() -> None:
    for restart in (False, True):
        stage = Stage(up("e1", running=1))
        stage.tell(ask("head"), ask("c", "{{i}} {{y}} and {{z}} or ", i="head.x"), ask("keep", "{{i}} ", i="c.y"))
        stage.tell(CancelVariable(session="s", variable="c.z"))  # and x, after it; y is wanted by keep
        assert producer(stage, "c.y")
        if restart:
            stage.restart()
            stage.tell()
        stage.tell(CancelVariable(session="s", variable="c.y"))
        assert stage.machine.graph.variables["head.x"].state == "cancelled", restart


def pursued(stage: Stage, name: str) -> tuple[str, str, float | None]:
    producer = stage.machine.graph.variables[name].producer
    assert producer is not None
    return (*producer.objective[:2], producer.objective.due)


def test_an_input_that_was_there_makes_no_group_after_a_takeover() -> None:
    """c came when a.x was ready, so b is all that it waits for. a is under way still with its second output."""
    stage = Stage(up("e1"))
    stage.tell(short(call("a", "one {{x}} two {{y}}")), ask("b"))
    stage.finish("a")  # its first output
    assert stage.variable("a.x")["state"] == "ready"
    assert stage.call("a")["state"] != "done"
    stage.tell(ask("c", "{{i}} {{j}} ", i="a.x", j="b.x"), want("c"))
    before = pursued(stage, "b.x")
    stage.restart()
    stage.tell()
    assert pursued(stage, "b.x") == before


def placed_after(restart: bool) -> Stage:
    stage = Stage(up("e1", running=64))
    for n in range(8):
        stage.tell(ask(f"long{n}", words(20_000, f"long{n}"), most=4_000))
        stage.wait(10.0)
    stage.wait(60.0)
    if restart:
        stage.restart()
        stage.tell()
    stage.tell(EngineHolds(engine="e1", sequence=100, stored=[], whole=True))
    stage.wait(1.0)
    stage.tell(ask("chat"), want("chat"))
    return stage


@pytest.mark.parametrize("restart", [False, True])
def test_prompts_that_were_computed_long_ago_hold_up_nobody(restart: bool) -> None:
    stage = placed_after(restart)
    assert stage.call("chat")["state"] == "placed"


@pytest.mark.parametrize("restart", [False, True])
def test_a_program_keeps_its_place_though_what_it_began_with_has_ended(restart: bool) -> None:
    stage = Stage(up("e1", running=1), up("e2", running=1, model="n"))
    stage.tell(ask("first", model="n"), OpenSession(session="t", name="t"))
    stage.tell(ask("busy", model="m"))
    stage.now += 50
    stage.tell(OpenSession(session="u", name="u"), ask("other", session="u", model="m"))
    stage.now += 50
    stage.tell(ask("second", "{{i}} ", i="first.x", model="m"))
    stage.finish("first")
    if restart:
        stage.restart()
        stage.tell()
    stage.run()
    assert stage.order[2:] == ["second", "other"]
