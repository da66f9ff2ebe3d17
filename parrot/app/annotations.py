"""What a parameter of a semantic function is: an input, an output, or (any other annotation) a Python value."""

from __future__ import annotations

from typing import get_args

from parrot.errors import DefinitionError
from parrot.sampling import SamplingConfig


class Input:
    """A parameter that takes a Variable or a str: `text: P.Input`, or for type checkers `text: Annotated[str, P.Input]`."""


class Output:
    """A parameter that is generated: `answer: P.Output`, `answer: P.Output(P.SamplingConfig(...))`, or for type checkers
    `answer: Annotated[str, P.Output(...)]`. It is returned by the call, not passed to it.

    Args:
        sampling: how it is sampled; see `SamplingConfig` for the defaults.

    Raises:
        DefinitionError: `sampling` is something else.
    """

    def __init__(self, sampling: SamplingConfig | None = None) -> None:
        if sampling is not None and not isinstance(sampling, SamplingConfig):
            raise DefinitionError(f"P.Output takes a P.SamplingConfig, not {sampling!r}. Write P.Output(P.SamplingConfig(...)).")
        self.sampling = sampling or SamplingConfig()


def marks(annotation: object) -> list[Input | Output]:
    """The marks in an annotation: none for a Python value."""
    candidates = get_args(annotation) if hasattr(annotation, "__metadata__") else (annotation,)
    found: list[Input | Output] = []
    for candidate in candidates:
        if candidate is Input or candidate is Output:
            found.append(candidate())
        elif isinstance(candidate, Input | Output):
            found.append(candidate)
    return found
