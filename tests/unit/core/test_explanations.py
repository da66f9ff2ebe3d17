"""A call says why it went where it did."""

from __future__ import annotations

import re

import pytest

from parrot.core.reasons import AT_ONCE
from parrot.criteria import Criterion
from parrot.wire.to_core import CancelVariable, EngineBeat, EngineDown, GenerationReturned, Usage
from tests.unit.core.cell import call
from tests.unit.core.stage import SHARED, Stage, ask, short, up, want, words


def test_a_call_says_why_it_went_where_it_did() -> None:
    stage = Stage(up("e1"), up("e2"))
    stage.tell(ask("first", SHARED))
    stage.finish("first")
    holder, other = stage.where["first"], {"e1": "e2", "e2": "e1"}[stage.where["first"]]
    stage.report(holder, "first")
    stage.tell(ask("a", SHARED), want("a"))
    record = stage.call("a")
    assert (record["state"], record["engine"], record["runner_up"]) == ("placed", holder, other)
    assert (record["objective"], record["group"], record["prefix_expected"]) == ("latency", "", "2000")
    assert float(record["slack"]) == pytest.approx(0, abs=0.01)  # its program has no longer way than this
    assert record["why"].startswith(f"{holder} should have it done in ")
    assert f"next best {other}: " in record["why"]
    assert "prefix_found" not in record
    stage.finish("a", cached=88)
    assert stage.call("a")["prefix_found"] == "88"


def test_slack_is_the_time_until_the_deadline_less_the_way_to_it() -> None:
    stage = Stage(up("e1"))
    stage.tell(ask("a"), ask("b", "{{i}} ", i="a.x"), want("b", Criterion.DEADLINE, stage.now + 100))
    a = float(stage.call("a")["slack"])
    stage.finish("a")
    assert 95 < a < float(stage.call("b")["slack"]) < 100


def test_where_nothing_can_be_late_there_is_no_slack() -> None:
    stage = Stage(up("e1"))
    stage.tell(ask("a"))
    assert (stage.call("a")["objective"], stage.call("a")["slack"]) == ("throughput", "")


def test_a_call_of_several_outputs_says_what_was_expected_and_found_of_all() -> None:
    stage = Stage(up("e1"))
    stage.tell(short(call("a", SHARED + "{{x}}" + words(100) + "{{y}}")))
    stage.finish("a", cached=0)
    assert int(stage.call("a")["prefix_expected"]) == pytest.approx(2_000, rel=0.05)  # its own first output
    stage.finish("a", cached=2_010)
    assert stage.call("a")["prefix_found"] == "2010"


def test_what_only_one_engine_can_take_has_no_runner_up() -> None:
    stage = Stage(up("e1"), up("n1", model="n"))
    stage.tell(ask("a", model="n"))
    assert stage.call("a")["runner_up"] == ""
    assert stage.call("a")["why"].endswith("no other engine came into question")


def test_a_call_that_comes_back_is_explained_anew() -> None:
    stage = Stage(up("e1"), up("e2"))
    stage.tell(ask("a"))
    first = stage.where["a"]
    stage.tell(EngineDown(engine=first))
    assert stage.call("a")["engine"] == stage.where["a"] != first
    assert stage.call("a")["runner_up"] == ""


def test_a_call_tells_the_longest_way_from_its_start_to_the_end_of_its_program() -> None:
    stage = Stage(up("e1"))
    stage.tell(ask("a"), ask("b", "{{i}} ", i="a.x"), ask("c", "{{i}} ", i="b.x"))
    ways = [float(stage.call("a")["way"])]
    for name, following in (("a", "b"), ("b", "c")):
        stage.finish(name)
        ways.append(float(stage.call(following)["way"]))
    assert ways == sorted(ways, reverse=True)
    assert ways[-1] > 0


def test_slack_reckons_with_what_steps_before_it_have_taken() -> None:
    """A hundred seconds were enough for ten steps, but not at the pace that they show."""
    stage = Stage(up("e1"))
    stage.tell(ask("c0", most=1_000), *(ask(f"c{step}", "{{p}} ", most=1_000, p=f"c{step - 1}.x") for step in range(1, 10)))
    stage.tell(want("c9", Criterion.DEADLINE, stage.now + 100))
    assert float(stage.call("c0")["slack"]) > 0
    for step in range(2):
        stage.now += 40
        engine, job = stage.job(f"c{step}")
        usage = Usage(tokens_in=10, tokens_out=1_000, first_token_seconds=0.02, seconds=40.0)
        stage.tell(stage.publish(job, engine).model_copy(update={"usage": usage}))
    assert float(stage.call("c2")["slack"]) < -100


