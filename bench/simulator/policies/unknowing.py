"""What ServeCore would not know if it did not look: for ablations."""

from __future__ import annotations

from collections.abc import Iterable

from parrot.core.graph import Generation
from parrot.core.learning import LearnedLengths
from parrot.core.prefixes import PrefixIndex
from parrot.wire.to_core import Usage


class PriorLengths(LearnedLengths):
    """Believes of all outputs what it believed at first."""

    def learn(self, generation: Generation, usage: Usage) -> None:
        return


class ShortSighted(PrefixIndex):
    """Does not see what the graph will need."""

    def need(self, names: Iterable[int]) -> None:
        return

    def need_no_more(self, names: Iterable[int]) -> None:
        return
