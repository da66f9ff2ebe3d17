"""Calling semantic functions: the messages that go out, and what is refused in which words."""

from __future__ import annotations

import time

import pytest

import parrot as P
from parrot.broker.texts import LONG
from parrot.template import Segment
from parrot.wire.codec import encode
from parrot.wire.digests import BLOCK_CHARACTERS, block_digests
from parrot.wire.keys import content_hash
from parrot.wire.to_core import Argument, SubmitCall

from .conftest import FakeAsyncSession, FakeSession


@P.semantic_function(model="big")
def think(question: P.Input, words: int = 9, *, thought: P.Output, answer: P.Output(P.SamplingConfig(temperature=0))):
    """Q: {{question}} in {{words}} words. Thought: {{thought}} Answer: {{answer}} Thanks."""


@P.semantic_function
def echo(text: P.Input, said: P.Output):
    """Say {{text}}: {{said}}"""


@P.semantic_function
def quote(source: str, said: P.Output):
    """{{source}}{{said}}"""


def only_call(session: FakeAsyncSession | FakeSession) -> SubmitCall:
    (call,) = session.fake.all(SubmitCall)
    return call


# What goes out ------------------------------------------------------------------------------------


async def test_a_call_says_all_that_servecore_needs(session: FakeAsyncSession) -> None:
    given = session.variable("Why?")
    thought, answer = think(given, session=session)
    call = only_call(session)
    assert (call.session, call.function, call.model, call.chat) == (session.id, "think", "big", "auto")
    assert call.arguments == {"question": Argument(variable=given.id)}
    assert [(name, output.variable) for name, output in call.outputs.items()] == [("thought", thought.id), ("answer", answer.id)]
    assert call.outputs["answer"].sampling == P.SamplingConfig(temperature=0)
    assert call.template == [
        Segment("text", "Q: "),
        Segment("slot", "question"),
        Segment("text", " in "),
        Segment("text", "9"),
        Segment("text", " words. Thought:"),
        Segment("slot", "thought"),
        Segment("text", " Answer:"),
        Segment("slot", "answer"),
    ]


async def test_outputs_are_named_after_their_call(session: FakeAsyncSession) -> None:
    said = echo("hello", session=session)
    assert said.id == f"{only_call(session).call}.said"
    assert said.id.startswith("echo-")
    assert said.name == "said"


async def test_two_calls_never_share_an_id(session: FakeAsyncSession) -> None:
    assert len({echo("hello", session=session).id for _ in range(100)}) == 100


async def test_one_output_is_a_variable_and_several_are_a_tuple(session: FakeAsyncSession) -> None:
    assert isinstance(echo("hello", session=session), P.Variable)
    several = think("Why?", session=session)
    assert [variable.name for variable in several] == ["thought", "answer"]


async def test_a_text_is_a_constant_input(session: FakeAsyncSession) -> None:
    echo(text="hello", session=session)
    assert only_call(session).arguments == {"text": Argument(text="hello")}


async def test_python_values_are_rendered_with_str_and_may_be_given_by_name_or_position(session: FakeAsyncSession) -> None:
    think("Why?", 3, session=session)
    think("Why?", words=[1, 2], session=session)
    assert [call.template[3] for call in session.fake.all(SubmitCall)] == [Segment("text", "3"), Segment("text", "[1, 2]")]


async def test_python_values_are_taken_as_they_are(session: FakeAsyncSession) -> None:
    quote('{{said}} {"a": {"b": 1}}', session=session)
    assert only_call(session).template == [Segment("text", '{{said}} {"a": {"b": 1}}'), Segment("slot", "said")]


async def test_an_empty_value_and_blanks_before_an_output_leave_nothing(session: FakeAsyncSession) -> None:
    quote("", session=session)
    quote("so \t", session=session)
    first, second = session.fake.all(SubmitCall)
    assert first.template == [Segment("slot", "said")]
    assert second.template == [Segment("text", "so"), Segment("slot", "said")]


