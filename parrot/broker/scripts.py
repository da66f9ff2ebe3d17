"""The atomic operations: Lua scripts, called by digest. A line `-- include NAME.lua` in one stands for what NAME.lua says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

_INCLUDE = re.compile(r"^-- include (\w+)\.lua$", re.MULTILINE)


class Script:
    """One script of `lua/`.

    Args:
        name: the file's name without `.lua`.
    """

    def __init__(self, name: str) -> None:
        self.source = _INCLUDE.sub(lambda line: _read(line[1]), _read(name))
        self.digest = sha1(self.source.encode(), usedforsecurity=False).hexdigest()


def _read(name: str) -> str:
    return files("parrot.broker").joinpath("lua", f"{name}.lua").read_text()


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
