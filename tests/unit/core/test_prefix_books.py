"""The prefix index says what engines hold, whatever is given, reported, lost and evicted in whatever order."""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from parrot.core.beginnings import Beginnings
from parrot.core.prefixes import SETTLING, PrefixIndex
from parrot.wire.to_core import EngineHolds
from tests.unit.core.making import prompt

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
        self.settle(engine)

    @precondition(lambda self: self.sequence)
    @rule(number=st.integers(0, 9), later=st.sampled_from([0.0, 1.0, SETTLING]))
    def lives_on(self, number: int, later: float) -> None:
        self.now += later
        engine = self.pick(number)
        self.index.settle(engine, self.now)
        self.settle(engine)

    def settle(self, engine: str) -> None:
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
        self.settle(engine)
        if not self.index.report(report, self.now):
            assert engine in self.lost
            self.tells_all(engine)
        assert engine not in self.lost
        assert self.index.report(report, self.now)  # read again by a successor or after a doubt

    def tells_all(self, engine: str) -> None:
        self.sequence[engine] += 1
        held = [(name, 50) for name in sorted(self.truth[engine])]
        assert self.index.report(EngineHolds(engine=engine, sequence=self.sequence[engine], whole=True, stored=held), self.now)
        self.told[engine] = set(self.truth[engine])
        self.lost.discard(engine)

    @rule(given=PROMPTS)
    def waits(self, given: Beginnings) -> None:
        self.index.need(given.names)
        self.needed.append(given)

    @precondition(lambda self: self.needed)
    @rule(number=st.integers(0, 99))
    def waits_no_more(self, number: int) -> None:
        self.index.need_no_more(self.needed.pop(number % len(self.needed)).names)

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
        assert set(self.index._nodes) == set[int]().union(*map(self.expected, self.sequence))
        assert self.index._needed == Counter(name for given in self.needed for name in given.names)

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
