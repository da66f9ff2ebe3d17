"""What a generation is expected to need: tokens and seconds, from what functions and engines have shown."""

from __future__ import annotations

from collections.abc import Mapping

from parrot.core.graph import Generation
from parrot.core.learning import Lengths, Speed
from parrot.core.load import Load, context_of
from parrot.core.memory import Memory
from parrot.core.prefixes import PrefixIndex
from parrot.wire.to_core import EngineUp, Usage

SPEEDS = 4_000  # of models and engines that are known; the least recently used is forgotten
NOTED = 250  # things learned that are handed out for successors at once: a few milliseconds


class Expectations:
    """Of one cell.

    Args:
        lengths: of outputs, and of prompts as far as their texts are not known.
        prefixes: has counts of prompt tokens.
        loads: of the engines that are there, by id.
    """

    def __init__(self, lengths: Lengths, prefixes: PrefixIndex, loads: Mapping[str, Load]) -> None:
        self._lengths = lengths
        self._prefixes = prefixes
        self._loads = loads
        self._unknown = Speed()
        self._typical: dict[str | None, Speed] = {}  # by model, of one engine that is there; and of any
        self._speeds = Memory("speed:", SPEEDS, Speed.read)  # by engine, and by model: of that which was last heard of

    def engines_changed(self) -> None:
        """An engine has come or gone."""
        self._typical = {None: self._unknown}
        for load in reversed(tuple(self._loads.values())):
            self._typical[load.engine.about.model] = self._typical[None] = load.speed

    def added(self, generation: Generation) -> None:
        """It is new: reckon with what its function has needed of late."""
        generation.tokens_out = self._lengths.expect(generation)
        generation.tail = generation.seconds = self.seconds(generation)
        generation.program.whole().expect(generation, self._service(generation, self._lengths.computed(generation)))

    def ready(self, generation: Generation) -> bool:
        """Its prompt is known: reckon with that, and find the ways of its program.

        Returns:
            Whether they were found anew.
        """
        program = generation.program.whole()
        generation.tokens_in = self._prompt(generation)
        generation.tokens_out = self._lengths.expect(generation)
        program.expect(generation, self._service(generation, generation.tokens_in))
        found = program.reckon(self.seconds)
        program.begin(generation)
        return found

    def seconds(self, generation: Generation) -> float:
        """How long a generation will take by itself, on an engine like those that are there, as far as is known now."""
        if generation.missing:  # what can run was looked at when it could, and an engine may have been charged for that
            generation.tokens_out = self._lengths.expect(generation)
        speed = self._speed(generation)
        return speed.prefill(generation.tokens_in) + generation.tokens_out * speed.step(context_of(generation))

    def speed_of(self, engine: EngineUp) -> Speed:
        """What an engine is believed to be like until it shows how it is: as it was under its name, or else as one with its model was."""
        known = self._speeds.get(_name(engine)) or self._speeds.get(engine.model)
        return Speed() if known is None else known.copy()

    def learn(self, generation: Generation, load: Load, usage: Usage) -> None:
        """An engine has done a generation."""
        self._lengths.learn(generation, usage)
        self._speeds.note(load.engine.about.model, load.speed)
        self._speeds.note(_name(load.engine.about), load.speed)

    def learned(self) -> Mapping[str, str | None]:
        """What successors should know, as far as it has changed since this was asked."""
        return {**self._speeds.changes(NOTED), **self._lengths.learned(NOTED)}

    def recall(self, found: Mapping[str, str]) -> None:
        """Know what a predecessor has learned."""
        self._speeds.recall(found)
        self._lengths.recall(found)

    def _prompt(self, generation: Generation) -> int:
        """Expected tokens of a prompt: as engines have counted them, as far as they have."""
        if (known := self._prefixes.counted(generation.beginnings)) is not None:
            counted, estimated = known
            return max(1, generation.beginnings.prompt_tokens - estimated + counted)
        return int(self._lengths.prompt(generation))

    def _speed(self, generation: Generation) -> Speed:
        """Of an engine that could take it."""
        return self._typical.get(generation.call.model, self._unknown)

    def _service(self, generation: Generation, computed: float) -> float:
        """Engine time that a generation will need, of whose prompt so many tokens must be computed."""
        speed = self._speed(generation)
        return speed.prefill(computed) + generation.tokens_out * speed.share(context_of(generation))


def _name(engine: EngineUp) -> str:
    """Under which its speed is known: the next process on its place is as fast, if it has the same model."""
    return f"{engine.model}@{engine.name}"
