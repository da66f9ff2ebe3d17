"""Calls as the directory finds them, for stories."""

from __future__ import annotations

from datetime import UTC, datetime

from parrot.broker.entries import ArgumentEntry, CallEntry, CallRecord, DecisionEntry, VariableEntry

NOW = datetime(2026, 1, 1, 12, 0, 10, tzinfo=UTC)


def at(seconds: float) -> str:
    """So many seconds after noon; the calls are submitted at noon."""
    return f"2026-01-01T12:00:{seconds:06.3f}Z"


def variable(name: str = "a.x", **known: object) -> VariableEntry:
    """A variable of which only what is given was ever written."""
    fields = dict.fromkeys(VariableEntry.__dataclass_fields__, "")
    numbers = {"attempt": 0, "tokens_in": 0, "tokens_cached": 0, "tokens_out": 0}
    nothing = {"first_token": None, "seconds": None, "value": None}
    return VariableEntry(**{**fields, **numbers, **nothing, "id": name, "state": "pending", **known})  # type: ignore[arg-type]


def ready(name: str = "a.x", **known: object) -> VariableEntry:
    """A variable that went all the way."""
    life = {"ready": at(1), "placed": at(1.5), "started": at(1.502), "first_token": 0.398, "seconds": 2.498, "ended": at(4)}
    cost = {"tokens_in": 1320, "tokens_cached": 64, "tokens_out": 22, "engine": "e-1", "attempt": 1}
    return variable(name, **{"state": "ready", **life, **cost, **known})


def call(state: str = "done", decision: DecisionEntry | None = None, **known: object) -> CallEntry:
    """The call `a` of `retell`, with one output `x` and the inputs `text` (the variable `in`) and `tone` (a text)."""
    fields = {
        "id": "a",
        "session": "s-1",
        "function": "retell",
        "state": state,
        "submitted": at(0),
        "ended": "",
        "model": "any",
        "arguments": {"text": ArgumentEntry(variable="in"), "tone": ArgumentEntry(text="calm")},
        "outputs": {"x": "a.x"},
        "needs": {"x": ["text", "tone"]},
        "decision": decision or DecisionEntry(),
        "error": "",
    }
    return CallEntry(**{**fields, **known})  # type: ignore[arg-type]


def record(of: CallEntry, *variables: VariableEntry) -> CallRecord:
    """The call with these variables around it; the input `in` is there unless it is given."""
    known = {"in": variable("in", state="ready")} | {one.id: one for one in variables}
    return CallRecord(of, known)