async def test_long_constant_texts_travel_by_their_hash(session: FakeAsyncSession) -> None:
    long = "x" * LONG
    echo(long, session=session)
    quote(long, session=session)
    echo("x" * (LONG - 1), session=session)
    by_input, by_value, in_place = session.fake.all(SubmitCall)
    assert by_input.arguments == {"text": Argument(hash=content_hash(long))}
    assert by_value.template[0] == Segment("hash", content_hash(long))
    assert in_place.arguments["text"].hash is None
    assert session.fake.texts == {content_hash(long): long}


async def test_long_texts_travel_with_the_names_of_their_beginnings(session: FakeAsyncSession) -> None:
    """So ServeCore, which never sees the texts, sees how far two of them begin alike."""
    system = "s" * 2 * BLOCK_CHARACTERS
    echo(f"{system} one" + "x" * BLOCK_CHARACTERS, session=session)
    echo(f"{system} two" + "x" * BLOCK_CHARACTERS, session=session)
    one, two = (call.arguments["text"].blocks for call in session.fake.all(SubmitCall))
    assert len(one) == len(two) == 3
    assert one[:2] == two[:2] == block_digests(system)
    assert one[2] != two[2]


async def test_long_python_values_travel_with_the_names_of_their_beginnings_too(session: FakeAsyncSession) -> None:
    document = "d" * 2 * BLOCK_CHARACTERS
    quote(f"{document} one" + "x" * BLOCK_CHARACTERS, session=session)
    quote(f"{document} two" + "x" * BLOCK_CHARACTERS, session=session)
    first, second = session.fake.all(SubmitCall)
    assert first.template == second.template == [Segment("slot", "source"), Segment("slot", "said")]
    one, two = first.arguments["source"], second.arguments["source"]
    assert one.blocks[:2] == two.blocks[:2] == block_digests(document)
    assert one.blocks[2] != two.blocks[2]
    assert {one.hash, two.hash} == session.fake.texts.keys()


async def test_a_long_python_value_that_ends_in_blanks_is_trimmed_before_an_output_like_a_short_one(session: FakeAsyncSession) -> None:
    quote("x" * BLOCK_CHARACTERS + " \t", session=session)
    assert only_call(session).template == [Segment("hash", content_hash("x" * BLOCK_CHARACTERS)), Segment("slot", "said")]
    assert only_call(session).arguments == {}


async def test_a_text_that_is_shorter_than_a_block_says_nothing_of_blocks(session: FakeAsyncSession) -> None:
    echo("x" * LONG, session=session)
    assert '"blocks"' not in str(encode(only_call(session))["body"])


async def test_the_sessions_model_serves_functions_that_name_none() -> None:
    async with FakeAsyncSession(model="small") as session:
        echo("hello")
        think("Why?")
    assert [call.model for call in session.fake.all(SubmitCall)] == ["small", "big"]


# Which session ------------------------------------------------------------------------------------


async def test_a_call_goes_to_the_session_of_the_innermost_block() -> None:
    async with FakeAsyncSession() as outer:
        async with FakeAsyncSession() as inner:
            echo("inside")
        echo("outside")
        echo("passed", session=outer)
    assert (len(inner.fake.all(SubmitCall)), len(outer.fake.all(SubmitCall))) == (1, 2)


def test_a_synchronous_session_works_the_same() -> None:
    with FakeSession() as session:
        said = echo("hello")
    assert only_call(session).outputs["said"].variable == said.id


def test_a_call_outside_of_any_session_is_refused() -> None:
    with pytest.raises(P.SessionError, match=r"echo was called outside of a session. Call it inside `with P.Session\(\):`"):
        echo("hello")


async def test_a_call_in_a_closed_session_is_refused() -> None:
    async with FakeAsyncSession() as session:
        pass
    with pytest.raises(P.SessionError, match="is closed and takes no more submissions"):
        echo("hello", session=session)


async def test_a_call_in_a_session_that_is_not_open_is_refused() -> None:
    with pytest.raises(P.SessionError, match="is not open yet"):
        echo("hello", session=FakeAsyncSession())
    with pytest.raises(P.SessionError, match="is not open yet"):
        echo("hello", session=FakeSession())


