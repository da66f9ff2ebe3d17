import pytest

from parrot.cli.text import builtin, pieces, read
from parrot.errors import ConfigurationError

SENTENCES = " ".join(f"This is sentence number {number} of the text." for number in range(200))


def test_a_text_is_cut_into_as_many_pieces_as_asked():
    found = pieces(SENTENCES, 6, 10_000)
    assert len(found) == 6
    assert " ".join(found) == SENTENCES


def test_pieces_end_with_a_sentence():
    assert all(piece.endswith(".") for piece in pieces(SENTENCES, 7, 10_000))


def test_pieces_are_of_about_equal_length():
    lengths = [len(piece) for piece in pieces(SENTENCES, 5, 10_000)]
    assert max(lengths) - min(lengths) < 100


def test_no_piece_is_longer_than_allowed_and_the_rest_is_left_out():
    found = pieces(SENTENCES, 3, 500)
    assert all(len(piece) <= 500 for piece in found)
    assert SENTENCES.startswith(" ".join(found))


def test_a_text_without_sentences_is_cut_between_words():
    assert all(set(piece.split()) == {"word"} for piece in pieces("word " * 400, 4, 10_000))


def test_a_text_without_blanks_is_cut_all_the_same():
    assert [len(piece) for piece in pieces("x" * 1000, 4, 10_000)] == [250] * 4


def test_white_space_becomes_single_blanks():
    assert "\n" not in "".join(pieces(SENTENCES.replace(" ", "\n  "), 3, 10_000))


def test_a_text_that_is_too_short_is_refused():
    with pytest.raises(ConfigurationError, match="too short"):
        pieces("Too short.", 6, 1000)


def test_every_python_brings_enough_text():
    assert len(pieces(builtin(), 6, 1_800)) == 6


def test_a_folder_is_read_file_by_file_without_what_is_no_text(tmp_path):
    (tmp_path / "b.txt").write_text("second")
    (tmp_path / "a.txt").write_text("first")
    (tmp_path / "c.png").write_bytes(b"\x89PNG\0\xff")
    assert read(tmp_path) == "first\n\nsecond"


def test_a_path_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="is not there"):
        read(tmp_path / "nothing")


def test_a_folder_without_text_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="no text"):
        read(tmp_path)
