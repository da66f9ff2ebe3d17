"""The decorator `@P.semantic_function`, and what it makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import update_wrapper
from typing import Any, overload

from parrot.app.conversation import Turn
from parrot.app.deadlines import from_now
from parrot.app.definition import define
from parrot.app.lowering import bind, lower
from parrot.app.session import BaseSession, current
from parrot.errors import CallError, DefinitionError
from parrot.wire.to_core import Chat


class SemanticFunction:
    """A function whose body is a prompt. Calling it submits the prompt; made by `semantic_function`.

    Attributes:
        definition: its name, prompt and parameters.
    """

    def __init__(
        self, function: Callable[..., object], *, name: str | None, model: str | None, chat: Chat, conversation: Sequence[Turn] | None
    ) -> None:
        self.definition = define(function, name=name, model=model, chat=chat, turns=conversation)
        update_wrapper(self, function)

    def __call__(
        self,
        *args: object,
        session: BaseSession | None = None,
        deadline: float | None = None,
        call_id: str | None = None,
        **kwargs: object,
    ) -> Any:
        """Submit one call.

        Args:
            *args: inputs (a Variable or a str) and Python values, in the order of the parameters without the outputs.
            session: where to submit it; by default the innermost `with` block's session.
            deadline: seconds from now within which it must have ended; else it fails with `DeadlineExceeded`.
            call_id: your name for the call. A repeated submit of the same name in the same session, from another process too, is the
                same call and gives the same Variables; so it is safe to repeat when it is not known whether the first was taken.
            **kwargs: the same by name.

        Returns:
            The output's Variable, or a tuple of them for several outputs, in the order of the parameters.

        Raises:
            CallError: arguments that are missing, unknown or of the wrong type.
            LimitExceeded: a text or the whole call is too large.
            Overloaded: too many calls are under way, and nothing was submitted; in an `AsyncSession` the Variables and `flush` raise it.
            SessionError: there is no session, it is closed, or a variable belongs to another one.
            BrokerUnavailable: Redis did not take the call.
        """
        if session is not None and not isinstance(session, BaseSession):
            raise CallError(f"session={session!r} is not a session. Pass a P.Session or a P.AsyncSession.")
        chosen = current(self.definition.name) if session is None else session
        bound = bind(self.definition, args, kwargs)
        message, texts = lower(self.definition, bound, chosen, call_id=call_id, deadline=from_now(deadline))
        made = chosen.submit(message, texts)
        return made[0] if len(made) == 1 else made

    def __repr__(self) -> str:
        return f"<semantic function {self.definition.name}{self.definition.parameters.signature}>"


@overload
def semantic_function(function: Callable[..., object], /) -> SemanticFunction: ...


@overload
def semantic_function(
    *, name: str | None = None, model: str | None = None, chat: Chat = "auto", conversation: Sequence[Turn] | None = None
) -> Callable[[Callable[..., object]], SemanticFunction]: ...


def semantic_function(
    function: Callable[..., object] | None = None,
    /,
    *,
    name: str | None = None,
    model: str | None = None,
    chat: Chat = "auto",
    conversation: Sequence[Turn] | None = None,
) -> SemanticFunction | Callable[[Callable[..., object]], SemanticFunction]:
    """Make a function of its docstring, which is a prompt with `{{name}}` placeholders. Its body is never run.

    Parameters annotated with `P.Input` and `P.Output` are inputs and outputs; any other is a Python value, rendered with `str`.

    Args:
        function: for use without parentheses.
        name: what people see its calls under; the function's name by default.
        model: the model that must serve it; the session's by default.
        chat: `auto` lets an instruct model see the prompt through its chat template, `off` as plain text.
        conversation: the prompt in chat turns (`P.system`, `P.user`, `P.assistant`); the docstring is then only documentation.

    Raises:
        DefinitionError: the function cannot work; the message says why.
    """

    def decorate(decorated: Callable[..., object]) -> SemanticFunction:
        if not callable(decorated) or not hasattr(decorated, "__name__"):
            raise DefinitionError(f"@P.semantic_function decorates a function, not {decorated!r}. Its options are given by name.")
        return SemanticFunction(decorated, name=name, model=model, chat=chat, conversation=conversation)

    return decorate if function is None else decorate(function)
