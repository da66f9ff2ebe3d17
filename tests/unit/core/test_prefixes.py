"""The prefix index says what engines hold, whatever is given, reported, lost and evicted in whatever order."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from parrot.core.beginnings import Beginnings
from parrot.core.prefixes import SETTLING, PrefixIndex
from parrot.wire.to_core import EngineHolds
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
    assert index.report(says("e1", 1, 1, 2))
    for moment in (0.0, 100.0):
        index.comes("e1", prompt(9))
        index.came("e1", prompt(9), now=moment)
    index.came("e1", prompt(1, 2), now=200.0)
    assert index.held("e1", prompt(1, 2)) == 180
    assert index.report(says("e1", 2, removed=(2,)))
    index.came("e1", prompt(), now=300.0)
    assert index.held("e1", prompt(1, 2)) == 90


def test_tokens_are_as_an_engine_has_counted_them_for_all_engines(index: PrefixIndex) -> None:
    index.comes("e2", prompt(1, 2))
    assert index.counted(prompt(1, 2)) is None
    index.report(says("e1", 1, 1))
    assert index.counted(prompt(1, 2)) == (90, 100)
    index.report(says("e1", 2, removed=(1,)))
    assert index.held("e2", prompt(1, 9)) == 90


def test_who_holds_most_comes_first_and_each_engine_once(index: PrefixIndex) -> None:
    index.report(says("e1", 1, 1))
    index.report(says("e2", 1, 1, 2, 3))
    index.comes("e3", prompt(1, 2))
    assert list(index.cached(prompt(1, 2, 3, 4))) == [("e2", 270), ("e3", 180), ("e1", 90)]


def test_a_beginning_in_the_middle_may_be_unknown(index: PrefixIndex) -> None:
    index.report(says("e1", 1, 1, 2, 3))
    index.report(says("e1", 2, removed=(2,)))
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
    assert index.report(says("e1", 1, 1))
    assert not index.report(says("e1", 3, 3))  # the second one said that 1 is gone
    assert index.report(says("e1", 4, 4))
    assert index.report(says("e1", 5, 3, 4, whole=True))
    held = [index.held("e1", prompt(name)) > 0 for name in (1, 3, 4)]
    assert held == [False, True, True]


def test_each_loss_shows_once(index: PrefixIndex) -> None:
    assert not index.report(says("e1", 2, 1))
    assert index.report(says("e1", 3, 2))
    assert not index.report(says("e1", 9, 3))


def test_a_report_that_was_read_before_changes_nothing(index: PrefixIndex) -> None:
    index.report(says("e1", 1, 1))
    index.report(says("e1", 2, removed=(1,)))
    assert index.report(says("e1", 1, 1))
    assert index.held("e1", prompt(1)) == 0


def test_a_whole_report_before_the_last_one_changes_nothing(index: PrefixIndex) -> None:
    index.report(says("e1", 5, 1, whole=True))
    assert index.report(says("e1", 4, 2, whole=True))
    assert index.held("e1", prompt(1)) == 90
    assert index.held("e1", prompt(2)) == 0


def test_a_leader_that_is_new_asks_for_the_whole_and_needs_no_earlier_report(index: PrefixIndex) -> None:
    assert not index.report(says("e1", 1_000, 5))
    assert index.report(says("e1", 1_001, 1, 5, whole=True))
    assert index.held("e1", prompt(1)) == 90


def test_a_whole_report_leaves_what_is_on_its_way(index: PrefixIndex) -> None:
    index.comes("e1", prompt(7))
    index.report(says("e1", 1, 1, whole=True))
    assert index.held("e1", prompt(7)) == 100


def test_who_is_not_counted_on_may_say_what_it_likes(index: PrefixIndex) -> None:
    assert index.report(says("stranger", 7, 1))
    assert len(index) == 0


# Engines that go --------------------------------------------------------------------------------


def test_an_engine_that_is_gone_holds_nothing(index: PrefixIndex) -> None:
    index.report(says("e1", 1, 1))
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
    index.report(says("e2", 1, 1))
    index.report(says("e3", 1, 1))
    index.remove("e2")
    index.add("e4")
    assert list(index.cached(prompt(1))) == [("e3", 90)]
    assert index.report(says("e4", 1, 1))  # its reports are counted from the first one
    assert sorted(index.cached(prompt(1))) == [("e3", 90), ("e4", 90)]


def test_a_cell_may_have_a_thousand_engines() -> None:
    index = PrefixIndex()
    for number in range(1_000):
        index.add(f"e{number}")
    for number in (0, 63, 64, 999):
        index.report(says(f"e{number}", 1, 1))
    assert sorted(name for name, _ in index.cached(prompt(1))) == ["e0", "e63", "e64", "e999"]


# Memory -----------------------------------------------------------------------------------------


def test_what_is_held_is_forgotten_before_there_is_too_much_the_oldest_first() -> None:
    index = PrefixIndex(most=100)
    index.add("e1")
    for name in range(1, 1_001):
        index.report(says("e1", name, name))
        assert len(index) <= 100
    assert index.held("e1", prompt(1)) == 0
    assert index.held("e1", prompt(1_000)) == 90
    assert list(index.check()) == []


def test_what_is_needed_or_on_its_way_is_not_forgotten() -> None:
    index = PrefixIndex(most=10)
    index.add("e1")
    index.need(prompt(1))
    index.report(says("e1", 1, 1))
    index.comes("e1", prompt(2))
    for name in range(3, 200):
        index.report(says("e1", name, name))
    assert index.held("e1", prompt(1)) == 90
    assert index.held("e1", prompt(2)) == 100
    assert len(index) <= 11


def test_more_may_be_needed_than_there_should_be_and_then_room_is_not_sought_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    index = PrefixIndex(most=100)
    sought: list[int] = []
    make_room = index._make_room

    def counted() -> None:
        sought.append(len(index))
        make_room()

    monkeypatch.setattr(index, "_make_room", counted)
    for name in range(1_000):
        index.need(prompt(name))
    assert len(index) == 1_000
    assert len(sought) <= 100
    for name in range(1_000):
        index.need_no_more(prompt(name))
    assert len(index) == 0


def test_when_less_is_needed_again_there_is_as_much_as_there_should_be() -> None:
    index = PrefixIndex(most=100)
    index.add("e1")
    for name in range(1_000):
        index.need(prompt(name))
        index.report(says("e1", name + 1, name))
    for name in range(1_000):
        index.need_no_more(prompt(name))
    for name in range(1_000, 1_200):
        index.report(says("e1", name + 1, name))
    assert len(index) <= 100
    assert list(index.check()) == []


# Whatever happens -------------------------------------------------------------------------------

PROMPTS = st.lists(st.integers(1, 12), min_size=1, max_size=4, unique=True).map(sorted).map(lambda names: prompt(*names))
ENGINES = ("e1", "e2", "e3")


class Books(RuleBasedStateMachine):
    """The index beside the plainest model: sets of names for each engine, and lists of prompts."""

    most = 1_000_000

    def __init__(self) -> None:
        super().__init__()
        self.index = PrefixIndex(self.most)
        self.now = 0.0
        self.sequence: dict[str, int] = {}  # of the engines that are there
        self.truth: dict[str, set[int]] = {}  # what each engine really holds
        self.told: dict[str, set[int]] = {}  # what follows from what was read of its reports
        self.given: dict[str, list[Beginnings]] = {}  # prompts under way
        self.settling: dict[str, list[tuple[float, Beginnings]]] = {}
        self.lost: set[str] = set()  # engines of which a report is missing
        self.needed: list[Beginnings] = []
        self.incarnations = Counter[str]()

    @initialize()
    def start(self) -> None:
        for name in ENGINES[:2]:
            self.engine_comes(name)

    def engine_comes(self, name: str) -> None:
        self.incarnations[name] += 1
        engine = f"{name}-{self.incarnations[name]}"
        self.index.add(engine)
        self.sequence[engine] = 0
        self.truth[engine], self.told[engine], self.given[engine], self.settling[engine] = set(), set(), [], []

    def pick(self, number: int) -> str:
        return sorted(self.sequence)[number % len(self.sequence)]

    @rule(name=st.sampled_from(ENGINES))
    def another_engine(self, name: str) -> None:
        if len(self.sequence) < 4:
            self.engine_comes(name)

    @precondition(lambda self: self.sequence)
    @rule(number=st.integers(0, 9))
    def engine_goes(self, number: int) -> None:
        engine = self.pick(number)
        self.index.remove(engine)
        for book in (self.sequence, self.truth, self.told, self.settling):
            del book[engine]
        for done in self.given.pop(engine):
            self.index.came(engine, done, self.now)
        self.lost.discard(engine)

    @precondition(lambda self: self.sequence)
    @rule(number=st.integers(0, 9), given=PROMPTS)
    def gives(self, number: int, given: Beginnings) -> None:
        engine = self.pick(number)
        self.index.comes(engine, given)
        self.given[engine].append(given)

    @precondition(lambda self: any(self.given.values()))
    @rule(number=st.integers(0, 99), later=st.sampled_from([0.0, 0.5, SETTLING, 10.0]))
    def is_done(self, number: int, later: float) -> None:
        self.now += later
        busy = sorted(engine for engine, prompts in self.given.items() if prompts)
        engine = busy[number % len(busy)]
        done = self.given[engine].pop(number % len(self.given[engine]))
        self.index.came(engine, done, self.now)
        self.settling[engine].append((self.now + SETTLING, done))
        self.settling[engine] = [pair for pair in self.settling[engine] if pair[0] > self.now]

    @precondition(lambda self: self.sequence)
    @rule(number=st.integers(0, 9), stored=st.sets(st.integers(1, 12), max_size=4), removed=st.sets(st.integers(1, 12), max_size=4))
    def cache_changes(self, number: int, stored: set[int], removed: set[int]) -> None:
        self.changes(self.pick(number), stored, removed, lost=False)

    @precondition(lambda self: self.sequence)
    @rule(number=st.integers(0, 9), stored=st.sets(st.integers(1, 12), max_size=4), removed=st.sets(st.integers(1, 12), max_size=4))
    def cache_changes_and_the_report_is_lost(self, number: int, stored: set[int], removed: set[int]) -> None:
        self.changes(self.pick(number), stored, removed, lost=True)

    def changes(self, engine: str, stored: set[int], removed: set[int], lost: bool) -> None:
        gone, new = removed & self.truth[engine], stored - removed
        self.truth[engine] = self.truth[engine] - gone | new
        self.sequence[engine] += 1
        if lost:
            self.lost.add(engine)
            return
        report = EngineHolds(engine=engine, sequence=self.sequence[engine], stored=[(name, 50) for name in new], removed=sorted(gone))
        self.told[engine] = self.told[engine] - gone | new
        if not self.index.report(report):
            assert engine in self.lost
            self.tells_all(engine)
        assert engine not in self.lost
        assert self.index.report(report)  # read again by a successor or after a doubt

    def tells_all(self, engine: str) -> None:
        self.sequence[engine] += 1
        held = [(name, 50) for name in sorted(self.truth[engine])]
        assert self.index.report(EngineHolds(engine=engine, sequence=self.sequence[engine], whole=True, stored=held))
        self.told[engine] = set(self.truth[engine])
        self.lost.discard(engine)

    @rule(given=PROMPTS)
    def waits(self, given: Beginnings) -> None:
        self.index.need(given)
        self.needed.append(given)

    @precondition(lambda self: self.needed)
    @rule(number=st.integers(0, 99))
    def waits_no_more(self, number: int) -> None:
        self.index.need_no_more(self.needed.pop(number % len(self.needed)))

    def expected(self, engine: str) -> set[int]:
        prompts = [*self.given[engine], *(done for _, done in self.settling[engine])]
        return self.told[engine].union(*(given.names for given in prompts))

    @invariant()
    def it_knows_what_each_engine_holds(self) -> None:
        for engine in self.sequence:
            expected = self.expected(engine)
            assert {name for name in range(1, 13) if self.index.held(engine, prompt(name))} == expected
            if engine not in self.lost:
                assert self.truth[engine] <= expected

    @invariant()
    def engines_are_found_by_what_they_hold(self) -> None:
        whole = prompt(*range(1, 13))
        found = dict(self.index.cached(whole))
        assert found == {engine: self.index.held(engine, whole) for engine in self.sequence if self.expected(engine)}

    @invariant()
    def it_knows_no_more_than_somebody_holds_or_needs(self) -> None:
        known = set[int]().union(*map(self.expected, self.sequence), *(given.names for given in self.needed))
        assert len(self.index) == len(known)

    @invariant()
    def it_counts_who_uses_what(self) -> None:
        used = Counter(name for prompts in self.given.values() for given in prompts for name in given.names)
        assert {name: node.users for name, node in self.index._nodes.items() if node.users} == used

    @invariant()
    def the_books_add_up(self) -> None:
        assert list(self.index.check()) == []

    def teardown(self) -> None:
        while self.sequence:
            self.engine_goes(0)
        while self.needed:
            self.waits_no_more(0)
        assert len(self.index) == 0


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


class SmallBooks(Books):
    """With so little room that what is held is forgotten all the time: what is said is still true, though not the whole truth."""

    most = 6
    peak = 0  # of what could not be forgotten

    @invariant()
    def it_knows_what_each_engine_holds(self) -> None:
        for engine in self.sequence:
            assert {name for name in range(1, 13) if self.index.held(engine, prompt(name))} <= self.expected(engine)
            for given in self.given[engine]:
                assert all(self.index.held(engine, prompt(name)) for name in given.names)

    @invariant()
    def engines_are_found_by_what_they_hold(self) -> None:
        whole = prompt(*range(1, 13))
        for engine, tokens in self.index.cached(whole):
            assert tokens == self.index.held(engine, whole)

    @invariant()
    def it_knows_no_more_than_somebody_holds_or_needs(self) -> None:
        pinned = [*self.needed, *(given for prompts in self.given.values() for given in prompts)]
        pinned += [done for pairs in self.settling.values() for _, done in pairs]
        self.peak = max(self.peak, len(set[int]().union(*(given.names for given in pinned))))
        assert len(self.index) <= self.most + 1 + self.peak


TestSmallBooks = SmallBooks.TestCase
TestSmallBooks.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
