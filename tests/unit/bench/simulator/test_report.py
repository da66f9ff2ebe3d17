"""Figures, medians and gains are what they are called."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from bench.simulator.app import Story, Stream
from bench.simulator.metrics import figures, jain
from bench.simulator.report import Row, summarize, table, to_json
from bench.simulator.run import Outcome


def story(took: float, paused: float = 0.0, kind: str = "a", streams: tuple[Stream, ...] = ()) -> Story:
    return Story(0, kind, "t", 100.0, 100.0 + took, paused, 1, 100, 25, 10, list(streams))


def test_completion_has_pauses_and_waiting_has_not() -> None:
    found = figures(Outcome([story(10.0, 4.0), story(20.0)], began=100.0, ended=110.0, finished=5, tokens_out=50, generations=2))
    assert (found["completion_mean"], found["waited_mean"]) == (15.0, 13.0)
    assert (found["programs_per_second"], found["tokens_per_second"], found["hit_rate"]) == (0.5, 5.0, 0.25)


def test_kinds_are_told_apart() -> None:
    found = figures(Outcome([story(10.0, kind="a"), story(20.0, kind="b")], began=0.0, ended=1.0))
    assert (found["completion_mean[a]"], found["completion_mean[b]"]) == (10.0, 20.0)


def test_of_programs_with_deadlines_it_is_told_how_many_kept_theirs() -> None:
    stories = [story(took) for took in (5.0, 15.0, 25.0, 1.0)]
    for one, due in zip(stories, (110.0, 110.0, 130.0, None), strict=True):
        one.due = due
    found = figures(Outcome(stories, began=0.0, ended=1.0))
    assert found["in_time"] == pytest.approx(2 / 3)
    assert "in_time" not in figures(Outcome([story(1.0)], began=0.0, ended=1.0))


def test_streams_have_a_first_token_and_a_pace() -> None:
    streams = (Stream(100.0, 101.0, 103.0, 5), Stream(100.0, 103.0, 103.0, 1))
    found = figures(Outcome([story(3.0, streams=streams)], began=0.0, ended=1.0))
    assert (found["ttft_mean"], found["tpot_mean"]) == (2.0, 0.5)


def test_an_overloaded_run_says_only_what_was_served() -> None:
    outcome = Outcome([story(3.0)], began=0.0, ended=1.0, service={"a": 1.0, "b": 3.0}, overloaded=True)
    found = figures(outcome)
    assert found["jain"] == pytest.approx(0.8)
    assert "completion_mean" not in found


def test_jain_is_one_if_all_have_the_same_and_less_the_more_one_has() -> None:
    assert jain([2.0, 2.0, 2.0]) == 1.0
    assert jain([1.0, 0.0]) == 0.5


ROWS = [
    Row("w", 0.8, policy, seed, metric, value * (1 + seed))
    for policy, mean, served in (("affinity", 10.0, 2.0), ("ours", 5.0, 1.9), ("oracle", 4.0, 2.0))
    for seed in range(3)
    for metric, value in (("waited_mean", mean), ("completion_mean", mean), ("tokens_per_second", served), ("busy", 0.5))
]


def test_gains_are_taken_seed_by_seed_and_above_one_is_better() -> None:
    found = {(one.policy, one.metric): one for one in summarize(ROWS)}
    ours = found["ours", "waited_mean"]
    assert (ours.median, ours.gain, ours.gain_of_oracle) == (10.0, 2.0, 2.5)
    assert found["ours", "tokens_per_second"].gain == pytest.approx(0.95)
    assert found["ours", "busy"].gain is None


def test_the_table_shows_every_policy_and_the_json_every_row(tmp_path: Path) -> None:
    summaries = summarize(ROWS)
    console = Console(width=120, record=True, file=(tmp_path / "out").open("w"))
    console.print(table("w", 0.8, summaries))
    shown = console.export_text()
    assert "w at 80%" in shown
    assert "2.00" in next(line for line in shown.splitlines() if "ours" in line)
    console.file.close()
    said = json.loads(to_json({"engines": 4}, ROWS, summaries))
    assert len(said["rows"]) == len(ROWS)
    assert dict(zip(said["columns"], said["rows"][0], strict=True)) == ROWS[0]._asdict()
    assert len(said["summary"]) == 12
    assert "ours" in said["about"]["policies"]
