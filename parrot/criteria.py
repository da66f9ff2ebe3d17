"""What a reader of a variable wants of it. ServeCore deduces from this what every call on the way should be optimised for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Criterion(StrEnum):
    """The performance objective that a `get` attaches to a variable (Parrot, OSDI'24, section 5.2)."""

    LATENCY = "latency"  # somebody waits for this value: finish it as early as possible
    TTFT = "ttft"  # somebody will read it as it comes: begin it as early as possible
    TPOT = "tpot"  # somebody reads it as it comes: once begun, go on without haste and without halts
    DEADLINE = "deadline"  # it is of use until a moment that was named: finish it before that
    THROUGHPUT = "throughput"  # nobody waits for this one: finish all of them as early as possible


LATENCY = Criterion.LATENCY
TTFT = Criterion.TTFT
TPOT = Criterion.TPOT
THROUGHPUT = Criterion.THROUGHPUT


@dataclass(frozen=True, slots=True)
class Deadline:
    """A criterion: the value is wanted within so many seconds from now. Nothing fails when it is late.

    Args:
        seconds: from the moment of asking; above 0.
    """

    seconds: float
