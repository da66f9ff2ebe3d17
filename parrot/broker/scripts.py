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


async def run(redis: Redis, name: str, keys: Sequence[str], *arguments: Any) -> Any:
    """Run a script.

    Args:
        redis: a client.
        name: of the script.
        keys: the first decides on which node of a cluster it runs.
        arguments: texts, numbers and bytes. Few and long ones: clients pay for each.

    Raises:
        RedisError: what the script raised.
    """
    called = script(name)
    try:
        return await redis.evalsha(called.digest, len(keys), *keys, *arguments)
    except NoScriptError:
        # The server was restarted and has forgotten its scripts: this one is sent whole, once.
        return await redis.eval(called.source, len(keys), *keys, *arguments)
