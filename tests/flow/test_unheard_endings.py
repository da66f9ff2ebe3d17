"""An engine says how its generations end, in words that ServeCore does not understand: their calls end all the same."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from redis.asyncio import Redis

import parrot as P
from parrot.broker import streams, variables
from parrot.wire.keys import Keys
from parrot.wire.to_core import GenerationDone, GenerationFailed
from tests.fault.programs import PATIENCE, step
from tests.flow.cells import running

KEYS = Keys()


def of_a_later_build(module: ModuleType, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the module writes of one kind of message has a field that this build does not know."""
    encode = module.encode

    def later(message: Any) -> dict[str, Any]:
        fields = dict(encode(message))
        if isinstance(message, kind):
            fields["body"] = str(fields["body"])[:-1] + ',"news":1}'
        return fields

    monkeypatch.setattr(module, "encode", later)


async def test_a_value_counts_though_servecore_does_not_understand_who_has_set_it(
    redis_url: str, real_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_a_later_build(variables, GenerationDone, monkeypatch)
    async with running(redis_url), P.AsyncSession(redis_url):
        first = step(text="It")
        second = step(text=first)
        assert await second.aget(timeout=PATIENCE)
        assert await real_redis.hget(KEYS.variable(first.id), "attempt") == b"1"
        assert await real_redis.xlen(KEYS.dead) == 2


async def test_a_failure_that_servecore_does_not_understand_ends_the_call_after_some_attempts(
    redis_url: str, real_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_a_later_build(streams, GenerationFailed, monkeypatch)
    async with running(redis_url), P.AsyncSession(redis_url):
        refused = step(text="more than a context takes " * 1_000)
        with pytest.raises(P.ParrotError, match="5 times an engine was done with it"):
            await refused.aget(timeout=PATIENCE)
        assert await real_redis.xlen(KEYS.dead) == 5
