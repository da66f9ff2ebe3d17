"""A picture: how many times sooner programs end than with the strong baseline.

    python -m bench.simulator.plot bench/results/simulate.json bench/results/simulate_rest.json --to bench/results/simulate.png

draws what was measured before; `python -m bench.simulate --plot FILE` draws what it has measured.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from bench.simulator.policies.contestants import BOUND
from bench.simulator.report import GAINS, Row, Summary, summarize

TITLES = {"waited_mean": "mean", "waited_p99": "p99"}


def plot(summaries: Sequence[Summary], load: float, about: str, path: Path) -> None:
    """Draw bars for each workload and policy; what programs gain that hardly ever meet others stands above them in figures.

    Args:
        summaries: of all runs.
        load: of which they are shown.
        about: the profile, in a few words.
        path: of the picture.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import colormaps, pyplot

    shown = {(one.workload, one.policy, one.metric): one.gain for one in summaries if one.load == load and one.gain is not None}
    metrics = [metric for metric in GAINS.values() if any(metric == known for _, _, known in shown)]
    workloads = list(dict.fromkeys(workload for workload, _, metric in shown if metric in metrics))
    policies = list(dict.fromkeys(policy for _, policy, metric in shown if metric in metrics and policy != BOUND))
    figure, axes = pyplot.subplots(
        len(metrics), 1, figsize=(max(9.0, 1.6 * len(workloads)), 3.5 * len(metrics)), squeeze=False, layout="constrained"
    )
    width = 0.85 / max(1, len(policies))
    for axis, metric in zip(axes[:, 0], metrics, strict=True):
        for place, policy in enumerate(policies):
            at = [number + (place - (len(policies) - 1) / 2) * width for number in range(len(workloads))]
            gains = [shown.get((workload, policy, metric)) or 0.0 for workload in workloads]
            axis.bar(at, gains, width, label=policy, color=colormaps["tab20"](place % 20))
        highest = max((gain for (_, policy, known), gain in shown.items() if known == metric and policy != BOUND), default=1.0)
        axis.set_ylim(0.0, 1.2 * (highest or 1.0))
        for number, workload in enumerate(workloads):
            if bound := shown.get((workload, BOUND, metric)):
                axis.text(number, 1.12 * (highest or 1.0), f"{BOUND} {bound:.1f}x", ha="center", fontsize=8, color="0.3")
        axis.axhline(1.0, color="0.4", linewidth=0.8)
        axis.set_xticks(range(len(workloads)), workloads)
        axis.set_ylabel(f"times sooner, {TITLES[metric]}")
    axes[0, 0].set_title(f"How much sooner programs end than with the strong baseline ({about}, at {load:.0%} of what that carries)")
    handles, labels = axes[-1, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncol=6, frameon=False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main() -> None:
    """Draw files that `bench.simulate --json` has written, in one picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="of one profile")
    parser.add_argument("--load", type=float, help="which one is drawn (default the highest that was asked for)")
    parser.add_argument("--to", type=Path, required=True, metavar="FILE", help="the picture")
    options = parser.parse_args()
    found = [json.loads(path.read_text()) for path in options.files]
    rows = [Row(*row) for one in found for row in one["rows"]]
    load = options.load or max(load for one in found for load in one["about"]["loads"])
    plot(summarize(rows), load, found[0]["about"]["profile"]["name"], options.to)


if __name__ == "__main__":
    main()
