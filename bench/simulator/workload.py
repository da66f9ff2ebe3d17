"""What a workload is: kinds of programs that arrive, and how."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from math import exp, log

from bench.simulator.app import Script


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of program.

    Attributes:
        name: of the kind.
        script: what such a program does.
        share: of all arrivals, in relation to those of the other kinds.
        tenant: whose it is.
        burst: how many come at once, the fewest and the most.
    """

    name: str
    script: Script
    share: float = 1.0
    tenant: str = "default"
    burst: tuple[int, int] = (1, 1)


@dataclass(frozen=True, slots=True)
class Workload:
    """A mixture of programs that arrive at random moments (Poisson).

    Attributes:
        name: of the workload.
        about: what it stands for, in a sentence.
        kinds: that it mixes.
        overload: the load at which it is run, whatever is asked for, and how long tenants are served is all that counts; 0 for none.
        size: how much work a program is, in relation to those of other workloads: fewer large ones are simulated.
    """

    name: str
    about: str
    kinds: tuple[Kind, ...]
    overload: float = 0.0
    size: float = 1.0

    @property
    def burst(self) -> float:
        """Programs of one arrival, on average."""
        shares = sum(kind.share for kind in self.kinds)
        return sum(kind.share * (kind.burst[0] + kind.burst[1]) / 2 for kind in self.kinds) / shares

    def arrival(self, chance: random.Random) -> list[Kind]:
        """Draw what comes at once."""
        (kind,) = chance.choices(self.kinds, [kind.share for kind in self.kinds])
        return [kind] * chance.randint(*kind.burst)


def lognormal(mean: float, spread: float, least: int, most: int) -> Callable[[random.Random], int]:
    """A law of lengths.

    Args:
        mean: of the law, before it is cut off.
        spread: standard deviation of the logarithm.
        least, most: where it is cut off.
    """
    middle = log(mean) - spread * spread / 2
    return lambda chance: min(most, max(least, round(exp(chance.gauss(middle, spread)))))
