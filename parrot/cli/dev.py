"""`parrot dev`: everything on this machine."""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Optional

import orjson
import typer
from rich.console import Console

from parrot.cli import signals
from parrot.cli.hints import redis_line
from parrot.cli.options import Data, Engine, Engines, Model
from parrot.cli.stack import Plan, Stack, is_free, require_engine, start
from parrot.cli.steps import Steps
from parrot.config import Settings, load
from parrot.errors import ConfigurationError
from parrot.wire.keys import Keys

_BROKER_PORT = 6379
_FLOWER_PORT = 5555


def dev(
    engine: Engine = None,
    model: Model = None,
    engines: Engines = 1,
    data: Data = None,
    port: Annotated[int, typer.Option(metavar="PORT", min=0, max=65535, help="Port of the broker; 0: any free one.")] = _BROKER_PORT,
    flower_port: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(metavar="PORT", min=0, max=65535, help=f"Port of Flower; 0: any free one. Default: {_FLOWER_PORT} if it is free."),
    ] = None,
    ready_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            metavar="FILE", help="Receives redis_url, flower_url, engines and pids as JSON once all is ready; removed at the end."
        ),
    ] = None,
) -> None:
    """Start everything on this machine: broker, ServeCore, engine workers, Flower. Ctrl-C ends it all.

    What dies is started again. Logs are in DIR/logs. All of it listens on this machine only.

    Examples: `parrot dev` · without a model: `parrot dev --engine simulated` · beside another Redis: `parrot dev --port 0`
    """
    settings = load(engine=engine, model=model, data=data)
    steps = Steps()
    plan = Plan(
        broker=settings.data / "broker",
        logs=settings.data / "logs",
        engines=engines,
        port=_broker_port(port),
        flower_port=_flower_port(flower_port),
    )
    require_engine(settings, steps.console)
    signals.run(_dev(settings, plan, ready_file, steps), stopped=None)


def _broker_port(wanted: int) -> int | None:
    if wanted and not is_free(wanted):
        raise ConfigurationError(
            f"Port {wanted} is in use, perhaps by another Redis or another `parrot dev`. Choose another with --port N, or any free one "
            f"with --port 0. To use the Redis that is there: PARROT_REDIS_URL=redis://localhost:{wanted}/0 and `parrot core`."
        )
    return wanted or None


def _flower_port(wanted: int | None) -> int | None:
    if wanted and not is_free(wanted):
        raise ConfigurationError(
            f"Port {wanted} is in use. Choose another for Flower with --flower-port N, or any free one with --flower-port 0."
        )
    if wanted is None:
        return _FLOWER_PORT if is_free(_FLOWER_PORT) else None
    return wanted or None


async def _dev(settings: Settings, plan: Plan, ready_file: Path | None, steps: Steps) -> None:
    _forget(ready_file)  # of a run that was killed
    async with start(settings, plan, steps) as stack:
        _introduce(stack, settings, plan)
        if ready_file is not None:
            _announce(stack, ready_file)
        try:
            await stack.alongside(asyncio.Event().wait())  # until a signal
        finally:
            _forget(ready_file)


def _introduce(stack: Stack, settings: Settings, plan: Plan) -> None:
    out = Console(highlight=False, soft_wrap=True)
    names = ", ".join(entry.name or entry.id for entry in stack.engines)
    out.print(f"\n[bold]Parrot is ready.[/] {settings.model} ({settings.engine}) on {names}. Ctrl-C ends it all.\n", style=None)
    for what, line in (
        ("In another terminal", f"export PARROT_REDIS_URL={stack.redis_url}"),
        ("Run a program", "parrot run FILE.py"),
        ("What runs", "parrot ls"),
        ("What apps asked for", redis_line(stack.redis_url, "XRANGE", Keys(settings.cell).tasks, "-", "+", "COUNT", "5")),
        ("Flower", stack.flower_url),
        ("Logs", str(plan.logs)),
    ):
        out.print(f"  {what:<20} [bold]{line}[/]", markup=True)


def _forget(ready_file: Path | None) -> None:
    if ready_file is not None:
        ready_file.unlink(missing_ok=True)


def _announce(stack: Stack, path: Path) -> None:
    """Write the ready file in one step, so that a reader sees all of it or nothing."""
    content = {
        "redis_url": stack.redis_url,
        "flower_url": stack.flower_url,
        "engines": [asdict(entry) for entry in stack.engines],
        "pids": stack.pids | {"dev": os.getpid()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2))
    partial.replace(path)
