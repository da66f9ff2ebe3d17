"""Who goes first, in the machine."""

from __future__ import annotations

from typing import Any

import pytest

from parrot.core.rules import Rules
from parrot.core.urgency import LATER
from parrot.criteria import LATENCY, THROUGHPUT, Criterion
from parrot.wire.to_core import CancelVariable, OpenSession, Usage
from parrot.wire.to_engine import Reorder
from tests.unit.core.stage import DAY, Stage, ask, map_reduce, up, want, words


def test_without_objectives_all_are_as_if_somebody_waited_for_them() -> None:
    for known, order in ((True, ["due", "chat", "nightly"]), (False, ["nightly", "due", "chat"])):
        stage = Stage(up("e1", running=1), rules=Rules(objectives=known))
        stage.tell(ask("first"))
        stage.tell(ask("nightly", words(500, "n")))
        stage.now += 1.0
        stage.tell(
            ask("due", words(500, "d")), ask("chat", words(500, "c")), want("chat"), want("due", Criterion.DEADLINE, stage.now + 1.0)
        )
        stage.run()
        assert stage.order == ["first", *order]
        assert stage.call("nightly")["objective"] == ("throughput" if known else "latency")


@pytest.mark.parametrize(("groups", "objective"), [(True, "group"), (False, "latency")])
def test_without_groups_each_part_is_waited_for_by_itself(groups: bool, objective: str) -> None:
    stage = Stage(up("e1"), rules=Rules(groups=groups))
    stage.tell(*map_reduce(3), want("reduce"))
    stage.run()
    assert {stage.call(f"m{number}")["objective"] for number in range(3)} == {objective}
    assert stage.call("reduce")["objective"] == "latency"


@pytest.mark.parametrize("tells", [True, False])
def test_without_priority_engines_are_told_of_none(tells: bool) -> None:
    stage = Stage(up("e1"), rules=Rules(priority=tells))
    stage.tell(ask("a"))
    stage.tell(want("a"))
    assert any(isinstance(order, Reorder) for _, _, order in stage.batch.orders) == tells
    assert (stage.job("a")[1].priority > 0) == tells


@pytest.fixture
def single() -> Stage:
    """One engine with one place, which is taken."""
    stage = Stage(up("e1", running=1))
    stage.tell(ask("busy"))
    return stage


def rest(stage: Stage) -> list[str]:
    """The order in which all that waits is sent."""
    stage.run()
    return stage.order[1:]


def test_programs_with_equal_ways_go_in_the_order_in_which_they_came(single: Stage) -> None:
    for name in "abc":
        single.now += 1
        single.tell(ask(name), want(name))
    assert rest(single) == ["a", "b", "c"]


def test_what_somebody_waits_for_goes_first(single: Stage) -> None:
    single.tell(ask("a"), ask("b"), ask("c"), want("c"))
    assert rest(single)[0] == "c"


def test_a_change_of_objective_reorders_what_waits(single: Stage) -> None:
    single.tell(ask("a"), ask("b"), ask("c"), want("a"))
    single.now += 1
    single.tell(want("b"), want("a", THROUGHPUT))
    assert rest(single)[0] == "b"


def test_a_change_of_objective_is_sent_to_the_engine_for_what_it_holds(single: Stage) -> None:
    assert single.job("busy")[1].priority == 5
    single.tell(want("busy"))
    assert [order for _, _, order in single.batch.orders] == [Reorder(variable="busy.x", attempt=1, priority=0)]
    single.tell(want("busy"))
    assert single.batch.orders == []
    single.tell(want("busy", THROUGHPUT))
    assert [order for _, _, order in single.batch.orders] == [Reorder(variable="busy.x", attempt=1, priority=5)]


