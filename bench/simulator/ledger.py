"""What Redis holds of a cell, as far as a new leader reads it."""

from __future__ import annotations

from collections.abc import Iterable

from parrot.broker.ledger import CALL, ENGINE, SESSION, VARIABLE, Record, Snapshot, as_read
from parrot.wire.keys import Keys
from parrot.wire.to_ledger import Op

ENDED = ("ready", "failed", "cancelled")


class MemoryLedger:
    """Applies ServeCore's operations to dicts, as the commit script does to Redis. Nothing expires.

    Args:
        keys: the cell's names.
    """

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._hashes: dict[str, Record] = {}
        self._lists: dict[str, list[str]] = {}
        self._sets: dict[str, dict[str, None]] = {}

    def apply(self, operations: Iterable[Op]) -> None:
        """Commit."""
        for name, key, *rest in operations:
            if name == "HSET":
                self._put(key, rest)
            elif name == "move":
                if not self._ended(key):
                    self._put(key, rest)
            elif name == "end":
                if not self._ended(key):
                    self._put(key, ["state", rest[2], *rest[3:]])
            elif name == "RPUSH":
                self._lists.setdefault(key, []).append(rest[0])
            elif name in ("SADD", "ZADD"):
                self._sets.setdefault(key, {})[rest[-1]] = None
            elif name in ("SREM", "ZREM"):
                self._sets.get(key, {}).pop(rest[0], None)
            elif name == "DEL":
                self._hashes.pop(key, None)
            elif name == "HDEL":
                for field in rest:
                    self._hashes.get(key, {}).pop(field, None)
            elif name not in ("XADD", "EXPIRE", "bury"):  # nobody reads news here
                raise ValueError(f"The virtual ledger does not know the operation {name}; add it to {__name__}.")

    def publish(self, variable: str) -> None:
        """An engine has set a variable, without asking ServeCore."""
        self._hashes.setdefault(self._keys.variable(variable), {})["state"] = "ready"

    def load(self) -> Snapshot:
        """What a new leader is given."""
        keys, hashes = self._keys, self._hashes
        sessions = list(self._sets.get(keys.sessions, ()))
        variables = {name: list(self._lists.get(keys.variables(name), ())) for name in sessions}
        return Snapshot(
            sessions={name: as_read(hashes[keys.session(name)], SESSION) for name in sessions},
            calls={name: list(self._lists.get(keys.calls(name), ())) for name in sessions},
            variables=variables,
            active={name: as_read(hashes[keys.call(name)], CALL) for name in self._sets.get(keys.active, ())},
            variable={name: as_read(hashes[keys.variable(name)], VARIABLE) for names in variables.values() for name in names},
            engines={name: as_read(hashes[keys.engine(name)], ENGINE) for name in self._sets.get(keys.engines, ())},
            learned=dict(hashes.get(keys.learned, {})),
        )

    def _put(self, key: str, flat: list[str]) -> None:
        self._hashes.setdefault(key, {}).update(zip(flat[::2], flat[1::2], strict=True))

    def _ended(self, key: str) -> bool:
        return self._hashes.get(key, {}).get("state") in ENDED
