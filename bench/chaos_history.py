"""What happened in a run of `bench.chaos`, and whether it may have happened. Pure: it is told everything, and looks at nothing itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["kill", "stop"]

ENDED = frozenset({"ready", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was acknowledged to its client, with the variables that it makes."""

    id: str
    session: str
    variables: tuple[str, ...]


@dataclass(slots=True)
class Fault:
    """Something that was done to a process. Times are in seconds since the run began.

    Attributes:
        kind: SIGKILL, or SIGSTOP for longer than the lease.
        victim: its name; `role` is what it was.
        held: what it was at work on, in words.
        recovered: when all that it held went on, if that was seen; it is the moment of the fault if it held nothing.
    """

    kind: Kind
    role: str
    victim: str
    at: float
    held: str = ""
    recovered: float | None = None

    @property
    def seconds(self) -> float | None:
        return None if self.recovered is None else self.recovered - self.at


@dataclass(frozen=True, slots=True)
class Part:
    """An entry of a token stream: its number, its text, and whether it voids what came before."""

    number: int
    text: str
    resets: bool = False


@dataclass(frozen=True, slots=True)
class Recoveries:
    """Times from faults until what the victims held went on, in seconds."""

    faults: int
    unseen: int
    p50: float
    p99: float
    max: float


def recoveries(faults: Sequence[Fault]) -> Recoveries:
    """Percentiles over faults that were seen to be recovered from."""
    seconds = sorted(fault.seconds for fault in faults if fault.seconds is not None)
    return Recoveries(len(faults), len(faults) - len(seconds), quantile(seconds, 0.5), quantile(seconds, 0.99), quantile(seconds, 1.0))


def quantile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank quantile; 0 of nothing."""
    return ordered[max(0, -(-len(ordered) * share // 1).__int__() - 1)] if ordered else 0.0


def single(faults: Sequence[Fault], reach: float) -> tuple[list[Fault], list[Fault]]:
    """Faults that came alone, and those that overlapped.

    Args:
        faults: all of them.
        reach: seconds for which a fault that nobody saw the end of counts as under way.
    """
    ends = [fault.at + reach if fault.recovered is None else max(fault.recovered, fault.at) for fault in faults]
    alone: list[Fault] = []
    overlapping: list[Fault] = []
    for place, fault in enumerate(faults):
        others = [(other.at, end) for index, (other, end) in enumerate(zip(faults, ends, strict=True)) if index != place]
        overlaps = any(began <= ends[place] and fault.at <= end for began, end in others)
        (overlapping if overlaps else alone).append(fault)
    return alone, overlapping


def lost(calls: Iterable[Call], states: Mapping[str, str]) -> list[str]:
    """Acknowledged calls of which a variable has not ended, or is not there."""
    return [call.id for call in calls if any(states.get(variable) not in ENDED for variable in call.variables)]


def twice(told: Iterable[str]) -> list[str]:
    """Variables that were told of more than once."""
    seen: set[str] = set()
    again: dict[str, None] = {}
    for variable in told:
        if variable in seen:
            again[variable] = None
        seen.add(variable)
    return list(again)


def disordered(streams: Mapping[str, Sequence[Part]], values: Mapping[str, str]) -> list[str]:
    """Variables whose token stream has a gap, a repetition or a step back, or does not add up to their value."""
    return [variable for variable, parts in streams.items() if not _in_order(parts) or _text(parts) != values.get(variable, _text(parts))]


def _in_order(parts: Sequence[Part]) -> bool:
    return [part.number for part in parts] == list(range(1, len(parts) + 1))


def _text(parts: Sequence[Part]) -> str:
    begin = max((place for place, part in enumerate(parts) if part.resets), default=0)
    return "".join(part.text for part in parts[begin:])


@dataclass(frozen=True, slots=True)
class History:
    """All that was seen.

    Attributes:
        calls: that were acknowledged.
        states: of all variables in the end.
        events: variables of the events that say that one was published, in order.
        news: variables that sessions were told of, all sessions one after the other.
        streams, values: of all variables that have a token stream.
        orphans: processes that outlived the run.
        findings: of the conservation check.
        limit: seconds that a recovery from a single fault may take.
    """

    calls: Sequence[Call]
    states: Mapping[str, str]
    events: Sequence[str]
    news: Sequence[str]
    streams: Mapping[str, Sequence[Part]]
    values: Mapping[str, str]
    faults: Sequence[Fault]
    orphans: Sequence[str]
    findings: Sequence[str]
    limit: float


def report(history: History) -> dict[str, Any]:
    """Figures, and under `violations` what must not have happened, in sentences."""
    missing = lost(history.calls, history.states)
    doubled = sorted({*twice(history.events), *twice(history.news)})
    wrong = disordered(history.streams, history.values)
    alone, overlapping = single(history.faults, history.limit)
    slow = [fault for fault in alone if fault.seconds is None or fault.seconds > history.limit]
    mine = {variable for call in history.calls for variable in call.variables}
    violations = [
        *(f"The call {call} was acknowledged and has not ended." for call in missing),
        *(f"The variable {variable} was published twice." for variable in doubled),
        *(f"The token stream of {variable} is out of order." for variable in wrong),
        *(_slowness(fault, history.limit) for fault in slow),
        *(f"The process {orphan} outlived the run." for orphan in history.orphans),
        *(f"The conservation check: {finding}" for finding in history.findings),
    ]
    return {
        "calls_acknowledged": len(history.calls),
        "calls_ended": len(history.calls) - len(missing),
        "calls_failed": sum(any(history.states.get(variable) == "failed" for variable in call.variables) for call in history.calls),
        "lost": len(missing),
        "published_twice": len(doubled),
        "out_of_order": len(wrong),
        "variables_acknowledged": len(mine),
        "token_streams": len(history.streams),
        "resets": sum(part.resets for parts in history.streams.values() for part in parts),
        "orphans": len(history.orphans),
        "findings": len(history.findings),
        "recovery_limit_seconds": history.limit,
        "recovery_single": asdict(recoveries(alone)),
        "recovery_single_by_role": {role: asdict(recoveries(group)) for role, group in by_role(alone).items()},
        "recovery_overlapping": asdict(recoveries(overlapping)),
        "violations": violations,
    }


def by_role(faults: Iterable[Fault]) -> dict[str, list[Fault]]:
    """Faults by what was done to whom."""
    groups: dict[str, list[Fault]] = {}
    for fault in faults:
        groups.setdefault(f"{fault.kind} {fault.role}", []).append(fault)
    return groups


def _slowness(fault: Fault, limit: float) -> str:
    took = "was not seen to end" if fault.seconds is None else f"took {fault.seconds:.2f} s"
    return f"The recovery from the {fault.kind} of {fault.victim} at {fault.at:.1f} s {took}; {limit:g} s are allowed."
