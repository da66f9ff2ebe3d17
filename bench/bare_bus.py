"""The ceiling of `bench.hops`: the same two processes and streams, and nothing in between: no state, no decision, no validation.

`python -m bench.bare_bus coordinator|worker URL CHAINS LENGTH MARKS`: the worker passes each job on as an event, the coordinator each event
as the next job of its chain; the worker ends when all is done and writes `chain place read ready` for each job, in nanoseconds.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import uvloop

from parrot.broker.connection import connect
from parrot.broker.streams import START, StreamReader

JOBS, EVENTS = "bare:jobs", "bare:events"


async def relay(role: str, url: str, chains: int, length: int) -> list[tuple[bytes, int, int, int]]:
    """Pass entries from one stream to the other until all chains have ended."""
    source, target = (EVENTS, JOBS) if role == "coordinator" else (JOBS, EVENTS)
    marks: list[tuple[bytes, int, int, int]] = []
    seen = 0
    async with connect(url) as redis:
        reader = StreamReader(redis, {source: START})
        while seen < chains * length:
            entries = await reader.read()
            now = time.monotonic_ns()
            pipe = redis.pipeline(transaction=False)
            for entry in entries:
                chain, place = entry.fields[b"chain"], int(entry.fields[b"place"])
                if role == "worker":
                    marks.append((chain, place, now, now))
                    pipe.xadd(target, {"chain": chain, "place": place})
                elif place + 1 < length:
                    pipe.xadd(target, {"chain": chain, "place": place + 1})
            seen += len(entries)
            if len(pipe):
                await pipe.execute()
    return marks


if __name__ == "__main__":
    role, url, chains, length, path = sys.argv[1:]
    rows = uvloop.run(relay(role, url, int(chains), int(length)))
    if role == "worker":
        Path(path).write_text("".join(f"{chain.decode()} {place} {read} {ready}\n" for chain, place, read, ready in rows))
