"""The generations of some sessions as they run: a table that moves on a terminal, a line for each that ended elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from parrot.broker.directory import Directory
from parrot.broker.entries import Program, VariableEntry
from parrot.cli.words import coloured
from parrot.errors import SessionError
from parrot.wire.states import ENDED, CallState, SessionState, VariableState

_LOOK_SECONDS = 0.3
_AT_WORK = frozenset({CallState.WAITING, CallState.QUEUED, CallState.PLACED})


async def watch(directory: Directory, sessions: Sequence[str], out: Console) -> list[Program]:
    """Show the generations of these sessions until all have ended.

    Args:
        directory: where to look.
        sessions: ids of sessions that will be closed by whoever opened them.
        out: where to show it.

    Returns:
        The sessions at the end.
    """
    programs: list[Program] = []
    if out.is_terminal:
        with Live(console=out, auto_refresh=False) as live:
            async for programs in _looks(directory, sessions):
                live.update(table(programs, datetime.now(UTC)), refresh=True)
        return programs
    told: set[str] = set()
    async for programs in _looks(directory, sessions):
        for program, variable in _generations(programs):
            if variable.state in ENDED and variable.id not in told:
                told.add(variable.id)
                out.print(f"  {escape(label(program, variable))}: {coloured(variable.state)}, {_facts(variable)}", soft_wrap=True)
    return programs


def table(programs: Sequence[Program], now: datetime) -> Table:
    """One row for each generation.

    Args:
        programs: the sessions.
        now: for the time that those in work have taken so far.
    """
    found = Table("program", "generation", "state", "engine", "seconds", "tokens in", "cached", "out", box=None, pad_edge=False)
    for program, variable in _generations(programs):
        ready = variable.state == VariableState.READY
        counts = (variable.tokens_in, variable.tokens_cached, variable.tokens_out) if ready else ("", "", "")
        name = escape(program.session.name)
        found.add_row(
            name,
            escape(label(program, variable)),
            coloured(variable.state),
            escape(variable.engine),
            _seconds(variable, now),
            *map(str, counts),
        )
    return found


def label(program: Program, variable: VariableEntry) -> str:
    """What a generation is called among its session's: function, number of the call, and output if the call has several."""
    for number, call in enumerate(program.calls, 1):
        if call.id == variable.call:
            return f"{call.function}#{number}" + (f".{variable.output}" if len(call.outputs) > 1 else "")
    return variable.name


def _seconds(variable: VariableEntry, now: datetime) -> str:
    if variable.seconds is not None:
        return f"{variable.seconds:.1f}"
    if variable.state == VariableState.GENERATING and variable.started:
        return f"{max(0.0, (now - datetime.fromisoformat(variable.started)).total_seconds()):.1f}"
    return ""


def _facts(variable: VariableEntry) -> str:
    if variable.state != VariableState.READY:
        return escape(variable.error)
    cached = f" ({variable.tokens_cached} cached)" if variable.tokens_cached else ""
    return f"{variable.seconds or 0:.1f} s on {escape(variable.engine)}, {variable.tokens_in} tokens in{cached}, {variable.tokens_out} out"


def _generations(programs: Sequence[Program]) -> list[tuple[Program, VariableEntry]]:
    return [(program, variable) for program in programs for variable in program.variables if variable.call]


async def _looks(directory: Directory, sessions: Sequence[str]) -> AsyncIterator[list[Program]]:
    while True:
        programs = [program for session in sessions if (program := await _program(directory, session)) is not None]
        yield programs
        if len(programs) == len(sessions) and all(map(_complete, programs)):
            return
        await asyncio.sleep(_LOOK_SECONDS)


async def _program(directory: Directory, session: str) -> Program | None:
    try:
        return await directory.program(session)
    except SessionError:
        return None  # ServeCore has not read of it yet; we look again


def _complete(program: Program) -> bool:
    return program.session.state == SessionState.CLOSED and all(call.state not in _AT_WORK for call in program.calls)
