"""The rules of sessions: opened, heard of, closed, cancelled, forgotten; and how far they are."""

from __future__ import annotations

from parrot.core import records
from parrot.core.cell import Cell
from parrot.core.ending import cancel, retire, stop
from parrot.core.graph import Session
from parrot.errors import SessionError
from parrot.wire.states import SessionState, VariableState
from parrot.wire.to_core import CancelSession, CloseSession, OpenSession
from parrot.wire.to_ledger import put


def open_session(cell: Cell, request: OpenSession) -> None:
    """A new namespace."""
    if request.session in cell.graph.sessions:
        return  # the app repeats what it was not sure to have said
    session = Session(request.session, request.name, request.tenant, deadline=request.deadline)
    cell.graph.sessions[session.id] = session
    cell.timers.set(("idle", session.id), cell.now + cell.limits.idle)
    cell.batch.write(
        put(cell.keys.session(session.id), records.opened(request, cell.at)),
        ("ZADD", cell.keys.sessions, f"{cell.now:.3f}", session.id),
    )


def heard(cell: Cell, session: str) -> Session | None:
    """The session that a task is about, if it is open."""
    found = cell.graph.sessions.get(session)
    if found is None or found.state == SessionState.CLOSED:
        return None
    cell.timers.set(("idle", session), cell.now + cell.limits.idle)
    return found


def no_session(cell: Cell, session: str, what: str) -> SessionError:
    """What somebody is told who sends something to a session that is not open."""
    known = session in cell.graph.sessions
    return SessionError(f"{what} was sent to the session {session}, which is {'closed' if known else 'unknown: it has expired'}.")


def close_session(cell: Cell, request: CloseSession) -> None:
    """No more submissions."""
    session = heard(cell, request.session)
    if session is not None:
        _close(cell, session)


def cancel_session(cell: Cell, request: CancelSession) -> None:
    """Nothing of it is wanted any more."""
    session = cell.graph.sessions.get(request.session)
    if session is None:
        return  # it is over
    for name in session.variables:
        cancel(cell, cell.graph.variables[name], "Its session was cancelled.")
    if session.state == SessionState.OPEN:
        _close(cell, session)


def idle_over(cell: Cell, name: str) -> None:
    """Nothing was heard of an open session for long."""
    session = cell.graph.sessions[name]
    _give_up_empty(cell, session)
    if session.active:
        cell.timers.set(("idle", name), cell.now + cell.limits.idle)
    else:
        _close(cell, session)


def results_over(cell: Cell, name: str) -> None:
    """The results of a session have expired."""
    cell.graph.forget(cell.graph.sessions[name])
    cell.batch.write(("ZREM", cell.keys.sessions, name))


def note_progress(cell: Cell) -> None:
    """Say how far sessions are and how much is under way, for people and for the apps' door."""
    if not cell.changed:
        return
    graph = cell.graph
    for session in cell.changed.values():
        cell.batch.write(put(cell.keys.session(session.id), records.progress(session)))
    figures = _figures(cell)
    idle = []
    for name in sorted({session.tenant for session in cell.changed.values()}):
        if calls := graph.tenants[name]:
            figures[f"tenant:{name}"] = calls
        else:
            idle.append(f"tenant:{name}")
    cell.batch.write(put(cell.keys.core, {name: str(figure) for name, figure in figures.items()}))
    if idle:
        cell.batch.write(("HDEL", cell.keys.core, *idle))
    cell.changed.clear()


def note_limits(cell: Cell) -> None:
    """Say how much is under way, and how much may be: of a new leader other limits may hold."""
    cell.batch.write(put(cell.keys.core, {name: str(figure) for name, figure in _figures(cell).items()}))


def _figures(cell: Cell) -> dict[str, int]:
    return {"active": len(cell.graph.calls), "limit_active": cell.limits.active, "limit_tenant": cell.limits.tenant_active}


def _close(cell: Cell, session: Session) -> None:
    session.state = SessionState.CLOSED
    _give_up_empty(cell, session)
    cell.timers.drop(("idle", session.id))
    cell.batch.write(put(cell.keys.session(session.id), {"state": session.state, "closed": cell.at}))
    retire(cell, session)


def _give_up_empty(cell: Cell, session: Session) -> None:
    """Nobody will set the variables of a session that is closed or forgotten: what waits for them must not wait for ever."""
    error = SessionError(f"It was still empty when its session {session.id} was closed or forgotten.")
    for name in session.variables:
        variable = cell.graph.variables[name]
        if variable.state == VariableState.EMPTY:
            stop(cell, variable, VariableState.FAILED, error, f"{name}: {error}")
