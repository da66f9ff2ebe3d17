from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from parrot.engine.blocks import BlockCache, Hold, block_names


def test_equal_prefixes_have_equal_block_names() -> None:
    one, two = block_names([1, 2, 3, 4, 5, 6], 2), block_names([1, 2, 3, 4, 9, 9, 9], 2)
    assert one[:2] == two[:2]
    assert one[2] != two[2]
    assert len(two) == 3, "the last block is not full"


def test_the_same_tokens_after_another_start_are_another_block() -> None:
    assert block_names([1, 1, 5, 5], 2)[1] != block_names([2, 2, 5, 5], 2)[1]


def test_blocks_that_were_given_back_are_hits_for_the_next_with_the_same_start() -> None:
    cache = BlockCache(10)
    first = acquired(cache, [1, 2, 3], 1)
    assert first.hits == 0
    cache.release(first)
    assert acquired(cache, [1, 2, 9], 1).hits == 2


def test_sequences_that_run_at_once_share_blocks() -> None:
    cache = BlockCache(4)
    acquired(cache, [1, 2, 3], 0)
    assert acquired(cache, [1, 2, 3], 1).hits == 3
    assert cache.used == 4


def test_what_does_not_fit_takes_nothing() -> None:
    cache = BlockCache(3)
    acquired(cache, [1, 2], 0)
    assert cache.acquire([3], 1) is None
    assert cache.used == 2


def test_the_ends_of_prompts_are_given_up_before_their_starts() -> None:
    cache = BlockCache(3)
    cache.release(acquired(cache, [1, 2, 3], 0))
    cache.release(acquired(cache, [9], 0))
    assert acquired(cache, [1, 2, 3], 0).hits == 2


def test_what_was_generated_is_kept_like_the_prompt() -> None:
    cache = BlockCache(10)
    cache.release(acquired(cache, [1], 2), made=[2, 3])
    assert acquired(cache, [1, 2, 3], 0).hits == 3


def test_a_block_that_is_made_while_another_uses_it_stays_in_use() -> None:
    cache = BlockCache(10)
    first = acquired(cache, [1], 1)
    second = acquired(cache, [1, 2], 0)
    cache.release(first, made=[2])
    assert cache.used == 2
    cache.release(second)
    assert cache.used == 0


def test_it_tells_what_came_and_what_was_given_up() -> None:
    cache = BlockCache(3)
    cache.release(acquired(cache, [1], 1), made=[2])
    assert cache.changes.take() == ({1, 2}, set())
    acquired(cache, [1, 3, 4], 0)
    assert cache.changes.take() == ({3, 4}, {2})
    assert [block in cache for block in (1, 2, 3, 4)] == [True, False, True, True]


@given(st.lists(st.tuples(st.lists(st.integers(0, 9), unique=True, max_size=5), st.integers(0, 3), st.booleans())))
def test_the_books_agree_whatever_comes_and_goes(moves: list[tuple[list[int], int, bool]]) -> None:
    cache, held, told = BlockCache(8), [], set[int]()
    for shared, private, give_back in moves:
        hold = cache.acquire(shared, private)
        if hold is not None:
            held.append(hold)
        if give_back and held:
            cache.release(held.pop(0), made=[11, 12])
        cache.check()
        news = cache.changes.take()
        told = (told | news.stored) - news.removed
        assert told == {block for block in range(13) if block in cache}
    for hold in held:
        cache.release(hold)
    cache.check()
    assert cache.used == 0


def acquired(cache: BlockCache, shared: list[int], private: int) -> Hold:
    hold = cache.acquire(shared, private)
    assert hold is not None
    cache.check()
    return hold
