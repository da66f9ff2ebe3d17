"""Defining semantic functions: what is understood, and what is refused in which words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import pytest

import parrot as P
from parrot.template import Segment

GREEDY = P.SamplingConfig(temperature=0, max_gen_length=5)
LONG_NAME = "n" * 49


def refusal(function: Callable[..., object], **options: object) -> str:
    with pytest.raises(P.DefinitionError) as caught:
        P.semantic_function(**options)(function)  # type: ignore[call-overload]
    return str(caught.value)


# What is understood -------------------------------------------------------------------------------


def test_a_function_is_taken_apart_into_inputs_values_and_outputs() -> None:
    @P.semantic_function()
    def f(text: P.Input, n: int, anything, short: P.Output, long: P.Output(GREEDY)):
        """{{text}} {{n}} {{anything}} {{short}} and {{long}}"""

    found = f.definition.parameters
    assert (found.inputs, found.values, list(found.outputs)) == (("text",), ("n", "anything"), ["short", "long"])
    assert found.outputs == {"short": P.SamplingConfig(), "long": GREEDY}


def test_it_works_without_parentheses_too() -> None:
    @P.semantic_function
    def f(a: P.Output):
        """Say something: {{a}}"""

    assert f.definition.name == "f"
    assert f.__doc__ == "Say something: {{a}}"


def test_annotations_for_type_checkers_mean_the_same() -> None:
    @P.semantic_function
    def f(text: Annotated[str, P.Input], n: Annotated[int, "how many"], a: Annotated[str, P.Output], b: Annotated[str, P.Output(GREEDY)]):
        """{{text}} {{n}} {{a}} and {{b}}"""

    found = f.definition.parameters
    assert (found.inputs, found.values) == (("text",), ("n",))
    assert found.outputs == {"a": P.SamplingConfig(), "b": GREEDY}


def test_the_docstring_is_dedented() -> None:
    @P.semantic_function
    def f(a: P.Output):
        """
        One
          two
        {{a}}
        """

    assert f.definition.segments == [Segment("text", "One\n  two\n"), Segment("slot", "a")]


def test_name_model_and_chat_are_options() -> None:
    @P.semantic_function(name="other", model="big", chat="off")
    def f(a: P.Output):
        """{{a}}"""

    assert (f.definition.name, f.definition.model, f.definition.chat) == ("other", "big", "off")


def test_a_conversation_takes_the_place_of_the_docstring() -> None:
    @P.semantic_function(conversation=[P.system("Be brief."), P.user("Q: {{q}}"), P.assistant("{{a}}")])
    def f(q: P.Input, a: P.Output):
        """What it does, for people."""

    assert f.definition.segments == [
        Segment("role", "system"),
        Segment("text", "Be brief."),
        Segment("role", "user"),
        Segment("text", "Q: "),
        Segment("slot", "q"),
        Segment("role", "assistant"),
        Segment("slot", "a"),
    ]


def test_outputs_may_stand_behind_parameters_with_defaults() -> None:
    @P.semantic_function
    def f(text: P.Input = "nothing", words: int = 3, *, a: P.Output):
        """{{text}} {{words}} {{a}}"""

    assert list(f.definition.parameters.outputs) == ["a"]


def test_a_function_shows_what_a_call_takes() -> None:
    @P.semantic_function
    def f(text: P.Input, n: int = 3, *, a: P.Output):
        """{{text}} {{n}} {{a}}"""

    assert repr(f) == "<semantic function f(text, n=3)>"


# What is refused ----------------------------------------------------------------------------------


def test_a_function_without_a_prompt_is_refused() -> None:
    def f(a: P.Output): ...

    assert "f has no prompt. Write it as the function's docstring" in refusal(f)


def test_what_the_template_refuses_is_refused() -> None:
    def undeclared(a: P.Output):
        """{{b}} {{a}}"""

    def unused(x: P.Input, a: P.Output):
        """{{a}}"""

    def nothing(x: P.Input):
        """{{x}}"""

    def touching(a: P.Output, b: P.Output):
        """{{a}} {{b}}"""

    def twice(a: P.Output):
        """{{a}} or {{a}}"""

    assert "undeclared uses {{b}}" in refusal(undeclared)
    assert "'x' of unused does not occur" in refusal(unused)
    assert "nothing generates nothing" in refusal(nothing)
    assert "'a' and 'b' of touching touch" in refusal(touching)
    assert "'a' occurs 2 times" in refusal(twice)


def test_an_input_that_no_model_would_see_is_refused() -> None:
    def f(x: P.Input, a: P.Output):
        """{{a}} and {{x}}"""

    assert "'x' of f stands only after the last output" in refusal(f)


def test_parameters_without_names_of_their_own_are_refused() -> None:
    def many(*args: str, a: P.Output):
        """{{args}} {{a}}"""

    def named(a: P.Output, **kwargs: str):
        """{{kwargs}} {{a}}"""

    assert "many has the parameter '*args'" in refusal(many)
    assert "named has the parameter '**kwargs'" in refusal(named)


def test_parameters_called_like_an_argument_of_every_call_are_refused() -> None:
    def f(session: P.Input, a: P.Output):
        """{{session}} {{a}}"""

    def g(deadline: P.Input, a: P.Output):
        """{{deadline}} {{a}}"""

    def h(call_id: P.Input, a: P.Output):
        """{{call_id}} {{a}}"""

    assert "'session' of f must be called otherwise" in refusal(f)
    assert "'deadline' of g must be called otherwise" in refusal(g)
    assert "'call_id' of h must be called otherwise: a call takes its id" in refusal(h)


def test_a_parameter_that_is_input_and_output_is_refused() -> None:
    def f(a: Annotated[str, P.Input, P.Output]):
        """{{a}}"""

    assert "'a' of f is marked 2 times" in refusal(f)


def test_an_output_with_a_default_is_refused() -> None:
    def f(a: P.Output = "x"):
        """{{a}}"""

    assert "output 'a' of f has a default value" in refusal(f)


def test_an_input_whose_default_is_no_text_is_refused() -> None:
    def f(x: P.Input = 3, *, a: P.Output):
        """{{x}} {{a}}"""

    assert "default of the input 'x' of f is 3. It must be a str" in refusal(f)


def test_an_output_takes_sampling_parameters_only() -> None:
    with pytest.raises(P.DefinitionError, match=r"P\.Output takes a P\.SamplingConfig, not 0\.5"):
        P.Output(0.5)  # type: ignore[arg-type]


def test_an_annotation_that_cannot_be_read_is_refused() -> None:
    hidden = P.Output

    def f(a: hidden):
        """{{a}}"""

    assert hidden
    assert "name 'hidden' is not defined" in refusal(f)


def test_names_that_cannot_travel_are_refused() -> None:
    def f(a: P.Output):
        """{{a}}"""

    assert "1 to 128 characters; '' has 0" in refusal(f, name="")
    scope: dict[str, Callable[..., object]] = {}
    exec(f'import parrot as P\ndef g({LONG_NAME}: P.Output):\n    "{{{{{LONG_NAME}}}}}"', scope)
    assert "is longer than 48 characters" in refusal(scope["g"])


def test_a_prompt_that_is_no_unicode_is_refused() -> None:
    def f(a: P.Output): ...

    f.__doc__ = "\ud800 {{a}}"
    assert "half of a surrogate pair" in refusal(f)


def test_an_unknown_chat_option_is_refused() -> None:
    def f(a: P.Output):
        """{{a}}"""

    assert "chat='on' of f is not known" in refusal(f, chat="on")


def test_a_conversation_that_no_model_can_take_is_refused() -> None:
    def f(a: P.Output): ...

    assert "The conversation of f is empty" in refusal(f, conversation=[])
    assert "holds 'Hello {{a}}'" in refusal(f, conversation=["Hello {{a}}"])
    assert "stands in a turn of the user" in refusal(f, conversation=[P.user("{{a}}")])
    assert "needs the chat template" in refusal(f, conversation=[P.assistant("{{a}}")], chat="off")


def test_the_decorator_decorates_functions_only() -> None:
    with pytest.raises(P.DefinitionError, match="decorates a function, not 'summarize'"):
        P.semantic_function("summarize")  # type: ignore[call-overload]
