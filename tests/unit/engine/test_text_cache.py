from __future__ import annotations

from parrot.engine.text_cache import TextCache


def test_each_text_is_made_once_and_those_used_latest_are_kept() -> None:
    made: list[str] = []

    def make(text: str) -> int:
        made.append(text)
        return len(text)

    cache = TextCache(make, room=6)
    assert [cache(text) for text in ("aaa", "bb", "aaa", "cc", "aaa", "bb")] == [3, 2, 3, 2, 3, 2]
    assert made == ["aaa", "bb", "cc", "bb"]


def test_a_text_larger_than_the_room_is_made_and_not_kept() -> None:
    cache = TextCache(str.upper, room=2)
    assert cache("long") == "LONG"
    assert cache("a") == "A"
    assert len(cache._kept) == 1
