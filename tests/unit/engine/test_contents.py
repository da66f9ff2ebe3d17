from __future__ import annotations

import pytest

from parrot.broker.engine_link import Content
from parrot.broker.variables import Value
from parrot.engine.contents import Contents
from parrot.engine.prompt import ResolvedPiece
from parrot.errors import VariableError
from parrot.wire.to_engine import Job, Piece

A, B, LONG = Piece("variable", "a"), Piece("variable", "b"), Piece("hash", "f00")


def job(*prompt: Piece) -> Job:
    return Job(variable="out", attempt=1, session="s", call="c", function="f", output="o", prompt=list(prompt))


def test_only_what_is_not_at_hand_is_fetched_and_each_once() -> None:
    contents = Contents()
    contents.put(A, Value("x"))
    assert contents.missing([job(A, B, Piece("text", "t")), job(B, LONG, Piece("role", "user"))]) == [B, LONG]


def test_pieces_become_what_the_prompt_builder_takes() -> None:
    contents = Contents()
    contents.put(A, Value("four", (1, 2), "toy", "other"))
    fetched: dict[Piece, Content] = {B: Value("earlier", (3,), "toy", "c"), LONG: "a long text"}
    assert contents.resolve(job(Piece("role", "user"), Piece("text", "t"), A, B, LONG), fetched) == [
        ResolvedPiece("role", "user", number=0),
        ResolvedPiece("constant", "t", number=1),
        ResolvedPiece("value", "four", (1, 2), "toy", generated=False, number=2),
        ResolvedPiece("value", "earlier", (3,), "toy", generated=True, number=3),
        ResolvedPiece("constant", "a long text", number=4),
    ]


def test_an_empty_value_is_a_value() -> None:
    contents = Contents()
    contents.put(A, Value(""))
    contents.put(LONG, "")
    assert [piece.text for piece in contents.resolve(job(A, LONG), {})] == ["", ""]


@pytest.mark.parametrize("piece", [A, LONG])
def test_a_missing_content_is_an_error_that_names_it(piece: Piece) -> None:
    with pytest.raises(VariableError, match=f"{piece.value} in the prompt of f has no content"):
        Contents().resolve(job(piece), {})


def test_the_least_recently_used_content_makes_room() -> None:
    contents = Contents(room=20)
    contents.put(A, Value("x" * 10))
    contents.put(B, Value("x" * 10))
    contents.resolve(job(A), {})
    contents.put(LONG, "x" * 10)
    assert contents.missing([job(A, B, LONG)]) == [B]


def test_tokens_take_room_as_well() -> None:
    contents = Contents(room=20)
    contents.put(A, Value("x", (1, 2, 3)))
    assert contents.missing([job(A)]) == [A]
