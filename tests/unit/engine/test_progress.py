"""From chunks to parts: whole characters, tokens that agree, one number after the other."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from parrot.broker.tokens import Part
from parrot.engine.progress import Progress
from parrot.engine.resume import Checkpoint, checkpoint
from parrot.sampling import SamplingConfig

BY = "model bytes"
START = Checkpoint()
PARROT = list("🦜".encode())


def decode(tokens: Sequence[int]) -> str:
    """A tokenizer whose tokens are bytes."""
    return bytes(tokens).decode("utf-8", "replace")


def progress(start: Checkpoint = START) -> Progress:
    return Progress(start, BY, ord(":"), decode)


def add(to: Progress, tokens: Sequence[int], text: str) -> None:
    to.tokens += tokens
    to.texts.append(text)


def test_a_part_holds_what_is_new_and_the_first_says_who_made_it() -> None:
    made = progress()
    add(made, b"ab", "ab")
    add(made, b"c", "c")
    assert made.part() == Part(1, "abc", (97, 98, 99), by=BY)
    assert made.part() is None
    add(made, b"d", "d")
    assert made.part() == Part(2, "d", (100,))


def test_the_bytes_of_half_a_character_wait_for_the_other_half() -> None:
    made = progress()
    add(made, [97, *PARROT[:2]], "a")
    assert made.part() == Part(1, "a", (97,), by=BY)
    assert made.part() is None
    add(made, [*PARROT[2:], 98, PARROT[0]], "🦜b")
    assert made.part() == Part(2, "🦜b", (*PARROT, 98))


def test_tokens_that_do_not_say_the_text_are_not_given_and_none_after_them() -> None:
    made = progress()
    add(made, [97], "a")
    assert made.part() == Part(1, "a", (97,), by=BY)
    add(made, [98, 0], "b")  # what a model says and a detokenizer leaves out
    add(made, [99], "c")
    assert made.part() == Part(2, "bc", ())
    add(made, [100], "d")
    assert made.part() == Part(3, "d", ())


def test_what_was_never_streamed_leaves_no_rest() -> None:
    made = progress()
    add(made, b"ab", "ab")
    assert made.rest() is None


def test_the_rest_is_what_the_stream_lacks() -> None:
    made = progress()
    add(made, b"a", "a")
    made.part()
    add(made, b"b", "b")
    assert made.rest() == Part(2, "b", (98,))
    assert made.rest() is None


def test_who_goes_on_counts_on_and_who_begins_anew_says_so_first() -> None:
    on = progress(Checkpoint(4, (97,), "a"))
    add(on, b"b", "b")
    assert (on.part(), "".join(on.texts)) == (Part(5, "b", (98,)), "ab")
    anew = progress(Checkpoint(4, void=True))
    assert anew.reset() == Part(5, "", (), "reset")
    add(anew, b"b", "b")
    assert anew.rest() == Part(6, "b", (98,), by=BY)


@given(st.text(max_size=20), st.data())
def test_parts_add_up_and_every_one_is_a_place_to_go_on_from(text: str, data: st.DataObject) -> None:
    """Whatever the steps, and wherever parts are taken: the texts are the value, and each checkpoint's tokens say its text."""
    made, parts, said = progress(), [], 0
    raw = list(text.encode())
    while len(made.tokens) < len(raw):
        made.tokens += raw[len(made.tokens) :][: data.draw(st.integers(1, 5))]
        whole = bytes(made.tokens).decode("utf-8", "ignore")  # a detokenizer gives whole characters
        made.texts.append(whole[said:])
        said = len(whole)
        if data.draw(st.booleans()) and (part := made.part()) is not None:
            parts.append(part)
            start = checkpoint(SamplingConfig(temperature=0), parts, BY)
            assert decode(start.tokens) == start.text
            assert text.startswith(start.text)
    if (rest := made.rest()) is not None:
        parts.append(rest)
    assert [part.number for part in parts] == list(range(1, len(parts) + 1))
    if parts:
        assert "".join(part.text for part in parts) == text
