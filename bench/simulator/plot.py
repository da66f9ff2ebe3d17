"""A picture: how many times sooner programs end than with the strong baseline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.simulator.policies.contestants import BOUND
from bench.simulator.report import GAINS, Summary


def plot(summaries: Sequence[Summary], load: float, about: str, path: Path) -> None:
    """Draw bars for each workload and policy.

    Args:
        summaries: of all runs.
        load: of which they are shown.
        about: the profile, in a few words.
        path: of the picture.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = {(one.workload, one.policy, one.metric): one.gain for one in summaries if one.load == load and one.gain is not None}
    metrics = [metric for metric in GAINS.values() if any(metric == known for _, _, known in shown)]
    workloads = list(dict.fromkeys(workload for workload, _, metric in shown if metric in metrics))
    policies = list(dict.fromkeys(policy for _, policy, metric in shown if metric in metrics and policy != BOUND))
    figure, axes = pyplot.subplots(
        len(metrics), 1, figsize=(1.5 * max(4, len(workloads)), 4 * len(metrics)), squeeze=False, layout="constrained"
    )
    width = 0.8 / max(1, len(policies))
    for axis, metric in zip(axes[:, 0], metrics, strict=True):
        for place, policy in enumerate(policies):
            at = [number + (place - (len(policies) - 1) / 2) * width for number in range(len(workloads))]
            axis.bar(at, [shown.get((workload, policy, metric)) or 0.0 for workload in workloads], width, label=policy)
        bounds = {number: bound for number, workload in enumerate(workloads) if (bound := shown.get((workload, BOUND, metric)))}
        axis.scatter(bounds.keys(), bounds.values(), marker="_", s=900, color="0.2", label=f"{BOUND}, hardly ever meeting others")
        axis.axhline(1.0, color="0.4", linewidth=0.8)
        axis.set_xticks(range(len(workloads)), workloads, rotation=20)
        axis.set_ylabel(f"times better than the\nstrong baseline: {metric}")
    axes[0, 0].set_title(f"{about}, at {load:.0%} of what the strong baseline carries")
    handles, labels = axes[-1, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncol=6, frameon=False)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
