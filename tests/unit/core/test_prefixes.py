"""The prefix index says what engines hold."""

from __future__ import annotations

import pytest

from parrot.core.prefixes import SETTLING, PrefixIndex
from tests.unit.core.making import prompt, says


@pytest.fixture
def index() -> PrefixIndex:
    index = PrefixIndex()
    for engine in ("e1", "e2", "e3"):
        index.add(engine)
    return index


# What is known ----------------------------------------------------------------------------------


def test_a_new_engine_holds_nothing(index: PrefixIndex) -> None:
    assert index.held("e1", prompt(1, 2)) == 0
    assert list(index.cached(prompt(1, 2))) == []


def test_what_is_on_its_way_counts_as_held(index: PrefixIndex) -> None:
    index.comes("e1", prompt(1, 2))
    assert index.held("e1", prompt(1, 2, 3)) == 200
    assert list(index.cached(prompt(1, 2, 3))) == [("e1", 200)]


def test_what_was_done_counts_as_held_until_the_engine_has_had_time_to_say_so(index: PrefixIndex) -> None:
    index.comes("e1", prompt(1))
    index.came("e1", prompt(1), now=10.0)
    assert index.held("e1", prompt(1)) == 100
    index.comes("e1", prompt(7))
    index.came("e1", prompt(7), now=10.0 + SETTLING)
    assert index.held("e1", prompt(1)) == 0
    assert index.held("e1", prompt(7)) == 100


def test_what_an_engine_says_stays_until_it_says_otherwise(index: PrefixIndex) -> None:
    index.comes("e1", prompt(1, 2))
    assert index.report(says("e1", 1, 1, 2), 0.0)
    for moment in (0.0, 100.0):
        index.comes("e1", prompt(9))
        index.came("e1", prompt(9), now=moment)
    index.came("e1", prompt(1, 2), now=200.0)
    assert index.held("e1", prompt(1, 2)) == 180
    assert index.report(says("e1", 2, removed=(2,)), 0.0)
    index.came("e1", prompt(), now=300.0)
    assert index.held("e1", prompt(1, 2)) == 90


def test_tokens_are_as_an_engine_has_counted_them_for_all_engines(index: PrefixIndex) -> None:
    index.comes("e2", prompt(1, 2))
    assert index.counted(prompt(1, 2)) is None
    index.report(says("e1", 1, 1), 0.0)
    assert index.counted(prompt(1, 2)) == (90, 100)
    index.report(says("e1", 2, removed=(1,)), 0.0)
    assert index.held("e2", prompt(1, 9)) == 90


def test_who_holds_most_comes_first_and_each_engine_once(index: PrefixIndex) -> None:
    index.report(says("e1", 1, 1), 0.0)
    index.report(says("e2", 1, 1, 2, 3), 0.0)
    index.comes("e3", prompt(1, 2))
    assert list(index.cached(prompt(1, 2, 3, 4))) == [("e2", 270), ("e3", 180), ("e1", 90)]


def test_a_beginning_in_the_middle_may_be_unknown(index: PrefixIndex) -> None:
    index.report(says("e1", 1, 1, 2, 3), 0.0)
    index.report(says("e1", 2, removed=(2,)), 0.0)
    assert index.held("e1", prompt(1, 2, 3)) == 270


# Reports that are lost, and said again ----------------------------------------------------------


def test_what_many_use_would_be_shared_by_those_whom_an_engine_more_would_get(index: PrefixIndex) -> None:
    assert index.shared(prompt(1, 2)) == (0, 1.0)
    for own in range(10, 16):
        index.comes("e1", prompt(1, own))
    assert index.shared(prompt(1, 2)) == (100, 4.0)  # six go on on two engines, with the one in question
    index.came("e1", prompt(1, 10), now=1.0)
    index.comes("e2", prompt(1, 10))
    assert index.shared(prompt(1, 2)) == (100, 3.0)
    assert index.shared(prompt(7)) == (0, 1.0)


def test_a_lost_report_shows_and_the_whole_mends_it(index: PrefixIndex) -> None:
    assert index.report(says("e1", 1, 1), 0.0)
    assert not index.report(says("e1", 3, 3), 0.0)  # the second one said that 1 is gone
    assert index.report(says("e1", 4, 4), 0.0)
    assert index.report(says("e1", 5, 3, 4, whole=True), 0.0)
    held = [index.held("e1", prompt(name)) > 0 for name in (1, 3, 4)]
    assert held == [False, True, True]


def test_what_an_engine_says_counts_once_it_had_time_to_say_so_though_nothing_else_ends_there(index: PrefixIndex) -> None:
    index.comes("e1", prompt(1))
    index.came("e1", prompt(1), now=10.0)
    index.report(says("e1", 1, whole=True), 10.0 + SETTLING / 2)
    assert index.held("e1", prompt(1)) > 0
    index.report(says("e1", 2, whole=True), 10.0 + SETTLING)
    assert index.held("e1", prompt(1)) == 0


def test_each_loss_shows_once(index: PrefixIndex) -> None:
    assert not index.report(says("e1", 2, 1), 0.0)
    assert index.report(says("e1", 3, 2), 0.0)
    assert not index.report(says("e1", 9, 3), 0.0)


