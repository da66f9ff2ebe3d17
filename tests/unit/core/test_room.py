"""Engines are given what they have room for; the rest waits in the core."""

from __future__ import annotations

import pytest

from parrot.core.placement import AHEAD
from parrot.wire.to_core import EngineDown, GenerationReturned
from tests.unit.core.stage import TOKENS_A_SECOND, Stage, ask, up, want, words


def test_what_waits_waits_in_the_core_where_it_can_be_reordered() -> None:
    stage = Stage(up("e1", running=100))
    stage.tell(*(ask(f"c{number}", words(2_000, f"c{number}")) for number in range(10)))
    assert len(stage.order) == 1
    stage.tell(want("c9"))
    stage.wait(2_000 / TOKENS_A_SECOND)
    assert stage.order[1] == "c9"


def test_an_engine_is_asked_again_when_it_should_have_computed_its_prompts() -> None:
    stage = Stage(up("e1", running=100))
    stage.tell(ask("a", words(8_000, "a")), ask("b", words(8_000, "b")))
    due = stage.machine.deadline()
    assert due == pytest.approx(stage.now + 8_000 / TOKENS_A_SECOND - AHEAD, rel=1e-6, abs=0.05)
    assert due is not None
    stage.now = due
    stage.tell()
    assert stage.order == ["a", "b"]


def test_nobody_is_woken_for_what_waits_no_more() -> None:
    stage = Stage(up("e1", running=100))
    stage.tell(ask("a", words(8_000, "a")), ask("b", words(8_000, "b")))
    woken = stage.machine.deadline()
    assert woken is not None
    stage.tell(GenerationReturned(engine="e1", variable="a.x", attempt=1), EngineDown(engine="e1"))
    assert stage.scheduler.wake() is None
    stage.now = woken + 1
    stage.tell()
    due = stage.machine.deadline()
    assert due is None or due > stage.now


def test_what_fits_nowhere_beside_others_waits_until_an_engine_is_empty() -> None:
    stage = Stage(up("e1", kv=2_000), up("e2", kv=2_000))
    stage.tell(ask("a", words(1_000, "a")), ask("b", words(1_000, "b")))
    stage.tell(ask("huge", words(3_000, "huge")))
    assert "huge" not in stage.where
    stage.finish("a")
    assert "huge" in stage.where


def test_engines_are_given_no_more_than_their_cache_holds() -> None:
    stage = Stage(up("e1", running=1_000, kv=10_000))
    stage.tell(*(ask(f"c{number}", words(900, f"c{number}")) for number in range(30)))
    for _ in range(30):
        stage.wait(1)
    assert len(stage.order) == 10
