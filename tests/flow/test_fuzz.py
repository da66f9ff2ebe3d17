"""The short form of `make fuzz`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.run import run


@pytest.mark.parametrize("seed", [1])
async def test_broken_and_hostile_messages_are_accounted_for_and_programs_come_right(seed: int, tmp_path: Path) -> None:
    report = await run(tmp_path, messages=3_000, seed=seed)
    assert report.complaints() == [], (tmp_path / "core.log").read_text()[-5_000:]
    assert report.total_broken > 1_500
    assert report.answered == 50
