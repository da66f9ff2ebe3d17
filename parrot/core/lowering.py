"""From a submitted call to its generations.

A call with k outputs becomes k generations in one chain: the prompt of each holds everything that stands before it in the
template, earlier outputs included, so that each extends the context of the one before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import orjson

from parrot import template
from parrot.errors import CallError, DefinitionError, LimitExceeded
from parrot.sampling import SamplingConfig
from parrot.wire.codec import MAX_MESSAGE_BYTES
from parrot.wire.to_core import Argument, SubmitCall
from parrot.wire.to_engine import Piece

MAX_JOB_BYTES = MAX_MESSAGE_BYTES - 1024 * 1024  # of texts; the rest is for the envelope, names and numbers


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
        LimitExceeded: the prompt is too large to be sent.
    """
    _check(request)
    generations = take_apart(request)
    _check_size(request, generations)
    return generations


def take_apart(request: SubmitCall) -> list[Lowered]:
    """`lower` for a call that was accepted before."""
    generations: list[Lowered] = []
    prompt: list[Piece] = []
    inputs: dict[str, None] = {}
    for segment in request.template:
        if segment.kind != "slot":
            prompt.append(_constant(segment.kind, segment.value))
        elif (output := request.outputs.get(segment.value)) is not None:
            generations.append(Lowered(segment.value, output.variable, tuple(prompt), tuple(inputs), _sampling(output.sampling)))
            prompt.append(Piece("variable", output.variable))
            inputs[output.variable] = None
        else:
            piece = _piece(request.arguments[segment.value])
            prompt.append(piece)
            if piece.kind == "variable":
                inputs[piece.value] = None
    return generations


@lru_cache(16_384)
def _constant(kind: Literal["text", "hash", "role"], value: str) -> Piece:
    """Calls of a function share its constants."""
    return Piece(kind, value)


@lru_cache(1_024)
def _sampling(sampling: SamplingConfig) -> SamplingConfig:
    return sampling


def _check_size(request: SubmitCall, generations: Sequence[Lowered]) -> None:
    """A text that fills many slots travels once in the call and often in the job."""
    texts = [piece.value for piece in generations[-1].prompt]
    texts += max((one.sampling.stop for one in generations), key=lambda stop: sum(map(len, stop)))
    if sum(map(len, texts)) < MAX_JOB_BYTES // 8:  # no character takes more than 6 bytes in JSON
        return
    sizes = {text: len(orjson.dumps(text)) for text in set(texts)}
    size = sum(sizes[text] for text in texts)
    if size > MAX_JOB_BYTES:
        raise LimitExceeded(f"The prompt of {request.function} has {size:,} bytes with all slots filled; {MAX_JOB_BYTES:,} are allowed.")


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
    if own := [name for name, argument in request.arguments.items() if argument.variable in made]:
        raise CallError(f"The argument {own[0]!r} of {request.function} is an output of the same call, which would wait for itself.")
    if len(set(made)) != len(made):
        raise CallError(f"Two outputs of {request.function} name the same variable.")


def _piece(argument: Argument) -> Piece:
    if argument.variable is not None:
        return Piece("variable", argument.variable)
    if argument.hash is not None:
        return Piece("hash", argument.hash)
    return Piece("text", argument.text or "")
