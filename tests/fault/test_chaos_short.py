"""The short form of `make chaos`: 500 calls and more, and faults for twenty seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.progress import Progress

from bench.chaos import Plan, run


@pytest.mark.timeout(240)
async def test_nothing_is_lost_or_done_twice_while_processes_of_every_kind_die(tmp_path: Path) -> None:
    seen = await run(Plan(seconds=20, calls=500, seed=7), tmp_path, Progress(disable=True))
    figures = {name: seen[name] for name in ("lost", "published_twice", "out_of_order", "orphans", "findings")}
    assert figures == dict.fromkeys(figures, 0), seen["violations"]
    assert seen["failures"]["unexplained"] == 0, seen["failures"]["examples"]
    assert seen["calls_acknowledged"] == seen["calls_ended"] >= 500
    assert seen["recovery_single"]["faults"] > 2
    assert seen["recovery_single"]["unseen"] == 0
    assert not any(seen["died_unasked"].values())
