"""What decisions cost, as figures: raw ones of each run, their medians in a table, a file and a picture. Pure but for the files."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import orjson
from rich.table import Table

CALLS, ENGINES = 10_000, 64  # each series keeps to one of them
WANTED_MS, WANTED_BYTES = 0.06, 2048  # for each generation, and for each call that waits

SHOWN = {
    "handle_ms": "Machine.handle, for each generation",
    "policy_ms": "of it deciding (the policy)",
    "submit_ms": "taking in a call",
    "bytes_per_call": "memory",
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process measured.

    Attributes:
        submit_ms: CPU milliseconds to take in a call that will wait, on average.
        handle_ms: CPU milliseconds of `Machine.handle` for each generation, from the event that ends one to the job of the next: the median
            of all batches.
        handle_p99_ms: of the slowest hundredth of the batches.
        bytes_per_call: of memory that the process took for each call that waits.
        policy_submit_ms: of `submit_ms`, what the policy used; 0 if no clock stood at its door.
        policy_ms: of `handle_ms` the same.
    """

    submit_ms: float
    handle_ms: float
    handle_p99_ms: float
    bytes_per_call: float
    policy_submit_ms: float = 0.0
    policy_ms: float = 0.0


@dataclass(slots=True)
class Point:
    """One size.

    Attributes:
        calls: that wait.
        engines: all full.
        plain: of each repetition.
        clocked: of each repetition in a process of its own, with a clock at the policy's door, which costs a little itself.
        interpreted: as `clocked`, but not compiled; measured at one size only.
    """

    calls: int
    engines: int
    plain: list[Cost] = field(default_factory=list)
    clocked: list[Cost] = field(default_factory=list)
    interpreted: list[Cost] = field(default_factory=list)

    def raw(self, name: str) -> list[float]:
        """A figure of `Cost`, of each repetition."""
        return [getattr(cost, name) for cost in (self.clocked if name.startswith("policy") else self.plain)]

    def median(self, name: str) -> float:
        """Of a figure of `Cost`, over all repetitions."""
        return statistics.median(self.raw(name))


def in_short(points: Sequence[Point]) -> str:
    """What was wanted, and what compiling is worth, in a sentence each."""
    said = [f"Wanted at {CALLS:,} calls and {ENGINES} engines: {WANTED_MS} ms for deciding, {WANTED_BYTES:,} bytes."]
    for one in points:
        if one.interpreted:
            pairs = zip(one.interpreted, one.clocked, strict=True)
            times = statistics.median(slow.policy_ms / fast.policy_ms for slow, fast in pairs)
            slow = statistics.median(cost.policy_ms for cost in one.interpreted)
            said.append(f"Interpreted it takes {slow:.3f} ms there: {times:.2f} times as long (median of pairs).")
    return " ".join(said)


def sizes(calls: Sequence[int], engines: Sequence[int], most_calls: int, most_engines: int) -> list[tuple[int, int]]:
    """What is measured: every number of calls with `ENGINES`, every number of engines with `CALLS`.

    Args:
        calls, engines: the two series.
        most_calls, most_engines: what has more is left out.
    """
    both = [(number, ENGINES) for number in calls] + [(CALLS, number) for number in engines]
    return [size for size in dict.fromkeys(both) if size[0] <= most_calls and size[1] <= most_engines]


def too_little(calls: int, free: int, needed_per_call: int, base: int) -> str | None:
    """Why a size cannot be measured here, in a sentence; None if it can.

    Args:
        calls: that wait.
        free: bytes of memory.
        needed_per_call, base: bytes.
    """
    needed = base + calls * needed_per_call
    if needed <= free:
        return None
    return (
        f"{calls:,} waiting calls need about {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free. "
        f"Free some, or leave them out: --most-calls {int(max(0, free - base) / needed_per_call)}."
    )


def table(points: Sequence[Point]) -> Table:
    """Medians, for people."""
    made = Table("calls waiting", "engines", "ms per generation", "of it deciding", "p99", "ms to take in a call", "bytes per call")
    for column in made.columns:
        column.justify = "right"
    for one in points:
        times = (f"{one.median(name):.3f}" for name in ("handle_ms", "policy_ms", "handle_p99_ms", "submit_ms"))
        made.add_row(f"{one.calls:,}", f"{one.engines:,}", *times, f"{one.median('bytes_per_call'):,.0f}")
    return made


def to_json(points: Sequence[Point], about: dict[str, Any]) -> bytes:
    """All figures, raw ones too.

    Args:
        about: how they were measured.
    """
    machine = {"cpus": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()}
    names = [one.name for one in fields(Cost)]
    said = [asdict(one) | {"median": {name: one.median(name) for name in names}} for one in points]
    whole = {"machine": machine, "load_average": os.getloadavg(), "about": about, "in_short": in_short(points), "points": said}
    return orjson.dumps(whole, option=orjson.OPT_INDENT_2)


def draw(points: Sequence[Point], path: Path) -> None:
    """The growth of time and memory with calls and with engines. Dots are repetitions, lines go through their medians."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    by_calls = sorted((one for one in points if one.engines == ENGINES), key=lambda one: one.calls)
    by_engines = sorted((one for one in points if one.calls == CALLS), key=lambda one: one.engines)
    both = (
        (by_calls, [one.calls for one in by_calls], f"calls that wait ({ENGINES} engines)"),
        (by_engines, [one.engines for one in by_engines], f"engines ({CALLS:,} calls wait)"),
    )
    drawn = [one for one in both if one[0]]
    figure, axes = pyplot.subplots(2, len(drawn), figsize=(5 * len(drawn), 7), sharex="col", sharey="row", squeeze=False)
    for column, (series, along, label) in enumerate(drawn):
        times, memory = axes[:, column]
        for name, what in SHOWN.items():
            _line(memory if name == "bytes_per_call" else times, along, [one.raw(name) for one in series], what)
        times.axhline(WANTED_MS, linestyle=":", color="0.4", label="wanted for each generation")
        memory.axhline(WANTED_BYTES, linestyle=":", color="0.4", label="wanted")
        memory.set_xlabel(label)
        for axis, least, most in ((times, 0.01, 1.0), (memory, 100.0, 10_000.0)):
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.set_ylim(min(least, axis.get_ylim()[0]), max(most, axis.get_ylim()[1]))  # what does not grow looks flat
    axes[0, 0].set_ylabel("ms of CPU")
    axes[1, 0].set_ylabel("bytes for each call that waits")
    for axis in axes[:, 0]:
        axis.legend(frameon=False)
    figure.savefig(path, dpi=120, bbox_inches="tight")
    pyplot.close(figure)


def _line(axis: Any, along: Sequence[int], raw: Sequence[Sequence[float]], label: str) -> None:
    (line,) = axis.plot(along, [statistics.median(values) for values in raw], label=label)
    for at, values in zip(along, raw, strict=True):
        axis.plot([at] * len(values), values, ".", color=line.get_color())
