"""How figures and states are written for people."""

from __future__ import annotations

from datetime import UTC, datetime

COLOURS = {
    "empty": "dim",
    "pending": "yellow",
    "waiting": "dim",
    "queued": "yellow",
    "placed": "cyan",
    "generating": "cyan",
    "ready": "green",
    "done": "green",
    "failed": "bold red",
    "cancelled": "magenta",
    "open": "green",
    "closed": "dim",
    "up": "green",
}


def coloured(state: str) -> str:
    """A state as rich markup."""
    return f"[{COLOURS[state]}]{state}[/]" if state in COLOURS else state


def preview(text: str, width: int) -> str:
    """The beginning of a text on one line, at most `width` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1].rstrip()}…"


def duration(seconds: float) -> str:
    """A time that something took, to three digits or so: `12 ms`, `1.38 s`, `4.2 min`, `3.0 h`."""
    length = abs(seconds)
    if length < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if length < 100:
        return f"{seconds:.2f} s"
    return f"{seconds / 60:.1f} min" if length < 6_000 else f"{seconds / 3600:.1f} h"


def spare(seconds: float) -> str:
    """How much time can be lost, or is."""
    return f"{duration(abs(seconds))} {'to spare' if seconds >= 0 else 'late'}"


def age(since: str, now: datetime | None = None) -> str:
    """The time since an ISO-8601 moment, in its largest unit: `12 s`, `3 min`, `2 h`, `5 d`; empty if there is no moment.

    Args:
        since: the moment, in UTC.
        now: the present moment by default.
    """
    if not since:
        return ""
    seconds = max(0, int(((now or datetime.now(UTC)) - datetime.fromisoformat(since)).total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
