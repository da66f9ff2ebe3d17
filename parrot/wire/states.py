"""The life cycles that are written into Redis and read by people."""

from __future__ import annotations

from enum import StrEnum


class VariableState(StrEnum):
    """The life of a Semantic Variable."""

    EMPTY = "empty"  # declared; no value yet and no call produces it
    PENDING = "pending"  # a call will produce it; it waits for inputs or for an engine
    GENERATING = "generating"  # an engine has claimed it
    READY = "ready"  # it has its value, for good
    FAILED = "failed"  # it will never have a value; the error says why
    CANCELLED = "cancelled"  # somebody wanted no value any more


ENDED = frozenset({VariableState.READY, VariableState.FAILED, VariableState.CANCELLED})


class CallState(StrEnum):
    """The life of a call."""

    WAITING = "waiting"  # some input is not ready
    QUEUED = "queued"  # all inputs are ready, no engine has room yet
    PLACED = "placed"  # an engine has been sent the job
    DONE = "done"  # every output is ready
    FAILED = "failed"  # an output failed
    CANCELLED = "cancelled"  # an output was cancelled, and none failed


class SessionState(StrEnum):
    """The life of a session."""

    OPEN = "open"  # takes submissions
    CLOSED = "closed"  # takes none; results live until they expire
