"""The prompt template: taken apart, checked, trimmed."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parrot.errors import DefinitionError
from parrot.template import Segment, check, parse, slots, trim

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,10}", fullmatch=True)
names.validate()  # imports what hypothesis needs for it now: CPython 3.11 may fail to compile deep in a test's stack
plain = st.text(st.characters(exclude_characters="{}", exclude_categories=["Cs"]), min_size=1, max_size=30)


def text(value: str) -> Segment:
    return Segment("text", value)


def slot(name: str) -> Segment:
    return Segment("slot", name)


def role(name: str) -> Segment:
    return Segment("role", name)


def written(segments: list[Segment]) -> str:
    return "".join(f"{{{{{segment.value}}}}}" if segment.kind == "slot" else segment.value for segment in segments)


# parse --------------------------------------------------------------------------------------------


def test_a_text_is_taken_apart_at_its_slots() -> None:
    assert parse("Sum up {{text}}: {{ summary }}.") == [text("Sum up "), slot("text"), text(": "), slot("summary"), text(".")]


def test_a_prompt_may_start_with_a_slot_and_slots_may_touch() -> None:
    assert parse("{{a}}{{b}}") == [slot("a"), slot("b")]


def test_single_braces_are_text() -> None:
    assert parse("{x} and }{ {{a}}") == [text("{x} and }{ "), slot("a")]


def test_nested_json_is_text() -> None:
    assert parse('Like {"a": {"b": 1}}: {{out}}') == [text('Like {"a": {"b": 1}}: '), slot("out")]


def test_a_slot_may_stand_in_nested_json() -> None:
    assert parse('{"a": {"b": {{x}}}}') == [text('{"a": {"b": '), slot("x"), text("}}")]


@pytest.mark.parametrize("wrong", ["{{}}", "{{a b}}", "{{1a}}", "{{a.b}}", '{{"a"}}', "{{größe}}"])
def test_a_slot_that_is_no_name_is_refused(wrong: str) -> None:
    with pytest.raises(DefinitionError, match="is not a name"):
        parse(f"before {wrong} after")


@pytest.mark.parametrize("wrong", ["{{name", "{{name}", "{name}}", "name}}", "{{a}}}}", "{{{{a}}", '{{"a": {"b": 1}}'])
def test_double_braces_that_do_not_pair_are_refused(wrong: str) -> None:
    with pytest.raises(DefinitionError, match="without its partner"):
        parse(wrong)


@given(st.lists(st.one_of(plain.map(text), names.map(slot)), max_size=8))
def test_what_is_written_is_what_is_parsed(segments: list[Segment]) -> None:
    parsed = parse(written(segments))
    assert slots(parsed) == slots(segments)
    assert written(parsed) == written(segments)


@given(st.text(st.sampled_from("{}ab \n"), max_size=40))
def test_any_text_is_refused_or_parsed_the_same_when_written_out_again(source: str) -> None:
    with suppress(DefinitionError):
        assert parse(written(parse(source))) == parse(source)


def test_a_hostile_text_is_parsed_in_no_time() -> None:
    """Strangers send templates through the gateway: the time is linear in their length."""
    for hostile in ("{{" + " " * 100_000, "{" * 200_000, "{{a" * 60_000):
        with pytest.raises(DefinitionError):
            parse(hostile)


# check --------------------------------------------------------------------------------------------


def refusal(prompt: str, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> str:
    with pytest.raises(DefinitionError) as caught:
        check(parse(prompt), inputs, outputs, "f")
    return str(caught.value)


def test_outputs_may_stand_first_in_the_middle_and_last() -> None:
    check(parse("{{a}} then {{x}} so {{b}} and {{c}}"), ["x"], ["a", "b", "c"], "f")


def test_an_input_may_be_used_again_and_again() -> None:
    check(parse("{{x}} {{x}} {{a}}"), ["x"], ["a"], "f")


def test_an_undeclared_name_is_refused() -> None:
    assert "uses {{y}}, which is not a parameter" in refusal("{{x}} {{y}} {{a}}", ("x",), ("a",))


def test_an_unused_input_is_refused() -> None:
    assert "'y' of f does not occur" in refusal("{{x}} {{a}}", ("x", "y"), ("a",))


def test_an_unused_output_is_refused() -> None:
    assert "'b' of f does not occur" in refusal("{{x}} {{a}}", ("x",), ("a", "b"))


def test_a_prompt_that_generates_nothing_is_refused() -> None:
    assert "f generates nothing" in refusal("{{x}}", ("x",), ())


def test_an_output_that_is_used_twice_is_refused() -> None:
    assert "'a' occurs 2 times" in refusal("{{a}} and {{a}}", (), ("a",))


@pytest.mark.parametrize("between", ["", " ", "\n\t"])
def test_outputs_that_touch_are_refused(between: str) -> None:
    assert "'a' and 'b' of f touch" in refusal(f"{{{{a}}}}{between}{{{{b}}}}", (), ("a", "b"))


def test_an_input_between_two_outputs_keeps_them_apart() -> None:
    check(parse("{{a}}{{x}}{{b}}"), ["x"], ["a", "b"], "f")


@given(st.lists(st.tuples(plain, names), min_size=1, max_size=6, unique_by=lambda pair: pair[1]), st.data())
def test_slots_with_words_between_them_are_accepted_whatever_they_are(pairs: list[tuple[str, str]], data: st.DataObject) -> None:
    segments = [segment for words, name in pairs for segment in (text(f"{words}."), slot(name))]
    declared = [name for _, name in pairs]
    outputs = data.draw(st.lists(st.sampled_from(declared), min_size=1, unique=True))
    check(segments, [name for name in declared if name not in outputs], outputs, "f")


def test_a_conversation_of_known_turns_is_accepted() -> None:
    check([role("system"), text("Be brief."), role("user"), slot("q"), role("assistant"), slot("a")], ["q"], ["a"], "f")


def test_a_conversation_begins_with_a_turn() -> None:
    with pytest.raises(DefinitionError, match="must begin with P"):
        check([text("Hello"), role("assistant"), slot("a")], [], ["a"], "f")


def test_a_turn_of_somebody_else_is_refused() -> None:
    with pytest.raises(DefinitionError, match="a turn of 'judge'"):
        check([role("judge"), text("Hm."), role("assistant"), slot("a")], [], ["a"], "f")


def test_an_output_stands_in_a_turn_of_the_assistant() -> None:
    with pytest.raises(DefinitionError, match="in a turn of the user"):
        check([role("user"), slot("a")], [], ["a"], "f")


def test_outputs_of_two_turns_do_not_touch() -> None:
    check([role("assistant"), slot("a"), role("assistant"), slot("b")], [], ["a", "b"], "f")


# trim ---------------------------------------------------------------------------------------------


def test_what_follows_the_last_output_is_dropped() -> None:
    assert trim(parse("Q {{x}}\nA:\n{{a}} The end. {{x}}"), ["a"]) == [text("Q "), slot("x"), text("\nA:\n"), slot("a")]


def test_blanks_before_an_output_are_dropped_and_line_ends_kept() -> None:
    assert trim(parse("One: {{a}} \t{{b}}"), ["a"]) == [text("One:"), slot("a")]
    assert trim(parse("One:\n {{a}}"), ["a"]) == [text("One:\n"), slot("a")]


def test_blanks_before_an_output_are_dropped_across_segments() -> None:
    assert trim([text("In "), text("English "), text(" "), slot("a")], ["a"]) == [text("In "), text("English"), slot("a")]


def test_a_blank_alone_before_an_output_leaves_nothing() -> None:
    assert trim([role("assistant"), text(" "), slot("a")], ["a"]) == [role("assistant"), slot("a")]


@given(st.lists(st.one_of(plain.map(text), names.map(slot)), max_size=8), plain)
def test_trimming_twice_is_trimming_once(segments: list[Segment], after: str) -> None:
    whole = [*segments, slot("out"), text(after)]
    once = trim(whole, ["out"])
    assert once[-1] == slot("out")
    assert trim(once, ["out"]) == once