def test_people_see_the_objective_that_what_runs_has_now(single: Stage) -> None:
    single.tell(ask("a"))
    assert single.call("busy")["objective"] == "throughput"
    why = single.call("busy")["why"]
    single.tell(want("busy"))
    assert (single.call("busy")["objective"], single.call("busy")["why"]) == ("latency", why)
    single.tell(want("a"))
    assert single.call("a")["state"] == "queued"
    single.finish("busy")
    assert (single.call("a")["state"], single.call("a")["objective"]) == ("placed", "latency")


def test_people_see_the_group_that_what_runs_belongs_to_now() -> None:
    stage = Stage(up("e1"))
    stage.tell(ask("part"), ask("other"))
    assert (stage.call("part")["objective"], stage.call("part")["group"]) == ("throughput", "")
    stage.tell(ask("reduce", "{{i}} and {{j}} ", i="part.x", j="other.x"), want("reduce"))
    assert (stage.call("part")["objective"], stage.call("part")["group"]) == ("group", "reduce")


def test_all_that_an_answer_depends_on_is_reordered_with_it(single: Stage) -> None:
    single.tell(ask("a"), ask("b"), ask("c"), ask("d", "{{i}} ", i="c.x"))
    single.tell(want("d"))
    assert rest(single)[:2] == ["c", "d"]


def test_a_job_carries_the_priority_of_its_objective(single: Stage) -> None:
    for name, criterion, due in (("a", LATENCY, None), ("b", Criterion.DEADLINE, single.now + DAY), ("c", THROUGHPUT, None)):
        single.tell(ask(name), want(name, criterion, due))
    single.run()
    assert [single.job(name)[1].priority for name in "abc"] == [0, 4, 5]


def test_what_is_due_first_goes_first(single: Stage) -> None:
    for name, seconds in (("a", 9), ("b", 5), ("c", 7)):
        single.tell(ask(name, most=256), want(name, Criterion.DEADLINE, single.now + seconds))
    assert rest(single) == ["b", "c", "a"]


def test_deadlines_go_by_slack_and_not_by_their_moment(single: Stage) -> None:
    """What is due a little later, but has a long way to go until then, is the more urgent one."""
    chain = [ask("b0"), *(ask(f"b{number}", "{{i}} ", most=256, i=f"b{number - 1}.x") for number in range(1, 20))]
    single.tell(ask("a", most=256), want("a", Criterion.DEADLINE, single.now + 10), *chain)
    single.tell(want("b19", Criterion.DEADLINE, single.now + 55))
    assert rest(single)[0] == "b0"


def test_what_must_end_in_time_lets_chats_go_first_until_it_is_due_soon(single: Stage) -> None:
    single.tell(ask("later"), want("later", Criterion.DEADLINE, single.now + DAY))
    single.now += 1
    single.tell(ask("chat"), want("chat"), ask("soon"), want("soon", Criterion.DEADLINE, single.now + 0.5))
    assert rest(single) == ["soon", "chat", "later"]


def test_what_is_due_much_later_does_not_wait_for_its_last_moment(single: Stage) -> None:
    single.tell(ask("later"), want("later", Criterion.DEADLINE, single.now + DAY))
    single.now += LATER
    single.tell(ask("chat"), want("chat"))
    assert rest(single) == ["later", "chat"]


def test_of_what_is_due_later_too_the_least_slack_goes_first(single: Stage) -> None:
    """However much there is of what has an hour, and though it came before."""
    single.tell(*(one for number in range(40) for one in (ask(f"a{number}"), want(f"a{number}", Criterion.DEADLINE, single.now + 3_600))))
    single.now += 2
    single.tell(ask("b"), want("b", Criterion.DEADLINE, single.now + 100))
    assert rest(single)[0] == "b"


def test_what_must_end_in_time_goes_before_what_nobody_waits_for(single: Stage) -> None:
    single.tell(ask("many"), ask("later"), want("later", Criterion.DEADLINE, single.now + DAY))
    assert rest(single) == ["later", "many"]


