"""Fairness between tenants: who has had least is next (virtual token counter: Sheng et al., OSDI'24).

A tenant's counter grows by the tokens that are worked for it, output tokens counting more, over its weight. A little less than was expected
is set off against what comes next: a counter that does not get smaller leaves the order of all others as it is.

Among those for whom something waits the smallest counter is next, so that over time all get the same share, however much one of them
sends. One that comes back after it had nothing to do is lifted to the smallest counter of those who stayed, or, if nobody did, to that of
who was worked for last: nobody saves up. Who gets nothing although its counter is the smallest, since what it waits for is not there, does
not count as one who stayed.
"""

from __future__ import annotations

from collections.abc import Mapping

from parrot.core.lazy_heap import LazyHeap

INPUT, OUTPUT = 1.0, 2.0  # what a token counts
KNOWN = 10_000  # tenants, from which on those are forgotten for whom it makes no difference
CREDIT = 2_000.0  # tokens that may have been charged too much before that is taken off a counter
STUCK = 16  # times that others get something, for each for whom something waits, until one counts as one that cannot be served
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
        self._given = 0  # how often somebody got something
        self._present: dict[str, int] = {}  # for whom something waits, and `_given` when they last got something
        self._least = LazyHeap(self._of_present)
        self._full = KNOWN  # how many make it worthwhile to look
        self._last = 0.0  # what who was worked for last has had

    def enter(self, tenant: str) -> None:
        """A tenant for whom nothing waited has something to do again."""
        first = self._least.first()
        least = self._last if first is None else first[0]
        had = self._counters.get(tenant, 0.0)
        self._counters[tenant] = max(had, least)
        if tenant in self._credit:
            self._credit[tenant] = min(self._credit[tenant], max(0.0, had - least))
        self._present[tenant] = self._given
        self._least.push(tenant)
        if len(self._counters) > self._full:
            # Who has had no more than those for whom something waits would be lifted to them, known or not.
            self._counters = {name: had for name, had in self._counters.items() if had > least or name in self._present}
            self._credit = {name: credit for name, credit in self._credit.items() if name in self._counters}
            self._full = max(KNOWN, 2 * len(self._counters))

    def leave(self, tenant: str) -> None:
        """Nothing waits for a tenant any more."""
        self._present.pop(tenant, None)

    def charge(self, tenant: str, tokens_in: float, tokens_out: float) -> bool:
        """So much was worked for a tenant, or is about to be; a negative amount was charged too much.

        Returns:
            Whether its counter is smaller now, so that its turn may come sooner.
        """
        cost = (INPUT * tokens_in + OUTPUT * tokens_out) / self._weights.get(tenant, 1.0)
        if cost > 0.0:
            self._given += 1
            if tenant in self._present:
                self._present[tenant] = self._given
        cost -= self._credit.pop(tenant, 0.0)
        had = self._counters.get(tenant, 0.0)
        self._last = had + cost
        if -CREDIT <= cost < 0.0:
            self._credit[tenant] = -cost
        else:
            self._counters[tenant] = had + cost
        self._least.push(tenant)
        return cost < -CREDIT

    def had(self, tenant: str) -> float:
        """What a tenant has had or was charged too much, in weighted tokens: by this, turns are taken."""
        return self._counters.get(tenant, 0.0)

    def _of_present(self, tenant: str) -> float | None:
        since = self._present.get(tenant)
        if since is None or self._given - since > STUCK * len(self._present):
            return None
        return self._counters[tenant] - self._credit.get(tenant, 0.0)