def test_when_the_longest_branch_has_ended_what_is_left_has_no_slack() -> None:
    stage = Stage(up("e1"))
    branches = {"l": 6, "a": 4, "b": 4}
    for branch, length in branches.items():
        most = 256 if branch == "l" else 4
        stage.tell(ask(f"{branch}0", most=most))
        stage.tell(*(ask(f"{branch}{step}", "{{p}} ", most=most, p=f"{branch}{step - 1}.x") for step in range(1, length)))
    stage.tell(ask("end", "{{a}} {{b}} {{l}}", most=4, a="a3.x", b="b3.x", l="l5.x"), want("end"))
    for step in range(6):
        stage.finish(f"l{step}")
    stage.finish("a0")
    assert float(stage.call("a1")["slack"]) < 1.0


def test_what_is_expected_of_a_call_that_comes_back_is_what_it_finds_at_its_last_place() -> None:
    stage = Stage(up("e1"), up("e2"))
    stage.tell(ask("first", SHARED))
    stage.finish("first")
    stage.report(stage.where["first"], "first")
    stage.tell(ask("second", SHARED))
    engine, job = stage.job("second")
    stage.tell(GenerationReturned(engine=engine, variable=job.variable, attempt=job.attempt))
    assert stage.call("second")["prefix_expected"] == "2000"


def test_a_call_that_waits_says_what_it_is_optimised_for_now() -> None:
    stage = Stage(up("e1", running=1))
    stage.tell(ask("busy"), ask("a"))
    assert (stage.call("a")["state"], stage.call("a")["objective"]) == ("queued", "throughput")
    stage.tell(want("a"))
    assert (stage.call("a")["state"], stage.call("a")["objective"]) == ("queued", "latency")


def test_a_deadline_that_is_set_after_placing_gives_slack() -> None:
    stage = Stage(up("e1"))
    stage.tell(ask("a"))
    stage.tell(want("a", Criterion.DEADLINE, stage.now + 10))
    assert stage.call("a")["objective"] == "deadline"
    assert 0 < float(stage.call("a")["slack"]) < 10


def test_a_call_whose_model_no_engine_serves_says_which_are_served() -> None:
    stage = Stage(up("e1"), up("n1", model="n"))
    stage.tell(ask("a", model="gpt-9"))
    assert stage.call("a")["why"] == "waits for an engine that serves gpt-9; here is only m, n"


def test_where_there_is_no_engine_a_call_says_so() -> None:
    stage = Stage()
    stage.tell(ask("a"))
    assert stage.call("a")["why"] == "waits for an engine that serves any model; there is no engine at all"


def test_what_waited_for_any_engine_at_all_does_not_say_so_when_there_is_one() -> None:
    stage = Stage()
    stage.tell(*(ask(f"a{number}") for number in range(AT_ONCE + 2)), ask("b", model="n"), ask("ended"))
    stage.tell(CancelVariable(session="s", variable="ended.x"))
    stage.tell(up("e1", running=1))
    (running,) = stage.running()["e1"]
    waiting = [f"a{number}" for number in range(AT_ONCE + 2) if f"a{number}" != running]
    assert sum("no engine at all" in stage.call(name)["why"] for name in waiting) == 2
    stage.wait(0.1)
    assert {stage.call(name)["why"].split(":")[0] for name in waiting} == {"waits for an engine with room that serves any model"}
    assert stage.call("b")["why"] == "waits for an engine that serves n; here is only m"
    assert (stage.call("ended")["state"], stage.call(running)["state"]) == ("cancelled", "placed")
    cell = stage.machine.cell
    assert (cell.misinformed, [one.call.id for told in cell.unserved.values() for one in told]) == ({}, ["b"])
    stage.tell(CancelVariable(session="s", variable="b.x"))
    assert not cell.unserved


def test_what_waited_for_a_holder_that_is_gone_does_not_name_it_any_more() -> None:
    stage = Stage(up("e1", running=1), up("e2", running=1))
    book = words(20_000, "book")
    stage.tell(ask("first", book))
    holder = stage.where["first"]
    other = "e2" if holder == "e1" else "e1"
    stage.finish("first")
    stage.report(holder, "first")
    stage.tell(ask("second", book))
    stage.tell(ask("third", book))
    assert holder in stage.call("third")["why"]
    stage.tell(EngineDown(engine=holder, reason="drained"))
    waiting = next(name for name in ("second", "third") if stage.call(name)["state"] == "queued")
    assert stage.running() == {other: [{"second": "third", "third": "second"}[waiting]]}
    for record in (stage.call(waiting), stage.variable(f"{waiting}.x")):
        assert record["why"].startswith("waits for an engine with room that serves any model")


def test_what_waited_for_a_holder_does_not_say_so_when_there_is_room_nowhere() -> None:
    stage = Stage(up("e1", running=1))
    book = words(20_000, "book")
    stage.tell(ask("first", book))
    stage.finish("first")
    stage.report("e1", "first")
    stage.tell(ask("second", book))
    stage.tell(up("e2"))
    stage.tell(ask("third", book))
    assert stage.call("third")["why"].startswith("waits for e1, which holds")
    stage.tell(ask("other", words(80_000, "other")))
    assert stage.where["other"] == "e2"
    stage.wait(2.0)
    assert stage.call("third")["why"].startswith("waits for an engine with room that serves any model")


