from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from parrot.engine.changes import Changes


def test_what_came_or_went_is_told_once() -> None:
    changes = Changes()
    changes.store(1)
    changes.remove(2)
    assert changes.take() == ({1}, {2})
    assert changes.take() == (set(), set())


def test_what_came_and_went_between_two_questions_has_not_changed() -> None:
    changes = Changes()
    changes.store(1)
    changes.remove(1)
    changes.remove(2)
    changes.store(2)
    assert changes.take() == (set(), set())


@given(st.lists(st.one_of(st.integers(0, 5), st.none())))
def test_all_news_together_lead_to_what_is_there(moves: list[int | None]) -> None:
    """A number puts a block in or takes it out; None asks."""
    changes, there, told = Changes(), set[int](), set[int]()
    for block in [*moves, None]:
        if block is None:
            news = changes.take()
            assert news.stored.isdisjoint(told)
            assert news.removed <= told
            told = (told | news.stored) - news.removed
            assert told == there
        elif block in there:
            there.discard(block)
            changes.remove(block)
        else:
            there.add(block)
            changes.store(block)