async def test_what_is_no_session_is_refused() -> None:
    with pytest.raises(P.CallError, match="session='mine' is not a session"):
        echo("hello", session="mine")  # type: ignore[arg-type]


# What is refused ----------------------------------------------------------------------------------


async def test_a_missing_argument_is_refused(session: FakeAsyncSession) -> None:
    with pytest.raises(P.CallError, match=r"think\(question, words=9\) was called .* missing .* 'question'"):
        think(session=session)


async def test_an_unknown_argument_is_refused(session: FakeAsyncSession) -> None:
    with pytest.raises(P.CallError, match=r"echo has no parameter 'txt'. It takes \(text\)"):
        echo(txt="hello", session=session)


async def test_too_many_arguments_are_refused(session: FakeAsyncSession) -> None:
    with pytest.raises(P.CallError, match="too many positional arguments"):
        echo("hello", "again", session=session)


async def test_passing_an_output_is_refused(session: FakeAsyncSession) -> None:
    with pytest.raises(P.CallError, match="'said' is an output of echo: the call returns it"):
        echo("hello", said="me", session=session)


async def test_an_input_of_another_type_is_refused(session: FakeAsyncSession) -> None:
    with pytest.raises(P.CallError, match="'text' of echo takes a Variable or a str, not int"):
        echo(3, session=session)


async def test_a_variable_for_a_python_value_is_refused(session: FakeAsyncSession) -> None:
    with pytest.raises(P.CallError, match=r"'words' of think is a Python value, but a Variable was passed. Annotate it with P.Input"):
        think("Why?", words=session.variable("3"), session=session)


async def test_a_variable_of_another_session_is_refused(session: FakeAsyncSession) -> None:
    async with FakeAsyncSession(name="other") as other:
        foreign = other.variable("hello")
    with pytest.raises(P.SessionError, match="the variable 'v1' of another session, other-"):
        echo(foreign, session=session)


async def test_a_text_that_is_no_unicode_is_refused(session: FakeAsyncSession) -> None:
    for call in (echo, quote):
        with pytest.raises(P.CallError, match="half of a surrogate pair"):
            call("\ud800", session=session)


async def test_a_call_that_is_refused_sends_nothing(session: FakeAsyncSession) -> None:
    with pytest.raises(P.CallError):
        echo(3, session=session)
    assert session.fake.all(SubmitCall) == []


# Deadlines and names ------------------------------------------------------------------------------


async def test_a_deadline_is_sent_as_a_moment(session: FakeAsyncSession) -> None:
    before = time.time()
    echo("hello", session=session, deadline=5)
    deadline = only_call(session).deadline
    assert deadline is not None
    assert before + 5 <= deadline <= time.time() + 5


async def test_a_deadline_that_cannot_be_met_is_refused(session: FakeAsyncSession) -> None:
    with pytest.raises(P.CallError, match="deadline=0 cannot be met"):
        echo("hello", session=session, deadline=0)


async def test_calls_of_the_same_name_are_one_call_within_a_session(session: FakeAsyncSession) -> None:
    first, again = (echo("hello", session=session, call_id="greeting-1") for _ in range(2))
    one, two = session.fake.all(SubmitCall)
    assert one == two
    assert first.id == again.id == f"{one.call}.said"
    assert first.id.startswith("greeting-1-")


async def test_calls_of_the_same_name_in_two_sessions_are_two_calls(session: FakeAsyncSession) -> None:
    async with FakeAsyncSession() as other:
        assert echo("hello", session=session, call_id="a").id != echo("hello", session=other, call_id="a").id


@pytest.mark.parametrize("call_id", ["", "a b", "a/b", "x" * 61, 7, "\n"])
async def test_names_that_are_no_ids_are_refused(session: FakeAsyncSession, call_id: str) -> None:
    with pytest.raises(P.CallError, match=r"call_id=.* cannot be taken\. Write 1 to 60 letters"):
        echo("hello", session=session, call_id=call_id)
