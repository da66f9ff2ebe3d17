"""What all runs together say: a row for each figure, medians over seeds, and how much better than the strong baseline."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any, NamedTuple

from rich.table import Table

from bench.simulator.policies.contestants import CONTESTANTS, ORACLE, STRONG

SMALLER_IS_BETTER = ("completion", "waited", "ttft", "tpot")
LARGER_IS_BETTER = ("programs_per_second", "tokens_per_second", "hit_rate", "jain", "in_time")
SHOWN = {  # column: figure and how it is written; times in seconds
    "mean": ("completion_mean", "{:.1f}"),
    "p50": ("completion_p50", "{:.1f}"),
    "p99": ("completion_p99", "{:.1f}"),
    "TTFT": ("ttft_mean", "{:.2f}"),
    "p99 ": ("ttft_p99", "{:.2f}"),
    "TPOT": ("tpot_mean", "{:.3f}"),
    "progr/s": ("programs_per_second", "{:.3g}"),
    "tokens/s": ("tokens_per_second", "{:,.0f}"),
    "hits": ("hit_rate", "{:.1%}"),
    "Jain": ("jain", "{:.3f}"),
    "in time": ("in_time", "{:.1%}"),
    "us each": ("decision_us", "{:.0f}"),
}
GAINS = {"x mean": "waited_mean", "x p99": "waited_p99"}  # the pauses of a program are nobody's merit


class Row(NamedTuple):
    """One figure of one run."""

    workload: str
    load: float
    policy: str
    seed: int
    metric: str
    value: float


class Summary(NamedTuple):
    """One figure of one policy over all seeds.

    Attributes:
        median: of the values.
        gain: median of how many times better than the strong baseline with the same seed; None where nothing is better or worse.
        gain_of_oracle: the same of the oracle.
    """

    workload: str
    load: float
    policy: str
    metric: str
    median: float
    gain: float | None
    gain_of_oracle: float | None


def gain(metric: str, value: float, other: float) -> float | None:
    """How many times better a value is than another one."""
    if metric.startswith(SMALLER_IS_BETTER):
        return other / value if value else None
    if metric.startswith(LARGER_IS_BETTER):
        return value / other if other else None
    return None


def summarize(rows: Iterable[Row]) -> list[Summary]:
    """Medians over seeds; gains are taken seed by seed, since with one seed all policies get the same programs."""
    values: dict[tuple[str, float, str, str], dict[int, float]] = {}
    for row in rows:
        values.setdefault((row.workload, row.load, row.policy, row.metric), {})[row.seed] = row.value

    def gain_of(policy: str, workload: str, load: float, metric: str) -> float | None:
        mine, strong = (values.get((workload, load, one, metric), {}) for one in (policy, STRONG))
        gains = [gain(metric, value, strong[seed]) for seed, value in mine.items() if seed in strong]
        known = [one for one in gains if one is not None]
        return median(known) if known else None

    return [
        Summary(
            workload,
            load,
            policy,
            metric,
            median(found.values()),
            gain_of(policy, workload, load, metric),
            gain_of(ORACLE, workload, load, metric),
        )
        for (workload, load, policy, metric), found in values.items()
    ]


def table(workload: str, load: float, summaries: Iterable[Summary]) -> Table:
    """One workload at one load, for people."""
    mine = {(one.policy, one.metric): one for one in summaries if (one.workload, one.load) == (workload, load)}
    policies = list(dict.fromkeys(policy for policy, _ in mine))
    columns = {name: form for name, form in SHOWN.items() if any((policy, form[0]) in mine for policy in policies)}
    gains = {name: metric for name, metric in GAINS.items() if any((policy, metric) in mine for policy in policies)}
    shown = Table(
        "policy", *columns, *gains, title=f"{workload} at {load:.0%}", title_justify="left", padding=(0, 0), collapse_padding=True
    )
    for policy in policies:
        cells = [form.format(mine[policy, metric].median) if (policy, metric) in mine else "" for metric, form in columns.values()]
        better = [one.gain if (one := mine.get((policy, metric))) else None for metric in gains.values()]
        shown.add_row(policy, *cells, *("" if one is None else f"{one:.2f}" for one in better))
    return shown


def to_json(about: dict[str, Any], rows: Sequence[Row], summaries: Sequence[Summary]) -> str:
    """All of it, a line for each row."""
    parts = {
        "about": json.dumps(about | {"policies": {name: one.about for name, one in CONTESTANTS.items()}}, indent=2),
        "summary_columns": json.dumps(Summary._fields),
        "summary": _lines([one._asdict().values() for one in summaries]),
        "columns": json.dumps(Row._fields),
        "rows": _lines([row._asdict().values() for row in rows]),
    }
    return "{\n" + ",\n".join(f'"{name}": {part}' for name, part in parts.items()) + "\n}\n"


def _lines(rows: Iterable[Iterable[Any]]) -> str:
    rounded = ([float(f"{cell:.6g}") if isinstance(cell, float) else cell for cell in row] for row in rows)
    return "[\n" + ",\n".join(json.dumps(row) for row in rounded) + "\n]"
