"""The scheduler as a whole: what it is made of, and that all of a group runs."""

from __future__ import annotations

from collections import Counter

import pytest

from parrot.core.placement import AHEAD
from parrot.core.prefixes import PrefixIndex
from parrot.core.scheduler import CALLED, LOOKED_AT, Scheduler
from parrot.wire.to_core import EngineDown, GenerationReturned
from tests.unit.core.stage import Stage, ask, map_reduce, up, want, words


def test_an_index_that_is_given_is_used_though_it_is_empty_yet() -> None:
    index = PrefixIndex(most=10)
    assert Scheduler(prefixes=index)._prefixes is index


def test_a_group_larger_than_any_engine_is_split_and_all_of_it_runs() -> None:
    stage = Stage(up("e1", running=3), up("e2", running=4), up("e3", running=2))
    stage.tell(*map_reduce(30), want("reduce"))
    assert sum(map(len, stage.running().values())) == 9
    stage.run()
    assert stage.call("reduce")["state"] == "done"
    assert Counter(stage.order) == Counter([*(f"m{number}" for number in range(30)), "reduce"])
    assert set(stage.where.values()) == {"e1", "e2", "e3"}


def test_members_of_a_group_name_it_and_its_consumer_is_sensitive() -> None:
    stage = Stage(up("e1"))
    stage.tell(*map_reduce(3), want("reduce"))
    stage.run()
    assert [stage.call(f"m{number}")["objective"] for number in range(3)] == ["group"] * 3
    assert [stage.call(f"m{number}")["group"] for number in range(3)] == ["reduce"] * 3
    assert stage.call("reduce")["objective"] == "latency"


def test_what_is_asked_for_after_it_was_placed_is_protected_on_its_engine() -> None:
    """The usual order: a call is placed as soon as it is submitted, and then its reader asks for it."""
    stage = Stage(up("e1"))
    stage.tell(ask("chat"))
    stage.tell(want("chat"))
    assert stage.scheduler._candidates.loads["e1"].sensitive == 1
    stage.finish("chat")
    assert stage.scheduler._candidates.loads["e1"].sensitive == 0


# What waits for something of its own -------------------------------------------------------------

BOOK = words(20_000, "book")


@pytest.fixture
def holder() -> Stage:
    """Two engines with one place each; the first holds a book and is busy, the second is idle."""
    stage = Stage(up("e1", running=1), up("e2", running=1))
    stage.tell(ask("read", BOOK))
    assert stage.where["read"] == "e1"
    stage.finish("read")
    stage.report("e1", "read")
    stage.tell(ask("busy", BOOK))
    return stage


def test_who_waits_for_the_holder_of_its_prompt_lets_others_have_the_idle_engine(holder: Stage) -> None:
    holder.tell(*(ask(f"waits{number}", BOOK) for number in range(32)))
    holder.tell(ask("other"))
    assert holder.running() == {"e1": ["busy"], "e2": ["other"]}


def test_who_would_wait_behind_too_many_for_the_holder_of_its_prompt_goes_elsewhere(holder: Stage) -> None:
    holder.tell(*(ask(f"waits{number}", BOOK) for number in range(2 * LOOKED_AT)))
    [elsewhere] = holder.running()["e2"]
    assert elsewhere not in {f"waits{number}" for number in range(32)}


def test_those_that_wait_for_an_engine_go_there_in_their_order(holder: Stage) -> None:
    holder.tell(*(ask(f"waits{number}", BOOK) for number in range(3)))
    for number, before in enumerate(("busy", "waits0", "waits1")):
        holder.finish(before)
        assert holder.running()["e1"] == [f"waits{number}"]


def test_those_that_wait_for_an_engine_go_on_when_it_is_gone(holder: Stage) -> None:
    holder.tell(*(ask(f"waits{number}", BOOK) for number in range(2 * CALLED)))
    holder.tell(EngineDown(engine="e1", reason="it was shot"))
    holder.run()
    assert all(holder.call(f"waits{number}")["state"] == "done" for number in range(2 * CALLED))


def test_who_waits_for_an_engine_that_is_late_goes_elsewhere_though_nothing_happens(holder: Stage) -> None:
    holder.tell(*(ask(f"waits{number}", BOOK) for number in range(2)))
    assert holder.running()["e2"] == []
    for _ in range(600):
        holder.wait(1.0)
    assert holder.running() == {"e1": ["busy"], "e2": ["waits0"]}


def pass_time(stage: Stage, until: float, most: int = 100_000) -> int:
    """Nothing happens but time: the machine is called when it asks for that.

    Returns:
        How often.
    """
    wakes = 0
    while (due := stage.machine.deadline()) is not None and due < until and wakes < most:
        wakes += 1
        stage.now = max(stage.now, due)
        stage.tell()
    stage.now = max(stage.now, until)
    return wakes


def test_a_hot_prompt_is_held_by_more_engines_when_many_wait_for_its_holder() -> None:
    """160 calls of 4 s share what takes 5 s to compute. Four engines with 4 places each need 40 s for that, one alone 160."""
    stage = Stage(*(up(f"e{number}", running=4) for number in range(4)))
    stage.tell(ask("seed", words(20_000, "hot") + "seed", most=200))
    stage.finish("seed", seconds=9.0)
    stage.report(stage.where["seed"], "seed")
    begin = stage.now
    stage.tell(*(ask(f"c{number}", words(20_000, "hot") + f" {number}", most=200) for number in range(160)))
    ends: dict[str, float] = {}
    while held := [name for names in stage.running().values() for name in names]:
        for name in held:
            ends.setdefault(name, stage.now + 4.0)
        first = min(ends[name] for name in held)
        pass_time(stage, first)
        stage.finish(*(name for name in held if ends[name] <= first), cached=19_980, seconds=4.0)
    assert stage.now - begin < 80.0


