"""The life of one output of a call in steps: when each came, how long it took, and what the time went into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from parrot.broker.entries import CallEntry, CallRecord, VariableEntry
from parrot.cli.words import duration
from parrot.wire.states import ENDED, VariableState

_WAITS = {"ready": "its inputs", "placed": "an engine", "started": "its turn there"}
_ORDER = ("submitted", *_WAITS)
_FIRST_TOKEN = "first token"  # noqa: S105 - no password


@dataclass(frozen=True, slots=True)
class Step:
    """A step in the life of an output.

    Attributes:
        name: submitted, ready, placed, started, first token; at the end done, failed or cancelled; of one that goes on, now.
        at: when it came, in ISO-8601.
        seconds: since the step before it; None for the first. Below 0, the clocks of two machines differ.
        spent: what these seconds went into.
        note: what else there is to say of it.
    """

    name: str
    at: str
    seconds: float | None = None
    spent: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Timeline:
    """The steps of one output, in order.

    Attributes:
        waits_for: what is missing now: for each input that is not there, where it stands, or why there is no engine.
    """

    steps: list[Step]
    waits_for: list[str]


def timelines(record: CallRecord, now: datetime) -> dict[str, Timeline]:
    """The lives of a call's outputs, in the order of the template; without those that are no longer there.

    Args:
        record: the call.
        now: for those that have not ended.
    """
    call = record.call
    order = sorted(call.outputs, key=lambda slot: len(call.needs.get(slot, ())))
    found = [(slot, record.variables.get(call.outputs[slot])) for slot in order]
    return {slot: _timeline(record, slot, variable, now) for slot, variable in found if variable is not None}


def _timeline(record: CallRecord, slot: str, variable: VariableEntry, now: datetime) -> Timeline:
    steps = _steps(record.call, variable)
    if variable.state in ENDED:
        return Timeline(_with_seconds([*steps, _end(variable)]), [])
    missing = _missing(record, slot, now)
    last = Step("now", _iso(now), note=_standing(variable, missing))
    waits = list(missing.values()) or ([variable.why] if variable.why and not variable.engine else [])
    return Timeline(_with_seconds([*steps, last]), waits)


def _steps(call: CallEntry, variable: VariableEntry) -> list[Step]:
    """What has come to pass, up to the first token; moments that were never written are left out."""
    placed, started = _last_attempt(variable)
    steps = [
        Step("submitted", call.submitted),
        Step("ready", variable.ready),
        Step("placed", placed, note=_attempts(variable)),
        Step("started", started, note=f"on {variable.engine}" if variable.engine else ""),
    ]
    if started and variable.first_token is not None:
        first = datetime.fromisoformat(started) + timedelta(seconds=variable.first_token)
        steps.append(Step(_FIRST_TOKEN, _iso(first), note=_prompt(variable)))
    return [step for step in steps if step.at]


def _last_attempt(variable: VariableEntry) -> tuple[str, str]:
    """When the last attempt was placed and when it was started; what an earlier attempt has left behind is of no account."""
    if variable.state in (VariableState.READY, VariableState.GENERATING):
        return variable.placed, variable.started
    if variable.state == VariableState.PENDING:
        return variable.placed if variable.engine else "", ""
    earlier = variable.attempt > 1 and variable.started < variable.placed  # ISO-8601 of one form sorts by time
    return variable.placed, "" if earlier else variable.started


def _attempts(variable: VariableEntry) -> str:
    return f"attempt {variable.attempt}; those before came to nothing" if variable.attempt > 1 else ""


def _prompt(variable: VariableEntry) -> str:
    cached = f", {variable.tokens_cached:,} of them cached" if variable.tokens_cached else ""
    return f"{variable.tokens_in:,} tokens in{cached}" if variable.tokens_in else ""


def _end(variable: VariableEntry) -> Step:
    if variable.state != VariableState.READY:
        return Step(variable.state, variable.ended, note=variable.error or variable.error_code)
    return Step("done", variable.ended, note=_output(variable))


def _output(variable: VariableEntry) -> str:
    if not variable.tokens_out:
        return ""
    said = f"{variable.tokens_out:,} tokens out"
    if variable.tokens_out > 1 and variable.seconds is not None and variable.first_token is not None:
        said += f", {duration((variable.seconds - variable.first_token) / (variable.tokens_out - 1))} each"
    return said


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _with_seconds(steps: Sequence[Step]) -> list[Step]:
    timed = [step for step in steps if step.at]
    following = [
        Step(step.name, step.at, _between(before, step), _spent(before.name, step.name), step.note) for before, step in pairwise(timed)
    ]
    return [*timed[:1], *following]


def _between(one: Step, other: Step) -> float:
    return round((datetime.fromisoformat(other.at) - datetime.fromisoformat(one.at)).total_seconds(), 3)


def _spent(before: str, step: str) -> str:
    """What the time between two steps went into; where one between them is not known, into both."""
    if step in _WAITS:
        passed = _ORDER[_ORDER.index(before) + 1 : _ORDER.index(step) + 1]
        return f"for {' and '.join(_WAITS[name] for name in passed)}"
    if step == _FIRST_TOKEN:
        return "to its first token"
    if step == "done":
        return "for the rest of its text" if before == _FIRST_TOKEN else "to generate it"
    return ""


def _standing(variable: VariableEntry, missing: dict[str, str]) -> str:
    if variable.state == VariableState.GENERATING:
        return f"generates on {variable.engine}"
    if variable.engine:
        return f"waits for its turn on {variable.engine}"
    if missing:
        return f"waits for {', '.join(missing)}"
    return "waits for an engine" + (f", after attempt {variable.attempt} came to nothing" if variable.attempt else "")


def _missing(record: CallRecord, slot: str, now: datetime) -> dict[str, str]:
    """By slot, what an output needs and is not there, in words."""
    call = record.call
    ids = {name: given.variable for name, given in call.arguments.items() if given.variable} | call.outputs
    needed = [name for name in call.needs.get(slot, [*call.arguments]) if name in ids]
    standing = {name: _whereabouts(name, ids[name], record.variables.get(ids[name]), now) for name in needed}
    return {name: words for name, words in standing.items() if words}


def _whereabouts(slot: str, identifier: str, variable: VariableEntry | None, now: datetime) -> str:
    """Where an input stands; empty for one that is there."""
    if variable is None:
        return f"{slot} ({identifier}) is no longer there"
    if variable.state == VariableState.READY:
        return ""
    what = f"{slot} ({identifier})"
    if variable.state == VariableState.EMPTY:
        return f"{what} is empty: the app must set() it"
    if variable.state == VariableState.GENERATING:
        seconds = (now - datetime.fromisoformat(variable.started)).total_seconds() if variable.started else 0.0
        return f"{what} is generating on {variable.engine}" + (f", for {duration(seconds)} so far" if seconds > 0 else "")
    if variable.state != VariableState.PENDING:
        return f"{what} is {variable.state}: {variable.error or variable.error_code}"
    if variable.engine:
        return f"{what} is pending: it waits for its turn on {variable.engine}"
    return f"{what} is pending: it {variable.why or f'waits for inputs of its own (parrot show --why {variable.call})'}"
