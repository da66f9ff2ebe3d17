from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from parrot.engine.changes import Changes
from parrot.engine.residency import Residency
from parrot.wire.to_core import EngineHolds

SYSTEM, LONG, OTHER = 101, 102, 103  # ServeCore's names


class Cache:
    """The blocks of an engine, set by hand, and the residency that listens to it."""

    def __init__(self, room: int = 100) -> None:
        self.blocks: set[int] = set()
        self.changes = Changes()
        self.residency = Residency("e-1", self.changes.take, self.blocks.__contains__, room)

    def store(self, *blocks: int) -> None:
        for block in blocks:
            self.blocks.add(block)
            self.changes.store(block)

    def remove(self, *blocks: int) -> None:
        for block in blocks:
            self.blocks.discard(block)
            self.changes.remove(block)

    def report(self) -> EngineHolds | None:
        return self.residency.changes()


def told(report: EngineHolds | None) -> tuple[int, list[tuple[int, int]], list[int]]:
    assert report is not None
    assert not report.whole
    return report.sequence, sorted(report.stored), sorted(report.removed)


def test_a_beginning_is_held_while_its_last_block_is_there() -> None:
    cache = Cache()
    cache.residency.know(SYSTEM, 64, block=2)
    assert cache.report() is None
    cache.store(1, 2, 3)
    assert told(cache.report()) == (1, [(SYSTEM, 64)], [])
    cache.remove(3)
    assert cache.report() is None
    cache.remove(2)
    assert told(cache.report()) == (2, [], [SYSTEM])


def test_what_was_there_before_its_name_was_known_is_reported_too() -> None:
    cache = Cache()
    cache.store(1, 2)
    assert cache.report() is None, "nobody has named anything"
    cache.residency.know(SYSTEM, 64, block=2)
    assert told(cache.report()) == (1, [(SYSTEM, 64)], [])


def test_what_goes_before_it_was_reported_never_was() -> None:
    cache = Cache()
    cache.store(2)
    cache.residency.know(SYSTEM, 64, block=2)
    cache.remove(2)
    assert cache.report() is None


def test_nothing_is_said_twice() -> None:
    cache = Cache()
    for _ in range(3):
        cache.residency.know(SYSTEM, 64, block=2)
        cache.residency.know(LONG, 96, block=3)
    cache.store(2, 3)
    assert told(cache.report()) == (1, [(SYSTEM, 64), (LONG, 96)], [])
    cache.residency.know(SYSTEM, 64, block=2)
    assert cache.report() is None


def test_a_beginning_that_has_other_tokens_now_is_reported_anew() -> None:
    """A text may be cut at another token when something else follows it."""
    cache = Cache()
    cache.store(2, 3)
    cache.residency.know(SYSTEM, 64, block=2)
    assert told(cache.report()) == (1, [(SYSTEM, 64)], [])
    cache.residency.know(SYSTEM, 96, block=3)
    assert told(cache.report()) == (2, [(SYSTEM, 96)], [])
    cache.residency.know(SYSTEM, 128, block=4)
    assert told(cache.report()) == (3, [], [SYSTEM])


def test_the_beginnings_that_no_job_brought_for_the_longest_time_are_forgotten_which_reads_as_removed() -> None:
    cache = Cache(room=2)
    cache.store(2, 3, 4)
    cache.residency.know(SYSTEM, 64, block=2)
    cache.residency.know(LONG, 96, block=3)
    assert told(cache.report()) == (1, [(SYSTEM, 64), (LONG, 96)], [])
    cache.residency.know(SYSTEM, 64, block=2)
    cache.residency.know(OTHER, 128, block=4)
    assert told(cache.report()) == (2, [(OTHER, 128)], [LONG])
    cache.remove(3)
    assert cache.report() is None


def test_one_that_was_forgotten_and_comes_back_at_once_was_never_gone() -> None:
    cache = Cache(room=1)
    cache.store(2, 3)
    cache.residency.know(SYSTEM, 64, block=2)
    assert told(cache.report()) == (1, [(SYSTEM, 64)], [])
    cache.residency.know(LONG, 96, block=3)
    cache.residency.know(SYSTEM, 64, block=2)
    assert cache.report() is None


def test_all_that_is_held_can_be_told_and_changes_count_from_there() -> None:
    cache = Cache()
    cache.residency.know(SYSTEM, 64, block=2)
    cache.residency.know(LONG, 96, block=3)
    cache.store(2)
    assert told(cache.report()) == (1, [(SYSTEM, 64)], [])
    cache.store(3)
    whole = cache.residency.all()
    assert (whole.sequence, whole.whole, sorted(whole.stored), whole.removed) == (2, True, [(SYSTEM, 64), (LONG, 96)], [])
    assert cache.report() is None
    cache.remove(3)
    assert told(cache.report()) == (3, [], [LONG])


def test_a_whole_report_says_so_even_when_there_is_nothing() -> None:
    whole = Cache().residency.all()
    assert (whole.sequence, whole.whole, whole.stored) == (1, True, [])


MOVES = st.one_of(
    st.tuples(st.just("block"), st.integers(0, 4), st.just(0)),
    st.tuples(st.just("know"), st.integers(0, 5), st.integers(0, 4)),
    st.tuples(st.just("report"), st.just(0), st.just(0)),
    st.tuples(st.just("all"), st.just(0), st.just(0)),
)


@given(st.lists(MOVES))
def test_whoever_follows_the_reports_knows_what_is_held(moves: list[tuple[str, int, int]]) -> None:
    """A block comes or goes, a job brings a name for a block, a report is made; there is room for three names."""
    cache, known, followed, sequence = Cache(room=3), dict[int, int](), dict[int, int](), 0
    for kind, number, block in [*moves, ("report", 0, 0)]:
        if kind == "block":
            (cache.remove if number in cache.blocks else cache.store)(number)
        elif kind == "know":
            known.pop(number, None)
            known[number] = block
            known = dict([*known.items()][-3:])
            cache.residency.know(number, 32 * (block + 1), block)
        elif (report := cache.residency.all() if kind == "all" else cache.report()) is not None:
            sequence += 1
            assert report.sequence == sequence
            followed = {} if report.whole else {name: tokens for name, tokens in followed.items() if name not in report.removed}
            followed.update(report.stored)
            assert followed == {name: 32 * (block + 1) for name, block in known.items() if block in cache.blocks}
    assert followed == {name: 32 * (block + 1) for name, block in known.items() if block in cache.blocks}
