"""What the strong baseline carries is found once, and kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.simulator import capacity as module
from bench.simulator.app import Story
from bench.simulator.capacity import Capacities, capacity, growth
from bench.simulator.run import Outcome, Run, Setting
from bench.simulator.surroundings import Surroundings
from parrot.core.policy import Policy
from tests.unit.bench.simulator.runs import TALKS, setting


def test_growth_is_how_much_longer_later_programs_take() -> None:
    took = (1.0, 3.0, 4.0, 8.0)
    stories = [Story(number, "k", "t", 0.0, seconds + 1.0, paused=1.0) for number, seconds in enumerate(took)]
    assert growth(Outcome(stories)) == 3.0


def test_it_is_a_rate_that_is_carried_and_not_much_below_one_that_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSED", (4, 16))
    monkeypatch.setattr(module, "SEEDS", (1, 2))
    found = capacity(setting(workload=TALKS, programs=30), lambda _: None)
    assert 1.0 < found < 100.0


def test_all_programs_come_to_their_end_even_those_of_a_workload_that_will_be_overloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    overloads = []

    class Noted(Run):
        def __init__(self, setting: Setting, make_policy: Callable[[Surroundings], Policy]) -> None:
            overloads.append(setting.workload.overload)
            super().__init__(setting, make_policy)

    monkeypatch.setattr(module, "Run", Noted)
    monkeypatch.setattr(module, "CLOSED", (4,))
    monkeypatch.setattr(module, "SEEDS", (1,))
    capacity(setting(workload=replace(TALKS, overload=8.0), programs=30), lambda _: None)
    assert set(overloads) == {0.0}


def test_it_is_found_once_for_a_workload_and_a_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def found(of: object, told: object) -> float:
        asked.append("found")
        return 2.5

    monkeypatch.setattr(module, "capacity", found)
    path, one = tmp_path / "results" / "capacities.json", setting(workload=TALKS)
    assert Capacities(path).of(one, lambda _: None) == 2.5
    assert Capacities(path).of(one, lambda _: None) == 2.5
    assert len(asked) == 1
    Capacities(path).of(one, lambda _: None, again=True)
    assert len(asked) == 2
