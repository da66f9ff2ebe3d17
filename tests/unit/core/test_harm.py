"""Sensitive work is kept from what would slow it down, within bounds."""

from __future__ import annotations

import pytest

from parrot.core.placement import CAP, PATIENCE, RESERVE, case_of, cost
from parrot.core.rules import Rules
from parrot.core.scheduler import LOOKED_AT
from tests.unit.core.stage import Stage, ask, map_reduce, up, want, words


def chats(stage: Stage, number: int) -> None:
    for name in (f"chat{place}" for place in range(number)):
        stage.tell(ask(name, most=64), want(name))


def test_sensitive_work_is_kept_from_large_batches() -> None:
    """Neighbours are taken as long as a step takes no more than `CAP` times as long as without them."""
    stage = Stage(up("e1", running=500))
    stage.tell(*(ask(f"early{number}", words(4_000, f"early{number}")) for number in range(1)))
    stage.wait(60)
    chats(stage, 1)
    for number in range(40):
        stage.tell(ask(f"many{number}", words(4_000, f"many{number}")))
        stage.wait(1)
    load = stage.scheduler._candidates.loads["e1"]
    assert 3 < load.running < 30
    assert load.speed.step(load.context) <= CAP * load.speed.step(load.sensitive_context)
    stage.finish("chat0")
    for _ in range(40):
        stage.wait(1)
    assert load.running == 41  # nobody suffers from them any more


@pytest.mark.parametrize("rules", [Rules(harm=False), Rules(cap=False)], ids=["harm", "cap"])
def test_without_the_rule_it_is_not(rules: Rules) -> None:
    stage = Stage(up("e1", running=500), rules=rules)
    chats(stage, 1)
    for number in range(40):
        stage.tell(ask(f"many{number}", words(4_000, f"many{number}")))
        stage.wait(1)
    assert stage.scheduler._candidates.loads["e1"].running == 41


@pytest.mark.parametrize("insists", [True, False])
def test_after_a_while_the_comfort_of_others_does_not_count_any_more(insists: bool) -> None:
    stage = Stage(up("e1", running=500), rules=Rules(insistence=insists))
    chats(stage, 1)
    for number in range(20):
        stage.tell(ask(f"many{number}", words(8_000, f"many{number}")))
        stage.wait(2)
    assert stage.scheduler._candidates.loads["e1"].running < 20
    for _ in range(60):
        stage.wait(2)
    assert (stage.scheduler._candidates.loads["e1"].running == 21) == insists


def test_a_chat_goes_where_it_has_fewer_neighbours() -> None:
    stage = Stage(up("e1", running=100))
    stage.tell(*(ask(f"many{number}", words(1_000, f"many{number}")) for number in range(20)))
    for _ in range(20):
        stage.wait(1)
    stage.tell(up("e2", running=100), *(ask(f"few{number}", words(1_000, f"few{number}")) for number in range(3)))
    for _ in range(5):
        stage.wait(1)
    chats(stage, 1)
    assert (len(stage.running()["e1"]), stage.where["chat0"]) == (20, "e2")


def test_places_are_kept_for_sensitive_work_where_there_is_such() -> None:
    stage = Stage(up("e1", running=2 * RESERVE))
    chats(stage, 1)
    stage.tell(*(ask(f"many{number}") for number in range(40)))
    assert len(stage.running()["e1"]) == 2 * RESERVE - 2
    stage.tell(ask("chat9"), want("chat9"))
    assert stage.where["chat9"] == "e1"


def test_and_only_there() -> None:
    stage = Stage(up("e1", running=2 * RESERVE))
    stage.tell(*(ask(f"many{number}") for number in range(40)))
    assert len(stage.running()["e1"]) == 2 * RESERVE


def test_a_kept_place_is_taken_by_sensitive_work_though_older_work_waits_before_it() -> None:
    """Work for which nobody waits may come first, after a while: it still does not take, or block, what is kept."""
    stage = Stage(up("e1", running=RESERVE))
    stage.tell(ask("long-ago"), *(ask(f"step{number}", "{{i}} ", i="long-ago.x") for number in range(2 * LOOKED_AT)))
    stage.wait(2 * PATIENCE)
    chats(stage, 1)
    stage.finish("long-ago")
    assert len(stage.running()["e1"]) == RESERVE - 1
    stage.tell(ask("chat9"), want("chat9"))
    assert "chat9" in stage.where


def test_sensitive_work_is_seen_when_it_is_asked_for_after_it_was_submitted() -> None:
    stage = Stage(up("e1", running=RESERVE))
    stage.tell(ask("chat"), want("chat"), *(ask(f"many{number}") for number in range(20)))
    assert len(stage.running()["e1"]) == RESERVE - 1


def test_the_last_part_of_a_program_counts_as_one() -> None:
    """Seven of eight parts are done: somebody waits for the eighth alone."""
    stage = Stage(up("e1", running=16))
    stage.tell(*map_reduce(8), want("reduce"))
    stage.wait(1.0)
    load = stage.scheduler._candidates.loads["e1"]
    assert load.weight == pytest.approx(1.0)
    stage.finish(*(f"m{number}" for number in range(7)))
    assert load.weight == pytest.approx(1.0)


def test_outputs_take_longer_where_prompts_are_computed_between_their_tokens() -> None:
    stage = Stage(up("e1", running=100))
    stage.tell(*(ask(f"long{number}", words(8_000, f"l{number}")) for number in range(4)), ask("short", most=400))
    stage.wait(1.0)
    load, short = stage.scheduler._candidates.loads["e1"], stage.machine.graph.variables["short.x"].producer
    assert short is not None
    own = {
        rules.pace: cost(load, 0, case_of(short, stage.now, False, rules, (0, 1.0), lambda _: 0)).own
        for rules in (Rules(), Rules(pace=False))
    }
    assert own[True] > 1.1 * own[False]
