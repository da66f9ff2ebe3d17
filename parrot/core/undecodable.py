"""What can be said to the sender of a task that could not be handled: that its variables failed, and why. Pure.

Such a task may come from a newer build, or from anybody: no more is believed of it than that it names variables. Those that it would
have made are made only where there are none, so that nothing that exists can be changed this way; of the one that it would have set the
machine decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from parrot.core import records
from parrot.errors import ParrotError
from parrot.wire.codec import MAX_MESSAGE_BYTES
from parrot.wire.keys import Keys
from parrot.wire.states import VariableState
from parrot.wire.to_core import DeclareVariable, Id, SetVariable, SubmitCall
from parrot.wire.to_ledger import Op, answer

MOST = 1_000  # variables that one task is believed to name

_MAKING = frozenset({SubmitCall.__name__.encode(), DeclareVariable.__name__.encode()})  # tasks that somebody may wait for the variables of
_SETTING = frozenset({SetVariable.__name__.encode()})
_ID: TypeAdapter[str] = TypeAdapter(Id)


@dataclass(frozen=True, slots=True)
class SetInVain:
    """A `SetVariable` that could not be handled.

    Attributes:
        session, variable: which it named.
        error: why it could not be handled.
    """

    session: str
    variable: str
    error: ParrotError


def set_in_vain(fields: Mapping[bytes, bytes], error: ParrotError) -> list[SetInVain]:
    """What the machine is to be told of a task that could not be handled: one message if it would have set a variable, else none.

    Args:
        fields: of the task's stream entry, as Redis gave them.
        error: why it could not be handled.
    """
    said = _said(fields, _SETTING)
    session, variable = said.get("session"), said.get("variable")
    return [SetInVain(session, variable, error)] if isinstance(session, str) and isinstance(variable, str) else []


def answers(keys: Keys, fields: Mapping[bytes, bytes], error: ParrotError, life: int, at: str) -> list[Op]:
    """The operations that fail the variables which a task would have made.

    Args:
        keys: the cell's names.
        fields: of the task's stream entry, as Redis gave them.
        error: why it could not be handled.
        life: for how many seconds the answer can be read.
        at: the time, as it is written into keys.
    """
    said = _said(fields, _MAKING)
    session: Any = said.get("session")
    if not _is_id(session):
        return []
    failed = {"session": session, "state": VariableState.FAILED.value} | records.failure(error.code, str(error), at)
    names = (keys.news(session), keys.session(session))
    variables = [named for named in _variables(said) if _is_id(named[1])]
    return [answer(keys.variable(variable), *names, variable, str(life), failed | {"name": name}) for name, variable in variables[:MOST]]


def _said(fields: Mapping[bytes, bytes], kinds: frozenset[bytes]) -> dict[str, Any]:
    body = fields.get(b"body", b"")
    if fields.get(b"kind") not in kinds or len(body) > MAX_MESSAGE_BYTES:
        return {}
    try:
        said = from_json(body)
    except ValueError:
        return {}  # it says nothing at all: nobody can be told
    return said if isinstance(said, dict) else {}


def _variables(said: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The names and ids of the variables that a task would have made."""
    if "variable" in said:
        yield _name(said.get("name")), said["variable"]
    outputs = said.get("outputs")
    for slot, output in outputs.items() if isinstance(outputs, dict) else ():
        if isinstance(output, dict):
            yield _name(slot), output.get("variable")


def _name(said: object) -> str:
    return said[:128] if isinstance(said, str) else ""


def _is_id(value: object) -> bool:
    try:
        _ID.validate_python(value, strict=True)
    except ValidationError:
        return False  # it is no name: there can be no such variable, and so nobody waits for it
    return True
