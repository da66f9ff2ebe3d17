"""How much goes wrong in a run; each run draws its own mixture, so that all pairs of faults meet."""

from __future__ import annotations

import random
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Faults:
    """Probabilities.

    Attributes:
        core_dies, core_stops: at each step of ServeCore from reading to the last order sent.
        second_leader: that a successor takes over while a stopped leader is about to wake.
        engine_dies, engine_stops, engine_drains: at each tick of the troublemaker.
        engine_errs: that a generation is reported as failed by the engine's fault.
        beat_lost, said_twice, late: of messages.
        not_understood: that ServeCore cannot decode what an engine says of the end of a generation.
        power_lost: at each tick of the troublemaker, that Redis forgets the end of what was written since ServeCore's last commit.
        poison, bad, hurried: of calls: those that kill their engine, those that no engine takes, those with a deadline.
        cancels: that a session cancels something, or itself.
    """

    core_dies: float = 0.008
    core_stops: float = 0.008
    second_leader: float = 0.5
    engine_dies: float = 0.12
    engine_stops: float = 0.2
    engine_drains: float = 0.1
    engine_errs: float = 0.03
    beat_lost: float = 0.2
    said_twice: float = 0.1
    late: float = 0.2
    not_understood: float = 0.02
    power_lost: float = 0.2
    poison: float = 0.006
    bad: float = 0.006
    hurried: float = 0.01
    cancels: float = 0.3

    @classmethod
    def drawn(cls, chance: random.Random) -> Faults:
        """A mixture: each fault is absent, as said above, or twice as likely."""
        return cls(**{field.name: field.default * chance.choice((0, 1, 1, 2)) for field in fields(cls)})  # type: ignore[operator]
