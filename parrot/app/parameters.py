"""From a Python signature to inputs, outputs and values."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from parrot.app.annotations import Input, Output, marks
from parrot.errors import DefinitionError
from parrot.sampling import SamplingConfig

_LONGEST_NAME = 48  # characters; with the call's id it is the id of a variable
_TAKEN = {"session": "session", "deadline": "deadline", "call_id": "id"}  # arguments of every call


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of a semantic function.

    Attributes:
        inputs: names that take a Variable or a str.
        values: names that take any Python value, rendered with `str`.
        outputs: how each output is sampled, in the order in which they are returned.
        signature: what a call takes: all but the outputs.
    """

    inputs: tuple[str, ...]
    values: tuple[str, ...]
    outputs: Mapping[str, SamplingConfig]
    signature: inspect.Signature


def read(function: Callable[..., object], where: str) -> Parameters:
    """Read the parameters of a function.

    Args:
        function: as its author wrote it.
        where: how to call it in an error.

    Raises:
        DefinitionError: a parameter that cannot work.
    """
    inputs: list[str] = []
    values: list[str] = []
    outputs: dict[str, SamplingConfig] = {}
    passed: list[inspect.Parameter] = []
    for name, parameter in _signature(function, where).parameters.items():
        mark = _mark(parameter, where)
        if isinstance(mark, Output):
            outputs[name] = mark.sampling
            continue
        (inputs if mark else values).append(name)
        passed.append(parameter.replace(annotation=inspect.Parameter.empty))
    return Parameters(tuple(inputs), tuple(values), outputs, inspect.Signature(passed))


def _signature(function: Callable[..., object], where: str) -> inspect.Signature:
    try:
        return inspect.signature(function, eval_str=True)
    except NameError as error:
        raise DefinitionError(
            f"An annotation of {where} cannot be read: {error}. With `from __future__ import annotations`, what annotations name "
            "must be defined or imported at the top level of the module."
        ) from error


def _mark(parameter: inspect.Parameter, where: str) -> Input | Output | None:
    name = parameter.name
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        shown = str(parameter.replace(annotation=parameter.empty))
        raise DefinitionError(f"{where} has the parameter {shown!r}. Name each parameter, so that the prompt can use it.")
    if name in _TAKEN:
        raise DefinitionError(
            f"The parameter {name!r} of {where} must be called otherwise: a call takes its {_TAKEN[name]} under this name."
        )
    if len(name) > _LONGEST_NAME:
        raise DefinitionError(f"The parameter {name!r} of {where} is longer than {_LONGEST_NAME} characters. Give it a shorter name.")
    found = marks(parameter.annotation)
    if len(found) > 1:
        raise DefinitionError(f"The parameter {name!r} of {where} is marked {len(found)} times. It is either P.Input or P.Output, once.")
    mark = found[0] if found else None
    if mark is not None and parameter.default is not parameter.empty:
        _check_default(mark, parameter, where)
    return mark


def _check_default(mark: Input | Output, parameter: inspect.Parameter, where: str) -> None:
    if isinstance(mark, Output):
        raise DefinitionError(
            f"The output {parameter.name!r} of {where} has a default value, but it is generated. Remove the default; "
            "after parameters with defaults, outputs stand behind a `*`."
        )
    if not isinstance(parameter.default, str):
        raise DefinitionError(f"The default of the input {parameter.name!r} of {where} is {parameter.default!r}. It must be a str.")
