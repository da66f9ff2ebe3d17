"""A semantic function, taken apart and checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import cleandoc
from typing import get_args

from parrot.app import conversation, parameters
from parrot.app.conversation import Turn
from parrot.app.ids import is_text
from parrot.app.parameters import Parameters
from parrot.errors import DefinitionError
from parrot.template import Segment, check, parse, slots, trim
from parrot.wire.to_core import Chat

_LONGEST_NAME = 128  # characters, as the wire takes them


@dataclass(frozen=True, slots=True)
class Definition:
    """What there is to know of a semantic function before it is called.

    Attributes:
        name: how people find its calls.
        segments: the whole prompt.
        parameters: what goes into it and comes out of it.
        model: the model that must serve it, or None for the session's.
        chat: whether an instruct model sees a plain prompt through its chat template.
    """

    name: str
    segments: Sequence[Segment]
    parameters: Parameters
    model: str | None
    chat: Chat


def define(function: Callable[..., object], *, name: str | None, model: str | None, chat: Chat, turns: Sequence[Turn] | None) -> Definition:
    """Take a function apart.

    Args:
        function: its parameters are read, and its docstring if there is no conversation; its body is never run.
        name: another name than the function's own.
        model: the model that must serve it.
        chat: `auto` or `off`.
        turns: a conversation that is the prompt.

    Raises:
        DefinitionError: it cannot work; the message says why.
    """
    where = function.__name__ if name is None else name
    if not where or len(where) > _LONGEST_NAME:
        raise DefinitionError(f"A semantic function's name has 1 to {_LONGEST_NAME} characters; {where!r} has {len(where)}.")
    if chat not in get_args(Chat):
        raise DefinitionError(f"chat={chat!r} of {where} is not known. Write chat='auto', or chat='off' for a plain prompt.")
    if turns is not None and chat == "off":
        raise DefinitionError(f"{where} has a conversation and chat='off'. A conversation needs the chat template: leave chat out.")
    segments = _docstring(function, where) if turns is None else _conversation(turns, where)
    found = parameters.read(function, where)
    check(segments, (*found.inputs, *found.values), tuple(found.outputs), where)
    _check_reach(segments, found, where)
    return Definition(where, segments, found, model, chat)


def _check_reach(segments: Sequence[Segment], found: Parameters, where: str) -> None:
    reached = slots(trim(segments, found.outputs))
    for name in (*found.inputs, *found.values):
        if name not in reached:
            raise DefinitionError(
                f"{name!r} of {where} stands only after the last output. What comes after it is dropped, so no model would see it: "
                "move it to the front, or remove the parameter."
            )


def _docstring(function: Callable[..., object], where: str) -> list[Segment]:
    text = cleandoc(function.__doc__ or "")
    if not text:
        raise DefinitionError(
            f"{where} has no prompt. Write it as the function's docstring (python -OO removes docstrings), or pass conversation=[...]."
        )
    return parse(_checked(text, where))


def _conversation(turns: Sequence[Turn], where: str) -> list[Segment]:
    if not turns:
        raise DefinitionError(f"The conversation of {where} is empty. Give it turns: P.system, P.user, P.assistant.")
    for turn in turns:
        if not isinstance(turn, Turn):
            raise DefinitionError(f"The conversation of {where} holds {turn!r}. Write P.system(...), P.user(...) or P.assistant(...).")
        _checked(turn.text, where)
    return conversation.segments(turns)


def _checked(text: str, where: str) -> str:
    if not is_text(text):
        raise DefinitionError(f"The prompt of {where} holds half of a surrogate pair, which no model can read. Remove it.")
    return text
