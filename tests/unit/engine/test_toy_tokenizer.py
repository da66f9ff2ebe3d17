from __future__ import annotations

import pytest

from parrot.engine.toy_tokenizer import ToyTokenizer


@pytest.mark.parametrize("text", ["", "a", "four", "fives", "Grüße, 世界! 🦜", "line\nline\t"])
def test_every_text_survives_the_way_there_and_back(text: str) -> None:
    tokenizer = ToyTokenizer()
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_segments_are_tokenised_by_themselves_and_still_read_as_one_text() -> None:
    tokenizer = ToyTokenizer()
    assert tokenizer.decode(tokenizer.encode("Hello") + tokenizer.encode(", you")) == "Hello, you"


def test_an_empty_prompt_has_something_to_go_on_from() -> None:
    assert ToyTokenizer().start(empty=True)
    assert not ToyTokenizer().start(empty=False)


@pytest.mark.parametrize(
    ("text", "ends"), [("", []), ("abcd", [4]), ("abcdef", [4, 6]), ("ab🦜cd", [3, 5]), ("🦜🦜", [1, 2]), ("üüüü", [2, 4])]
)
def test_it_knows_where_its_tokens_end(text: str, ends: list[int]) -> None:
    assert ToyTokenizer().ends(text) == ends
    assert len(ends) == len(ToyTokenizer().encode(text))
