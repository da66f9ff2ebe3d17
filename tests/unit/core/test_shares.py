"""Tenants get their shares, however much one of them sends, and nobody saves up."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parrot.core.shares import INPUT, KNOWN, OUTPUT, Shares


def test_output_tokens_count_more() -> None:
    shares = Shares()
    shares.charge("a", 100, 0)
    shares.charge("b", 0, 100)
    assert (shares.had("a"), shares.had("b")) == (100 * INPUT, 100 * OUTPUT)
    assert shares.had("b") > shares.had("a")


def test_a_tenant_of_double_weight_has_had_half_of_what_was_worked_for_it() -> None:
    shares = Shares({"a": 2.0})
    shares.charge("a", 100, 0)
    shares.charge("b", 100, 0)
    assert shares.had("a") == shares.had("b") / 2


def test_what_was_charged_too_much_is_set_off_against_what_comes_next() -> None:
    shares = Shares()
    shares.charge("a", 100, 50)
    shares.charge("a", -40, -50)
    assert shares.had("a") == 200  # it never gets smaller, so that nobody's turn has to be found again
    shares.charge("a", 100, 0)
    assert shares.had("a") == 200
    shares.charge("a", 100, 0)
    assert shares.had("a") == 260


def present(shares: Shares, **had: float) -> None:
    """Tenants for whom something waits, and who have had so much."""
    for tenant in had:
        shares.enter(tenant)
    for tenant, tokens in had.items():
        shares.charge(tenant, tokens - shares.had(tenant), 0)


def test_who_comes_back_begins_with_those_who_stayed() -> None:
    shares = Shares()
    shares.charge("c", 10, 0)
    present(shares, a=500, b=700)
    shares.enter("c")
    assert shares.had("c") == 500


def test_who_has_nothing_waiting_does_not_count() -> None:
    shares = Shares()
    present(shares, a=500, b=700)
    shares.leave("a")
    shares.enter("c")
    assert shares.had("c") == 700


def test_tenants_that_came_once_are_not_known_for_ever_and_who_has_had_more_than_others_is() -> None:
    shares = Shares()
    shares.enter("stays")
    shares.charge("greedy", 1e9, 0)
    for number in range(3 * KNOWN):
        shares.enter(f"t{number}")
        shares.charge(f"t{number}", 10, 0)
        shares.leave(f"t{number}")
        shares.charge("stays", 100, 0)
    assert len(shares._counters) <= KNOWN + 1
    assert len(shares._least) <= 2 * KNOWN
    assert shares.had("greedy") == 1e9
    assert shares.had("stays") == 300 * KNOWN


def test_who_comes_back_is_forgiven_nothing() -> None:
    shares = Shares()
    present(shares, a=500)
    shares.enter("b")
    shares.charge("b", 1_000, 0)
    shares.leave("b")
    shares.enter("b")
    assert shares.had("b") == 1_500


def test_who_comes_back_when_nothing_waits_begins_with_who_was_worked_for_last() -> None:
    shares = Shares()
    shares.charge("a", 500, 0)
    shares.enter("new")
    assert shares.had("new") == 500


def test_nobody_saves_up_what_was_charged_too_much() -> None:
    shares = Shares()
    present(shares, a=500, b=700)
    shares.charge("b", -400, 0)
    shares.leave("b")
    shares.enter("b")  # 200 of it take b to where a is
    shares.charge("b", 300, 0)
    assert shares.had("b") == 800
    shares.charge("b", -1_000, 0)
    shares.leave("b")
    shares.charge("a", 300, 0)
    shares.enter("b")
    shares.charge("b", 10, 0)
    assert shares.had("b") == 810  # a has had as much


def test_the_first_of_all_begins_with_nothing() -> None:
    shares = Shares()
    shares.enter("a")
    assert shares.had("a") == 0


@settings(max_examples=40, deadline=None)
@given(
    weights=st.fixed_dictionaries({"a": st.floats(0.5, 4), "b": st.floats(0.5, 4), "c": st.floats(0.5, 4)}),
    seed=st.integers(0, 2**32),
)
def test_who_is_always_served_by_the_smallest_counter_gets_its_weight(weights: dict[str, float], seed: int) -> None:
    chance, shares = random.Random(seed), Shares(weights)
    worked = dict.fromkeys(weights, 0.0)
    for _ in range(300):
        tenant, tokens_in, tokens_out = min(weights, key=shares.had), chance.randint(1, 500), chance.randint(1, 500)
        expected = tokens_out + chance.randint(-tokens_out, 500)
        shares.charge(tenant, tokens_in, expected)
        shares.charge(tenant, 0, tokens_out - expected)
        worked[tenant] += INPUT * tokens_in + OUTPUT * tokens_out
    fair = [worked[tenant] / weights[tenant] for tenant in weights]
    assert max(fair) - min(fair) <= 500 * (INPUT + 2 * OUTPUT) / min(weights.values()) + 1e-6


def test_the_order_of_the_others_does_not_matter() -> None:
    for others in ({"a": 3, "b": 2}, {"b": 2, "a": 3}):
        shares = Shares()
        present(shares, **others)
        shares.enter("c")
        assert shares.had("c") == pytest.approx(2)
