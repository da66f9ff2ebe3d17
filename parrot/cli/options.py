"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Optional

import typer


class EngineKind(StrEnum):
    """What a worker hosts."""

    VLLM = "vllm"  # a real model
    SIMULATED = "simulated"  # deterministic text, no model, no extra packages


# Optional[...], not `| None`: typer evaluates these at run time, and this is the form that all its versions read.
RedisUrl = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--redis-url", metavar="URL", help="The broker. Default: PARROT_REDIS_URL, else redis://localhost:6379/0."),
]
Engine = Annotated[
    Optional[EngineKind],  # noqa: UP045
    typer.Option(help="vllm (a real model) or simulated (no model needed). Default: PARROT_ENGINE, else vllm."),
]
Model = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(metavar="MODEL", help="A Hugging Face model id or a folder. Default: PARROT_MODEL, else the packaged SmolLM2-135M."),
]
Engines = Annotated[int, typer.Option(metavar="N", min=1, help="How many engine workers.")]
Data = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--data", metavar="DIR", help="Folder for the broker's data and the logs. Default: PARROT_DATA, else .parrot."),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output, for programs.")]
