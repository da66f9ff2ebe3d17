"""The atomic operations: Lua scripts, called by digest."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError


class Script:
    """One script of `lua/`.

    Args:
        name: the file's name without `.lua`.
    """

    def __init__(self, name: str) -> None:
        self.source = files("parrot.broker").joinpath("lua", f"{name}.lua").read_text()
        self.digest = sha1(self.source.encode(), usedforsecurity=False).hexdigest()


@cache
def script(name: str) -> Script:
    """The script of that name; read once."""
    return Script(name)


class Invocation:
    """A call of a script with its keys and arguments, to be run alone or many in one round trip."""

    __slots__ = ("arguments", "script")

    def __init__(self, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> None:
        self.script = script
        self.arguments = (len(keys), *keys, *arguments)


async def run(redis: Redis, *invocations: Invocation) -> list[Any]:
    """Run invocations in one round trip, in order, each atomic by itself.

    A server that was restarted has forgotten its scripts: those that it does not know are sent whole, once.

    Raises:
        RedisError: the first error of a script, after all have run.
    """
    answers = await _send(redis, invocations, whole=False)
    unknown = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
    if unknown:
        again = await _send(redis, [invocations[i] for i in unknown], whole=True)
        for i, answer in zip(unknown, again, strict=True):
            answers[i] = answer
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


async def _send(redis: Redis, invocations: Sequence[Invocation], whole: bool) -> list[Any]:
    pipe = redis.pipeline(transaction=False)
    for invocation in invocations:
        called = ("EVAL", invocation.script.source) if whole else ("EVALSHA", invocation.script.digest)
        pipe.execute_command(*called, *invocation.arguments)
    answers: list[Any] = await pipe.execute(raise_on_error=False)
    return answers
