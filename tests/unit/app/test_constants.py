"""Long constant texts are stored once, and again before they expire."""

from __future__ import annotations

from collections.abc import Mapping

from parrot.app.constants import ConstantStore
from parrot.broker.texts import LIFE_SECONDS


async def test_a_text_is_stored_once_and_again_after_half_of_its_life() -> None:
    now = 0.0
    stored: list[list[str]] = []

    async def put(texts: Mapping[str, str]) -> None:
        stored.append(list(texts))

    store = ConstantStore(put, clock=lambda: now)
    await store.keep({"a": "A"})
    await store.keep({"a": "A", "b": "B"})
    await store.keep({})
    now = LIFE_SECONDS / 2
    await store.keep({"a": "A"})
    assert stored == [["a"], ["b"], ["a"]]


async def test_a_text_that_could_not_be_stored_is_stored_the_next_time() -> None:
    stored: list[list[str]] = []

    async def put(texts: Mapping[str, str]) -> None:
        stored.append(list(texts))
        if len(stored) == 1:
            raise ConnectionError

    store = ConstantStore(put)
    for _ in range(2):
        try:
            await store.keep({"a": "A"})
        except ConnectionError:
            continue
    assert stored == [["a"], ["a"]]
