"""A set of generations, in the order in which they came, that takes next to nothing while it has one: most programs have one call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parrot.core.graph import Generation


class Few:
    """Some generations, each once."""

    __slots__ = ("_only", "_several")

    def __init__(self, generations: Iterable[Generation] = ()) -> None:
        self._only: Generation | None = None
        self._several: dict[Generation, None] | None = None  # all of them, from the second on
        for generation in generations:
            self.add(generation)

    def __len__(self) -> int:
        if self._several is not None:
            return len(self._several)
        return 0 if self._only is None else 1

    def __contains__(self, generation: object) -> bool:
        if self._several is not None:
            return generation in self._several
        return self._only is generation and generation is not None

    def __iter__(self) -> Iterator[Generation]:
        if self._several is not None:
            return iter(self._several)
        return iter(() if self._only is None else (self._only,))

    def add(self, generation: Generation) -> None:
        """One more, unless it is there."""
        if self._several is not None:
            self._several[generation] = None
        elif self._only is None:
            self._only = generation
        elif self._only is not generation:
            self._several, self._only = {self._only: None, generation: None}, None

    def drop(self, generation: Generation) -> bool:
        """One less.

        Returns:
            Whether it was there.
        """
        if generation not in self:
            return False
        if self._several is not None:
            del self._several[generation]
        self._only = None
        return True
