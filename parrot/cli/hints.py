"""Lines that people can copy to look inside."""

from __future__ import annotations

import shlex
import shutil

from parrot.passwords import without_password


def redis_line(url: str, *command: str) -> str:
    """A shell line that sends a command to the broker, with what is installed here: redis-cli or `parrot redis`."""
    words = shlex.join(command)
    if shutil.which("redis-cli"):
        return f"redis-cli -u {shlex.quote(without_password(url))} {words}"
    return f"PARROT_REDIS_URL={shlex.quote(without_password(url))} parrot redis {words}"


def parrot_line(url: str, *command: str) -> str:
    """A shell line that runs a `parrot` command against the broker."""
    return f"PARROT_REDIS_URL={shlex.quote(without_password(url))} parrot {shlex.join(command)}"
