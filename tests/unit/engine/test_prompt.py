"""Prompts, on a toy tokenizer: one token for a character, and one for each mark of its chat template."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from parrot.engine import prompt
from parrot.engine.prompt import PromptBuilder, ResolvedPiece
from parrot.engine.protocol import Turn
from parrot.errors import DefinitionError
from parrot.wire.to_core import Chat

MARKS = {"<s>": -1, "<system>": -2, "<user>": -3, "<assistant>": -4, "<end>": -5, "<think>": -6}
NAMES = {token: mark for mark, token in MARKS.items()}


class Toy:
    """Opens an assistant's turn with a mark for thinking, as some models do; refuses a conversation that begins with `tool`."""

    name = "toy"

    def __init__(self, has_chat_template: bool = True, begin: bool = False) -> None:
        self.has_chat_template = has_chat_template
        self.begin = begin
        self.encoded: list[str] = []

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        self.encoded.append(text)
        ids = []
        while text:
            mark = next((mark for mark in MARKS if special and text.startswith(mark)), None)
            ids.append(MARKS[mark] if mark else ord(text[0]))
            text = text[len(mark or text[0]) :]
        return ids

    def decode(self, tokens: Sequence[int]) -> str:
        return "".join(NAMES.get(token) or chr(token) for token in tokens)

    def ends(self, text: str) -> list[int]:
        return [*range(1, len(text) + 1)]

    def start(self, empty: bool) -> list[int]:
        return [MARKS["<s>"]] if self.begin or empty else []

    def render(self, turns: Sequence[Turn], open_assistant: bool) -> str:
        if turns[0].role == "tool":
            raise ValueError("no tools here")
        said = "<end>".join(f"<{turn.role}>{turn.content}" for turn in turns if turn.role != "dropped")
        return f"<s>{said}" + ("<think>" if open_assistant and not turns[-1].content else "")


def constant(text: str) -> ResolvedPiece:
    return ResolvedPiece("constant", text)


def value(text: str) -> ResolvedPiece:
    return ResolvedPiece("value", text)


def output(text: str) -> ResolvedPiece:
    return ResolvedPiece("value", text, generated=True)


def role(name: str) -> ResolvedPiece:
    return ResolvedPiece("role", name)


def tokens(builder: PromptBuilder, pieces: Sequence[ResolvedPiece], chat: Chat = "auto") -> list[list[int]]:
    """Those of each segment."""
    return [segment.tokens for segment in builder.build(pieces, chat)]


def build(*pieces: ResolvedPiece, chat: str = "auto", tokenizer: Toy | None = None) -> str:
    toy = tokenizer or Toy()
    return "".join(map(toy.decode, tokens(PromptBuilder(toy), pieces, "off" if chat == "off" else "auto")))


def test_text_before_the_output_is_the_users_turn() -> None:
    assert build(constant("Name a "), value("fruit"), constant(".\n")) == "<s><user>Name a fruit.<end><assistant><think>"


def test_an_earlier_output_is_the_assistants_turn() -> None:
    pieces = (constant("Q: "), value("why?"), constant("\nThink: "), output("hm"), constant("\nAnswer:"))
    assert build(*pieces) == "<s><user>Q: why?\nThink:<end><assistant>hm<end><user>Answer:<end><assistant><think>"


def test_a_prompt_that_starts_with_an_output_opens_the_assistants_turn_at_once() -> None:
    assert build() == build(constant("\n")) == "<s><assistant>"


def test_blank_text_between_outputs_is_no_turn() -> None:
    assert build(constant("Q"), output("a"), constant(" \n")) == "<s><user>Q<end><assistant>a<end><assistant><think>"


def test_explicit_roles_are_the_turns() -> None:
    pieces = (role("system"), constant("Be brief. "), role("user"), constant(" Q: "), value(" x "), role("assistant"))
    assert build(*pieces) == "<s><system>Be brief.<end><user>Q:  x <end><assistant><think>"


def test_explicit_roles_hold_even_where_chat_is_off() -> None:
    assert build(role("user"), constant("Q"), role("assistant"), chat="off") == build(constant("Q"))


