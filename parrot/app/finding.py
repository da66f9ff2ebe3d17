"""Sessions and variables that were made elsewhere, found by id or name."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from parrot.app.ids import given, is_given
from parrot.app.line import Line
from parrot.app.pauses import pauses
from parrot.app.variable import Variable
from parrot.broker.connection import connect, in_sentences
from parrot.broker.directory import Directory
from parrot.broker.entries import SessionEntry, VariableHead
from parrot.errors import SessionError, VariableError
from parrot.wire.keys import Keys
from parrot.wire.states import VariableState

if TYPE_CHECKING:
    from parrot.app.session import BaseSession

_PATIENCE = 1.0  # seconds for ServeCore to take up what was submitted a moment ago


async def find_session(url: str, keys: Keys, wanted: str) -> SessionEntry:
    """The one session that is meant.

    Args:
        url: the server.
        keys: the names of the cell.
        wanted: its id or name.

    Raises:
        SessionError: there is none, or several have the name.
        BrokerUnavailable: the server does not answer.
    """
    async with connect(url) as redis:
        with in_sentences(url):
            directory = Directory(redis, keys)
            found = await directory.called(wanted)
            for pause in _moments():
                if found:
                    break
                await asyncio.sleep(pause)
                found = await directory.called(wanted)
    if not found:
        raise SessionError(f"No session has the id or the name {wanted!r}. P.sessions() lists those whose results still live.")
    if len(found) > 1:
        ids = ", ".join(entry.id for entry in found[:5])
        raise SessionError(f"{len(found)} sessions have the name {wanted!r}. Give the id of one, the newest first: {ids}.")
    return found[0]


async def list_sessions(url: str, keys: Keys, *, name: str | None, tenant: str | None, labels: Mapping[str, str]) -> list[SessionEntry]:
    """The sessions that fit all that is given. Arguments as `parrot.app.listing.sessions`."""
    async with connect(url) as redis:
        with in_sentences(url):
            found = await Directory(redis, keys).sessions()
    return [
        entry for entry in found if name in (None, entry.name) and tenant in (None, entry.tenant) and labels.items() <= entry.labels.items()
    ]


async def find_variable(session: BaseSession, wanted: str, line: Line) -> Variable:
    """The one variable of a session that is meant. Arguments and errors as `Session.find`."""
    found = await _heads(session, wanted, line)
    for pause in _moments():
        if found:
            break
        await asyncio.sleep(pause)
        found = await _heads(session, wanted, line)
    if not found:
        raise VariableError(f"The session {session.id} has no variable with the id or the name {wanted!r} (any more).")
    if len(found) > 1:
        ids = ", ".join(head.id for head in found[:5])
        raise VariableError(f"{len(found)} variables of the session {session.id} have the name {wanted!r}. Give the id of one: {ids}.")
    return _variable(session, found[0])


async def all_variables(session: BaseSession, line: Line) -> list[Variable]:
    """The variables of a session that ServeCore has taken up, in the order in which they were made."""
    return [_variable(session, head) for head in await line.heads()]


async def _heads(session: BaseSession, wanted: str, line: Line) -> list[VariableHead]:
    if found := await line.heads(_ids(session, wanted)):
        return found
    return [head for head in await line.heads() if head.name == wanted]


def _ids(session: BaseSession, wanted: str) -> list[str]:
    call_id, _, output = wanted.rpartition(".")
    return [wanted, f"{given(call_id, session.id)}.{output}"] if is_given(call_id) else [wanted]


def _variable(session: BaseSession, head: VariableHead) -> Variable:
    made = f"the output of a call of {head.function}" if head.function else ""
    source = made or ("" if head.state == VariableState.EMPTY else "declared with a value")
    return Variable(session, head.id, head.name, None, source=source)


def _moments() -> list[float]:
    moments: list[float] = []
    for pause in pauses():
        if sum(moments) >= _PATIENCE:
            return moments
        moments.append(pause)
    return moments
