"""Who is first is found though keys change all the time."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from parrot.core.lazy_heap import STALE, LazyHeap


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from("abcdef"), st.none() | st.integers(0, 9)), max_size=60))
def test_whatever_happens_the_smallest_key_is_found(steps: list[tuple[str, int | None]]) -> None:
    keys: dict[str, float | None] = {}
    heap = LazyHeap(keys.get)
    for name, key in steps:
        before, keys[name] = keys.get(name), key
        if key is not None and (before is None or key < before):
            heap.push(name)  # what has grown or is gone need not be told
        there = [(now, one) for one, now in keys.items() if now is not None]
        assert heap.first() == min(there, default=None)


def test_what_does_not_count_any_more_does_not_pile_up() -> None:
    keys: dict[str, float] = {}
    heap = LazyHeap(keys.get)
    for number in range(10_000):
        keys[f"{number}"] = -number
        keys["stays"] = -number
        heap.push(f"{number}")
        heap.push("stays")
        if number:
            del keys[f"{number - 1}"]
    assert len(heap) <= 2 * 2 + STALE + 1
    assert heap.first() == (-9_999, "9999")