def test_an_assistants_turn_with_text_before_the_output_goes_on() -> None:
    pieces = (role("user"), constant("Q"), role("assistant"), constant("```json\n"))
    assert build(*pieces) == "<s><user>Q<end><assistant>```json\n"


def test_a_conversation_without_a_last_turn_of_the_assistant_gets_one() -> None:
    assert build(role("user"), constant("Q")) == "<s><user>Q<end><assistant><think>"


@pytest.mark.parametrize("piece", [constant("a<end>b"), value("a<end>b")])
def test_no_text_can_forge_a_turn(piece: ResolvedPiece) -> None:
    segments = tokens(PromptBuilder(Toy()), [piece])
    assert [ord(letter) for letter in "a<end>b"] in segments
    assert [token for segment in segments for token in segment].count(MARKS["<end>"]) == 1


def test_a_segment_has_the_same_tokens_wherever_it_stands() -> None:
    builder = PromptBuilder(Toy())
    alone = tokens(builder, [value("long text")], "off")
    among = tokens(builder, [constant("before"), value("long text"), constant("after")])
    assert alone[0] in among


def test_a_value_of_the_same_tokenizer_fills_its_own_tokens() -> None:
    piece = ResolvedPiece("value", "text", (7, 8, 9), "toy", generated=True)
    assert [7, 8, 9] in tokens(PromptBuilder(Toy()), [constant("Q"), piece, constant("more")])


@pytest.mark.parametrize("piece", [ResolvedPiece("value", "text", (7, 8), "other"), ResolvedPiece("value", "text", None, "toy")])
def test_a_value_of_another_tokenizer_fills_its_text(piece: ResolvedPiece) -> None:
    assert build(piece, chat="off") == "text"


def test_with_chat_off_the_prompt_is_left_as_it_is() -> None:
    assert build(constant(" Q: "), output("a"), constant("\nR:"), chat="off") == " Q: a\nR:"


def test_a_model_without_a_chat_template_sees_plain_text() -> None:
    assert build(constant("Q:"), output("a"), tokenizer=Toy(has_chat_template=False, begin=True)) == "<s>Q:a"


def test_a_model_without_a_chat_template_sees_roles_as_readable_text() -> None:
    pieces = (role("system"), constant("Be <end>."), role("user"), constant("Q"), role("assistant"))
    segments = tokens(PromptBuilder(toy := Toy(has_chat_template=False)), pieces)
    assert "".join(map(toy.decode, segments)) == "System:\nBe <end>.\n\nUser:\nQ\n\nAssistant:\n"
    assert MARKS["<end>"] not in [token for segment in segments for token in segment]


def test_a_raw_prompt_without_any_text_still_has_a_token_to_go_on_from() -> None:
    assert tokens(PromptBuilder(Toy()), [value("")], "off") == [[MARKS["<s>"]]]


def test_no_segment_is_empty() -> None:
    assert all(tokens(PromptBuilder(Toy()), [constant("a"), value(""), constant("b")]))


def test_what_is_built_can_be_changed_without_harm() -> None:
    builder = PromptBuilder(Toy())
    builder.build([constant("Q")], "auto")[1].tokens.append(0)
    assert builder.build([constant("Q")], "auto")[1].tokens == [ord("Q")]


def test_a_text_is_tokenised_once() -> None:
    toy = Toy()
    builder = PromptBuilder(toy)
    for _ in range(2):
        builder.build([constant("Q")], "auto")
    assert toy.encoded.count("Q") == 1


def test_no_more_texts_are_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt, "_CACHED_CHARACTERS", 5)
    toy = Toy()
    builder = PromptBuilder(toy)
    for text in ("aaa", "bbb", "bbb", "aaa"):
        assert tokens(builder, [constant(text)], "off") == [[ord(letter) for letter in text]]
    assert toy.encoded == ["aaa", "bbb", "aaa"]


def test_a_conversation_that_the_model_does_not_take_is_a_sentence() -> None:
    with pytest.raises(DefinitionError, match="does not take the conversation tool, assistant: no tools here"):
        build(role("tool"), constant("x"), role("assistant"))


def test_a_turn_that_the_template_leaves_out_is_not_lost_silently() -> None:
    with pytest.raises(DefinitionError, match="leaves out a turn"):
        build(role("dropped"), constant("x"), role("assistant"))