def test_a_report_that_was_read_before_changes_nothing(index: PrefixIndex) -> None:
    index.report(says("e1", 1, 1), 0.0)
    index.report(says("e1", 2, removed=(1,)), 0.0)
    assert index.report(says("e1", 1, 1), 0.0)
    assert index.held("e1", prompt(1)) == 0


def test_a_whole_report_before_the_last_one_changes_nothing(index: PrefixIndex) -> None:
    index.report(says("e1", 5, 1, whole=True), 0.0)
    assert index.report(says("e1", 4, 2, whole=True), 0.0)
    assert index.held("e1", prompt(1)) == 90
    assert index.held("e1", prompt(2)) == 0


def test_a_leader_that_is_new_asks_for_the_whole_and_needs_no_earlier_report(index: PrefixIndex) -> None:
    assert not index.report(says("e1", 1_000, 5), 0.0)
    assert index.report(says("e1", 1_001, 1, 5, whole=True), 0.0)
    assert index.held("e1", prompt(1)) == 90


def test_a_whole_report_leaves_what_is_on_its_way(index: PrefixIndex) -> None:
    index.comes("e1", prompt(7))
    index.report(says("e1", 1, 1, whole=True), 0.0)
    assert index.held("e1", prompt(7)) == 100


def test_who_is_not_counted_on_may_say_what_it_likes(index: PrefixIndex) -> None:
    assert index.report(says("stranger", 7, 1), 0.0)
    assert len(index) == 0


# Engines that go --------------------------------------------------------------------------------


def test_an_engine_that_is_gone_holds_nothing(index: PrefixIndex) -> None:
    index.report(says("e1", 1, 1), 0.0)
    index.comes("e1", prompt(2))
    index.remove("e1")
    assert list(index.cached(prompt(1, 2))) == []
    assert len(index) == 0


def test_what_ends_on_an_engine_that_is_gone_is_nobodys(index: PrefixIndex) -> None:
    index.comes("e1", prompt(2))
    index.remove("e1")
    index.came("e1", prompt(2), now=1.0)
    assert len(index) == 0


def test_a_new_engine_in_the_place_of_another_holds_nothing_of_it(index: PrefixIndex) -> None:
    index.report(says("e2", 1, 1), 0.0)
    index.report(says("e3", 1, 1), 0.0)
    index.remove("e2")
    index.add("e4")
    assert list(index.cached(prompt(1))) == [("e3", 90)]
    assert index.report(says("e4", 1, 1), 0.0)  # its reports are counted from the first one
    assert sorted(index.cached(prompt(1))) == [("e3", 90), ("e4", 90)]


def test_a_cell_may_have_a_thousand_engines() -> None:
    index = PrefixIndex()
    for number in range(1_000):
        index.add(f"e{number}")
    for number in (0, 63, 64, 999):
        index.report(says(f"e{number}", 1, 1), 0.0)
    assert sorted(name for name, _ in index.cached(prompt(1))) == ["e0", "e63", "e64", "e999"]


# Memory -----------------------------------------------------------------------------------------


def test_what_is_held_is_forgotten_before_there_is_too_much_the_oldest_first() -> None:
    index = PrefixIndex(most=100)
    index.add("e1")
    for name in range(1, 1_001):
        index.report(says("e1", name, name), 0.0)
        assert len(index) <= 100
    assert index.held("e1", prompt(1)) == 0
    assert index.held("e1", prompt(1_000)) == 90
    assert list(index.check()) == []


def test_what_is_used_again_and_again_is_not_forgotten_before_what_is_not() -> None:
    index = PrefixIndex(100)
    index.add("e1")
    index.report(says("e1", 1, 1), 0.0)
    hot = prompt(1)
    for number in range(2, 300):
        if number % 5 == 0:
            index.comes("e1", hot)
            index.came("e1", hot, 10.0 * number)
        index.report(says("e1", number, number), 0.0)
        assert index.held("e1", hot) > 0
    assert len(index) <= 100


def test_what_is_needed_or_on_its_way_is_not_forgotten() -> None:
    index = PrefixIndex(most=10)
    index.add("e1")
    index.need(prompt(1).names)
    index.report(says("e1", 1, 1), 0.0)
    index.comes("e1", prompt(2))
    for name in range(3, 200):
        index.report(says("e1", name, name), 0.0)
    assert index.held("e1", prompt(1)) == 90
    assert index.held("e1", prompt(2)) == 100
    assert len(index) <= 11


def test_more_may_be_needed_than_there_should_be_and_then_room_is_not_sought_each_time() -> None:
    index = PrefixIndex(most=100)
    index.add("e1")
    sought = set()  # it is sought when there are so many
    for name in range(1_000):
        index.need(prompt(name).names)
        index.report(says("e1", name + 1, name), 0.0)
        sought.add(index._full)
    assert len(index) == 1_000
    assert 10 < len(sought) <= 100
    for name in range(1_000):
        index.need_no_more(prompt(name).names)
    index.remove("e1")
    assert len(index) == len(index._needed) == 0


def test_when_less_is_needed_again_there_is_as_much_as_there_should_be() -> None:
    index = PrefixIndex(most=100)
    index.add("e1")
    for name in range(1_000):
        index.need(prompt(name).names)
        index.report(says("e1", name + 1, name), 0.0)
    for name in range(1_000):
        index.need_no_more(prompt(name).names)
    for name in range(1_000, 1_200):
        index.report(says("e1", name + 1, name), 0.0)
    assert len(index) <= 100
    assert list(index.check()) == []
