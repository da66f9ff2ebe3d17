"""A set of generations, whatever is done with it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from parrot.core.few import Few
from tests.unit.core.making import make_generation

GENERATIONS = [make_generation() for _ in range(4)]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3))))
def test_it_holds_what_was_added_and_not_dropped_in_order(steps: list[tuple[bool, int]]) -> None:
    few, expected = Few(), dict.fromkeys(GENERATIONS[:0])
    for adds, number in steps:
        one = GENERATIONS[number]
        if adds:
            few.add(one)
            expected.setdefault(one)
        else:
            assert few.drop(one) == (one in expected)
            expected.pop(one, None)
        assert list(few) == list(expected)
        assert len(few) == len(expected)
        assert [other in few for other in GENERATIONS] == [other in expected for other in GENERATIONS]


def test_it_begins_with_what_it_is_given() -> None:
    assert list(Few(GENERATIONS)) == GENERATIONS
