"""`parrot show SESSION`: the calls and variables of a session; `parrot show --why CALL`: the story of one call."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Optional

import orjson
import typer
from rich.console import Console

from parrot.broker.directory import Directory
from parrot.broker.entries import CallRecord, Program
from parrot.cli.asking import ask
from parrot.cli.options import AsJson, RedisUrl
from parrot.cli.story import lines
from parrot.cli.timeline import timelines
from parrot.cli.tree import tree
from parrot.config import Settings, load
from parrot.errors import SessionError

_PIPE_WIDTH = 160  # columns where the output is no terminal


def show(
    session: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(metavar="SESSION", help="Its id, the beginning of its id, or its name; the newest by default."),
    ] = None,
    why: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--why", metavar="CALL", help="One call instead: its id, the beginning of its id, or its function (the latest call)."),
    ] = None,
    as_json: AsJson = False,
    redis_url: RedisUrl = None,
) -> None:
    """Show a session as a tree: each call with its outputs (state, engine, time, tokens, value) and where its inputs come from.

    Failures are red and say why. --json holds the whole values. --why tells the story of one call: what was decided for it and
    why, when it could run, was placed, started and ended, where its time went, or what it waits for.

    Examples: `parrot show` · `parrot show "my program"` · `parrot show 3f2a --json` · `parrot show --why summarize`
    """
    settings = load(redis_url=redis_url)
    if why is None:
        _show_session(settings, session, as_json)
    elif session is None:
        _show_call(settings, why, as_json)
    else:
        raise typer.BadParameter("Name a session or --why CALL, not both.")


def _show_session(settings: Settings, session: str | None, as_json: bool) -> None:
    program = ask(settings, lambda directory: _look(directory, session))
    if as_json:
        typer.echo(orjson.dumps(asdict(program), option=orjson.OPT_INDENT_2))
        return
    out = console()
    out.print(tree(program, out.width))


def _show_call(settings: Settings, wanted: str, as_json: bool) -> None:
    record = ask(settings, lambda directory: _look_at_call(directory, wanted))
    told = timelines(record, datetime.now(UTC))
    if as_json:
        content = asdict(record) | {"timelines": {slot: asdict(timeline) for slot, timeline in told.items()}}
        typer.echo(orjson.dumps(content, option=orjson.OPT_INDENT_2))
        return
    out = console()
    for line in lines(record, told, out.width):
        out.print(line, soft_wrap=True)


def console() -> Console:
    """Standard output for tables and trees: a terminal's own width, or enough for them in a pipe or file."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)


async def _look(directory: Directory, wanted: str | None) -> Program:
    if wanted is not None:
        return await directory.program(await directory.find(wanted))
    newest = await directory.sessions(last=1)
    if not newest:
        raise SessionError("No session lives. Run a program: parrot run FILE")
    return await directory.program(newest[0].id)


async def _look_at_call(directory: Directory, wanted: str) -> CallRecord:
    return await directory.call(await directory.find_call(wanted))
