"""`parrot run FILE`: a Python program, with the broker known to it."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated, Optional

import typer

from parrot.broker.ping import ping
from parrot.cli import signals
from parrot.cli.options import Engine, Model, RedisUrl
from parrot.cli.stack import Plan, require_engine, start
from parrot.cli.steps import Steps
from parrot.config import Settings, load
from parrot.errors import BrokerUnavailable, ConfigurationError
from parrot.lifeline import die_with_parent

_PATIENCE = 5.0  # seconds that the program has to end after SIGTERM


def run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The Python program.")],
    arguments: Annotated[Optional[list[str]], typer.Argument(metavar="ARGS...", help="Its own arguments.")] = None,  # noqa: UP045
    dev: Annotated[bool, typer.Option("--dev", help="Start everything around the program, and end it with the program.")] = False,
    engine: Engine = None,
    model: Model = None,
    redis_url: RedisUrl = None,
) -> None:
    """Run a Python program with PARROT_REDIS_URL set. Its exit status is the program's.

    Options of `parrot run` come before FILE; what follows FILE belongs to the program. --engine and --model go with --dev.

    Examples: `parrot run program.py --verbose` · with nothing else running: `parrot run --dev --engine simulated program.py`
    """
    if not file.is_file():
        raise ConfigurationError(f"{file} is not a file. Name a Python program.")
    settings = load(engine=engine, model=model, redis_url=redis_url)
    argv = [sys.executable, str(file), *(arguments or [])]
    if dev:
        steps = Steps()
        require_engine(settings, steps.console)
        raise typer.Exit(signals.run(_within_a_stack(settings, argv, steps), stopped=130))
    try:
        asyncio.run(ping(settings.redis_url))
    except BrokerUnavailable as error:
        raise BrokerUnavailable(f"{error} Or let this command start everything: `parrot run --dev {file}`.") from None
    os.execve(argv[0], argv, {**os.environ, "PARROT_REDIS_URL": settings.redis_url})  # noqa: S606 - the program that the user named


async def _within_a_stack(settings: Settings, argv: list[str], steps: Steps) -> int:
    with tempfile.TemporaryDirectory(prefix="parrot-") as folder:
        plan = Plan(broker=Path(folder), logs=settings.data / "run" / "logs")
        async with start(settings, plan, steps) as stack:
            return await stack.alongside(_program(argv, stack.redis_url))


async def _program(argv: list[str], redis_url: str) -> int:
    process = await asyncio.create_subprocess_exec(
        *argv, env={**os.environ, "PARROT_REDIS_URL": redis_url}, preexec_fn=partial(die_with_parent, os.getpid())
    )
    try:
        code = await process.wait()
    except asyncio.CancelledError:
        await _ended(process)  # we are being stopped, and so is the program
        raise
    return code if code >= 0 else 128 - code


async def _ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return  # Ctrl-C reaches it as well as us
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _PATIENCE)
    except TimeoutError:
        process.kill()  # it does not want to end
        await process.wait()