def test_programs_with_the_shorter_way_go_first(single: Stage) -> None:
    chain = [ask("a0"), *(ask(f"a{number}", "{{i}} ", most=256, i=f"a{number - 1}.x") for number in range(1, 10))]
    single.tell(*chain, want("a9"))
    single.now += 1
    single.tell(ask("b"), want("b"))
    assert rest(single)[0] == "b"


def test_but_only_for_so_long(single: Stage) -> None:
    """A long program is overtaken by short ones that come after it for a bounded time only."""
    single.tell(ask("a0"), ask("a1", "{{i}} ", most=64, i="a0.x"), want("a1"))
    single.now += 100
    single.tell(ask("b"), want("b"))
    assert rest(single) == ["a0", "a1", "b"]


def test_of_programs_for_which_nobody_waits_the_one_that_has_had_least_goes_first(single: Stage) -> None:
    single.tell(ask("a0"), ask("a1", "{{i}} ", i="a0.x"), ask("b0"))
    single.finish("busy")
    assert single.order[-1] == "a0"
    single.finish("a0", seconds=30.0)
    assert single.order[-1] == "b0"


def test_work_for_which_nobody_waits_does_not_starve() -> None:
    """While chats keep both places busy all the time, it is taken after about `LATER`: their ways count too, and what is ahead."""
    stage = Stage(up("e1", running=2))
    stage.tell(*(ask(f"first{number}") for number in range(2)), ask("batch"))
    stage.tell(*(want(f"first{number}") for number in range(2)))
    start = stage.now
    for number in range(1_000):
        if "batch" in stage.where:
            break
        stage.tell(ask(f"chat{number}"), want(f"chat{number}"))
        stage.wait(1)
        held = stage.running()["e1"]
        assert len(held) == 2
        stage.finish(held[0])
    assert stage.now - start == pytest.approx(LATER, abs=15)


def test_tenants_take_turns_however_much_one_of_them_sends(single: Stage) -> None:
    single.tell(OpenSession(session="t", name="quiet", tenant="quiet"))
    single.tell(*(ask(f"loud{number}") for number in range(30)))
    single.tell(*(ask(f"quiet{number}", session="t") for number in range(5)))
    assert sum(name.startswith("quiet") for name in rest(single)[:12]) == 5


def test_a_chat_is_not_held_up_by_what_comes_after_it_and_nobody_waits_for() -> None:
    stage = Stage(up("e1", running=1))
    stage.tell(ask("busy"))
    stage.tell(ask("chat"), ask("after0", "{{i}} ", most=2_000, i="chat.x"))
    stage.tell(*(ask(f"after{number}", "{{i}} ", most=2_000, i=f"after{number - 1}.x") for number in range(1, 10)))
    stage.tell(ask("other"))
    stage.tell(want("chat"), want("other"))
    stage.finish("busy")
    assert stage.order == ["busy", "chat"]
    assert stage.call("chat")["slack"] == "0.000"
    assert float(stage.call("chat")["way"]) < 2.0


def test_the_way_is_right_once_all_is_waited_for_after_a_part_was() -> None:
    stage = Stage(up("e1", running=1))
    stage.tell(ask("root"))
    stage.finish("root")
    stage.tell(ask("busy"), ask("plan", "{{i}} ", i="root.x"), ask("peek", "{{i}} ", i="plan.x"))
    stage.tell(ask("step0", "{{i}} ", most=2_000, i="plan.x"))
    stage.tell(*(ask(f"step{number}", "{{i}} ", most=2_000, i=f"step{number - 1}.x") for number in range(1, 60)))
    stage.tell(ask("side", "{{i}} ", i="root.x"))
    stage.tell(ask("end", "{{i}} {{j}} {{k}} ", i="peek.x", j="step59.x", k="side.x"))
    stage.tell(ask("other", "{{i}} ", i="root.x"), ask("all", "{{i}} {{j}} ", i="end.x", j="other.x"))
    stage.tell(want("peek"))
    stage.tell(want("all"))
    stage.finish("busy")
    assert stage.order[-1] == "plan"
    assert stage.call("plan")["slack"] == "0.000"
    assert float(stage.call("plan")["way"]) > 15.0


