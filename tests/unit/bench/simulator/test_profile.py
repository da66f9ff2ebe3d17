"""The closed forms of a profile say what its steps say one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.simulator.profiles import A100_13B, A6000_7B, PROFILES
from tests.unit.bench.simulator.engines import PROFILE


@given(st.integers(1, 50), st.integers(0, 5000), st.integers(1, 300))
def test_steps_in_one_go_take_as_long_as_one_by_one(sequences: int, kv: int, steps: int) -> None:
    one_by_one = sum(PROFILE.step(sequences, kv + sequences * (step + 1), 0) for step in range(steps))
    assert PROFILE.decode(sequences, kv, steps) == pytest.approx(one_by_one)


@given(st.integers(1, 50), st.integers(0, 5000), st.floats(0, 20), st.booleans())
def test_the_step_that_is_under_way_at_a_moment_is_the_first_that_ends_after_it(
    sequences: int, kv: int, seconds: float, context_counts: bool
) -> None:
    profile = PROFILE if context_counts else replace(PROFILE, kv_token_seconds=0.0)
    steps = profile.steps_until(sequences, kv, seconds)
    assert profile.decode(sequences, kv, steps) >= seconds - 1e-8
    assert steps == 1 or profile.decode(sequences, kv, steps - 1) < seconds + 1e-8


def test_the_derived_profiles_are_what_the_arithmetic_beside_them_says() -> None:
    assert pytest.approx(0.0160, rel=0.01) == A100_13B.step_seconds
    assert pytest.approx(53_700, rel=0.01) == A100_13B.kv_tokens
    assert pytest.approx(0.0220, rel=0.01) == A6000_7B.step_seconds
    assert pytest.approx(52_800, rel=0.01) == A6000_7B.kv_tokens
    assert all(profile.source for profile in PROFILES.values())
