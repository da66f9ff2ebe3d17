"""Servers that die and lose power."""

from __future__ import annotations

import signal
from pathlib import Path

from parrot.broker.embedded import EmbeddedServer


def kill(server: EmbeddedServer) -> None:
    """SIGKILL the server: what it had written stays."""
    signal_to(server, signal.SIGKILL)
    server.stop()  # which finds it dead


def signal_to(server: EmbeddedServer, number: int) -> None:
    assert server._process is not None
    server._process.send_signal(number)


def journal(server: EmbeddedServer) -> Path:
    """The file that the server appends what it is told to."""
    (path,) = server.data.glob("appendonlydir/*.incr.aof")
    return path


def lose_power(server: EmbeddedServer, keeps: int, torn: bytes = b"") -> None:
    """End the server and leave of its journal what the disk had, and perhaps half of an entry that was being written."""
    path = journal(server)
    kill(server)
    kept = path.read_bytes()[:keeps]
    path.write_bytes(kept + torn)


def written_before(server: EmbeddedServer, words: bytes) -> int:
    """How much of the journal comes before the last command that says this."""
    return journal(server).read_bytes().rindex(words)