def test_what_has_a_short_way_since_what_came_after_it_was_cancelled_goes_first() -> None:
    stage = Stage(up("e1", running=1))
    stage.tell(ask("busy"))
    stage.tell(ask("a0"), *(ask(f"a{number}", "{{i}} ", most=2_000, i=f"a{number - 1}.x") for number in range(1, 10)))
    stage.tell(want("a0"), want("a9"))
    stage.now += 1
    stage.tell(ask("other", most=200), want("other"))
    stage.tell(CancelVariable(session="s", variable="a1.x"))
    stage.finish("busy")
    assert stage.order == ["busy", "a0"]


def test_what_is_left_of_a_broad_program_goes_before_one_of_which_much_is_left() -> None:
    def broad(name: str, parts: int) -> list[Any]:
        return [*map_reduce(parts, name), want(f"{name}reduce")]

    stage = Stage(up("e1", running=1))
    stage.tell(ask("busy"))
    stage.tell(*broad("a", 100))
    while len(stage.order) < 97:
        stage.now += 0.1
        stage.finish(stage.order[-1])
    stage.tell(*broad("b", 30))
    stage.finish(stage.order[-1])
    assert stage.order[-1].startswith("a")


def test_what_has_to_begin_earlier_than_was_thought_when_it_became_ready_goes_first() -> None:
    """It shows that functions like the one that comes after it give long outputs."""
    stage = Stage(up("e1", running=2))
    now = stage.now
    stage.tell(ask("teacher", most=4_000).model_copy(update={"function": "f"}), ask("first"))
    after = ask("after", "{{i}} ", most=4_000, i="due.x").model_copy(update={"function": "f"})
    stage.tell(ask("due"), after, ask("last", "{{i}} {{j}} ", i="first.x", j="due.x"), want("after", Criterion.DEADLINE, now + 120))
    stage.tell(ask("sooner"), want("sooner", Criterion.DEADLINE, now + 3))
    stage.tell(ask("later"), want("later", Criterion.DEADLINE, now + 80))
    usage = Usage(tokens_in=10, tokens_cached=0, tokens_out=4_000, first_token_seconds=0.02, running=1.0, seconds=80.0)
    stage.tell(stage.publish(stage.job("teacher")[1], "e1").model_copy(update={"usage": usage}))
    assert stage.order[-1] == "sooner"
    stage.now += 1
    stage.finish("first")
    assert stage.order[-1] == "due"


def test_who_comes_back_does_not_starve_others_because_one_cannot_be_served() -> None:
    """A tenant waits for a model that nobody serves."""
    stage = Stage(up("e1", running=1))
    stage.tell(*(OpenSession(session=name, name=name, tenant=name) for name in ("stuck", "busy", "new")))
    stage.tell(ask("stuck", model="nobody", session="stuck"))
    stage.tell(*(ask(f"b{number}", words(2_000, f"b{number}"), session="busy") for number in range(100)))
    for _ in range(50):
        stage.now += 1.0
        stage.finish(stage.order[-1])
    before = len(stage.order)
    stage.tell(*(ask(f"n{number}", words(2_000, f"n{number}"), session="new") for number in range(100)))
    for _ in range(40):
        stage.now += 1.0
        stage.finish(stage.order[-1])
    after = stage.order[before:]
    assert sum(name.startswith("b") for name in after) >= 8, after