def test_what_waits_for_a_large_engine_says_so_of_a_larger_one_when_that_is_gone() -> None:
    stage = Stage(up("small", context=1_000), up("large", context=10_000, running=1), up("largest", context=50_000, running=1))
    stage.tell(ask("a", words(5_000, "a")), ask("b", words(5_000, "b")))
    stage.tell(ask("c", words(5_000, "c")))
    assert stage.call("c")["why"] == "waits for an engine with room that takes 10,000 tokens of context"
    stage.tell(EngineDown(engine="large", reason="drained"))
    assert stage.call("c")["why"] == "waits for an engine with room that takes 50,000 tokens of context"


def test_what_waits_when_the_last_engine_goes_says_that_there_is_none() -> None:
    stage = Stage(up("e1", running=1))
    stage.tell(ask("a", model="m"), ask("b", model="m"))
    assert stage.call("b")["why"].startswith("waits for an engine with room that serves m")
    stage.tell(EngineDown(engine="e1", reason="drained"))
    assert all("there is no engine at all" in stage.call(name)["why"] for name in "ab")


def test_what_waits_for_a_large_engine_says_that_there_is_none_when_all_are_gone() -> None:
    stage = Stage(up("small", context=1_000), up("large", context=10_000, running=1))
    stage.tell(ask("a", words(5_000, "a")))
    stage.tell(ask("b", words(5_000, "b")))
    assert stage.call("b")["why"] == "waits for an engine with room that takes 10,000 tokens of context"
    stage.tell(EngineDown(engine="large", reason="drained"), EngineDown(engine="small", reason="drained"))
    assert all("there is no engine at all" in stage.call(name)["why"] for name in "ab")


def test_what_waits_for_a_model_names_those_that_are_there_now() -> None:
    stage = Stage(up("e1", model="m"))
    stage.tell(ask("a", model="n"))
    stage.tell(EngineDown(engine="e1", reason="drained"), up("e2", model="o"))
    assert stage.call("a")["why"] == "waits for an engine that serves n; here is only o"


def test_what_waits_where_all_engines_leave_says_so() -> None:
    stage = Stage(up("e1", running=1))
    stage.tell(ask("a"))
    stage.tell(ask("b"))
    stage.tell(EngineBeat(engine="e1", draining=True))
    stage.tell(ask("c"))
    assert {stage.call(name)["why"] for name in "bc"} == {"waits for an engine that serves any model: those that do are leaving"}


def test_what_waits_for_the_holder_of_its_prompt_does_not_say_that_there_is_no_room() -> None:
    stage = Stage(up("e1", running=1), up("e2", running=1))
    book = words(20_000, "book")
    stage.tell(ask("first", book))
    holder = stage.where["first"]
    stage.finish("first")
    stage.report(holder, "first")
    stage.tell(ask("second", book))
    stage.tell(ask("third", book))
    assert (stage.where["second"], stage.call("third")["state"]) == (holder, "queued")
    assert stage.call("third")["why"].startswith(f"waits for {holder}, which holds ")
    said = re.fullmatch(r".*done there in (\S+) s; \w+ had room and would have taken (\S+) s", stage.call("third")["why"])
    assert said is not None
    assert float(said[1]) < float(said[2])


def test_what_waits_though_it_would_be_done_sooner_elsewhere_says_why() -> None:
    stage = Stage(up("e1", running=1))
    stage.tell(ask("first", SHARED + "first"))
    stage.finish("first")
    stage.report("e1", "first")
    stage.tell(ask("busy", SHARED + "busy", most=64))
    stage.tell(up("e2", running=1))
    stage.tell(ask("next", SHARED + "next"))
    said = re.fullmatch(r"waits for e1, .* in (\S+) s; e2 had room and would have taken (\S+) s(.*)", stage.call("next")["why"])
    assert said is not None
    assert float(said[2]) < float(said[1])
    assert said[3] == ", but there it would cost more in all, more of its prompt computed"


def test_the_way_that_is_told_of_what_runs_is_that_to_what_somebody_waits_for_now() -> None:
    stage = Stage(up("e1", running=1))
    stage.tell(ask("p"), ask("after", "{{i}} ", most=4_000, i="p.x"), ask("last", "{{i}} ", most=4_000, i="after.x"))
    assert float(stage.call("p")["way"]) > 5
    stage.tell(want("p"))
    producer = stage.machine.graph.variables["p.x"].producer
    assert producer is not None
    assert float(stage.call("p")["way"]) == pytest.approx(producer.seconds, abs=0.001)


def test_equal_costs_are_no_reason() -> None:
    stage = Stage(up("e1"), up("e2"))
    stage.tell(ask("a"))
    assert "cost more" not in stage.call("a")["why"]
