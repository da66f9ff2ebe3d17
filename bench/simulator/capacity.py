"""How many programs a second the strong baseline carries: the rate from which loads are reckoned."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from bench.simulator.policies.affinity import Affinity
from bench.simulator.run import Outcome, Run, Setting

CLOSED = (16, 32, 64, 128, 256, 512)  # programs under way, tried in turn
GAIN = 1.03  # more throughput than that, or more programs under way are not tried
FRACTIONS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5)  # of the most in a closed loop
SEEDS = range(1_000_001, 1_000_005)  # none of those with which policies are compared
GROWTH = 1.5  # of completion times from the first half of an open run to the second, on average, from which on work piles up


def capacity(setting: Setting, told: Callable[[str], None]) -> float:
    """Programs a second.

    In a closed loop the most that comes out shows; but programs that come at random may pile up at a rate below that, as where too many
    contexts at once push each other out of the cache. So the rate is lowered until they do not.

    Args:
        setting: workload and engines; rate, loop and seed do not matter.
        told: hears what is tried.

    Raises:
        ValueError: they pile up even at half of that.
    """
    setting = replace(setting, workload=replace(setting.workload, overload=0.0))  # all are to come to their end: how long they took counts
    most = 0.0
    for under_way in CLOSED:
        told(f"{under_way} programs at once")
        enough = replace(setting, closed=under_way, rate=0.0, seed=SEEDS[0], programs=max(setting.programs, 3 * under_way))
        outcome = Run(enough, Affinity).go()
        before, reached = most, outcome.finished / (outcome.ended - outcome.began)
        most = max(most, reached)
        if reached < before * GAIN:
            break
    for fraction in FRACTIONS:
        rate = fraction * most
        told(f"{rate:.2f} programs a second")
        if fmean(growth(Run(replace(setting, closed=0, rate=rate, seed=seed), Affinity).go()) for seed in SEEDS) <= GROWTH:
            return rate
    raise ValueError(f"{setting.workload.name}: even at {rate:.3f} programs a second work piles up; take more programs.")


def growth(outcome: Outcome) -> float:
    """How much longer programs took in the second half of a run than in the first."""
    waited = [story.ended - story.arrived - story.paused for story in outcome.stories if story.ended is not None]
    half = len(waited) // 2
    return fmean(waited[half:]) / fmean(waited[:half])


class Capacities:
    """Those that are known, in a file: to find one takes minutes.

    Args:
        path: of the file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []

    def of(self, setting: Setting, told: Callable[[str], None], again: bool = False) -> float:
        """Programs a second that the strong baseline carries.

        Args:
            setting: workload and engines.
            told: hears what is tried if it is not known.
            again: find it even if it is known.
        """
        asked = {"workload": setting.workload.name, "engines": setting.engines, "profile": asdict(setting.profile)}
        others = [entry for entry in self._known if any(entry[name] != asked[name] for name in asked)]
        if len(others) < len(self._known) and not again:
            (known,) = [entry for entry in self._known if entry not in others]
            return float(known["programs_per_second"])
        found = capacity(setting, told)
        same = [entry for entry in others if (entry["workload"], entry["profile"]["name"]) != (asked["workload"], setting.profile.name)]
        self._known = [*same, asked | {"programs_per_second": found}]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self._known, indent=2) + "\n")
        return found
