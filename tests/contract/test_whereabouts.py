"""Where variables stand: what will never come is told apart from what has not come yet."""

from __future__ import annotations

from redis.asyncio import Redis

from parrot.broker.whereabouts import Whereabouts
from parrot.wire.keys import Keys
from parrot.wire.states import VariableState

KEYS = Keys("test")


async def test_a_variable_whose_task_servecore_has_not_taken_up_may_still_come(redis: Redis) -> None:
    (outcome,) = await Whereabouts(redis, KEYS).look({"a.x": "5-0"})
    assert outcome.state is None
    await redis.hset(KEYS.core, "tasks", "4-9")
    (outcome,) = await Whereabouts(redis, KEYS).look({"a.x": "5-0"})
    assert outcome.state is None


async def test_a_variable_that_is_not_there_though_its_task_was_taken_up_has_failed(redis: Redis) -> None:
    await redis.hset(KEYS.core, "tasks", "10-0")
    await redis.hset(KEYS.variable("b.x"), "state", "pending")
    gone, there, later = await Whereabouts(redis, KEYS).look({"a.x": "9-1", "b.x": "9-0", "c.x": "10-1"})
    assert (gone.state, gone.error_code) == (VariableState.FAILED, "variable")
    assert "a.x is not there (any more)" in gone.error
    assert (there.state, later.state) == (VariableState.PENDING, None)
