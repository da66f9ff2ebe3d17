"""A wire between a process and the broker that can be cut before a command arrives, or after it was carried out and before the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal

Point = Literal["before it arrives", "after it was carried out"]


class Wire:
    """Passes everything on, until a command comes that it waits for.

    Args:
        port: of the broker.
        cut: called once, when the wire is cut.
    """

    def __init__(self, port: int, cut: Callable[[], None]) -> None:
        self.url = ""
        self.was_cut = asyncio.Event()
        self._port = port
        self._cut = cut
        self._words: bytes | None = None
        self._point: Point = "before it arrives"
        self._connections: set[asyncio.Task[None]] = set()

    def arm(self, words: str, point: Point) -> None:
        """Cut the wire at the next command that holds these words."""
        self._words, self._point = words.encode(), point

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the process."""
        try:
            broker_reader, broker_writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.close()  # the broker is away, and so the process finds it
            return
        answers = asyncio.create_task(_pass_on(broker_reader, writer))
        self._connections.add(answers)
        try:
            while data := await reader.read(1 << 20):
                if self._words is not None and self._words in data:
                    self._words = None
                    await self._strike(data, answers, broker_reader, broker_writer)
                    return
                broker_writer.write(data)
        except OSError:
            return  # one of both has gone: the other one's connection is closed below
        finally:
            answers.cancel()
            self._connections.discard(answers)
            broker_writer.close()
            writer.close()

    async def _strike(self, data: bytes, answers: asyncio.Task[None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers.cancel()
        await asyncio.wait([answers])
        if self._point == "after it was carried out":
            writer.write(data)
            await reader.read(1 << 20)  # the answer: it has been carried out, and is on the disk
        self._cut()
        self.was_cut.set()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 20):
            writer.write(data)
    except OSError:
        return  # the process has gone
    finally:
        writer.close()


@asynccontextmanager
async def wire(port: int, cut: Callable[[], None]) -> AsyncIterator[Wire]:
    """A wire to the broker at `port`; its `url` is what the process connects to."""
    made = Wire(port, cut)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    try:
        yield made
    finally:
        server.close()
