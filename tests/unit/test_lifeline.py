"""A child that does not outlive its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from parrot.lifeline import die_with_parent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")


def test_a_child_of_a_parent_that_is_gone_ends_at_once() -> None:
    program = f"from parrot.lifeline import die_with_parent; die_with_parent({os.getpid() + 1})"
    assert subprocess.run([sys.executable, "-c", program]).returncode == -signal.SIGKILL


def test_a_child_of_a_living_parent_goes_on() -> None:
    program = f"from parrot.lifeline import die_with_parent; die_with_parent({os.getpid()})"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_it_can_be_asked_for_before_the_child_begins() -> None:
    assert subprocess.run(["true"], preexec_fn=die_with_parent).returncode == 0
