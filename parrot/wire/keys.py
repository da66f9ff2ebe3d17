"""Every Redis name, and the schema of what it holds.

One cell is one hash tag, `{main}` by default: everything of it lies in one slot, so that one script can change it
atomically. Each engine's job stream carries its own tag, so that fleets spread over a Redis Cluster.

=====================================  ======  ==============================================================================
key                                    type    what it holds
=====================================  ======  ==============================================================================
`parrot:{cell}:tasks`                  stream  what apps ask for (`wire/to_core.py`), kept for a while after it is read
`parrot:{cell}:events`                 stream  what engines report (`wire/to_core.py`), kept for a while after it is read
`parrot:{cell}:core`                   hash    epoch, leader, server, cursors (`tasks`, `events`), batches; calls under way and allowed
`parrot:{cell}:leader`                 string  epoch of the ServeCore that leads                                  (expires)
`parrot:{cell}:dead`                   stream  entries that could not be understood, with stream, id, code and reason
`parrot:{cell}:engines`                set     ids of the engines that are registered
`parrot:{cell}:engine:<id>`            hash    an engine: name, model, state, load, last heartbeat
`parrot:{cell}:sessions`               zset    ids of the sessions whose results still live, by the time they were opened
`parrot:{cell}:session:<id>`           hash    a session: name, tenant, state, counts                     (expires)
`parrot:{cell}:session:<id>:calls`     list    ids of its calls in order                                  (expires)
`parrot:{cell}:session:<id>:variables` list    ids of its variables in order                              (expires)
`parrot:{cell}:session:<id>:news`      stream  variables of it that have ended (`wire/to_app.py`)         (expires)
`parrot:{cell}:learned`                hash    output lengths by function, speeds by model, for successors: `core/learned.py`
`parrot:{cell}:active`                 set     ids of the calls that have not ended
`parrot:{cell}:call:<id>`              hash    a call: function, state, times, where and why, request     (expires)
`parrot:{cell}:var:<id>`               hash    a variable: state, value, attempt, engine, counts, times   (expires)
`parrot:{cell}:var:<id>:tokens`        stream  tokens of a variable as they come, by sequence number      (expires)
`parrot:{cell}:text:<hash>`            string  a long constant text, named by its content                 (expires)
`parrot:{<engine id>}:jobs`            stream  jobs of one engine (`wire/to_engine.py`), deleted with it          (expires)
=====================================  ======  ==============================================================================

Permanent are `tasks`, `events`, `core`, `leader`, `dead`, `engines`, `sessions` and `learned`; an engine's two keys go when it leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b


@dataclass(frozen=True)
class Keys:
    """The names of one cell.

    Args:
        cell: the cell's name, without braces.
    """

    cell: str = "main"

    @cached_property
    def prefix(self) -> str:
        return f"parrot:{{{self.cell}}}:"

    @cached_property
    def tasks(self) -> str:
        return f"{self.prefix}tasks"

    @cached_property
    def events(self) -> str:
        return f"{self.prefix}events"

    @cached_property
    def core(self) -> str:
        return f"{self.prefix}core"

    @cached_property
    def leader(self) -> str:
        return f"{self.prefix}leader"

    @cached_property
    def dead(self) -> str:
        return f"{self.prefix}dead"

    @cached_property
    def engines(self) -> str:
        return f"{self.prefix}engines"

    @cached_property
    def sessions(self) -> str:
        return f"{self.prefix}sessions"

    @cached_property
    def learned(self) -> str:
        return f"{self.prefix}learned"

    @cached_property
    def active(self) -> str:
        return f"{self.prefix}active"

    def engine(self, engine: str) -> str:
        return f"{self.prefix}engine:{engine}"

    def jobs(self, engine: str) -> str:
        return f"parrot:{{{engine}}}:jobs"

    def session(self, session: str) -> str:
        return f"{self.prefix}session:{session}"

    def calls(self, session: str) -> str:
        return f"{self.prefix}session:{session}:calls"

    def variables(self, session: str) -> str:
        return f"{self.prefix}session:{session}:variables"

    def news(self, session: str) -> str:
        return f"{self.prefix}session:{session}:news"

    def call(self, call: str) -> str:
        return f"{self.prefix}call:{call}"

    def variable(self, variable: str) -> str:
        return f"{self.prefix}var:{variable}"

    def tokens(self, variable: str) -> str:
        return f"{self.prefix}var:{variable}:tokens"

    def text(self, digest: str) -> str:
        return f"{self.prefix}text:{digest}"

    def type_of(self, key: str) -> str | None:
        """The type that Redis should give a key, as in the table above; None for one that is not in it."""
        if key.endswith(":jobs"):
            return "stream"
        if not key.startswith(self.prefix):
            return None
        kind, _, rest = key.removeprefix(self.prefix).partition(":")
        return _TYPES.get((kind, rest.partition(":")[2] if rest else None))


_TYPES: dict[tuple[str, str | None], str] = {
    **{(kind, None): "stream" for kind in ("tasks", "events", "dead")},
    **{(kind, None): "set" for kind in ("engines", "active")},
    **{(kind, ""): "hash" for kind in ("engine", "session", "call", "var")},
    **{("session", part): "list" for part in ("calls", "variables")},
    ("core", None): "hash",
    ("learned", None): "hash",
    ("leader", None): "string",
    ("sessions", None): "zset",
    ("session", "news"): "stream",
    ("var", "tokens"): "stream",
    ("text", ""): "string",
}


def content_hash(text: str) -> str:
    """The name of a constant text: 128 bits of BLAKE2b over its UTF-8 form, in hex."""
    return blake2b(text.encode(), digest_size=16).hexdigest()
