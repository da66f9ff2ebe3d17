"""The seam between what ServeCore knows and how it decides: who is next, and on which engine.

`Scheduler` is ServeCore's own policy. Baselines and ablations stand in the same place, so that they are judged in the same machine.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from parrot.core.graph import Generation
from parrot.wire.to_core import EngineHolds, EngineUp, Usage


@dataclass(slots=True, eq=False, repr=False)
class Engine:
    """An engine as ServeCore sees it.

    Attributes:
        id: of this incarnation.
        about: what it said of itself when it came up.
        holds: the generations that it was given and that have not ended, by variable.
        draining: it will leave and is given nothing more.
        clearing: it was told to let go all that it holds, so that another one runs alone there; until it has, it may die of that.
        told: the place in its stream of the last order to let something go, and read: what it has said that it has read.
        heard: when it last said anything, in seconds since the epoch.
    """

    about: EngineUp
    id: str = field(init=False)
    holds: dict[str, Generation] = field(default_factory=dict)
    draining: bool = False
    clearing: bool = False
    told: tuple[int, ...] = ()
    read: tuple[int, ...] = ()
    heard: float = 0.0

    def __post_init__(self) -> None:
        self.id = self.about.engine

    @property
    def free(self) -> bool:
        """It may be given something: it stays, and neither tries out a suspect nor makes room for one."""
        if self.draining or self.clearing:
            return False
        return not (len(self.holds) == 1 and any(generation.suspect for generation in self.holds.values()))

    @property
    def is_empty(self) -> bool:
        """It runs nothing, and has said so: what it was told to let go is not there any more."""
        return not self.holds and self.told <= self.read


class Decision(NamedTuple):
    """A generation goes to an engine.

    Attributes:
        why: in words.
        runner_up: id of the engine that would have been next best, or an empty name.
        prefix: tokens of the prompt that the engine is expected to hold already.
        slack: seconds that could be lost before what the generation is needed for is late; None where nothing can be late.
    """

    generation: Generation
    engine: Engine
    why: str
    runner_up: str = ""
    prefix: int = 0
    slack: float | None = None


class Policy(Protocol):
    """Decides. It is told all that happens, in order, and has no clock of its own."""

    def added(self, generations: Collection[Generation], now: float) -> None:
        """They are new in the graph, those of one call; they may still wait for inputs."""
        ...

    def changed(self, generations: Collection[Generation], now: float) -> None:
        """Their objectives are others now; what comes after others is before them."""
        ...

    def ready(self, generation: Generation, now: float) -> None:
        """It can run, for the first time or again."""
        ...

    def waiting(self) -> Iterator[Generation]:
        """All that were `ready` and have neither been given to an engine nor ended, in no order."""
        ...

    def next(self, engines: Mapping[str, Engine], now: float) -> Decision | None:
        """Who goes where next; it is carried out, and `given` called, before this is asked again: until there is no answer.

        Args:
            engines: by id, those that may take something now: neither draining nor reserved. They may be full.
            now: seconds since the epoch.

        Returns:
            None if nothing is to be sent for now.
        """
        ...

    def awaits(self, generation: Generation) -> str:
        """What a generation waits for by itself that `next` has not placed, in words; empty where that is just room."""
        ...

    def reworded(self) -> Collection[Generation]:
        """Those that wait of which `awaits` does not say any more what it said, since this was last asked."""
        ...

    def priority(self, generation: Generation) -> int:
        """For the queue of the engine that has it, lower first; asked when it is sent and whenever its objective has changed."""
        ...

    def wake(self) -> float | None:
        """When `next` should be asked again although nothing has happened, in seconds since the epoch; None if never."""
        ...

    def given(self, generation: Generation, engine: Engine, now: float) -> None:
        """It was sent to an engine, by decision of this policy or of its predecessor's. The engine holds it already."""
        ...

    def left(self, generation: Generation, engine: Engine, usage: Usage | None, now: float) -> None:
        """An engine holds it no more; the usage is known if it was done there."""
        ...

    def ended(self, generation: Generation, now: float) -> None:
        """Nothing is to be done for it any more."""
        ...

    def came(self, engine: Engine) -> None:
        """An engine is there; it holds nothing in its cache that is known."""
        ...

    def gone(self, engine: Engine) -> None:
        """An engine is no longer there."""
        ...

    def heard(self, engine: Engine, now: float) -> None:
        """An engine lives on."""
        ...

    def reported(self, report: EngineHolds, now: float) -> bool:
        """What an engine's KV cache holds; False if a report before this one is missing, so that the whole is to be asked for."""
        ...

    def learned(self) -> Mapping[str, str | None]:
        """What successors should know, as far as it has changed since this was last asked: texts by name; None for what is forgotten.

        Not too much at once; the rest the next time.
        """
        ...

    def recall(self, found: Mapping[str, str]) -> None:
        """What predecessors had learned; told before anything else. What cannot be understood is ignored."""
        ...
