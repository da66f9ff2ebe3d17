"""`parrot show SESSION`: the calls and variables of a session."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Optional

import orjson
import typer
from rich.console import Console

from parrot.broker.directory import Directory, Program
from parrot.cli.asking import ask
from parrot.cli.options import AsJson, RedisUrl
from parrot.cli.tree import tree
from parrot.config import load
from parrot.errors import SessionError

_PIPE_WIDTH = 160  # columns where the output is no terminal


def show(
    session: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(metavar="SESSION", help="Its id, the beginning of its id, or its name; the newest by default."),
    ] = None,
    as_json: AsJson = False,
    redis_url: RedisUrl = None,
) -> None:
    """Show a session as a tree: each call with its outputs (state, engine, time, tokens, value) and where its inputs come from.

    Failures are red and say why. --json holds the whole values.

    Examples: `parrot show` · `parrot show "my program"` · `parrot show 3f2a --json`
    """
    program = ask(load(redis_url=redis_url), lambda directory: _look(directory, session))
    if as_json:
        typer.echo(orjson.dumps(asdict(program), option=orjson.OPT_INDENT_2))
        return
    out = console()
    out.print(tree(program, out.width))


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
