"""Who is told what becomes of jobs."""

from __future__ import annotations

from typing import Protocol

from parrot.errors import ParrotError
from parrot.wire.to_engine import Job


class Observer(Protocol):
    """Is told what becomes of jobs, in the runner's loop: it must be quick and must not raise.

    `seconds` are from the start on the engine. `returned` says that a job was handed back, or was another engine's already.
    """

    def received(self, job: Job) -> None: ...
    def started(self, job: Job) -> None: ...
    def succeeded(self, job: Job, value: str, seconds: float) -> None: ...
    def failed(self, job: Job, error: ParrotError, seconds: float) -> None: ...
    def returned(self, job: Job) -> None: ...
