"""All policies under test, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from bench.simulator.policies.affinity import Affinity
from bench.simulator.policies.attained import Attained
from bench.simulator.policies.knowing import PerfectIndex, TrueLengths, by_hand
from bench.simulator.policies.least_loaded import LeastLoaded
from bench.simulator.policies.prefix_aware import PrefixAware
from bench.simulator.policies.round_robin import RoundRobin
from bench.simulator.policies.unknowing import PriorLengths, ShortSighted
from bench.simulator.surroundings import Surroundings
from parrot.core.policy import Policy
from parrot.core.prefixes import PrefixIndex
from parrot.core.rules import Rules
from parrot.core.scheduler import Scheduler


@dataclass(frozen=True, slots=True)
class Contestant:
    """One side.

    Attributes:
        name: of the policy.
        about: what it is, in a few words.
        make: a new one.
        lost: how many reports of engines it does not get, from 0 to 1.
        deaths: how often ServeCore dies while it works.
        part: of the load that it is given.
        reorders: engines give what waits in them another place when its priority changes.
    """

    name: str
    about: str
    make: Callable[[Surroundings], Policy]
    lost: float = 0.0
    deaths: int = 0
    part: float = 1.0
    reorders: bool = True


STRONG = "affinity"
OURS = "ours"
ORACLE = "oracle"
BOUND = "alone"

RIVALS = (
    Contestant("round-robin", "first come, first served, to each engine in turn", lambda _: RoundRobin()),
    Contestant("least-loaded", "to the engine with the fewest requests", lambda _: LeastLoaded()),
    Contestant("prefix-aware", "to the longest cached prefix, unless out of balance", PrefixAware),
    Contestant(STRONG, "session affinity and prefixes: the strong baseline", Affinity),
    Contestant("attained", "programs that have had least first, placed as by the strong baseline", Attained),
)
OWN = (
    Contestant(OURS, "ServeCore", lambda _: Scheduler()),
    Contestant("ours-faults", "ServeCore, with 5% of reports lost, dying twice", lambda _: Scheduler(), lost=0.05, deaths=2),
    Contestant("ours-index", "ServeCore, seeing into caches", lambda seen: Scheduler(prefixes=PerfectIndex(seen))),
    Contestant("index-faults", "ServeCore, seeing into caches, dying twice", lambda seen: Scheduler(prefixes=PerfectIndex(seen)), deaths=2),
    Contestant(
        ORACLE,
        "ServeCore, knowing lengths and seeing into caches",
        lambda seen: Scheduler(lengths=TrueLengths(seen), prefixes=PerfectIndex(seen)),
    ),
    Contestant(
        "by-hand",
        "ServeCore, told objectives and lengths by hand",
        lambda seen: Scheduler(lengths=TrueLengths(seen), objective=by_hand(seen)),
    ),
    Contestant(BOUND, "ServeCore with a fiftieth of the load: programs hardly ever meet", lambda _: Scheduler(), part=0.02),
)


def _without(rule: str) -> Contestant:
    rules = replace(Rules(), **{rule: False})
    return Contestant(f"no-{rule}", f"ServeCore without its rule `{rule}`", lambda _: Scheduler(rules=rules))


ABLATIONS = (
    *(_without(field.name) for field in fields(Rules)),
    Contestant("no-reorder", "ServeCore, with engines that leave what waits in them where it is", lambda _: Scheduler(), reorders=False),
    Contestant("no-lengths", "ServeCore, that never learns how long outputs are", lambda _: Scheduler(lengths=PriorLengths())),
)
SMALL = 200  # beginnings: too few for what engines hold
SMALL_INDEX = (
    Contestant("small-index", f"ServeCore, knowing {SMALL:,} beginnings", lambda _: Scheduler(prefixes=PrefixIndex(SMALL))),
    Contestant("no-foreseen", "the same, whatever the graph will need", lambda _: Scheduler(prefixes=ShortSighted(SMALL))),
)
CONTESTANTS = {one.name: one for one in (*RIVALS, *OWN, *ABLATIONS, *SMALL_INDEX)}
