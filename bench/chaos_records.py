"""What is seen in a run of `bench.chaos`: the records that its parts hand to one another. Times are in seconds since the run began."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["kill", "stop"]

ENDED = frozenset({"ready", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was acknowledged to its client, with the variables that it makes."""

    id: str
    session: str
    variables: tuple[str, ...]


@dataclass(slots=True)
class Fault:
    """Something that was done to a process.

    Attributes:
        kind: SIGKILL, or SIGSTOP for longer than the lease.
        victim: its name; `role` is what it was.
        held: what it was at work on, in words.
        suspects: how many of those that an engine held another one had died of before: ServeCore lets them run alone.
        recovered: when all that it held went on, if that was seen; it is the moment of the fault if it held nothing.
        pid: of the process that was hit.
        holds: the variables that an engine was seen to hold when it was hit.
    """

    kind: Kind
    role: str
    victim: str
    at: float
    held: str = ""
    suspects: int = 0
    recovered: float | None = None
    pid: int = 0
    holds: tuple[str, ...] = ()

    @property
    def seconds(self) -> float | None:
        return None if self.recovered is None else self.recovered - self.at

    def __str__(self) -> str:
        return f"the {self.kind} of {self.victim} at {self.at:.1f} s"


@dataclass(frozen=True, slots=True)
class Life:
    """An engine that came up, in a process. One that was given up while its process was stopped comes back as another engine."""

    engine: str
    pid: int
    at: float


@dataclass(frozen=True, slots=True)
class Error:
    """Why a variable has no value."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Part:
    """An entry of a token stream: its number, its text, and whether it voids what came before."""

    number: int
    text: str
    resets: bool = False
