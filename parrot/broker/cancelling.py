"""Cancelling from outside the program: what an operator asks for."""

from __future__ import annotations

from typing import Any, cast

from redis.asyncio import Redis

from parrot.broker.directory import Directory
from parrot.broker.streams import append
from parrot.errors import VariableError
from parrot.wire.keys import Keys
from parrot.wire.states import ENDED
from parrot.wire.to_core import CancelSession, CancelVariable

BEGINNING = 4  # characters of an id


class Cancelling:
    """Asks ServeCore to cancel what somebody else submitted.

    Args:
        redis: a client.
        keys: the cell's names.
    """

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def cancel(self, wanted: str) -> str:
        """Cancel a variable or a session.

        Args:
            wanted: the id of a variable, or a session as `Directory.find` understands it, with 4 characters of an id at least: a slip is
                not to hit the only session that there is.

        Returns:
            What was asked for, in words.

        Raises:
            VariableError: the variable has ended.
            SessionError: there is neither such a variable nor such a session.
        """
        session, state = await cast(Any, self._redis.hmget(self._keys.variable(wanted), ["session", "state"]))
        if session is None:
            found = await Directory(self._redis, self._keys).find(wanted, least=BEGINNING)
            await append(self._redis, self._keys.tasks, [CancelSession(session=found)])
            return f"session {found}"
        if state.decode() in ENDED:
            raise VariableError(f"The variable {wanted} is {state.decode()}; there is nothing to cancel.")
        await append(self._redis, self._keys.tasks, [CancelVariable(session=session.decode(), variable=wanted)])
        return f"variable {wanted} of session {session.decode()}"
