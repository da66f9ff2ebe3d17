"""`parrot demo`: two programs on real text, and what they did."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional, TypeVar

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from parrot.broker.connection import connect, in_sentences
from parrot.broker.directory import Directory
from parrot.broker.entries import EngineEntry, Program, VariableEntry
from parrot.broker.ping import ping
from parrot.cli import signals
from parrot.cli.hints import parrot_line, redis_line
from parrot.cli.live import watch
from parrot.cli.options import Data, Engine, Engines, Model
from parrot.cli.stack import Plan, Stack, require_engine, start
from parrot.cli.steps import Steps
from parrot.cli.text import builtin, pieces, read
from parrot.config import Settings, load
from parrot.errors import ConfigurationError, ParrotError
from parrot.wire.keys import Keys

if TYPE_CHECKING:
    from parrot.app.variable import Variable

T = TypeVar("T")

_LONGEST_PIECE = 1_800  # characters: some 400 tokens
_LONGEST_RUN = 600.0  # seconds after which the demo gives up


@dataclass(frozen=True, slots=True)
class Report:
    """What the demo did.

    Attributes:
        values: by name; None where there is none.
        errors: by name, of those that have no value.
        sessions: the two programs at their end.
        engines: as they were at the end.
        seconds: from the first submission to the last value.
        busy: share of that time during which the engines had work, 0 to 1.
    """

    values: dict[str, str | None]
    errors: dict[str, str]
    sessions: list[Program]
    engines: list[EngineEntry]
    seconds: float
    busy: float

    @property
    def generations(self) -> list[VariableEntry]:
        return [variable for program in self.sessions for variable in program.variables if variable.call]

    @property
    def calls(self) -> int:
        return sum(len(program.calls) for program in self.sessions)

    def total(self, count: Callable[[VariableEntry], int]) -> int:
        """Sum of a count over all generations."""
        return sum(map(count, self.generations))


def demo(
    path: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(metavar="PATH", help="A text file or folder to summarize. Default: CPython's own documentation."),
    ] = None,
    engine: Engine = None,
    model: Model = None,
    engines: Engines = 1,
    data: Data = None,
    json_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--json", metavar="FILE", help="Where to leave the figures and values. Default: demo.json in the data folder."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running until Ctrl-C, to look inside.")] = False,
    redis_url: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--redis-url", metavar="URL", help="Use the system that runs there instead of starting one."),
    ] = None,
) -> None:
    """Run two programs at once on real text: a map-reduce summary and a chain summary. Exit status 0: every variable is ready.

    Examples: `parrot demo` · your own text: `parrot demo README.md` · without a model: `parrot demo --engine simulated`
    """
    from parrot.cli.demo_program import PARTS  # here: it needs the app side, which `parrot --help` does not

    settings = load(engine=engine, model=model, data=data, redis_url=redis_url)
    parts = pieces(builtin() if path is None else read(path), PARTS, _LONGEST_PIECE)
    out = Console(highlight=False)
    file = json_file or settings.data / "demo.json"
    if redis_url is not None:
        work = _elsewhere(settings, parts, out, file)
    else:
        steps = Steps()
        require_engine(settings, steps.console)
        work = _here(settings, engines, parts, out, file, steps, keep)
    raise typer.Exit(signals.run(work, stopped=130))


async def _elsewhere(settings: Settings, parts: Sequence[str], out: Console, file: Path) -> int:
    await ping(settings.redis_url)
    report = await _run(settings, parts, out)
    _tell(report, settings, out, file)
    _look_inside(report, settings, None, out)
    return _status(report)


async def _here(settings: Settings, engines: int, parts: Sequence[str], out: Console, file: Path, steps: Steps, keep: bool) -> int:
    with tempfile.TemporaryDirectory(prefix="parrot-demo-") as folder:  # a broker of its own: what an earlier demo left is not run again
        plan = Plan(broker=Path(folder), logs=settings.data / "demo" / "logs", engines=engines)
        async with start(settings, plan, steps) as stack:
            settings = settings.model_copy(update={"redis_url": stack.redis_url})
            report = await stack.alongside(_run(settings, parts, out))
            _tell(report, settings, out, file)
            out.print(
                "\n[bold]Look inside[/]" + (" (Ctrl-C ends it all)" if keep else ", while it runs: `parrot demo --keep` leaves it running")
            )
            _look_inside(report, settings, stack.flower_url, out)
            if keep:
                await _kept(stack)
            return _status(report)


async def _kept(stack: Stack) -> None:
    try:
        await stack.alongside(asyncio.Event().wait())
    except asyncio.CancelledError:
        return  # Ctrl-C is how it is ended; the exit status is the demo's


async def _run(settings: Settings, parts: Sequence[str], out: Console) -> Report:
    from parrot.cli.demo_program import submit

    redis = connect(settings.redis_url)
    try:
        with in_sentences(settings.redis_url):
            directory = Directory(redis, Keys(settings.cell))
            before = await directory.engines()
            if not before:
                raise ConfigurationError("No engine is registered there. Start one: parrot worker")
            out.print(f"\nTwo programs on {len(parts)} parts of {len(' '.join(parts)):,} characters of text:")
            began = datetime.now(UTC)
            sessions, variables = await submit(settings.redis_url, parts)
            (outcomes, ended), programs = await _in_time(asyncio.gather(_outcomes(variables), watch(directory, sessions, out)))
            seconds = (ended - began).total_seconds()
            after = await _reported(directory, ended, settings)
            values, errors = _sorted_out(outcomes)
            return Report(values, errors, programs, after, seconds, _busy(before, after, seconds))
    finally:
        await redis.aclose()


async def _in_time(work: Awaitable[T]) -> T:
    try:
        return await asyncio.wait_for(work, _LONGEST_RUN)
    except TimeoutError:
        raise ParrotError(
            f"The demo was not done within {_LONGEST_RUN:g} s. `parrot dev` and `parrot ls` show what an engine does."
        ) from None


async def _outcomes(variables: Mapping[str, Variable]) -> tuple[dict[str, str | BaseException], datetime]:
    found = await asyncio.gather(*(variable.aget() for variable in variables.values()), return_exceptions=True)
    return dict(zip(variables, found, strict=True)), datetime.now(UTC)


def _sorted_out(outcomes: dict[str, str | BaseException]) -> tuple[dict[str, str | None], dict[str, str]]:
    values: dict[str, str | None] = {}
    errors: dict[str, str] = {}
    for name, outcome in outcomes.items():
        if isinstance(outcome, ParrotError):
            values[name], errors[name] = None, str(outcome)  # shown at the end, and the exit status says so
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            values[name] = outcome
    return values, errors


async def _reported(directory: Directory, ended: datetime, settings: Settings) -> list[EngineEntry]:
    """The engines, once each has reported its load after the end: their reports come once in a while."""
    give_up = time.monotonic() + 2 * settings.beat_seconds + 1
    while True:
        engines = await directory.engines()
        if time.monotonic() > give_up or all(engine.seen and datetime.fromisoformat(engine.seen) >= ended for engine in engines):
            return engines
        await asyncio.sleep(0.1)


def _busy(before: Sequence[EngineEntry], after: Sequence[EngineEntry], seconds: float) -> float:
    earlier = {engine.id: engine.busy_seconds for engine in before}
    worked = sum(engine.busy_seconds - earlier.get(engine.id, 0.0) for engine in after)
    return min(1.0, worked / (seconds * len(after))) if after and seconds else 0.0


def _status(report: Report) -> int:
    return 1 if report.errors else 0


def _tell(report: Report, settings: Settings, out: Console, file: Path) -> None:
    out.print("\n[bold]The map-reduce summary[/]")
    out.print(_sentence("The article explains", report.values["map-reduce summary"]))
    out.print("\n[bold]The chain summary[/]")
    for name, value in report.values.items():
        if name.startswith("chain"):
            out.print(_sentence("It explains" if name == "chain 1" else "It then explains", value))
    for name, error in report.errors.items():
        out.print(f"[red]{escape(name)} failed: {escape(error)}[/]")
    out.print()
    out.print(_figures(report))
    _leave(report, settings, file)
    out.print(f"\nFigures and all values: {file}", soft_wrap=True)


def _sentence(beginning: str, value: str | None) -> str:
    """A value with the words that the prompt put before it, and its full stop, which is where the model was stopped."""
    return escape(f"{beginning} {' '.join(value.split()).rstrip('.')}.") if value is not None else "[red](failed)[/]"


def _figures(report: Report) -> Table:
    table = Table("calls", "tokens in", "of these cached", "tokens out", "seconds", "engine busy")
    counts = (
        report.calls,
        report.total(lambda v: v.tokens_in),
        report.total(lambda v: v.tokens_cached),
        report.total(lambda v: v.tokens_out),
    )
    table.add_row(*(f"{count:,}" for count in counts), f"{report.seconds:.1f}", f"{report.busy:.0%}")
    return table


def _leave(report: Report, settings: Settings, file: Path) -> None:
    engine = report.engines[0] if report.engines else None
    content = {
        "engine": engine.kind if engine else settings.engine,
        "model": engine.model if engine else settings.model,
        "calls": report.calls,
        "tokens_in": report.total(lambda v: v.tokens_in),
        "tokens_out": report.total(lambda v: v.tokens_out),
        "cached_tokens": report.total(lambda v: v.tokens_cached),
        "seconds": round(report.seconds, 3),
        "variables": report.values,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2))


def _look_inside(report: Report, settings: Settings, flower_url: str | None, out: Console) -> None:
    url, keys = settings.redis_url, Keys(settings.cell)
    last = report.generations[-1].id
    lines = [redis_line(url, "HGETALL", keys.variable(last))]
    lines += [f"{flower_url}/tasks"] if flower_url else []
    lines += [parrot_line(url, "show", report.sessions[0].session.id)]
    for line in lines:
        out.print(f"  {escape(line)}", soft_wrap=True)
