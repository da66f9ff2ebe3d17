"""Texts have tokens; equal beginnings have equal blocks."""

from __future__ import annotations

from bench.simulator.contents import Contents
from parrot.wire.keys import content_hash
from parrot.wire.to_engine import Piece


def blocks(contents: Contents, *texts: str) -> list[int]:
    return contents.blocks([Piece("text", text) for text in texts])[0]


def test_a_prompt_has_a_block_for_each_full_stretch() -> None:
    contents = Contents(10)
    assert len(blocks(contents, contents.write("a", 25), contents.write("b", 14))) == 3
    assert contents.tokens([Piece("text", contents.write("a", 25)), Piece("role", "user")]) == 29


def test_prompts_share_blocks_exactly_as_far_as_they_share_tokens() -> None:
    contents = Contents(10)
    shared, one, two = contents.write("shared", 35), contents.write("one", 30), contents.write("two", 30)
    first, second = blocks(contents, shared, one), blocks(contents, shared, two)
    assert first[:3] == second[:3]
    assert not set(first[3:]) & set(second[3:])
    assert not set(blocks(contents, one)) & set(first)  # the same tokens elsewhere are other blocks


def test_it_does_not_matter_how_a_beginning_is_cut_into_pieces() -> None:
    contents = Contents(10)
    a, b = contents.write("a", 13), contents.write("b", 24)
    assert blocks(contents, contents.join(a, b)) == blocks(contents, a, b)


def test_a_long_text_is_the_same_under_its_hash() -> None:
    contents = Contents(10)
    text = contents.write("long", 500)
    assert contents.blocks([Piece("hash", content_hash(text))])[0] == blocks(contents, text)


def test_an_output_goes_on_from_its_prompt() -> None:
    contents = Contents(10)
    prompt = Piece("text", contents.write("prompt", 15))
    contents.promise("said", 17)
    names, end = contents.blocks([prompt])
    more, _ = contents.extend(end, contents.output("said"))
    assert contents.blocks([prompt, Piece("variable", "said")])[0] == [*names, *more]
    part, _ = contents.extend(end, contents.output("said")._replace(tokens=6))
    assert part == more[:1]  # what has come so far


def test_characters_of_a_text_are_tokens_of_its_parts() -> None:
    contents = Contents(10)
    shared, own = contents.write("shared", 100), contents.write("own", 50)
    piece = Piece("text", contents.join(shared, own))
    assert contents.within(piece, len(shared)) == 100
    assert contents.within(piece, len(shared) + len(own) // 2) == 124  # whole tokens
    assert contents.within(piece, 10**6) == 150
    assert 3.5 < len(shared) / 100 < 4.5
