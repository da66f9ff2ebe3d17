"""Beginnings of prompts: equal ones have equal names, and two prompts share names exactly as far as they share pieces and blocks."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parrot.core.beginnings import APART, LEAST, Beginnings, Stretch, beginnings, content_of, hashed, root_of, stretch_of
from parrot.core.graph import Graph, Session
from parrot.core.lowering import lower
from parrot.template import Segment
from parrot.wire.digests import BLOCK_CHARACTERS, block_digests, digest
from parrot.wire.keys import content_hash
from parrot.wire.states import VariableState
from parrot.wire.to_core import Argument, SubmitCall
from parrot.wire.to_engine import Mark, Piece
from tests.unit.core.cell import call

ROOT = root_of("auto", "")
LONG = "".join(f"{number:06} " for number in range(1200))  # four blocks and a bit
SENTENCE = (
    "Answer in one sentence, as if you explained it to a friend who has never heard of any of this before, and do not add a greeting. "
)


def look_up(piece: Piece) -> Stretch:
    """Variables and hashes stand for their own values."""
    return stretch_of(piece.value)


def name_them(*prompt: Piece, output: str = "out", root: int = ROOT) -> Beginnings:
    return beginnings(root, prompt, output, look_up)


def shared(one: Beginnings, other: Beginnings) -> int:
    """How many names two prompts share."""
    return len({*one.names} & {*other.names})


def of_text(value: str) -> Piece:
    return Piece("text", value)


# Names ------------------------------------------------------------------------------------------


def test_equal_beginnings_have_equal_names_wherever_they_end() -> None:
    short = name_them(of_text(SENTENCE), of_text(SENTENCE + "A"))
    long = name_them(of_text(SENTENCE), of_text(SENTENCE + "A"), of_text(SENTENCE + "B"))
    assert short.names[:2] == long.names[:2]
    assert shared(short, long) == 2


def test_a_piece_that_differs_changes_the_names_of_all_that_follows() -> None:
    one, other = (name_them(of_text(SENTENCE), of_text(SENTENCE + who), of_text(SENTENCE)) for who in ("Ann", "Bob"))
    assert one.names[0] == other.names[0]
    assert shared(one, other) == 1


def test_the_same_pieces_in_another_order_are_another_prompt() -> None:
    assert shared(name_them(of_text(SENTENCE), of_text(LONG)), name_them(of_text(LONG), of_text(SENTENCE))) == 0


def test_pieces_are_not_their_sum() -> None:
    """Each piece is tokenised by itself, so that the same characters cut in another place are other tokens."""
    assert shared(name_them(of_text(SENTENCE + SENTENCE)), name_them(of_text(SENTENCE), of_text(SENTENCE))) == 0


def test_a_role_is_no_text() -> None:
    assert shared(name_them(Piece("role", "user"), of_text(SENTENCE)), name_them(of_text("user"), of_text(SENTENCE))) == 0


def test_the_last_name_is_that_of_the_prompt_with_its_output() -> None:
    one, same, other = (name_them(of_text(SENTENCE), output=output) for output in ("a.x", "a.x", "b.x"))
    assert one.names == same.names
    assert one.names[:-1] == other.names[:-1]
    assert one.names[-1] != other.names[-1]


def test_who_goes_on_from_an_output_begins_with_the_prompt_that_it_continues() -> None:
    first = name_them(of_text(SENTENCE), output="a.x")
    made = Stretch(digest("a.x"), (), 20)  # as of a value of which nothing but its id is known
    second = beginnings(ROOT, [of_text(SENTENCE), Piece("variable", "a.x")], "b.x", lambda _: made)
    assert first.names[-1] in second.names


# What it depends on beside its pieces -----------------------------------------------------------


def test_chat_mode_changes_all_names() -> None:
    assert shared(name_them(of_text(LONG), root=root_of("auto", "")), name_them(of_text(LONG), root=root_of("off", ""))) == 0


def test_isolation_by_tenant_changes_all_names() -> None:
    assert shared(name_them(of_text(LONG), root=root_of("auto", "ann")), name_them(of_text(LONG), root=root_of("auto", "bob"))) == 0


def test_names_are_the_same_in_every_process() -> None:
    """Leaders after us, and engines that outlive us, must find what we named."""
    assert name_them(of_text(SENTENCE), of_text("user")).names.tolist() == [6974764050348417, 1476074789595028]


# One text, given in three ways ------------------------------------------------------------------


def test_a_text_and_its_hash_are_named_alike() -> None:
    assert content_of(SENTENCE) == hashed(content_hash(SENTENCE))


def test_a_hash_that_is_not_ours_names_something_all_the_same() -> None:
    assert hashed("my-system-prompt") != hashed("my-other-system-prompt")


class Story:
    """A graph in which a long text is given in one way or another."""

    def __init__(self, isolated: bool = False) -> None:
        self.graph = Graph(isolated)
        self.sessions = [Session(name, name, tenant=name) for name in ("s", "t")]
        self.graph.sessions = {session.id: session for session in self.sessions}

    def read(self, request: SubmitCall) -> Beginnings:
        generations = self.graph.add(self.graph.sessions[request.session], request, lower(request))
        self.graph.read_prompt(generations[0])
        return generations[0].beginnings

    def submit(self, name: str, argument: Argument, session: str = "s") -> Beginnings:
        request = call(name, SENTENCE + "{{text}} Then: {{x}}", text="=later", session=session)
        return self.read(request.model_copy(update={"arguments": {"text": argument}}))

    def declare(self, variable: str, text: str) -> Argument:
        self.graph.declare(self.sessions[0], variable, VariableState.READY).says(text)
        return Argument(variable=variable)


def test_a_text_has_the_same_names_as_argument_by_hash_and_as_a_variable() -> None:
    story = Story()
    in_place = story.submit("a", Argument(text=LONG))
    by_hash = story.submit("b", Argument(hash=content_hash(LONG), blocks=block_digests(LONG)))
    declared = story.submit("c", story.declare("v", LONG))
    assert in_place.names[:-1] == declared.names[:-1]
    assert shared(in_place, declared) == len(in_place.names) - 1
    assert shared(in_place, by_hash) >= 5  # the sentence and four blocks; how long the rest is, the hash does not say


def test_only_the_hash_of_a_text_is_known_and_still_the_whole_of_it_is_found() -> None:
    story = Story()
    whole = story.submit("a", Argument(hash=content_hash("one text")))
    assert whole.names[:-1] == story.submit("b", Argument(hash=content_hash("one text"))).names[:-1]
    assert shared(whole, story.submit("c", Argument(hash=content_hash("another text")))) == 1


def test_tenants_share_names_unless_they_are_kept_apart() -> None:
    for isolated, names in ((False, 6), (True, 0)):
        story = Story(isolated)
        assert shared(story.submit("a", Argument(text=LONG)), story.submit("b", Argument(text=LONG), session="t")) == names


def test_a_value_that_a_model_made_is_known_by_its_variable() -> None:
    story = Story()
    request = call("a", "Go {{x}}")
    made = story.graph.add(story.sessions[0], request, lower(request))[0].made
    first, second = (story.read(call(name, SENTENCE + "{{text}} Then: {{x}}", text="a.x")) for name in ("b", "c"))
    assert first.names[:-1] == second.names[:-1]
    made.tokens = 300
    longer = story.read(call("d", SENTENCE + "{{text}} Then: {{x}}", text="a.x"))
    assert longer.prompt_tokens == first.prompt_tokens + 300
    assert shared(first, longer) >= 1


def test_the_second_output_of_a_call_begins_with_its_first() -> None:
    story = Story()
    request = call("a", SENTENCE + "{{x}}" + SENTENCE + "{{y}}")
    first, second = story.graph.add(story.sessions[0], request, lower(request))
    for generation in (first, second):
        story.graph.read_prompt(generation)
    assert first.beginnings.names[:1] == second.beginnings.names[:1]
    first.made.tokens = 40  # it is there
    story.graph.read_prompt(second)
    assert first.beginnings.names[-1] in second.beginnings.names


# Which are worth a name -------------------------------------------------------------------------


def test_short_prompts_have_no_names() -> None:
    assert not name_them(of_text("Say hello.")).names
    assert name_them(of_text("Say hello.")).prompt_tokens == 3
    assert not name_them().names


def test_names_stand_apart() -> None:
    tokens = name_them(*(of_text(f"{number:020}") for number in range(40))).tokens
    inner = tokens[:-1]
    assert inner[0] >= LEAST
    assert all(later - earlier >= APART for earlier, later in pairwise(inner))


def test_texts_that_begin_alike_share_their_first_blocks_and_no_more() -> None:
    changed = 2 * BLOCK_CHARACTERS + 100
    one = name_them(of_text(LONG))
    other = name_them(of_text(LONG[:changed] + "!" + LONG[changed + 1 :]))
    assert shared(one, other) == 2
    assert one.names[:2] == other.names[:2]


def test_a_long_text_has_names_all_along_though_ever_further_apart() -> None:
    blocks = list(range(1, 1001))
    stretch = Stretch(1, blocks, 512 * len(blocks))
    ends = [mark.characters // BLOCK_CHARACTERS for mark in beginnings(ROOT, [Piece("hash", "h")], "out", lambda _: stretch).marks()]
    inside = [end for end in ends if end]
    assert inside[:8] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert len(inside) < 70
    for number in range(1, 1000):  # whatever a text shares with it, seven eighths of that are found
        assert max(end for end in inside if end <= number) > number * 7 / 8 - 1


def test_long_texts_are_thinned_alike_whatever_their_length() -> None:
    blocks = list(range(1, 1001))

    def marked(length: int) -> set[Mark]:
        stretch = Stretch(length, blocks[:length], 512 * length)
        return {mark for mark in beginnings(ROOT, [Piece("hash", "h")], "out", lambda _: stretch).marks() if mark.characters}

    for length in (5, 64, 200, 999):
        end = length * BLOCK_CHARACTERS
        assert marked(length) == {mark for mark in marked(1000) if mark.characters <= end}


def test_marks_say_where_each_name_ends() -> None:
    made = name_them(of_text(SENTENCE), of_text(LONG[: 2 * BLOCK_CHARACTERS + 1]), of_text("the end"))
    assert [mark.name for mark in made.marks()] == made.names.tolist()
    ends = [(mark.piece, mark.characters) for mark in made.marks()]
    assert ends == [(1, 0), (1, BLOCK_CHARACTERS), (1, 2 * BLOCK_CHARACTERS), (4, 0)]  # "the end" adds too little


def test_the_largest_text_that_is_allowed_is_marked_to_its_end() -> None:
    stretch = Stretch(1, range(1, 4097), 2_000_000)
    last, _ = beginnings(ROOT, [Piece("hash", "h")], "out", lambda _: stretch).marks()[-2:]
    assert (last.piece, last.characters) == (0, 4096 * BLOCK_CHARACTERS)


# For any two prompts ----------------------------------------------------------------------------

TEXTS = st.sampled_from(
    ["", "user", SENTENCE, SENTENCE + "?", LONG, LONG[: 2 * BLOCK_CHARACTERS], LONG[:5000] + "!" + LONG[5001:], "x" * 70]
)
PIECES = st.builds(Piece, st.sampled_from(["text", "hash", "variable", "role"]), TEXTS)
PROMPTS = st.lists(PIECES, max_size=6)


def characters_shared(one: Piece, other: Piece) -> int:
    """Characters of whole blocks that two pieces share; roles have no blocks."""
    if "role" in (one.kind, other.kind):
        return 0
    blocks = zip(block_digests(one.value), block_digests(other.value), strict=False)
    alike = [left == right for left, right in blocks]
    return BLOCK_CHARACTERS * (alike.index(False) if False in alike else len(alike))


def same(one: Piece, other: Piece) -> bool:
    return one.value == other.value and (one.kind == "role") == (other.kind == "role")


@settings(max_examples=200, deadline=None)
@given(start=PROMPTS, rest=PROMPTS, other_rest=PROMPTS, outputs=st.tuples(st.sampled_from("ab"), st.sampled_from("ab")))
def test_two_prompts_share_exactly_the_names_of_what_they_share(
    start: list[Piece], rest: list[Piece], other_rest: list[Piece], outputs: tuple[str, str]
) -> None:
    one, other = start + rest, start + other_rest
    pieces = next((at for at, pair in enumerate(zip(one, other, strict=False)) if not same(*pair)), min(len(one), len(other)))
    inside = characters_shared(one[pieces], other[pieces]) if max(pieces, 0) < min(len(one), len(other)) else 0
    wholly = len(one) == len(other) == pieces and outputs[0] == outputs[1]
    first, second = (name_them(*prompt, output=output) for prompt, output in zip((one, other), outputs, strict=True))
    for made, prompt, twin in ((first, one, second), (second, other, first)):
        for mark in made.marks():
            within = mark.piece < pieces or (mark.piece == pieces and mark.characters <= inside)
            with_output = mark.piece == len(prompt) + 1
            assert (mark.name in twin.names) == (wholly if with_output else within)
    alike = shared(first, second)
    assert first.names[:alike] == second.names[:alike]  # what is shared comes first
    assert first.tokens[:alike] == second.tokens[:alike]


@settings(max_examples=100, deadline=None)
@given(prompt=PROMPTS)
def test_names_of_one_prompt_are_all_different_and_numbers_that_json_keeps(prompt: list[Piece]) -> None:
    made = name_them(*prompt)
    assert len({*made.names}) == len(made.names) == len(made.tokens) == len(made.ends)
    assert all(0 <= name < 2**53 for name in made.names)
    assert list(made.tokens) == sorted(made.tokens)


@pytest.fixture
def template_call() -> SubmitCall:
    request = call("a", "{{x}}")
    segments = [Segment("role", "user"), Segment("text", LONG), Segment("role", "assistant"), Segment("slot", "x")]
    return request.model_copy(update={"template": segments})


def test_constants_of_a_template_are_named_as_texts_are(template_call: SubmitCall) -> None:
    story = Story()
    assert story.read(template_call).names[:-1] == name_them(Piece("role", "user"), of_text(LONG), Piece("role", "assistant")).names[:-1]


def test_a_generation_knows_how_long_its_prompt_is() -> None:
    story = Story()
    request = call("a", LONG + "{{x}}")
    generation = story.graph.add(story.sessions[0], request, lower(request))[0]
    story.graph.read_prompt(generation)
    assert generation.tokens_in == pytest.approx(len(LONG) / 4, abs=2)
