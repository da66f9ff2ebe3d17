"""What people are shown of a cell, from the fields of its hashes: sessions, engines, calls, variables. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from parrot.wire.states import CallState

Fields = dict[str, str]


@dataclass(frozen=True, slots=True)
class SessionEntry:
    """A session in a list. Times are ISO-8601 in UTC; what was never written is empty."""

    id: str
    name: str
    tenant: str
    labels: dict[str, str]
    state: str
    opened: str
    closed: str
    calls: int
    done: int
    failed: int


@dataclass(frozen=True, slots=True)
class EngineEntry:
    """An engine and its last reported load; `busy_seconds` counts since its start."""

    id: str
    name: str
    kind: str
    model: str
    host: str
    pid: int
    state: str
    running: int
    waiting: int
    kv_used: float
    busy_seconds: float
    seen: str
    up: str


@dataclass(frozen=True, slots=True)
class ArgumentEntry:
    """What fills an input slot: a variable, a text, or a text that lies under its hash."""

    variable: str | None = None
    text: str | None = None
    hash: str | None = None


@dataclass(frozen=True, slots=True)
class DecisionEntry:
    """What ServeCore decided for a call when it was placed last, and why. What was never written is empty or None.

    Attributes:
        group: the call whose inputs the call's task group makes.
        slack: seconds to spare when this was decided last; negative if it was late already.
        way: seconds that the longest way to the end of what it is for was expected to take from its start.
        prefix_expected: tokens of the prompt that the engine was thought to hold.
        prefix_found: tokens that it held; known when the call has ended.
        runner_up: the engine that came second.
        why: the reason in words.
    """

    objective: str = ""
    group: str = ""
    slack: float | None = None
    way: float | None = None
    prefix_expected: int | None = None
    prefix_found: int | None = None
    engine: str = ""
    runner_up: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class CallEntry:
    """A call; `arguments` and `outputs` (variable ids) are by slot name.

    Attributes:
        needs: for each output, in the order of the template, the slots that stand before it.
    """

    id: str
    session: str
    function: str
    state: str
    submitted: str
    ended: str
    model: str
    arguments: dict[str, ArgumentEntry]
    outputs: dict[str, str]
    needs: dict[str, list[str]]
    decision: DecisionEntry
    error: str


@dataclass(frozen=True, slots=True)
class VariableHead:
    """What names a variable; `function` is empty if the app gave it its value."""

    id: str
    name: str
    function: str
    state: str


@dataclass(frozen=True, slots=True)
class VariableEntry:
    """A variable; `call` is empty if the app gave it its value.

    Attributes:
        ready: when all that it is made of was there.
        placed: when it was given to an engine last.
        started: when an engine began it last.
        first_token: seconds from then to its first token; known when it is ready.
        seconds: from then to its last token.
    """

    id: str
    name: str
    state: str
    call: str
    output: str
    function: str
    engine: str
    attempt: int
    ready: str
    placed: str
    started: str
    ended: str
    first_token: float | None
    seconds: float | None
    tokens_in: int
    tokens_cached: int
    tokens_out: int
    finish_reason: str
    criterion: str
    why: str
    error_code: str
    error: str
    value: str | None


@dataclass(frozen=True, slots=True)
class Program:
    """A session with everything in it, in the order in which it was submitted."""

    session: SessionEntry
    calls: list[CallEntry]
    variables: list[VariableEntry]


@dataclass(frozen=True, slots=True)
class CallRecord:
    """A call with the variables that it takes and makes, by id; without those that are no longer there."""

    call: CallEntry
    variables: dict[str, VariableEntry]


def session_entry(session: str, row: Fields, calls: Sequence[str]) -> SessionEntry:
    """A session from its hash and the states of its calls."""
    return SessionEntry(
        id=session,
        name=row.get("name", ""),
        tenant=row.get("tenant", ""),
        labels=_json(row.get("labels", "")),
        state=row.get("state", ""),
        opened=row.get("opened", ""),
        closed=row.get("closed", ""),
        calls=len(calls),
        done=sum(state == CallState.DONE for state in calls),
        failed=sum(state == CallState.FAILED for state in calls),
    )


def engine_entry(engine: str, row: Fields) -> EngineEntry:
    """An engine from its hash."""
    return EngineEntry(
        id=engine,
        name=row.get("name", ""),
        kind=row.get("kind", ""),
        model=row.get("model", ""),
        host=row.get("host", ""),
        pid=int(row.get("pid") or 0),
        state=row.get("state", ""),
        running=int(row.get("running") or 0),
        waiting=int(row.get("waiting") or 0),
        kv_used=float(row.get("kv_used") or 0),
        busy_seconds=float(row.get("busy_seconds") or 0),
        seen=row.get("seen", ""),
        up=row.get("up", ""),
    )


def call_entry(call: str, row: Fields) -> CallEntry:
    """A call from its hash."""
    request = _json(row.get("request", ""))
    return CallEntry(
        id=call,
        session=row.get("session", ""),
        function=row.get("function", ""),
        state=row.get("state", ""),
        submitted=row.get("submitted", ""),
        ended=row.get("ended", ""),
        model=row.get("model", ""),
        arguments={
            slot: ArgumentEntry(given.get("variable"), given.get("text"), given.get("hash"))
            for slot, given in request.get("arguments", {}).items()
        },
        outputs={slot: output.get("variable", "") for slot, output in request.get("outputs", {}).items()},
        needs=_needs(request),
        decision=_decision(row),
        error=row.get("error", ""),
    )


def _needs(request: dict[str, Any]) -> dict[str, list[str]]:
    slots = list(dict.fromkeys(value for kind, value in request.get("template", []) if kind == "slot"))
    return {slot: slots[: slots.index(slot)] for slot in slots if slot in request.get("outputs", {})}


def _decision(row: Fields) -> DecisionEntry:
    return DecisionEntry(
        objective=row.get("objective", ""),
        group=row.get("group", ""),
        slack=_number(row.get("slack")),
        way=_number(row.get("way")),
        prefix_expected=_count(row.get("prefix_expected")),
        prefix_found=_count(row.get("prefix_found")),
        engine=row.get("engine", ""),
        runner_up=row.get("runner_up", ""),
        why=row.get("why", ""),
    )


def variable_entry(variable: str, row: Fields) -> VariableEntry:
    """A variable from its hash."""
    return VariableEntry(
        id=variable,
        name=row.get("name", ""),
        state=row.get("state", ""),
        call=row.get("call", ""),
        output=row.get("output", ""),
        function=row.get("function", ""),
        engine=row.get("engine", ""),
        attempt=int(row.get("attempt") or 0),
        ready=row.get("ready", ""),
        placed=row.get("placed", ""),
        started=row.get("started", ""),
        ended=row.get("ended", ""),
        first_token=_number(row.get("first_token")),
        seconds=_number(row.get("seconds")),
        tokens_in=int(row.get("tokens_in") or 0),
        tokens_cached=int(row.get("tokens_cached") or 0),
        tokens_out=int(row.get("tokens_out") or 0),
        finish_reason=row.get("finish_reason", ""),
        criterion=row.get("criterion", ""),
        why=row.get("why", ""),
        error_code=row.get("error_code", ""),
        error=row.get("error", ""),
        value=row.get("value"),
    )


def _number(text: str | None) -> float | None:
    return float(text) if text else None


def _count(text: str | None) -> int | None:
    return int(text) if text else None


def _json(text: str) -> dict[str, Any]:
    try:
        found = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return {}  # an older or newer writer's form: the rest of the entry is shown all the same
    return found if isinstance(found, dict) else {}
