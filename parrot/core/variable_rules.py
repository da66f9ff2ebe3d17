"""The rules of variables that apps name: declared, set, asked for, cancelled."""

from __future__ import annotations

from parrot.core import records
from parrot.core.cell import Cell
from parrot.core.ending import answer, cancel, end, tell
from parrot.core.graph import Variable
from parrot.core.session_rules import heard, no_session
from parrot.wire.states import ENDED, VariableState
from parrot.wire.to_core import CancelVariable, DeclareVariable, SetVariable, WantVariable
from parrot.wire.to_ledger import put


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
    if variable is None or variable.state != VariableState.EMPTY:
        return  # set once: the first value stands
    variable.says(request.text)
    end(cell, variable, VariableState.READY, records.given(request.text, cell.at))
    cell.queue(cell.graph.make_ready(variable))


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


def _named(cell: Cell, request: SetVariable | WantVariable | CancelVariable) -> Variable | None:
    """The variable that a task is about, if it is one of the session that it names."""
    variable = cell.graph.variables.get(request.variable)
    return variable if variable is not None and variable.session == request.session else None
