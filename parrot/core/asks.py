"""What many ask of one generation: the most of it, found without hearing all of them each time that one asks for less."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

from parrot.core.lazy_heap import LazyHeap

if TYPE_CHECKING:
    from parrot.core.graph import Generation, Variable

MANY = 32  # who wait for the same, from which on it is worthwhile

Strictness = tuple[int, str]  # of the kind, the smaller the stricter, and the group


class Asks:
    """What those ask of one generation who wait for it: its consumers, and those that gather after it.

    Who asks for more must be told; that one asks for less, or has ended, is noticed when it matters. When those that gather have to begin
    makes no difference: what they gather has to begin before them, and consumes too.

    Args:
        variables: of the graph, by name.
        asking: all of them; more may come.
        strictness: of what one asks for.
    """

    def __init__(
        self,
        variables: Mapping[str, Variable],
        asking: Iterable[Generation],
        strictness: Callable[[Generation], Strictness],
    ) -> None:
        # Not methods of this object, which would then keep itself alive: ServeCore works without a collector of cycles.
        self._kinds: LazyHeap[Strictness] = LazyHeap(partial(_key, variables, strictness))
        self._dues: LazyHeap[float] = LazyHeap(partial(_key, variables, _due))
        self._lates: LazyHeap[float] = LazyHeap(partial(_key, variables, _late))
        for one in asking:
            self.told(one)

    def told(self, one: Generation) -> None:
        """One may ask for more than before."""
        for heap in (self._kinds, self._dues, self._lates):
            heap.push(one.variable)

    def strictest(self) -> Strictness | None:
        """Of what is asked for; None if nobody asks."""
        first = self._kinds.first()
        return None if first is None else first[0]

    def due(self) -> float | None:
        """The earliest moment until which it is needed."""
        first = self._dues.first()
        return None if first is None else first[0]

    def late(self) -> float:
        """When the first of them has to begin."""
        first = self._lates.first()
        return inf if first is None else first[0]


def _due(one: Generation) -> float | None:
    return one.objective.due


def _late(one: Generation) -> float:
    return one.late


def _key(variables: Mapping[str, Variable], of: Callable[[Generation], Any], name: str) -> Any:
    maker = variables[name].producer
    return None if maker is None else of(maker)
