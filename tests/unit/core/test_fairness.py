"""Tenants are served by what was worked for them: not by what was expected, lost or cancelled."""

from __future__ import annotations

import pytest

from parrot.core.shares import STUCK, Shares
from parrot.wire.to_core import CancelVariable, EngineDown, OpenSession, Usage
from tests.unit.core.stage import Stage, ask, up, words


def tenants(stage: Stage, *names: str) -> None:
    stage.tell(*(OpenSession(session=name, name=name, tenant=name) for name in names))


def long_call_of_one_among_many_of_another() -> Stage:
    """b has 90 calls, and a's long call `a0` has just been given to the only engine."""
    stage = Stage(up("e1", running=1))
    tenants(stage, "a", "b")
    stage.tell(ask("b-first", words(1_000, "bf"), session="b"))
    stage.tell(*(ask(f"b{n}", words(1_000, f"b{n}"), session="b") for n in range(90)))
    stage.tell(ask("a0", words(80_000, "a0"), session="a"))
    while stage.order[-1] != "a0":
        stage.now += 1.0
        stage.finish(stage.order[-1])
    assert len(stage.order) <= 4
    return stage


def test_an_engine_that_dies_costs_its_tenant_nothing() -> None:
    """a's long call is lost with its engine before anything came of it: a has had nothing, and must not wait until b has had as much."""
    stage = long_call_of_one_among_many_of_another()
    first = len(stage.sent)
    stage.tell(up("e2", running=1), EngineDown(engine="e1", died=True))
    stage.run()
    after = stage.order[first:]
    assert after.index("a0") <= 3


def test_a_call_that_is_cancelled_does_not_put_its_tenant_behind() -> None:
    """What a cancelled before anything was worked for it: its next call must not wait until b has had as much."""
    stage = long_call_of_one_among_many_of_another()
    stage.tell(CancelVariable(session="a", variable="a0.x"))
    stage.tell(ask("a1", words(100, "a1"), session="a"))
    first = len(stage.sent)
    stage.run()
    after = stage.order[first:]
    assert after.index("a1") <= 3


def test_an_output_that_is_shorter_than_expected_does_not_put_its_tenant_behind() -> None:
    """What was expected, and not what was worked, keeps a tenant behind all others, until these have had as much."""
    stage = Stage(up("e1", running=1))
    tenants(stage, "a", "b")
    stage.tell(ask("learn", "L: ", most=20_000, session="s"))
    engine, job = stage.job("learn")
    usage = Usage(tokens_in=10, tokens_out=20_000, first_token_seconds=0.1, seconds=400, running=1.0)
    for n in range(4):
        engine, job = stage.sent[-1]
        stage.tell(
            stage.publish(job, engine).model_copy(update={"usage": usage}),
            ask(f"learn{n}", "L: ", most=20_000).model_copy(update={"function": "f"}),
        )
    stage.tell(stage.publish(stage.sent[-1][1], "e1").model_copy(update={"usage": usage}))
    stage.tell(ask("b-first", words(1_000, "bf"), session="b"))
    stage.tell(*(ask(f"b{n}", words(1_000, f"b{n}"), session="b") for n in range(90)))
    stage.tell(*(ask(f"a{n}", "A: ", most=20_000, session="a").model_copy(update={"function": "f"}) for n in range(3)))
    for _ in range(60):
        stage.now += 1.0
        stage.finish(stage.order[-1])
    mine = [n for n, name in enumerate(stage.order) if name.startswith("a")]
    assert mine[1] - mine[0] <= 3


def test_a_newcomer_is_not_put_behind_those_who_stay() -> None:
    shares = Shares()
    shares.enter("a")
    shares.enter("b")
    shares.charge("a", 100, 0)
    shares.charge("b", 100_000, 0)  # one call with a long prompt
    shares.leave("b")
    shares.enter("c")
    assert shares.had("c") == pytest.approx(100)  # the smallest counter of those who stayed


def test_a_newcomer_waits_for_those_who_stay_and_not_for_one_who_had_more_on_another_model() -> None:
    stage = Stage(up("e1", running=1), up("e2", running=1, model="n"))
    tenants(stage, "a", "b", "c")
    stage.tell(ask("a-first", session="a", model="m"))
    stage.tell(*(ask(f"a{n}", words(500, f"a{n}"), session="a", model="m") for n in range(60)))
    stage.tell(ask("b0", words(90_000, "b"), session="b", model="n"))
    stage.tell(*(ask(f"c{n}", words(500, f"c{n}"), session="c", model="m") for n in range(3)))
    stage.run()
    assert stage.order.index("c0") < 10


def test_who_gets_nothing_for_long_though_it_is_first_is_nobody_to_whom_newcomers_are_lifted() -> None:
    shares = Shares()
    shares.enter("stuck")
    shares.enter("busy")
    for _ in range(2 * STUCK + 1):
        shares.charge("busy", 100, 0)
    shares.enter("new")
    assert shares.had("new") == 100 * (2 * STUCK + 1)
    shares.charge("stuck", 1, 0)  # it can be served after all
    shares.enter("newer")
    assert shares.had("newer") == 1


def test_who_cancels_is_charged_for_what_was_worked() -> None:
    """a cancels each of its calls after 9 of 10 s (the loser of a race, say); b only ever waits."""
    stage = Stage(up("e1", running=1))
    tenants(stage, "a", "b")
    stage.tell(ask("a-first", words(1000, "af"), session="a", most=400))
    stage.tell(*(ask(f"a{n}", words(1000, f"a{n}"), session="a", most=400) for n in range(60)))
    stage.tell(*(ask(f"b{n}", words(1000, f"b{n}"), session="b", most=400) for n in range(60)))
    for _ in range(40):
        stage.wait(9.0)
        (name,) = stage.running()["e1"]
        if name.startswith("a"):
            stage.tell(CancelVariable(session="a", variable=f"{name}.x"))
        else:
            stage.finish(name)
    mine = sum(name.startswith("a") for name in stage.order)
    assert mine <= 25
