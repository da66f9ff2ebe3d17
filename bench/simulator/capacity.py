"""How many programs a second the strong baseline carries: the rate from which loads are reckoned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from statistics import fmean

from bench.simulator.policies.affinity import Affinity
from bench.simulator.run import Outcome, Run, Setting

CLOSED = (16, 32, 64, 128, 256, 512)  # programs under way, tried in turn
GAIN = 1.03  # more throughput than that, or more programs under way are not tried
FRACTIONS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5)  # of the most in a closed loop
SEEDS = (1_000_001, 1_000_002)  # none of those with which policies are compared
GROWTH = 1.3  # of completion times from the first half of an open run to the second, from which on work piles up


def capacity(setting: Setting, told: Callable[[str], None] = lambda _: None) -> float:
    """Programs a second.

    In a closed loop the most that comes out shows; but programs that come at random may pile up at a rate below that, as where too many
    contexts at once push each other out of the cache. So the rate is lowered until they do not.

    Args:
        setting: workload and engines; rate, loop and seed do not matter.
        told: hears what is tried.

    Raises:
        ValueError: they pile up even at half of that.
    """
    most = 0.0
    for under_way in CLOSED:
        told(f"{under_way} programs at once")
        enough = replace(setting, closed=under_way, rate=0.0, seed=SEEDS[0], programs=max(setting.programs, 3 * under_way))
        outcome = Run(enough, Affinity).go()
        reached = outcome.finished / (outcome.ended - outcome.began)
        if reached < most * GAIN:
            most = max(most, reached)
            break
        most = reached
    for fraction in FRACTIONS:
        rate = fraction * most
        told(f"{rate:.2f} programs a second")
        if all(not piles_up(Run(replace(setting, closed=0, rate=rate, seed=seed), Affinity).go()) for seed in SEEDS):
            return rate
    raise ValueError(f"{setting.workload.name}: even at {rate:.3f} programs a second work piles up; take more programs.")


def piles_up(outcome: Outcome) -> bool:
    """Whether programs took longer and longer."""
    waited = [story.ended - story.arrived - story.paused for story in outcome.stories if story.ended is not None]
    half = len(waited) // 2
    return fmean(waited[half:]) > GROWTH * fmean(waited[:half])
