"""ServeCore decides the same, compiled and interpreted: its tests pass both ways."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from parrot.core import COMPILED


@pytest.mark.skipif(COMPILED is False and "CI" not in os.environ, reason="Nothing is compiled (`make compile`): all tests run interpreted.")
def test_the_tests_of_the_core_pass_interpreted_too() -> None:
    assert COMPILED, "`make compile` did not work: build.log says why"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit/core"],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PARROT_INTERPRETED": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4_000:]
