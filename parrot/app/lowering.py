"""From one call's arguments to the message that submits it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from parrot.app import texts
from parrot.app.constants import Name, Names
from parrot.app.definition import Definition
from parrot.app.ids import fresh, given
from parrot.app.variable import Variable
from parrot.broker.texts import LONG
from parrot.errors import CallError, SessionError
from parrot.template import Segment, trim
from parrot.wire.digests import BLOCK_CHARACTERS
from parrot.wire.to_core import Argument, Output, SubmitCall

if TYPE_CHECKING:
    from parrot.app.session import BaseSession


class Constants:
    """Constant texts of one call: long ones are named by their hash.

    Args:
        names: of the texts that the session used last.

    Attributes:
        long: the texts that must be stored before the call is submitted, by hash.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self.long: dict[str, str] = {}

    def named(self, text: str) -> Name | None:
        """The name of a long text; None for one that travels as it is."""
        if len(text) < LONG:
            return None
        name = self._names.of(text)
        self.long[name.hash] = text
        return name


def bind(definition: Definition, args: Sequence[object], kwargs: Mapping[str, object]) -> dict[str, object]:
    """What was given for each parameter, defaults included.

    Raises:
        CallError: arguments that are missing, unknown or too many.
    """
    signature = definition.parameters.signature
    if generated := [name for name in kwargs if name in definition.parameters.outputs]:
        raise CallError(f"{generated[0]!r} is an output of {definition.name}: the call returns it. Do not pass it.")
    if unknown := [name for name in kwargs if name not in signature.parameters]:
        raise CallError(f"{definition.name} has no parameter {unknown[0]!r}. It takes {signature}.")
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise CallError(f"{definition.name}{signature} was called with other arguments: {error}.") from None
    bound.apply_defaults()
    return bound.arguments


def lower(
    definition: Definition, bound: Mapping[str, object], session: BaseSession, *, call_id: str | None, deadline: float | None
) -> tuple[SubmitCall, Mapping[str, str]]:
    """Make the message of one call.

    Args:
        definition: the function.
        bound: what `bind` found.
        session: the session that it is submitted to.
        call_id: the caller's name for the call.
        deadline: when it must have ended, in seconds since the epoch.

    Returns:
        The message, and the long constant texts that it names, by hash.

    Raises:
        CallError: an argument of the wrong type, or a name that cannot be taken.
        LimitExceeded: a text that is too long.
        SessionError: a variable of another session.
        ParrotError: an input will never come, since what makes it was not taken; why.
    """
    parameters, constants = definition.parameters, Constants(session.text_names)
    rendered = {name: _rendered(definition, name, bound[name]) for name in parameters.values}
    inputs = {name: _checked(definition, name, bound[name], session) for name in parameters.inputs}
    apart = {name: text for name, text in rendered.items() if _goes_apart(text)}
    inline = {name: text for name, text in rendered.items() if name not in apart}
    template = trim(_with_values(definition.segments, inline), parameters.outputs)
    call = fresh(definition.name) if call_id is None else given(call_id, session.id)
    message = SubmitCall(
        session=session.id,
        call=call,
        function=definition.name,
        template=[_segment(segment, constants) for segment in template],
        arguments={name: _argument(value, constants) for name, value in (inputs | apart).items()},
        outputs={name: Output(variable=f"{call}.{name}", sampling=sampling) for name, sampling in parameters.outputs.items()},
        model=definition.model or session.model,
        chat=definition.chat,
        deadline=deadline,
    )
    return message, constants.long


def _goes_apart(text: str) -> bool:
    """Whether a Python value travels like an input, with the names of its beginnings: others may begin alike.

    One that ends in blanks does not: if an output follows, they are trimmed.
    """
    return len(text) >= BLOCK_CHARACTERS and text[-1] not in " \t"


def _with_values(segments: Sequence[Segment], rendered: Mapping[str, str]) -> list[Segment]:
    filled = [
        Segment("text", rendered[segment.value]) if segment.kind == "slot" and segment.value in rendered else segment
        for segment in segments
    ]
    return [segment for segment in filled if segment.kind != "text" or segment.value]


def _rendered(definition: Definition, name: str, value: object) -> str:
    if isinstance(value, Variable):
        raise CallError(f"{name!r} of {definition.name} is a Python value, but a Variable was passed. Annotate it with P.Input.")
    return _readable(definition, name, str(value))


def _checked(definition: Definition, name: str, value: object, session: BaseSession) -> Variable | str:
    if isinstance(value, Variable):
        if value.session is not session:
            raise SessionError(
                f"The input {name!r} of {definition.name} was given the variable {value.name!r} of another session, {value.session.id}. "
                "Call it in that session, or pass the text that its get() returns."
            )
        value.check_taken()
        return value
    if isinstance(value, str):
        return _readable(definition, name, value)
    raise CallError(
        f"The input {name!r} of {definition.name} takes a Variable or a str, not {type(value).__name__}. "
        "Pass str(...), or annotate it with a Python type instead of P.Input."
    )


def _readable(definition: Definition, name: str, text: str) -> str:
    return texts.check(text, f"{name!r} of {definition.name}")


def _segment(segment: Segment, constants: Constants) -> Segment:
    name = constants.named(segment.value) if segment.kind == "text" else None
    return segment if name is None else Segment("hash", name.hash)


def _argument(value: Variable | str, constants: Constants) -> Argument:
    if isinstance(value, Variable):
        return Argument(variable=value.id)
    name = constants.named(value)
    if name is None:
        return Argument(text=value)
    return Argument(hash=name.hash, blocks=name.blocks) if name.blocks else Argument(hash=name.hash)
