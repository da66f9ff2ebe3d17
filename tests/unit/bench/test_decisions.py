"""What decisions cost is measured at the sizes that were asked for, and all raw figures are kept."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from bench.decisions import measure
from bench.decisions_figures import Cost, Point, draw, in_short, sizes, table, to_json, too_little


def cost(handle_ms: float, policy_ms: float = 0.0) -> Cost:
    return Cost(submit_ms=0.05, handle_ms=handle_ms, handle_p99_ms=2 * handle_ms, bytes_per_call=1800.0, policy_ms=policy_ms)


def point(calls: int, engines: int) -> Point:
    return Point(calls, engines, plain=[cost(0.1), cost(0.9), cost(0.2)], clocked=[cost(0.5, 0.08), cost(0.5, 0.06), cost(0.5, 0.07)])


def test_calls_grow_at_64_engines_and_engines_grow_at_10000_calls() -> None:
    found = sizes((1_000, 10_000, 1_000_000), (1, 64, 1_000), most_calls=1_000_000, most_engines=1_000)
    assert found == [(1_000, 64), (10_000, 64), (1_000_000, 64), (10_000, 1), (10_000, 1_000)]


def test_sizes_beyond_what_was_asked_for_are_left_out() -> None:
    assert sizes((1_000, 1_000_000), (1, 1_000), most_calls=10_000, most_engines=64) == [(1_000, 64), (10_000, 1)]


def test_a_median_is_of_the_processes_that_measured_the_figure_undisturbed() -> None:
    one = point(1_000, 64)
    assert (one.median("handle_ms"), one.median("policy_ms")) == (0.2, 0.07)


def test_memory_that_is_short_is_told_with_what_to_do() -> None:
    assert too_little(1_000, free=2_000_000, needed_per_call=1_000, base=1_000_000) is None
    why = too_little(1_000_000, free=2_000_000_000, needed_per_call=3_000, base=500_000_000)
    assert why is not None
    assert "1,000,000 waiting calls need about 3.5 GB" in why
    assert "--most-calls 500000" in why


def test_the_file_has_every_repetition_and_the_medians() -> None:
    said = json.loads(to_json([point(1_000, 64)], {"tenants": 8}))
    assert [one["handle_ms"] for one in said["points"][0]["plain"]] == [0.1, 0.9, 0.2]
    assert said["points"][0]["median"]["policy_ms"] == 0.07
    assert said["about"] == {"tenants": 8}


def test_the_table_has_a_row_for_each_size() -> None:
    console = Console(width=120, record=True, quiet=False)
    with console.capture() as shown:
        console.print(table([point(1_000, 64), point(10_000, 1_000)]))
    assert "1,000" in shown.get()
    assert "0.200" in shown.get()


def test_what_compiling_is_worth_is_the_median_of_pairs() -> None:
    one = point(10_000, 64)
    assert "nterpreted" not in in_short([one])
    one.interpreted = [cost(0.5, 0.24), cost(0.5, 0.06), cost(0.5, 0.14)]
    assert "Interpreted it takes 0.140 ms there: 2.00 times as long" in in_short([one])


def test_the_picture_is_drawn_even_if_a_series_was_left_out(tmp_path: Path) -> None:
    draw([point(1_000, 64), point(10_000, 64), point(10_000, 1)], tmp_path / "both.png")
    draw([point(1_000, 64)], tmp_path / "one.png")
    for name in ("both.png", "one.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_a_small_size_is_measured_and_the_policy_takes_a_part_of_it() -> None:
    parts: list[float] = []
    found = measure(calls=400, engines=1, clocked=True, length=4, told=parts.append)
    assert 0 < found.policy_ms < found.handle_ms <= found.handle_p99_ms
    assert 0 < found.policy_submit_ms < found.submit_ms
    assert parts == sorted(parts)
