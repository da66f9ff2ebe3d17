"""Marks on the toy of the prompt tests, where a character is a token, and on the simulated engine's tokenizer, where four are."""

from __future__ import annotations

from typing import Any

import pytest

from parrot.engine.blocks import block_names
from parrot.engine.changes import Changes
from parrot.engine.marks import Marks
from parrot.engine.prompt import PromptBuilder, ResolvedPiece, Segment
from parrot.engine.protocol import Tokenizer
from parrot.engine.residency import Residency
from parrot.engine.toy_tokenizer import ToyTokenizer
from parrot.wire.to_core import Chat
from parrot.wire.to_engine import Mark
from tests.unit.engine.test_prompt import Toy, constant, output, role, value
from tests.unit.engine.test_runner import job


class Known(Residency):
    """Writes down what it is told."""

    def __init__(self) -> None:
        super().__init__("e-1", Changes().take, lambda block: False)
        self.beginnings: dict[int, tuple[int, int]] = {}

    def know(self, name: int, tokens: int, block: int) -> None:
        self.beginnings[name] = (tokens, block)


class Marked:
    """A prompt with marks named 0, 1 …, each (whole pieces, characters of the next)."""

    def __init__(
        self, *pieces: ResolvedPiece, marks: list[tuple[int, int]], chat: Chat = "auto", size: int = 1, tokenizer: Tokenizer | None = None
    ) -> None:
        tokenizer = tokenizer or Toy()
        pieces = tuple(piece._replace(number=number) for number, piece in enumerate(pieces))
        self.segments: list[Segment] = PromptBuilder(tokenizer).build(pieces, chat)
        self.tokens = [token for segment in self.segments for token in segment.tokens]
        named: list[Any] = [Mark(piece, characters, name) for name, (piece, characters) in enumerate(marks)]
        self.job = job("v", *(piece.text for piece in pieces), marks=named)
        self.known = Known()
        self.marks = Marks(tokenizer, size, self.known)
        self.marks.prompt(self.job, pieces, self.segments)

    @property
    def beginnings(self) -> dict[int, str]:
        """What the toy says of each."""
        return {name: Toy().decode(self.tokens[:tokens]) for name, (tokens, _) in self.known.beginnings.items()}


def test_a_mark_after_a_piece_ends_where_the_tokens_of_the_piece_end() -> None:
    marked = Marked(constant("Name a "), value("fruit"), constant("."), marks=[(1, 0), (2, 0), (3, 0)], chat="off")
    assert marked.beginnings == {0: "Name a ", 1: "Name a fruit", 2: "Name a fruit."}


def test_what_the_chat_template_adds_belongs_to_what_comes_after_it() -> None:
    pieces = (constant("Q: "), output("hm"), constant("more"))
    marked = Marked(*pieces, marks=[(0, 0), (1, 0), (2, 0), (3, 0)])
    assert marked.beginnings == {1: "<s><user>Q:", 2: "<s><user>Q:<end><assistant>hm", 3: "<s><user>Q:<end><assistant>hm<end><user>more"}


def test_roles_and_pieces_that_a_conversation_drops_end_where_the_one_before_them_does() -> None:
    pieces = (role("system"), constant("Be brief."), role("user"), constant(" \n"), constant("Q"), role("assistant"))
    marked = Marked(*pieces, marks=[(1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0)])
    system = "<s><system>Be brief."
    assert marked.beginnings == {1: system, 2: system, 3: system, 4: f"{system}<end><user>Q", 5: f"{system}<end><user>Q"}


def test_of_a_part_of_a_text_the_last_token_does_not_count_since_it_may_go_on_otherwise() -> None:
    marked = Marked(constant("one "), constant("twenty"), marks=[(1, 0), (1, 3), (1, 5), (1, 6), (1, 99)], chat="off")
    assert marked.beginnings == {0: "one ", 1: "one tw", 2: "one twen", 3: "one twenty", 4: "one twenty"}


def test_tokens_of_several_characters_count_when_they_end_within_the_part() -> None:
    marked = Marked(constant("abcdefghijkl"), marks=[(0, 7), (0, 8), (0, 11), (0, 12)], chat="off", tokenizer=ToyTokenizer())
    assert {name: tokens for name, (tokens, _) in marked.known.beginnings.items()} == {1: 1, 2: 1, 3: 3}


def test_characters_are_counted_in_the_text_as_it_was_before_its_turn_shed_blanks() -> None:
    marked = Marked(constant("  twenty  "), marks=[(0, 1), (0, 2), (0, 6), (0, 9), (0, 10), (1, 0)])
    assert marked.beginnings == {2: "<s><user>twe", 3: "<s><user>twent", 4: "<s><user>twenty", 5: "<s><user>twenty"}


def test_a_part_of_a_value_that_a_model_made_is_nothing_that_others_share() -> None:
    made = ResolvedPiece("value", "abc", (7, 8, 9), "toy")
    marked = Marked(constant("Q"), made, marks=[(1, 2), (2, 0)], chat="off")
    assert {name: tokens for name, (tokens, _) in marked.known.beginnings.items()} == {0: 1, 1: 4}


def test_a_tokenizer_that_cannot_say_where_its_tokens_end_has_no_parts_of_texts() -> None:
    class Mute(Toy):
        def ends(self, text: str) -> list[int]:
            return []

    marked = Marked(constant("one "), constant("twenty"), marks=[(1, 5), (2, 0)], chat="off", tokenizer=Mute())
    assert marked.beginnings == {0: "one ", 1: "one twenty"}


def test_only_full_blocks_count_and_the_last_of_them_is_the_one_to_watch() -> None:
    marked = Marked(constant("abc"), constant("defg"), constant("hij"), marks=[(1, 0), (2, 0), (3, 0)], chat="off", size=4)
    first, second = block_names([ord(letter) for letter in "abcdefgh"], 4)
    assert marked.known.beginnings == {1: (4, first), 2: (8, second)}, "the first is shorter than a block"


@pytest.mark.parametrize(("made", "tokens"), [("xyz", 4), ("xyzw", 4), ("xyzwv", 8)])
def test_the_prompt_with_its_output_is_known_when_that_is_there_but_for_its_last_token(made: str, tokens: int) -> None:
    marked = Marked(constant("abcd"), marks=[(1, 0), (2, 0)], chat="off", size=4)
    assert marked.known.beginnings.keys() == {0}
    output_ids = [ord(letter) for letter in made]
    marked.marks.output(marked.job, marked.segments, output_ids)
    names = block_names([*marked.tokens, *output_ids], 4)
    assert marked.known.beginnings[1] == (tokens, names[tokens // 4 - 1])
