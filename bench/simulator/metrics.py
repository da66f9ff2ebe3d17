"""The figures of one run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean, quantiles

from bench.simulator.app import Story
from bench.simulator.run import Outcome

Figures = dict[str, float]


def figures(outcome: Outcome) -> Figures:
    """Everything that is reported of a run, in seconds, tokens, and ratios.

    Programs of several kinds are also told apart: `completion_mean[chat]`. `waited` is completion without the pauses in which a program did
    something else, `bound` what that would be at the very least, `in_time` the part of those with deadlines that kept theirs.
    """
    found = _throughput(outcome)
    stories = outcome.stories
    if outcome.overloaded:
        return found  # most have not ended: how long the others took says nothing
    found |= _programs(stories, "")
    kinds = sorted({story.kind for story in stories})
    if len(kinds) > 1:
        for kind in kinds:
            found |= _programs([story for story in stories if story.kind == kind], f"[{kind}]")
    return found


def _throughput(outcome: Outcome) -> Figures:
    seconds, generations = max(1e-9, outcome.ended - outcome.began), max(1, outcome.generations)
    found = {
        "programs_per_second": outcome.finished / seconds,
        "tokens_per_second": outcome.tokens_out / seconds,
        "busy": outcome.busy,
        "preemptions": float(outcome.preemptions),
        "generations": float(outcome.generations),
        "decision_us": 1e6 * outcome.deciding / generations,
        "machine_us": 1e6 * outcome.handling / generations,
    }
    if outcome.overloaded:
        found["jain"] = jain(outcome.service.values())
    return found


def _programs(stories: Sequence[Story], of: str) -> Figures:
    took = [story.ended - story.arrived for story in stories if story.ended is not None]
    waited = [seconds - story.paused for seconds, story in zip(took, stories, strict=True)]
    tokens_in = sum(story.tokens_in for story in stories)
    found = _spread("completion", took, of) | _spread("waited", waited, of) | _spread("bound", [story.bound for story in stories], of)
    found[f"hit_rate{of}"] = sum(story.tokens_cached for story in stories) / max(1, tokens_in)
    kept = [story.ended is not None and story.ended <= story.due for story in stories if story.due is not None]
    if kept:
        found[f"in_time{of}"] = fmean(kept)
    streams = [stream for story in stories for stream in story.streams]
    if streams:
        found |= _spread("ttft", [stream.first - stream.asked for stream in streams], of)
        found |= _spread("tpot", [(stream.last - stream.first) / (stream.tokens - 1) for stream in streams if stream.tokens > 1], of)
    return found


def _spread(name: str, values: Sequence[float], of: str) -> Figures:
    cuts = quantiles(values, n=100, method="inclusive") if len(values) > 1 else [values[0]] * 99
    return {f"{name}_mean{of}": fmean(values), f"{name}_p50{of}": cuts[49], f"{name}_p99{of}": cuts[98]}


def jain(shares: Iterable[float]) -> float:
    """Jain's index: 1 if all have the same, 1/n if one has all."""
    had = list(shares)
    return sum(had) ** 2 / (len(had) * sum(share * share for share in had))
