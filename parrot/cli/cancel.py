"""`parrot cancel SESSION|VARIABLE`."""

from __future__ import annotations

from typing import Annotated

import typer

from parrot.broker.cancelling import Cancelling
from parrot.cli.asking import work_with
from parrot.cli.options import RedisUrl
from parrot.config import load


def cancel(
    wanted: Annotated[
        str, typer.Argument(metavar="SESSION|VARIABLE", help="A session's id, its beginning or its name; or a variable's whole id.")
    ],
    redis_url: RedisUrl = None,
) -> None:
    """Cancel all that a session still does, or one variable with what depends on it.

    What was made for a cancelled variable alone, and nobody asked for, is cancelled too. Values that are ready stay.

    Examples: `parrot cancel "my program"` · `parrot cancel summarize-x3k….summary`
    """
    what = work_with(load(redis_url=redis_url), Cancelling, lambda cancelling: cancelling.cancel(wanted))
    typer.echo(f"Asked ServeCore to cancel the {what}.")
