"""A prompt in chat turns, for models that were trained on them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from inspect import cleandoc

from parrot.template import Segment, parse


@dataclass(frozen=True, slots=True)
class Turn:
    """One chat turn.

    Args:
        role: `system`, `user` or `assistant`.
        text: what is said, with `{{name}}` slots.
    """

    role: str
    text: str


def system(text: str) -> Turn:
    """What the model is told about its part."""
    return Turn("system", text)


def user(text: str) -> Turn:
    """What a person says to the model."""
    return Turn("user", text)


def assistant(text: str) -> Turn:
    """What the model says; outputs stand here."""
    return Turn("assistant", text)


def segments(turns: Iterable[Turn]) -> list[Segment]:
    """A conversation as template segments.

    Raises:
        DefinitionError: as `parrot.template.parse`.
    """
    return [segment for turn in turns for segment in (Segment("role", turn.role), *parse(cleandoc(turn.text)))]
