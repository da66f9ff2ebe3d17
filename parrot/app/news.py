"""Waits for variables to end: one reader for all who wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import TypeVar

from parrot.app.pauses import pauses
from parrot.app.supervised import end, supervise
from parrot.broker.streams import Entry
from parrot.broker.variables import Outcome
from parrot.errors import BrokerUnavailable, ParrotError, SessionError
from parrot.wire.states import ENDED
from parrot.wire.to_app import ended_variable

T = TypeVar("T")

PATIENCE = 60.0  # seconds

Look = Callable[[Mapping[str, str]], Awaitable[list[Outcome]]]
"""Where variables stand; by id, the task that makes each (the id of its stream entry)."""


class News:
    """The way in of one session. Used on its event loop only.

    Who waits is entered first, then looked up, and the stream is read from its start: what ended before the look is
    found by it, what ends later is on the stream ahead of the reader. So nothing is missed. A variable that is not there (yet) is
    looked up again after a while, and all are when the broker was away or silent, since it may have forgotten its last words.

    Args:
        hear: the next entries of the session's news, from the start; blocks for a while when there are none.
        look: where variables stand.
        patience: seconds that those who set no timeout of their own wait for a broker that is away.
    """

    def __init__(self, hear: Callable[[], Awaitable[list[Entry]]], look: Look, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._hear = hear
        self._look = look
        self._waiting: dict[str, dict[asyncio.Future[Outcome], bool]] = {}
        self._made_by: dict[str, str] = {}
        self._due: set[str] = set()
        self._asked = asyncio.Event()
        self._pauses = pauses()
        self._tasks: list[asyncio.Task[None]] = []
        self._hearing = False
        self._dead: ParrotError | None = None

    async def ended(self, variable: str, made_by: str, patient: bool) -> Outcome:
        """Wait until a variable has ended.

        Args:
            variable: its id.
            made_by: the task that makes it: the id of its stream entry.
            patient: the caller limits the time; without, a broker that stays away is an error after a minute.

        Raises:
            BrokerUnavailable: the broker stayed away.
            ParrotError: the news cannot be read any more.
        """
        if self._dead:
            raise self._dead
        if not self._tasks:
            self._tasks.append(supervise(self._look_up(), "news reader", self._die))
        waiter: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(variable, {})[waiter] = patient
        self._made_by[variable] = made_by
        self._ask([variable])
        try:
            return await waiter
        finally:
            self._forget(variable, waiter)

    async def stop(self) -> None:
        """Hear no more; whoever still waits is told so."""
        self._die(SessionError("The session was closed while a value was waited for. It goes on in the cell: call get() again."))
        while self._tasks:
            await end(self._tasks.pop())

    async def _look_up(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            asked, self._due = {variable: self._made_by[variable] for variable in self._due if variable in self._made_by}, set()
            if not asked:
                continue  # who asked has gone
            outcomes = dict(zip(asked, await self._until_it_answers(partial(self._look, asked)), strict=True))
            for variable, outcome in outcomes.items():
                if outcome.state in ENDED:
                    self._tell(variable, outcome)
            self._ask_again([variable for variable, outcome in outcomes.items() if outcome.state is None])
            if self._waiting and not self._hearing:
                self._hearing = True
                self._tasks.append(supervise(self._hear_all(), "news reader", self._die))

    async def _hear_all(self) -> None:
        while True:
            entries = await self._until_it_answers(self._hear)
            # After a silence all are looked up again: the broker may have forgotten, as in a power loss, what somebody waits for, and of a
            # short one nothing is seen here.
            self._ask([ended_variable(entry.fields) for entry in entries] or self._waiting)

    def _ask_again(self, missing: list[str]) -> None:
        if missing:
            asyncio.get_running_loop().call_later(next(self._pauses), self._ask, missing)
        else:
            self._pauses = pauses()

    def _ask(self, variables: Iterable[str]) -> None:
        if wanted := self._waiting.keys() & set(variables):
            self._due |= wanted
            self._asked.set()

    def _tell(self, variable: str, outcome: Outcome) -> None:
        for waiter in self._waiting.get(variable, ()):
            if not waiter.done():
                waiter.set_result(outcome)

    def _forget(self, variable: str, waiter: asyncio.Future[Outcome]) -> None:
        waiters = self._waiting[variable]
        del waiters[waiter]
        if not waiters:
            del self._waiting[variable], self._made_by[variable]

    async def _until_it_answers(self, attempt: Callable[[], Awaitable[T]]) -> T:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for failures, pause in enumerate(pauses()):
            try:
                answer = await attempt()
                if failures:
                    self._ask(self._waiting)
                return answer
            except BrokerUnavailable as error:
                # Whoever set a timeout waits on until then; the others are told after a while.
                if loop.time() - began > self._patience:
                    self._fail(error, even_the_patient=False)
            await asyncio.sleep(pause)
        raise AssertionError("pauses never end")

    def _die(self, death: ParrotError) -> None:
        self._dead = death
        self._fail(death, even_the_patient=True)

    def _fail(self, error: ParrotError, even_the_patient: bool) -> None:
        for waiters in self._waiting.values():
            for waiter, patient in waiters.items():
                if not waiter.done() and (even_the_patient or not patient):
                    waiter.set_exception(error)
