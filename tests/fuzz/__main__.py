"""`python -m tests.fuzz --messages 150000 --seed 7`: fire at a cell, and account for every message."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.fuzz.run import Report, run


def main() -> None:
    """Run, print what was sent and what became of it; exit status 1 if anything is not as it must be."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--messages", type=int, default=150_000, help="how many to send (default 150000, of which over 100000 are broken)")
    parser.add_argument("--seed", type=int, default=None, help="of all choices; a new one by default")
    options = parser.parse_args()
    seed = random.randrange(10**6) if options.seed is None else options.seed
    out = Console(highlight=False)
    with tempfile.TemporaryDirectory() as folder, out.status("") as status:
        report = asyncio.run(run(Path(folder), options.messages, seed, lambda sent: status.update(f"{sent:,} messages sent")))
        log = (Path(folder) / "core.log").read_text()
    for table in (_streams(report), _ways(report)):
        out.print(table)
    _print_rest(report, out)
    complaints = report.complaints()
    for complaint in complaints:
        out.print(f"[red]{complaint}[/]")
    if complaints:
        print(log[-5_000:], file=sys.stderr)
        out.print(f"Again: python -m tests.fuzz --messages {options.messages} --seed {seed}")
        sys.exit(1)
    out.print("[green]Every broken message is accounted for, and every program came right.[/]")


def _streams(report: Report) -> Table:
    table = Table("stream", "sent", "understood", "broken", "dead letters", "lost")
    rows: dict[str, list[int]] = {}
    for stream, ways in report.sent.items():
        sent, broken, dead = sum(ways.values()), report.broken.get(stream, set()), report.dead.get(stream, set())
        name = "an engine's jobs" if stream.endswith(":jobs") else stream
        row = rows.setdefault(name, [0] * 5)
        for at, figure in enumerate((sent, sent - len(broken), len(broken), len(dead), len(broken - dead))):
            row[at] += figure
    for name, row in rows.items():
        table.add_row(name, *(f"{figure:,}" for figure in row))
    return table


def _ways(report: Report) -> Table:
    table = Table("how they were made", "sent")
    for way, count in sum(report.sent.values(), start=type(next(iter(report.sent.values())))()).most_common():
        table.add_row(way, f"{count:,}")
    return table


def _print_rest(report: Report, out: Console) -> None:
    seconds = sorted(report.scores.seconds)
    codes = ", ".join(f"{count:,} {code}" for code, count in report.codes.most_common())
    asked = report.answered + len(report.unanswered)
    for line in (
        f"{report.total:,} messages in {report.seconds:.0f} s; {report.total_broken:,} cannot be understood. Seed {report.seed}.",
        f"Dead letters: {report.added:,} ({codes}).",
        f"Broken entries that went unread with the job stream of an engine that was given up: {report.unread:,}.",
        f"Broken calls whose sender was told: {report.answered} of {asked}.",
        f"Programs meanwhile: {len(seconds)} right, {len(report.scores.wrong)} wrong.",
        f"Seconds of a program: median {seconds[len(seconds) // 2]:.2f}, longest {seconds[-1]:.2f}." if seconds else "",
        f"ServeCore: took the lead {report.epochs} time(s), {report.core_mib} MiB at most, {report.rescues} batches it could not handle.",
    ):
        out.print(line, soft_wrap=True)


if __name__ == "__main__":
    main()
