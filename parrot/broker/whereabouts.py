"""Where variables stand, and which of those that are not there will never come."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import cast

from redis.asyncio import Redis

from parrot.broker.streams import START
from parrot.broker.variables import Outcome, Variables
from parrot.errors import VariableError
from parrot.wire.keys import Keys
from parrot.wire.states import VariableState


class Whereabouts:
    """Looks variables up for those who wait for them.

    ServeCore writes a variable together with its place in the stream of tasks. So a variable that is not there though
    ServeCore is past the task that makes it has gone or will never be.

    Args:
        redis: a client.
        keys: the cell's names.
    """

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._core = keys.core
        self._variables = Variables(redis, keys)

    async def look(self, variables: Mapping[str, str]) -> list[Outcome]:
        """Where variables stand; one that will never come has failed.

        Args:
            variables: by id, the task that makes each: the id of its stream entry.
        """
        found = dict(zip(variables, await self._variables.outcomes(variables), strict=True))
        if missing := [name for name, outcome in found.items() if outcome.state is None]:
            place = _place(await self._taken_up())
            overdue = [name for name in missing if _place(variables[name]) <= place]
            # Looked up again after the place: meanwhile they may have come.
            found |= dict(zip(overdue, map(_gone_if_missing, overdue, await self._variables.outcomes(overdue)), strict=True))
        return list(found.values())

    async def _taken_up(self) -> str:
        raw = await cast(Awaitable[bytes | None], self._redis.hget(self._core, "tasks"))
        return START if raw is None else raw.decode()


def _gone_if_missing(variable: str, outcome: Outcome) -> Outcome:
    if outcome.state is not None:
        return outcome
    reason = (
        f"The variable {variable} is not there (any more): it has expired, as results do some time after their session was closed, "
        "or the call id that it is named after was used before by a call with other outputs, or Redis has lost what was submitted, "
        "as in a power loss."
    )
    return Outcome(VariableState.FAILED, None, VariableError.code, reason)


def _place(entry: str) -> tuple[int, int]:
    time, _, number = entry.partition("-")
    return int(time), int(number)
