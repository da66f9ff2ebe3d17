"""`parrot redis …`: redis-cli with the right URL, or a small one of our own where none is installed."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Optional
from urllib.parse import unquote, urlsplit

import typer

from parrot.broker.raw import CommandError, send
from parrot.cli.options import RedisUrl
from parrot.config import load

_STATUS = frozenset({b"OK", b"PONG", b"QUEUED"})  # answers that redis-cli shows without quotes
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def redis(
    command: Annotated[Optional[list[str]], typer.Argument(metavar="COMMAND...", help="A Redis command.")] = None,  # noqa: UP045
    redis_url: RedisUrl = None,
) -> None:
    """Send a command to the broker: redis-cli with the right URL, also where no redis-cli is installed.

    Without a command it reads commands from standard input, one a line.

    Examples: `parrot redis XRANGE 'parrot:{main}:tasks' - + COUNT 5` · `parrot redis HGETALL 'parrot:{main}:var:ID'`
    """
    url = load(redis_url=redis_url).redis_url
    if program := shutil.which("redis-cli"):
        arguments, secret = redis_cli_arguments(url)
        os.execve(program, [program, *arguments, *(command or [])], {**os.environ, **secret})  # noqa: S606 - redis-cli itself
    commands = [command] if command else map(shlex.split, sys.stdin)
    statuses = [asyncio.run(_one(url, words)) for words in commands if words]
    raise typer.Exit(max(statuses, default=0))


def redis_cli_arguments(url: str) -> tuple[list[str], dict[str, str]]:
    """What redis-cli must be told to reach `url`: its arguments, and its environment, where a password is not seen by `ps`."""
    parts = urlsplit(url)
    secret = {} if parts.password is None else {"REDISCLI_AUTH": unquote(parts.password)}
    arguments = ["--user", unquote(parts.username)] if parts.username else []
    if parts.scheme == "unix":
        return [*arguments, "-s", parts.path], secret
    if parts.scheme == "rediss":
        arguments.append("--tls")
    database = parts.path.strip("/") or "0"
    return [*arguments, "-h", parts.hostname or "localhost", "-p", str(parts.port or 6379), "-n", database], secret


async def _one(url: str, command: Sequence[str]) -> int:
    try:
        async for answer in send(url, command):
            for line in lines(answer):
                print(line, flush=True)
    except CommandError as error:
        print(f"(error) {error}")  # the answer to what was typed, as redis-cli shows it
        return 1
    return 0


def lines(answer: Any) -> Iterator[str]:
    """An answer as redis-cli shows it on a terminal: numbered lists, nested ones indented, texts in quotes."""
    if isinstance(answer, list):
        if not answer:
            yield "(empty array)"
        width = len(str(len(answer)))
        for number, item in enumerate(answer, 1):
            first, *rest = lines(item)
            yield f"{number:>{width}}) {first}"
            yield from (f"{'':{width + 2}}{line}" for line in rest)
    elif answer is None:
        yield "(nil)"
    elif isinstance(answer, int):
        yield f"(integer) {answer}"
    elif isinstance(answer, Exception):
        yield f"(error) {answer}"  # one command of several in a transaction
    elif answer in _STATUS:
        yield answer.decode()
    else:
        yield f'"{_quoted(answer)}"'


def _quoted(raw: bytes) -> str:
    # Unlike redis-cli, letters of all languages stay letters; only what is no text is shown in hex.
    return "".join(_ESCAPES.get(char) or _shown(char) for char in raw.decode("utf-8", "surrogateescape"))


def _shown(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return char if char.isprintable() else f"\\x{code:02x}"
