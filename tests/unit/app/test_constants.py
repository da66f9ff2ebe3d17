"""Long constant texts are stored once, and again before they expire."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from parrot.app import constants
from parrot.app.constants import ConstantStore, Names
from parrot.broker.texts import LIFE_SECONDS
from parrot.wire.digests import BLOCK_CHARACTERS, block_digests
from parrot.wire.keys import content_hash


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that are hashed, as they are."""
    texts: list[str] = []

    def noted(text: str) -> str:
        texts.append(text)
        return content_hash(text)

    monkeypatch.setattr(constants, "content_hash", noted)
    return texts


def test_a_text_is_named_by_its_hash_and_by_those_of_its_beginnings() -> None:
    text = "x" * (2 * BLOCK_CHARACTERS + 1)
    name = Names().of(text)
    assert (name.hash, name.blocks) == (content_hash(text), block_digests(text))
    assert len(name.blocks) == 2


def test_a_text_that_is_used_again_is_not_hashed_again(hashed: list[str]) -> None:
    names = Names()
    assert names.of("".join(["a", "b"])) == names.of("ab")
    assert hashed == ["ab"]


def test_the_texts_that_were_used_last_are_remembered_as_far_as_there_is_room(hashed: list[str]) -> None:
    names = Names(room=6)
    for text in ("aa", "bb", "aa", "cc", "dd"):
        names.of(text)  # the last one pushes out bb, which was not used for the longest time
    for text in ("aa", "cc", "dd", "bb"):
        names.of(text)
    assert hashed == ["aa", "bb", "cc", "dd", "bb"]


def test_a_text_for_which_there_is_no_room_has_a_name_all_the_same(hashed: list[str]) -> None:
    names = Names(room=1)
    assert names.of("long") == names.of("long")
    assert hashed == ["long", "long"]


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


async def test_a_text_is_stored_again_when_the_server_may_have_lost_it() -> None:
    stored: list[str] = []

    async def put(texts: Mapping[str, str]) -> None:
        stored.extend(texts.values())

    store = ConstantStore(put)
    await store.keep({"h": "long"})
    store.forget()
    for _ in range(2):
        await store.keep({"h": "long"})
    assert stored == ["long", "long"]