def test_what_was_cancelled_gives_its_tenant_no_lead() -> None:
    """The lead of what somebody waits for is not that of work for which nobody does."""
    orders = []
    for cancelled in (False, True):
        stage = Stage(up("e1", running=1))
        stage.tell(*(OpenSession(session=name, name=name, tenant=name) for name in ("a", "b")))
        stage.tell(ask("first", words(8_000, "first")))
        stage.tell(*(ask(f"a{number}", words(1_000, f"a{number}"), session="a") for number in range(10)))
        stage.now += 300.0
        if cancelled:
            stage.tell(ask("chat", session="a"))
            stage.tell(want("chat").model_copy(update={"session": "a"}))
            stage.tell(CancelVariable(session="a", variable="chat.x"))
        stage.tell(*(ask(f"b{number}", words(1_000, f"b{number}"), session="b") for number in range(10)))
        stage.run()
        orders.append([name[0] for name in stage.order if name[0] in "ab"])
    assert orders[0] == orders[1]


def test_what_waited_before_engines_came_does_not_go_after_what_is_like_it_and_comes_later() -> None:
    """A broad program is long where engines are few; of two that are alike the first one is still the first when more engines have come."""
    stage = Stage(up("e0", running=1))
    stage.tell(ask("busy", words(20_000, "busy")))
    for name in ("p", "q"):
        if name == "q":
            stage.tell(*(up(f"e{number}", running=1, model="other") for number in range(1, 16)))
            stage.tell(*(ask(f"fill{number}", words(20_000, f"fill{number}"), model="other") for number in range(1, 16)))
            stage.now += 5.0
        stage.tell(*(one.model_copy(update={"model": "m"}) for one in map_reduce(20, name)), want(f"{name}reduce"))
    before = len(stage.order)
    for _ in range(6):
        stage.now += 1.0
        engine = stage.running()["e0"]
        stage.finish(*engine)
    firsts = [name[0] for name in stage.order[before:]]
    assert firsts == ["p"] * 6, firsts


def test_programs_that_turn_out_to_be_connected_go_by_the_one_that_came_first() -> None:
    stage = Stage(up("e1", running=1))
    stage.tell(ask("busy", words(20_000, "busy")))
    stage.tell(ask("old"))
    stage.now += 50.0
    stage.tell(ask("other"), *(ask(f"other{number}", "{{i}} ", i="other.x") for number in range(12)))
    stage.now += 50.0
    stage.tell(ask("late"), *(ask(f"late{number}", "{{i}} ", i="late.x") for number in range(12)))
    stage.tell(ask("both", "{{i}} {{j}} ", i="old.x", j="late.x"))
    stage.run()
    assert stage.order.index("late") < stage.order.index("other")


def test_what_has_five_minutes_goes_before_what_came_earlier_and_has_an_hour() -> None:
    """Work that came a little earlier and has an hour must not make late what has five minutes."""
    stage = Stage(up("e1", running=1))
    stage.tell(ask("busy"))
    due = stage.now + 3_600
    stage.tell(*(m for n in range(40) for m in (ask(f"a{n}", most=256), want(f"a{n}", Criterion.DEADLINE, due))))
    stage.wait(100)
    stage.tell(ask("b", most=256), want("b", Criterion.DEADLINE, stage.now + 300))
    stage.run(10.0)
    assert stage.order.index("b") < 30  # else it begins after its 300 s


def in_a_day(programs: int) -> Stage:
    """Programs with parts that are due then; the only engine has something else to do first."""
    stage = Stage(up("e1", running=1))
    stage.tell(ask("busy"))
    for n in range(programs):
        stage.tell(*map_reduce(2, f"p{n}"), want(f"p{n}reduce", Criterion.DEADLINE, stage.now + DAY))
    stage.wait(1.0)
    return stage


def test_parts_of_what_is_due_tomorrow_let_go_first_what_is_due_soon() -> None:
    stage = in_a_day(20)
    stage.tell(ask("soon"), want("soon", Criterion.DEADLINE, stage.now + 30))
    stage.run(1.0)
    assert stage.order.index("soon") < 30


def test_parts_of_what_is_due_tomorrow_let_a_chat_go_first() -> None:
    stage = in_a_day(20)
    stage.tell(ask("chat"), want("chat"))
    stage.run(1.0)
    assert stage.order.index("chat") < 5
