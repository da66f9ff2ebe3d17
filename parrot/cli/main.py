"""The command `parrot`: its list of commands, and what becomes of errors."""

from __future__ import annotations

import sys

import typer

from parrot.cli import cancel, core, dead, demo, dev, doctor, ls, redis, run, show, worker
from parrot.errors import ParrotError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Parrot serves LLM applications: programs of Semantic Variables, scheduled as a graph onto vLLM engines.

Try it: `parrot demo`. Start everything on this machine: `parrot dev`, then in another terminal `parrot run FILE`.""",
)
app.command("demo")(demo.demo)
app.command("dev")(dev.dev)
app.command("run", context_settings={"allow_interspersed_args": False})(run.run)
app.command("ls")(ls.ls)
app.command("show")(show.show)
app.command("cancel")(cancel.cancel)
app.add_typer(dead.app, name="dead")
app.command("doctor")(doctor.doctor)
app.command("redis", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})(redis.redis)
app.command("core")(core.core)
app.command("worker")(worker.worker)


def main() -> None:
    """Run the command. Our errors become one sentence on standard error and exit status 2."""
    try:
        app()
    except ParrotError as error:
        print(f"parrot: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
