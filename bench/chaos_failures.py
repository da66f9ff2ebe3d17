"""Which calls of a run of `bench.chaos` ended in an error, and whether they may have. Pure.

A call is given up when three engines have died while they held it, the last one while it held nothing else. Here engines are hit at
random, so that an innocent call can be there three times by chance, and no scheduler could tell it from poison. Such a call is *blamed by
chance*. It may fail, if each engine that its error names was hit by a fault of this run and had been sent that very call, and if the last
one was not seen to hold anything else. Whatever needs its values may fail with it. Every other failure is unexplained, and must not happen.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from bench.chaos_records import Call, Error, Fault, Life

DEATHS = 3  # engines that must have died before a call may be given up (promise 5 of the architecture)
EXAMPLES = 20
_ENGINES = re.compile(r": ([^:]+)\.$")  # at the end of the error of a poison call
_ROOT = re.compile(r"could not make ([A-Za-z0-9_.\-]+): ")  # in the error of whatever needed a variable that failed


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that ended in an error.

    Attributes:
        variable: the one of its outputs that failed first.
        blamed: by engine that died, what it died of; only of a call that was blamed by chance.
        root: of a call that failed since it needed another's value: that value's variable.
        doubt: why it should not have failed, in a sentence; empty if it is explained.
    """

    call: Call
    variable: str
    error: Error
    blamed: Mapping[str, Fault]
    root: str
    doubt: str


class Evidence:
    """What is known of the engines.

    Args:
        faults: that were done.
        lives: of engines, as they came up.
        sent: engine and variable of each job.
    """

    def __init__(self, faults: Sequence[Fault], lives: Sequence[Life], sent: Set[tuple[str, str]]) -> None:
        self._ends = {life.engine: end for life in lives if (end := _end(life, lives, faults)) is not None}
        self._sent = sent

    def blame(self, variable: str, error: Error) -> tuple[dict[str, Fault], str]:
        """What the engines died of that an error blames on a variable; and what speaks against chance, if anything does."""
        found = _ENGINES.search(error.message)
        engines = found[1].split(", ") if found else []
        if len(engines) < DEATHS:
            return {}, f"It names {len(engines)} engines."
        for engine in engines:
            if engine not in self._ends:
                return {}, f"No fault hit {engine}."
            if (engine, variable) not in self._sent:
                return {}, f"{engine} was never sent it."
        ends = {engine: self._ends[engine] for engine in sorted(engines, key=lambda engine: self._ends[engine].at)}
        *_, last = ends.values()
        if beside := set(last.holds) - {variable}:
            return {}, f"It did not run alone: at {last} the engine held {len(beside)} others as well."
        return ends, ""


def failures(calls: Sequence[Call], errors: Mapping[str, Error], evidence: Evidence) -> list[Failure]:
    """All calls that ended in an error, each with its explanation or the lack of one.

    Args:
        calls: that were acknowledged.
        errors: of the variables that failed or were cancelled.
        evidence: what is known of the engines.
    """
    first = [_judged(call, errors, evidence) for call in calls if any(variable in errors for variable in call.variables)]
    explained = {failure.variable for failure in first if failure.blamed}
    return [_with_root(failure, explained) if failure.root else failure for failure in first]


def report(failed: Sequence[Failure]) -> dict[str, Any]:
    """Figures of failures, those that were blamed by chance one by one, and some examples of all."""
    return {
        "by_code": dict(Counter(failure.error.code for failure in failed).most_common()),
        "blamed_by_chance": [_shown(failure) for failure in failed if failure.blamed],
        "needed_one_of_those": sum(bool(failure.root) and not failure.doubt for failure in failed),
        "unexplained": sum(bool(failure.doubt) for failure in failed),
        "examples": [_shown(failure) for failure in failed[:EXAMPLES]],
    }


def violation(failure: Failure) -> str:
    """That a call failed which must not, in a sentence."""
    return f"The call {failure.call.id} must not have failed ({failure.error.code}): {failure.error.message} {failure.doubt}"


def _end(life: Life, lives: Sequence[Life], faults: Sequence[Fault]) -> Fault | None:
    """The last fault that hit an engine before its process, if it lived on, came back as another engine."""
    after = min((other.at for other in lives if other.pid == life.pid and other.at > life.at), default=float("inf"))
    hits = [fault for fault in faults if fault.pid == life.pid and life.at <= fault.at < after]
    return max(hits, key=lambda fault: fault.at, default=None)


def _judged(call: Call, errors: Mapping[str, Error], evidence: Evidence) -> Failure:
    wrong = [variable for variable in call.variables if variable in errors]
    variable = next((name for name in wrong if errors[name].code != "upstream"), wrong[0])
    error = errors[variable]
    if error.code == "poison":
        blamed, doubt = evidence.blame(variable, error)
        return Failure(call, variable, error, blamed, "", doubt)
    if error.code == "upstream" and (found := _ROOT.search(error.message)):
        return Failure(call, variable, error, {}, found[1], "")
    return Failure(call, variable, error, {}, "", "No fault explains it.")


def _with_root(failure: Failure, explained: Set[str]) -> Failure:
    """A call that needed another's value may fail if that one may."""
    doubt = "" if failure.root in explained else f"Nor may {failure.root} have failed, which it needed."
    return Failure(failure.call, failure.variable, failure.error, {}, failure.root, doubt)


def _shown(failure: Failure) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "call": failure.call.id,
        "session": failure.call.session,
        "variable": failure.variable,
        "code": failure.error.code,
        "message": failure.error.message,
    }
    if failure.blamed:
        shown["engines"] = {engine: _death(fault, failure.variable) for engine, fault in failure.blamed.items()}
    if failure.doubt:
        shown["doubt"] = failure.doubt
    return shown


def _death(fault: Fault, variable: str) -> str:
    if variable not in fault.holds:
        return f"{fault}: it had been sent this call, and was not seen to hold it"
    return f"{fault}: it held this call and {len(fault.holds) - 1} others"
