"""`parrot ls`: sessions and engines."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from parrot.broker.directory import Directory
from parrot.broker.entries import EngineEntry, SessionEntry
from parrot.cli.asking import ask
from parrot.cli.options import AsJson, RedisUrl
from parrot.cli.show import console
from parrot.cli.words import age, coloured
from parrot.config import load


def ls(
    last: Annotated[int, typer.Option(metavar="N", min=1, help="List the N newest sessions.")] = 20,
    as_json: AsJson = False,
    redis_url: RedisUrl = None,
) -> None:
    """List the sessions whose results still live, the newest first, and the engines.

    Examples: `parrot ls` · `parrot ls --json | jq -r '.sessions[].id'`
    """
    sessions, engines = ask(load(redis_url=redis_url), lambda directory: _look(directory, last))
    if as_json:
        content = {"sessions": [asdict(entry) for entry in sessions], "engines": [asdict(entry) for entry in engines]}
        typer.echo(orjson.dumps(content, option=orjson.OPT_INDENT_2))
        return
    out = console()
    _print_engines(out, engines)
    _print_sessions(out, sessions)


async def _look(directory: Directory, last: int) -> tuple[list[SessionEntry], list[EngineEntry]]:
    return await directory.sessions(last), await directory.engines()


def _print_engines(out: Console, engines: list[EngineEntry]) -> None:
    if not engines:
        out.print("No engine is registered. Start one: parrot worker (or everything: parrot dev)")
        return
    table = Table("engine", "name", "model", "state", "running", "waiting", "KV used", "last seen", box=None, pad_edge=False)
    for entry in engines:
        load = (str(entry.running), str(entry.waiting), f"{entry.kv_used:.0%}")
        table.add_row(escape(entry.id), escape(entry.name), escape(entry.model), coloured(entry.state), *load, age(entry.seen))
    out.print(table)


def _print_sessions(out: Console, sessions: list[SessionEntry]) -> None:
    out.print()
    if not sessions:
        out.print("No session lives. Run a program: parrot run FILE")
        return
    table = Table("session", "name", "tenant", "state", "calls done", "opened", box=None, pad_edge=False)
    for entry in sessions:
        calls = f"{entry.done}/{entry.calls}" + (f" [red]{entry.failed} failed[/]" if entry.failed else "")
        table.add_row(escape(entry.id), escape(entry.name), escape(entry.tenant), coloured(entry.state), calls, age(entry.opened))
    out.print(table)
    out.print("\nLook into one: parrot show SESSION", style="dim")
