"""What a reader of a variable wants of it. ServeCore deduces from this what every call on the way should be optimised for."""

from __future__ import annotations

from enum import StrEnum


class Criterion(StrEnum):
    """The performance objective that a `get` attaches to a variable (Parrot, OSDI'24, section 5.2)."""

    LATENCY = "latency"  # somebody waits for this value: finish it as early as possible
    THROUGHPUT = "throughput"  # nobody waits for this one: finish all of them as early as possible


LATENCY = Criterion.LATENCY
THROUGHPUT = Criterion.THROUGHPUT
