"""The picture is drawn from what there is."""

from __future__ import annotations

from pathlib import Path

from bench.simulator.plot import plot
from bench.simulator.report import Row, summarize

PNG = b"\x89PNG"


def rows(metrics: tuple[str, ...], policies: tuple[str, ...] = ("affinity", "ours", "oracle")) -> list[Row]:
    return [
        Row(workload, load, policy, seed, metric, 10.0 / (1 + place))
        for workload in ("chats", "agents")
        for load in (0.7, 0.8)
        for place, policy in enumerate(policies)
        for seed in range(2)
        for metric in metrics
    ]


def test_all_workloads_and_policies_make_a_picture(tmp_path: Path) -> None:
    plot(summarize(rows(("waited_mean", "waited_p99", "busy"))), 0.8, "a100-13b", tmp_path / "gains.png")
    assert (tmp_path / "gains.png").read_bytes().startswith(PNG)


def test_a_policy_that_has_no_figure_of_a_workload_leaves_a_gap(tmp_path: Path) -> None:
    some = [row for row in rows(("waited_mean",)) if (row.workload, row.policy) != ("agents", "oracle")]
    plot(summarize(some), 0.8, "a100-13b", tmp_path / "gains.png")
    assert (tmp_path / "gains.png").read_bytes().startswith(PNG)
