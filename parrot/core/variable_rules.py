"""The rules of variables that apps name: declared, set, asked for, cancelled."""

from __future__ import annotations

from parrot.core import records
from parrot.core.cell import Cell
from parrot.core.ending import answer, cancel, end, stop, tell
from parrot.core.graph import Variable
from parrot.core.session_rules import heard, no_session
from parrot.core.undecodable import SetInVain
from parrot.errors import VariableError
from parrot.wire.codec import encode
from parrot.wire.states import ENDED, VariableState
from parrot.wire.to_core import CancelVariable, DeclareVariable, SetVariable, WantVariable
from parrot.wire.to_ledger import bury, put, unless


def declare_variable(cell: Cell, request: DeclareVariable) -> None:
    """A variable that no call makes."""
    if request.variable in cell.graph.variables:
        return  # it has been said before
    session = heard(cell, request.session)
    if session is None:
        error = no_session(cell, request.session, "It")
        answer(cell, request.session, request.variable, records.declared(request, cell.at), error)
        return
    state = VariableState.EMPTY if request.text is None else VariableState.READY
    variable = cell.graph.declare(session, request.variable, state)
    if request.text is not None:
        variable.says(request.text)
    cell.batch.write(
        put(cell.keys.variable(request.variable), records.declared(request, cell.at)),
        ("RPUSH", cell.keys.variables(session.id), request.variable),
    )
    if state == VariableState.READY:
        tell(cell, session.id, request.variable, state)


def set_variable(cell: Cell, request: SetVariable) -> None:
    """The value of a variable that was declared empty."""
    variable = _named(cell, request)
    if variable is None:
        return  # there is none in this session
    if variable.state != VariableState.EMPTY:
        _bury_unless_said_before(cell, variable, request)
        return
    variable.says(request.text)
    end(cell, variable, VariableState.READY, records.given(request.text, cell.at))
    cell.queue(cell.graph.make_ready(variable))


def set_in_vain(cell: Cell, request: SetInVain) -> None:
    """Whoever waits for a value that could not be understood is told so."""
    variable = _named(cell, request)
    if variable is not None and variable.state == VariableState.EMPTY:
        stop(cell, variable, VariableState.FAILED, request.error, f"{variable.id}: {request.error}")


def want_variable(cell: Cell, request: WantVariable) -> None:
    """Somebody asks for a variable."""
    variable = _named(cell, request)
    asked = (request.criterion, request.deadline)
    if variable is None or variable.state in ENDED or (variable.criterion, variable.due) == asked:
        return  # nothing can be done for it, or nothing new is asked
    heard(cell, request.session)
    variable.criterion, variable.due = asked
    if variable.producer is not None:
        cell.stirred.append(variable.producer)
    cell.batch.write(put(cell.keys.variable(variable.id), records.asked(variable)))


def cancel_variable(cell: Cell, request: CancelVariable) -> None:
    """Its session wants it no more."""
    variable = _named(cell, request)
    if variable is not None:
        heard(cell, request.session)
        cancel(cell, variable, "It was cancelled.")


def _bury_unless_said_before(cell: Cell, variable: Variable, request: SetVariable) -> None:
    """Another value than the first one is kept among the dead letters, since nobody waits for an answer.

    The app says again what it was not sure to have said: the same value is no news. Only Redis knows the value, so it compares.
    """
    if variable.state == VariableState.READY:
        why = "was set before; the first value stands"
    elif variable.state in ENDED:
        why = f"is {variable.state} and takes no value any more"
    else:
        why = "is made by a call"
    error = VariableError(f"The variable {variable.id} {why}.")
    letter = bury(cell.keys.dead, cell.keys.tasks, variable.id, error, encode(request))
    cell.batch.write(unless(cell.keys.variable(variable.id), "value", request.text, letter))


def _named(cell: Cell, request: SetVariable | SetInVain | WantVariable | CancelVariable) -> Variable | None:
    """The variable that a task is about, if it is one of the session that it names."""
    variable = cell.graph.variables.get(request.variable)
    return variable if variable is not None and variable.session == request.session else None
