"""From a submitted call to its generations.

A call with k outputs becomes k generations in one chain: the prompt of each holds everything that stands before it in the
template, earlier outputs included, so that each extends the context of the one before.
"""

from __future__ import annotations

from dataclasses import dataclass

from parrot import template
from parrot.errors import CallError, DefinitionError
from parrot.sampling import SamplingConfig
from parrot.wire.to_core import Argument, SubmitCall
from parrot.wire.to_engine import Piece


@dataclass(frozen=True, slots=True)
class Lowered:
    """One generation of a call.

    Attributes:
        output: the slot that it fills.
        variable: the variable behind that slot.
        prompt: all pieces before it.
        inputs: the variables among them, each once.
        sampling: how to sample.
    """

    output: str
    variable: str
    prompt: tuple[Piece, ...]
    inputs: tuple[str, ...]
    sampling: SamplingConfig


def lower(request: SubmitCall) -> list[Lowered]:
    """Take a call apart into its generations, in the order of the template.

    Raises:
        CallError: slots, arguments and outputs do not fit together.
    """
    _check(request)
    generations: list[Lowered] = []
    prompt: list[Piece] = []
    inputs: dict[str, None] = {}
    for segment in request.template:
        if segment.kind != "slot":
            prompt.append(Piece(segment.kind, segment.value))
        elif (output := request.outputs.get(segment.value)) is not None:
            generations.append(Lowered(segment.value, output.variable, tuple(prompt), tuple(inputs), output.sampling))
            prompt.append(Piece("variable", output.variable))
            inputs[output.variable] = None
        else:
            piece = _piece(request.arguments[segment.value])
            prompt.append(piece)
            if piece.kind == "variable":
                inputs[piece.value] = None
    return generations


def _check(request: SubmitCall) -> None:
    try:
        template.check(request.template, request.arguments, request.outputs, request.function)
    except DefinitionError as error:
        raise CallError(str(error)) from None
    for name, argument in request.arguments.items():
        given = sum(value is not None for value in (argument.variable, argument.text, argument.hash))
        if given != 1:
            raise CallError(f"The argument {name!r} of {request.function} must be exactly one of variable, text and hash.")
    made = [output.variable for output in request.outputs.values()]
    if len(set(made)) != len(made):
        raise CallError(f"Two outputs of {request.function} name the same variable.")


def _piece(argument: Argument) -> Piece:
    if argument.variable is not None:
        return Piece("variable", argument.variable)
    if argument.hash is not None:
        return Piece("hash", argument.hash)
    return Piece("text", argument.text or "")
