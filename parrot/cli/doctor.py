"""`parrot doctor`: does everything in Redis add up?"""

from __future__ import annotations

import asyncio
from typing import Annotated

import orjson
import typer

from parrot.broker.audit import Audit
from parrot.broker.connection import connect, in_sentences
from parrot.cli.options import AsJson, RedisUrl
from parrot.config import Settings, load
from parrot.core.check import check
from parrot.wire.keys import Keys

BETWEEN_LOOKS = 1.0  # seconds; what was on its way at the first look has arrived by then


def doctor(
    idle: Annotated[bool, typer.Option("--idle", help="Nothing is on its way, so one look is enough.")] = False,
    as_json: AsJson = False,
    redis_url: RedisUrl = None,
) -> None:
    """Check that nothing in Redis is lost, held twice or left over: calls, variables, engines, sessions, keys.

    Reads every key of the cell, twice, and reports what was wrong both times. Exit status 1 if anything was.

    Examples: `parrot doctor` · `parrot doctor --idle --json | jq -r '.findings[]'`
    """
    findings = asyncio.run(examine(load(redis_url=redis_url), 1 if idle else 2))
    if as_json:
        typer.echo(orjson.dumps({"findings": findings}, option=orjson.OPT_INDENT_2))
    else:
        for finding in findings:
            typer.echo(finding)
        count = "1 thing does" if len(findings) == 1 else f"{len(findings):,} things do"
        typer.echo(f"{count} not add up." if findings else "All is well.")
    if findings:
        raise typer.Exit(1)


async def examine(settings: Settings, looks: int) -> list[str]:
    """The findings of the last look that all looks before it had as well."""
    redis, keys = connect(settings.redis_url), Keys(settings.cell)
    try:
        with in_sentences(settings.redis_url):
            findings = check(keys, await Audit(redis, keys).read())
            for _ in range(looks - 1):
                await asyncio.sleep(BETWEEN_LOOKS)
                before, findings = set(findings), check(keys, await Audit(redis, keys).read())
                findings = [finding for finding in findings if finding in before]
            return findings
    finally:
        await redis.aclose()
