"""What the policies under test may look at besides what ServeCore tells them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from bench.simulator.contents import Contents
from bench.simulator.profile import Profile
from bench.simulator.worker import Worker
from parrot.core.objectives import Objective


@dataclass(slots=True)
class Surroundings:
    """The virtual world.

    A router sees each answer begin, since it streams through it, and reads its engines' metrics. The rivals are given more than any router
    has: the caches as they are at this moment, and prompts in tokens. Only the oracle may ask `contents` for outputs, and only what is
    told all by hand may look at `objectives`.

    Attributes:
        workers: by engine id.
        contents: prompts in tokens and blocks.
        profile: of the engines.
        objectives: by variable, what its author would say that it should be optimised for.
        on_first: called with the variable when its first token is there.
    """

    workers: dict[str, Worker]
    contents: Contents
    profile: Profile
    objectives: dict[str, Objective]
    on_first: list[Callable[[str], None]] = field(default_factory=list)
