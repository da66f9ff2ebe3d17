"""Rings when a token stream grows: one blocking read for all streams that are read in a session."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from parrot.app.pauses import pauses
from parrot.app.supervised import end, supervise
from parrot.errors import BrokerUnavailable, ParrotError

_SILENCE = 10.0  # seconds after which a stream that nobody waits for is not listened to any more

Ring = asyncio.Future[None]
"""Done when there is more; whoever waits no longer cancels it."""


class Bell:
    """Listens to the token streams of one session. Used on its event loop only.

    A stream stays in the blocking read while its reader is busy with what came: only a stream that is new begins the read anew.

    Args:
        hear: blocks until one of the streams has more than the part that is known, by variable; says how far they are.
    """

    def __init__(self, hear: Callable[[Mapping[str, int]], Awaitable[dict[str, int]]]) -> None:
        self._hear = hear
        self._known: dict[str, int] = {}
        self._waiting: dict[str, set[Ring]] = {}
        self._left: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._dead: ParrotError | None = None

    def listen(self, variable: str, after: int) -> Ring:
        """A ring for when a variable gets more parts. Who looks for parts after asking for it misses none.

        Args:
            variable: its id.
            after: the last part that the caller knows.

        Raises:
            ParrotError: the token streams cannot be read any more.
        """
        if self._dead:
            raise self._dead
        ring: Ring = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(variable, set()).add(ring)
        ring.add_done_callback(partial(self._leave, variable))
        self._left.pop(variable, None)
        if variable not in self._known:
            self._known[variable] = after
            self._begin_anew()
        return ring

    async def stop(self) -> None:
        """Listen no more."""
        if self._tasks:
            await end(*self._tasks)

    def _begin_anew(self) -> None:
        for task in self._tasks:
            task.cancel()
        task = supervise(self._hear_all(), "token reader", self._die)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _hear_all(self) -> None:
        pause = pauses()
        while True:
            self._forget_the_silent()
            if not self._known:
                await asyncio.get_running_loop().create_future()  # the next to listen begins anew
            try:
                newest = await self._hear(self._known)
                pause = pauses()
            except BrokerUnavailable:
                # The parts stay where they are. If it lasts, those who wait learn of it where they wait for the variable to end.
                await asyncio.sleep(next(pause))
                continue
            for variable, number in newest.items():
                self._known[variable] = number
                for ring in tuple(self._waiting.get(variable, ())):
                    if not ring.done():
                        ring.set_result(None)

    def _forget_the_silent(self) -> None:
        long_ago = asyncio.get_running_loop().time() - _SILENCE
        for variable in [name for name, since in self._left.items() if since < long_ago]:
            del self._left[variable], self._known[variable]

    def _leave(self, variable: str, ring: Ring) -> None:
        waiting = self._waiting[variable]
        waiting.discard(ring)
        if waiting:
            return
        del self._waiting[variable]
        self._left[variable] = asyncio.get_running_loop().time()

    def _die(self, death: ParrotError) -> None:
        self._dead = death
        for waiting in self._waiting.values():
            for ring in waiting:
                if not ring.done():
                    ring.set_exception(death)
