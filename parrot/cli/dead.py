"""`parrot dead ls | show | replay | drop`: messages that nobody could handle."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from parrot.broker.dead import DeadLetters, Letter
from parrot.broker.replay import Replay
from parrot.cli.asking import work_with
from parrot.cli.options import AsJson, RedisUrl
from parrot.cli.show import console
from parrot.cli.words import age, preview
from parrot.config import Settings, load
from parrot.errors import ParrotError

app = typer.Typer(no_args_is_help=True, help="Dead letters: messages that could not be understood, and calls that engines died of.")

Id = Annotated[str, typer.Argument(metavar="ID", help="A dead letter's id, from `parrot dead ls`.")]
Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of dead letters, from `parrot dead ls`.")]


@app.command("ls")
def ls(
    last: Annotated[int, typer.Option(metavar="N", min=1, help="List the N newest.")] = 20,
    as_json: AsJson = False,
    redis_url: RedisUrl = None,
) -> None:
    """List dead letters, the newest first.

    Examples: `parrot dead ls` · `parrot dead ls --last 1000 --json | jq -r '.[] | select(.code == "poison").id'`
    """
    settings = load(redis_url=redis_url)
    letters = work_with(settings, DeadLetters, lambda dead: dead.newest(last))
    if as_json:
        typer.echo(orjson.dumps([_content(letter) for letter in letters], option=orjson.OPT_INDENT_2))
        return
    out = console()
    if not letters:
        out.print("There are no dead letters.")
        return
    _print_table(out, letters)
    count = work_with(settings, DeadLetters, lambda dead: dead.count())
    out.print(
        f"\n{len(letters):,} of {count:,}. Look into one: parrot dead show ID. Give it another chance: parrot dead replay ID", style="dim"
    )


@app.command("show")
def show(letter_id: Id, as_json: AsJson = False, redis_url: RedisUrl = None) -> None:
    """Show one dead letter whole."""
    letter = work_with(load(redis_url=redis_url), DeadLetters, lambda dead: dead.get(letter_id))
    if as_json:
        typer.echo(orjson.dumps(_content(letter), option=orjson.OPT_INDENT_2))
        return
    out = console()
    for name, value in _content(letter).items():
        if name != "fields":
            out.print(f"[dim]{name:>7}[/] {escape(str(value))}", soft_wrap=True)
    out.print()
    for name, raw in letter.fields.items():
        out.print(f"[bold]{escape(_text(name))}[/] {escape(_pretty(raw))}", soft_wrap=True)


@app.command("replay")
def replay(letter_ids: Ids, redis_url: RedisUrl = None) -> None:
    """Send messages again, for instance after an upgrade; those that were sent are dead letters no more.

    A call becomes a new one, with new variables, whose ids are printed: in its old session if that is open, else in a session of its own.
    """
    from parrot.app.ids import fresh  # here, so that `parrot --help` need not load the app side

    settings = load(redis_url=redis_url)
    failed = [name for name in letter_ids if not _replayed(settings, name, fresh)]
    if failed:
        raise typer.Exit(1)


def _replayed(settings: Settings, name: str, fresh: Callable[[str], str]) -> bool:
    try:
        letter = work_with(settings, DeadLetters, lambda dead: dead.get(name))
        variables = work_with(settings, Replay, lambda again: again.replay(letter, fresh))
    except ParrotError as error:
        typer.echo(f"{name}: {error}", err=True)  # it stays among the dead letters; the exit status says so
        return False
    typer.echo(f"{name}: sent again" + "".join(f"\n  {slot} = {variable}" for slot, variable in variables.items()))
    return True


@app.command("drop")
def drop(letter_ids: Ids, redis_url: RedisUrl = None) -> None:
    """Forget dead letters."""
    settings = load(redis_url=redis_url)
    typer.echo(f"Dropped {work_with(settings, DeadLetters, lambda dead: _drop(dead, letter_ids))}.")


async def _drop(dead: DeadLetters, letter_ids: list[str]) -> int:
    return await dead.drop([await dead.get(name) for name in letter_ids])


def _print_table(out: Console, letters: list[Letter]) -> None:
    table = Table("id", "age", "code", "kind", "stream", "reason", box=None, pad_edge=False)
    for letter in letters:
        row = (letter.id, age(_when(letter)), letter.code, preview(letter.kind, 24), letter.stream, preview(letter.reason, 80))
        table.add_row(*map(escape, row))
    out.print(table)


def _content(letter: Letter) -> dict[str, Any]:
    content = {"id": letter.id, "at": _when(letter), "stream": letter.stream, "entry": letter.entry, "code": letter.code}
    content |= {"reason": letter.reason, "kind": letter.kind} | ({"cut": str(letter.cut)} if letter.cut else {})
    return content | {"fields": {_text(name): _text(value) for name, value in letter.fields.items()}}


def _when(letter: Letter) -> str:
    """When it died: its id begins with the milliseconds since the epoch."""
    return datetime.fromtimestamp(int(letter.id.partition("-")[0]) / 1000, UTC).isoformat(timespec="milliseconds")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _pretty(raw: bytes) -> str:
    try:
        return json.dumps(orjson.loads(raw), indent=2, ensure_ascii=False)
    except ValueError:
        return _text(raw)  # it is no JSON, which may be what is wrong with it
