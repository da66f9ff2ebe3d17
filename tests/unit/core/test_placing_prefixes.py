"""What engines hold of a prompt draws it to them, as far as that is faster."""

from __future__ import annotations

from collections import Counter

import pytest

from parrot.core.limits import Limits
from parrot.core.placement import AHEAD
from parrot.core.prefixes import SETTLING
from parrot.core.rules import Rules
from parrot.wire.to_core import OpenSession, SubmitCall
from parrot.wire.to_engine import TellHoldings
from tests.unit.core.stage import SHARED, TOKENS_A_SECOND, Stage, ask, up, want, words


def test_a_hot_prefix_goes_where_it_is_held() -> None:
    for holder, other in (("e1", "e2"), ("e2", "e1")):
        stage = Stage(up(holder))
        stage.tell(ask("first", SHARED))
        stage.finish("first")
        stage.report(holder, "first")
        stage.tell(up(other), ask("busy", words(100)))
        stage.tell(ask("next", SHARED + "?"), ask("same", SHARED))
        assert stage.where["same"] == holder
        assert stage.call("same")["prefix_expected"] == "2000"
        assert "since it holds 2,000 of about 2,000 prompt tokens" in stage.call("same")["why"]


def test_texts_that_begin_alike_go_together() -> None:
    document = words(4_000, "document")
    stage = Stage(up("e1"), up("e2"))
    stage.tell(ask("first", "Read: {{text}} Then say it.", text="=" + document + words(100, "one end")))
    stage.finish("first")
    stage.tell(ask("busy", words(50)), ask("next", "Read: {{text}} Then say it.", text="=" + document + words(100, "another end")))
    assert stage.where["next"] == stage.where["first"]
    assert int(stage.call("next")["prefix_expected"]) > 3_000


def test_siblings_with_a_common_prefix_go_together_before_any_report_arrives() -> None:
    stage = Stage(up("e1"), up("e2"), up("e3"))
    stage.tell(*(ask(f"part{number}", SHARED + "{{own}}", own=f"={number}") for number in range(4)))
    stage.wait(2_000 / TOKENS_A_SECOND)
    assert len(set(stage.where.values())) == 1
    assert len(stage.where) == 4


def test_siblings_that_share_little_are_spread_since_that_is_faster() -> None:
    stage = Stage(up("e1"), up("e2"), up("e3"))
    own = {number: "=" + words(4_000, f"own{number}") for number in range(3)}
    stage.tell(*(ask(f"part{number}", words(100, "shared") + "{{own}}", own=own[number]) for number in range(3)))
    assert sorted(stage.where.values()) == ["e1", "e2", "e3"]


def four_that_share(tokens: int) -> list[SubmitCall]:
    return [ask(f"c{number}", words(tokens, "shared") + "{{own}}", own=f"={number}", most=256) for number in range(4)]


def test_a_prefix_whose_holder_is_the_bottleneck_is_replicated() -> None:
    stage = Stage(up("e1", running=2), up("e2", running=2))
    stage.tell(*four_that_share(400))
    stage.wait(1)
    assert sorted(map(len, stage.running().values())) == [2, 2]


def test_a_long_prefix_is_replicated_when_it_makes_its_holder_slow_for_many() -> None:
    """To compute it elsewhere halts those who are there; but it is done once for all who come after."""
    holders = holders_of_a_hot_prefix(Rules())
    assert set(holders) == {"e1", "e2"}
    assert min(holders.values()) >= 15


def test_without_the_rule_it_is_not() -> None:
    assert len(holders_of_a_hot_prefix(Rules(replicas=False))) == 1


def holders_of_a_hot_prefix(rules: Rules) -> Counter[str]:
    """Where 60 questions to one assistant go, which come one by one, with others that share nothing."""
    long, stage = words(8_000, "assistant"), Stage(up("e1", running=500), up("e2", running=500), rules=rules)
    for number in range(60):
        stage.tell(ask(f"q{number}", long + "{{own}}", own=f"={number}", most=500), want(f"q{number}"))
        stage.tell(ask(f"o{number}", words(60, f"other{number}"), most=500), want(f"o{number}"))
        stage.wait(0.2)
    return Counter(stage.where[f"q{number}"] for number in range(60))


def test_a_long_prefix_is_rather_waited_for_but_not_for_ever() -> None:
    stage = Stage(up("e1", running=2), up("e2", running=2))
    stage.tell(*four_that_share(4_000)[:3])
    stage.wait(1)
    assert sorted(map(len, stage.running().values())) == [0, 2]
    for _ in range(20):  # its holder does not come to an end
        stage.wait(1)
    assert sorted(map(len, stage.running().values())) == [1, 2]


def test_who_waits_for_the_holder_of_its_prefix_lets_others_pass() -> None:
    stage = Stage(up("e1", running=4), up("e2", running=4))
    stage.tell(ask("a", SHARED + "{{own}}", own="=1"), ask("b", SHARED + "{{own}}", own="=2"), ask("c", words(40)))
    assert stage.where == {"a": "e1", "c": "e2"}
    assert stage.call("b")["state"] == "queued"
    assert stage.machine.deadline() == pytest.approx(stage.now + 2_000 / TOKENS_A_SECOND - AHEAD, abs=0.02)


def test_without_prefixes_calls_are_spread_whatever_engines_hold() -> None:
    stage = Stage(up("e1"), up("e2"), rules=Rules(prefixes=False))
    stage.tell(*(ask(f"part{number}", SHARED + "{{own}}", own=f"={number}") for number in range(2)))
    assert sorted(stage.where.values()) == ["e1", "e2"]


def test_a_lost_report_is_noticed_and_the_whole_is_asked_for() -> None:
    stage = Stage(up("e1"))
    stage.tell(ask("b", words(500)), ask("a", words(400)))
    stage.report("e1", "a", lost=True)
    stage.report("e1", "b")
    assert [(engine, order) for engine, _, order in stage.batch.orders] == [("e1", TellHoldings())]
    stage.report("e1", "a", "b", whole=True)
    assert stage.batch.orders == []
    stage.report("e1", "b")
    assert stage.batch.orders == []


def test_an_engine_that_restarted_holds_nothing() -> None:
    stage = Stage(up("e1-a"))
    stage.tell(ask("a", SHARED))
    stage.finish("a")
    stage.report("e1-a", "a")
    stage.tell(up("e1-b").model_copy(update={"previous": "e1-a"}), ask("b", SHARED))
    assert stage.where["b"] == "e1-b"
    assert stage.call("b")["prefix_expected"] == "0"


def test_tenants_share_prefixes_unless_they_are_kept_apart() -> None:
    for isolate in (False, True):
        stage = Stage(up("e1"), limits=Limits(isolate=isolate))
        stage.tell(OpenSession(session="t", name="another", tenant="another"))
        for name, session in (("a", "s"), ("b", "t"), ("c", "s")):
            stage.tell(ask(name, SHARED, session=session))
            stage.wait(1)
        names = [{mark.name for mark in stage.job(name)[1].marks} for name in "abc"]
        assert bool(names[0] & names[1]) is not isolate
        assert names[0] & names[2]


def test_an_idle_engine_that_says_nothing_is_not_believed_to_hold_its_last_prompts() -> None:
    """It has had time to report them, and lives on."""
    stage = Stage(up("e1"))
    stage.tell(ask("last", SHARED))
    stage.finish("last")
    held = stage.scheduler._prefixes.held
    assert held("e1", stage.prompts["last"]) > 0
    stage.wait(2 * SETTLING)
    assert held("e1", stage.prompts["last"]) == 0
