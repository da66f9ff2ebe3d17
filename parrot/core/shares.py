"""Fairness between tenants: who has had least is next (virtual token counter: Sheng et al., OSDI'24).

A tenant's counter grows by the tokens that are worked for it, output tokens counting more, over its weight. What turns out to be less than
was expected is set off against what comes next: a counter that never gets smaller leaves the order of all others as it is.

Among those for whom something waits the smallest counter is next, so that over time all get the same share, however much one of them
sends. One that comes back after it had nothing to do is lifted to the smallest counter of those who stayed, or, if nobody did, to that of
who was worked for last: nobody saves up.
"""

from __future__ import annotations

from collections.abc import Mapping

from parrot.core.lazy_heap import LazyHeap

INPUT, OUTPUT = 1.0, 2.0  # what a token counts
KNOWN = 10_000  # tenants, from which on those are forgotten for whom it makes no difference
LEAD = 20_000.0  # tokens by which work that somebody waits for may run ahead of its tenant's share


class Shares:
    """Counters by tenant.

    Args:
        weights: of tenants that shall get more or less than others; 1 for all that are not named.
    """

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        self._weights = dict(weights or {})
        self._counters: dict[str, float] = {}
        self._credit: dict[str, float] = {}  # what was charged too much
        self._present: set[str] = set()
        self._least = LazyHeap(self._of_present)
        self._full = KNOWN  # how many make it worthwhile to look
        self._last = 0.0  # what who was worked for last has had

    def enter(self, tenant: str) -> None:
        """A tenant for whom nothing waited has something to do again."""
        first = self._least.first()
        # Nor to that of one who gets nothing although it is the smallest: what it waits for may not be there.
        least = self._last if first is None else max(first[0], self._last - LEAD)
        had = self._counters.get(tenant, 0.0)
        self._counters[tenant] = max(had, least)
        if tenant in self._credit:
            self._credit[tenant] = min(self._credit[tenant], max(0.0, had - least))
        self._present.add(tenant)
        self._least.push(tenant)
        if len(self._counters) > self._full:
            # Who has had no more than those for whom something waits would be lifted to them, known or not.
            self._counters = {name: had for name, had in self._counters.items() if had > least or name in self._present}
            self._credit = {name: credit for name, credit in self._credit.items() if name in self._counters}
            self._full = max(KNOWN, 2 * len(self._counters))

    def leave(self, tenant: str) -> None:
        """Nothing waits for a tenant any more."""
        self._present.discard(tenant)

    def charge(self, tenant: str, tokens_in: float, tokens_out: float) -> None:
        """So much was worked for a tenant, or is about to be; a negative amount was charged too much, and is set off against the next."""
        cost = (INPUT * tokens_in + OUTPUT * tokens_out) / self._weights.get(tenant, 1.0) - self._credit.pop(tenant, 0.0)
        had = self._counters.get(tenant, 0.0)
        self._last = had + cost
        if cost < 0.0:
            self._credit[tenant] = -cost
            self._least.push(tenant)
        else:
            self._counters[tenant] = had + cost

    def had(self, tenant: str) -> float:
        """What a tenant has had or was charged too much, in weighted tokens: by this, turns are taken."""
        return self._counters.get(tenant, 0.0)

    def _of_present(self, tenant: str) -> float | None:
        return self._counters[tenant] - self._credit.get(tenant, 0.0) if tenant in self._present else None
