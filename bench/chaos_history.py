"""What happened in a run of `bench.chaos`, and whether it may have happened. Pure: it is told everything, and looks at nothing itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from typing import Any

from bench import chaos_failures
from bench.chaos_failures import Evidence, failures
from bench.chaos_records import ENDED, Call, Error, Fault, Life, Part


@dataclass(frozen=True, slots=True)
class Recoveries:
    """Times from faults until what the victims held went on, in seconds."""

    faults: int
    unseen: int
    p50: float
    p99: float
    max: float


def recoveries(times: Sequence[float | None]) -> Recoveries:
    """Percentiles over faults that were seen to be recovered from; None stands for one that was not."""
    seconds = sorted(time for time in times if time is not None)
    return Recoveries(len(times), len(times) - len(seconds), quantile(seconds, 0.5), quantile(seconds, 0.99), quantile(seconds, 1.0))


def quantile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank quantile; 0 of nothing."""
    return ordered[max(0, -(-len(ordered) * share // 1).__int__() - 1)] if ordered else 0.0


def single(faults: Sequence[Fault], reach: float) -> tuple[list[Fault], list[Fault]]:
    """Faults that came alone, and those that overlapped.

    Args:
        faults: all of them.
        reach: seconds for which a fault that nobody saw the end of counts as under way.
    """
    ends = [fault.at + reach if fault.recovered is None else max(fault.at, fault.recovered) for fault in faults]
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


def disordered(streams: Mapping[str, Sequence[Part]], values: Mapping[str, str]) -> dict[str, str]:
    """Variables whose token stream has a gap, a repetition or a step back, or does not add up to their value; with what is wrong."""
    wrong = {variable: _disorder(parts, values.get(variable)) for variable, parts in streams.items()}
    return {variable: what for variable, what in wrong.items() if what}


def _disorder(parts: Sequence[Part], value: str | None) -> str:
    """What is wrong with a token stream; empty if nothing is."""
    numbers, text = [part.number for part in parts], _text(parts)
    if numbers != list(range(1, len(parts) + 1)):
        return f"its parts are numbered {', '.join(map(str, numbers))}"
    if value is not None and text != value:
        return f"its parts say {text!r}, the value is {value!r}"
    return ""


def _text(parts: Sequence[Part]) -> str:
    begin = max((place for place, part in enumerate(parts) if part.resets), default=0)
    return "".join(part.text for part in parts[begin:])


@dataclass(frozen=True, slots=True)
class History:
    """All that was seen.

    Attributes:
        calls: that were acknowledged.
        states: of all variables in the end.
        errors: of those that have no value.
        events: variables of the events that say that one was published, in order.
        news: variables that sessions were told of, all sessions one after the other.
        streams, values: of all variables that have a token stream.
        lives: of the engines that came up.
        sent: engine and variable of each job.
        orphans: processes that outlived the run.
        findings: of the conservation check.
        limit: seconds that a recovery from a single fault may take.
    """

    calls: Sequence[Call]
    states: Mapping[str, str]
    errors: Mapping[str, Error]
    events: Sequence[str]
    news: Sequence[str]
    streams: Mapping[str, Sequence[Part]]
    values: Mapping[str, str]
    lives: Sequence[Life]
    sent: Set[tuple[str, str]]
    faults: Sequence[Fault]
    orphans: Sequence[str]
    findings: Sequence[str]
    limit: float


def report(history: History) -> dict[str, Any]:
    """Figures, and under `violations` what must not have happened, in sentences."""
    missing = lost(history.calls, history.states)
    doubled = sorted({*twice(history.events), *twice(history.news)})
    wrong = disordered(history.streams, history.values)
    failed = failures(history.calls, history.errors, Evidence(history.faults, history.lives, history.sent))
    alone, overlapping = single(history.faults, history.limit)
    slow = [fault for fault in alone if fault.seconds is None or fault.seconds > history.limit]
    mine = {variable for call in history.calls for variable in call.variables}
    violations = [
        *(f"The call {call} was acknowledged and has not ended." for call in missing),
        *(f"The variable {variable} was published twice." for variable in doubled),
        *(f"The token stream of {variable} is out of order: {what}." for variable, what in wrong.items()),
        *(chaos_failures.violation(failure) for failure in failed if failure.doubt),
        *(_slowness(fault, history.limit) for fault in slow),
        *(f"The process {orphan} outlived the run." for orphan in history.orphans),
        *(f"The conservation check: {finding}" for finding in history.findings),
    ]
    return {
        "calls_acknowledged": len(history.calls),
        "calls_ended": len(history.calls) - len(missing),
        "calls_failed": len(failed),
        "failures": chaos_failures.report(failed),
        "lost": len(missing),
        "published_twice": len(doubled),
        "out_of_order": len(wrong),
        "variables_acknowledged": len(mine),
        "token_streams": len(history.streams),
        "resets": sum(part.resets for parts in history.streams.values() for part in parts),
        "orphans": len(history.orphans),
        "findings": len(history.findings),
        "recovery_limit_seconds": history.limit,
        "recovery_single": _recoveries(alone),
        "recovery_single_by_role": {role: _recoveries(group) for role, group in by_role(alone).items()},
        "recovery_overlapping": _recoveries(overlapping),
        "recovery_single_with_suspects": _recoveries([fault for fault in alone if fault.suspects]),
        "violations": violations,
    }


def _recoveries(faults: Sequence[Fault]) -> dict[str, Any]:
    return asdict(recoveries([fault.seconds for fault in faults]))


def by_role(faults: Iterable[Fault]) -> dict[str, list[Fault]]:
    """Faults by what was done to whom."""
    groups: dict[str, list[Fault]] = {}
    for fault in faults:
        groups.setdefault(f"{fault.kind} {fault.role}", []).append(fault)
    return groups


def _slowness(fault: Fault, limit: float) -> str:
    took = "was not seen to end" if fault.seconds is None else f"took {fault.seconds:.2f} s"
    return f"The recovery from {fault} {took}; {limit:g} s are allowed."