def test_who_was_put_aside_is_not_overtaken_by_all_that_comes_later() -> None:
    """What only the large engine takes comes every 0.1 s, and takes 1 s to compute."""
    stage = Stage(up("small", context=1_000), up("large", running=256, context=100_000))
    for number in range(100):
        stage.tell(ask(f"long{number}", words(4_000, f"long{number}")))
        pass_time(stage, stage.now + 0.1)
    assert len(stage.order) >= 8
    assert stage.order == [f"long{number}" for number in range(len(stage.order))]


def test_who_is_put_aside_anew_for_something_else_leaves_those_behind_a_moment_at_which_they_are_looked_at() -> None:
    stage = Stage(up("tiny", context=100), up("large", running=1, context=100_000))
    stage.tell(ask("busy", words(2_000, "busy")))
    stage.tell(*(ask(f"c{number}", words(300, f"c{number}")) for number in range(12)))
    stage.tell(up("mid", running=1, context=1_000))
    stage.tell(up("mid2", running=1, context=1_000), up("mid3", running=4, context=2_000))
    for _ in range(40):
        stage.wait(0.25)
        assert set(stage.scheduler._backlog.awaited()) <= set(stage.scheduler._due)


def test_engines_that_are_waited_for_wake_the_machine_at_the_same_few_moments() -> None:
    holders = 8
    stage = Stage(*(up(f"e{number}", running=1) for number in range(holders)))
    for turn in ("read", "busy"):
        for number in range(holders):
            stage.tell(ask(f"{turn}{number}", words(20_000, f"book{number}") + turn, most=400))
            stage.wait(0.03)
        if turn == "read":
            for number in range(holders):
                stage.finish(f"read{number}")
                stage.report(stage.where[f"read{number}"], f"read{number}")
    stage.tell(up("idle", running=1))
    stage.tell(*(ask(f"waits{number}", words(20_000, f"book{number}") + "waits") for number in range(holders)))
    assert len(stage.scheduler._backlog.awaited()) == holders
    assert pass_time(stage, stage.now + 5.0, most=1_000) <= 5 / AHEAD


def test_behind_many_that_are_put_aside_who_gets_an_idle_engine_is_found_though_nothing_happens() -> None:
    stage = Stage(up("small", context=1_000), up("large", running=1, context=100_000), up("stranger", model="n"))
    stage.tell(*(ask(f"long{number}", words(2_000, f"long{number}")) for number in range(4 * LOOKED_AT)))
    pass_time(stage, stage.now + 1.0)
    stage.tell(EngineDown(engine="stranger"), ask("short"))  # all are looked at again, since other kinds of engines may be the right ones
    pass_time(stage, stage.now + 0.1)
    assert stage.running()["small"] == ["short"]


def test_what_takes_a_large_engine_gets_it_once_that_is_kept_free_for_nobody() -> None:
    stage = Stage(up("small", context=1_000), up("large", running=8, context=100_000))
    stage.tell(ask("fills", words(20_000, "fills")))
    stage.tell(*(ask(f"long{number}", words(2_000, f"long{number}")) for number in range(3)))
    assert stage.running()["large"] == ["fills"]
    for _ in range(60):
        stage.wait(1.0)
    assert sorted(stage.running()["large"]) == ["fills", "long0", "long1", "long2"]


def test_what_only_a_full_large_engine_takes_lets_others_have_the_small_one() -> None:
    stage = Stage(up("small", context=1_000), up("large", running=1, context=100_000))
    stage.tell(*(ask(f"long{number}", words(2_000, f"long{number}")) for number in range(2 * LOOKED_AT)))
    stage.tell(ask("short"))
    stage.wait(0.1)
    stage.wait(0.1)
    assert stage.running() == {"small": ["short"], "large": ["long0"]}
    assert stage.call("long1")["why"].startswith("waits for an engine with room")
    stage.finish("long0")
    assert stage.running()["large"] == ["long1"]


def test_room_on_a_larger_engine_is_found_though_it_is_fuller() -> None:
    stage = Stage(up("a", kv=10_000), up("b", kv=10_000), up("large", kv=200_000))
    load = stage.scheduler._candidates.loads
    stage.tell(*(ask(f"s{number}", words(3_000, f"s{number}")) for number in range(2)))
    stage.wait(60.0)
    while load["large"].fullness < 0.6:
        stage.tell(ask(f"l{len(stage.sent)}", words(15_000, f"l{len(stage.sent)}")))
        stage.wait(60.0)
    stage.tell(ask("wide", words(9_000, "wide")))
    assert stage.where["wide"] == "large"


def test_what_is_handed_back_or_lost_is_not_paid_for_twice() -> None:
    stage = Stage(up("e1", running=1))
    had = stage.scheduler._shares.had
    stage.tell(ask("a", words(1_000)))
    paid = had("default")
    for _ in range(5):
        engine, job = stage.job("a")
        stage.tell(GenerationReturned(engine=engine, variable=job.variable, attempt=job.attempt))
    assert 0 < had("default") <= paid
    stage.tell(EngineDown(engine="e1", reason="it was shot"), up("e2", running=1))
    assert stage.where["a"] == "e2"
    assert had("default") == paid
