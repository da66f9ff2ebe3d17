"""The picture is drawn from what there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.simulator import plot as module
from bench.simulator.plot import plot
from bench.simulator.report import Row, summarize, to_json

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


def test_files_that_were_measured_apart_make_one_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for workload in ("chats", "agents"):
        some = [row for row in rows(("waited_mean",)) if row.workload == workload]
        about: dict[str, Any] = {"loads": [0.7, 0.8], "profile": {"name": "a100-13b"}}
        (tmp_path / f"{workload}.json").write_text(to_json(about, some, summarize(some)))
    drawn: list[Any] = []
    monkeypatch.setattr(module, "plot", lambda *given: drawn.append(given))
    files = [str(tmp_path / f"{workload}.json") for workload in ("chats", "agents")]
    monkeypatch.setattr("sys.argv", ["plot", *files, "--to", str(tmp_path / "both.png")])
    module.main()
    ((summaries, load, profile, path),) = drawn
    assert {one.workload for one in summaries} == {"chats", "agents"}
    assert (load, profile, path) == (0.8, "a100-13b", tmp_path / "both.png")
