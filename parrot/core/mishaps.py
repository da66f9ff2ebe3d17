"""What went wrong with a generation, by which it is seen whether it runs again, alone, or never."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mishaps:
    """What went wrong with a generation; most have nothing of it.

    Attributes:
        errors: how often an engine that lived on reported that it failed.
        lost: how often nothing was heard of its end, though it had ended.
        deaths: engines that died while they held it.
        again: why it runs again although nobody is to blame, in words.
        turns: how often it was given an engine for itself, and turn_ends: when others like it may have that.
    """

    errors: int = 0
    lost: int = 0
    deaths: frozenset[str] = frozenset()
    again: str = ""
    turns: int = 0
    turn_ends: float = 0.0


NO_MISHAPS = Mishaps()  # which most share
