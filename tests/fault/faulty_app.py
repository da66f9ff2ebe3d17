"""Apps that die: each writes down what was acknowledged to it, and kills itself or waits to be killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import parrot as P
from parrot.broker import submission
from parrot.wire.codec import Message
from parrot.wire.to_core import SubmitCall
from tests.fault.programs import chain, long_step, think

Point = Literal["before it is sent", "after it was sent"]

_SENT = 5  # calls that are sent before the one that it dies of


def submit_and_wait(notes: Path, length: int) -> None:
    """Submit a program, write down its session and its variables, and wait for the last one."""
    with P.Session(name="mortal") as session:
        made = [*chain(length), long_step(text="and")]
        notes.write_text("\n".join([session.id, *(variable.id for variable in made)]))
        made[-1].get()
        signal.pause()


def submit_for_ever(notes: Path) -> None:
    """Submit calls with two outputs, one after the other, and write down each that was acknowledged."""
    with P.Session(name="mortal") as session, notes.open("a", buffering=1) as acknowledged:
        acknowledged.write(f"{session.id}\n")
        while True:
            thought, answer = think(text="x")
            acknowledged.write(f"{thought.id} {answer.id}\n")


def submit_and_die(notes: Path, point: Point) -> None:
    """The same, and die at `point` of the sixth call."""
    send = submission.Submission.send
    calls = 0

    async def send_or_die(self: submission.Submission, messages: Sequence[Message]) -> list[str]:
        nonlocal calls
        calls += sum(isinstance(message, SubmitCall) for message in messages)
        if calls > _SENT and point == "before it is sent":
            os.kill(os.getpid(), signal.SIGKILL)
        sent = await send(self, messages)
        if calls > _SENT:
            os.kill(os.getpid(), signal.SIGKILL)
        return sent

    submission.Submission.send = send_or_die  # type: ignore[method-assign]
    submit_for_ever(notes)
