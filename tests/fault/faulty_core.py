"""A ServeCore that kills itself at a named point of its work."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from parrot.broker.ledger import Ledger
from parrot.core import loop
from parrot.wire.to_engine import Order
from parrot.wire.to_ledger import Op
from tests.fault.processes import run_core

Point = Literal["before commit", "after commit", "after dispatch"]

_PLACEMENTS = 5  # batches that place something before the one that it dies of: in the middle of a program


class FaultyLedger(Ledger):
    """Its process dies at `point`."""

    point: Point = "before commit"
    placements = 0

    async def commit(self, cursors: Mapping[str, str], batches: int, operations: Sequence[Op]) -> list[int]:
        places = any(operation[0] == "move" and "placed" in operation for operation in operations)
        FaultyLedger.placements += places
        if places:
            self._die("before commit")
        refused = await super().commit(cursors, batches, operations)
        if places:
            self._die("after commit")
        return refused

    async def dispatch(self, orders: Iterable[tuple[str, str, Order]]) -> list[str]:
        unreachable = await super().dispatch(orders)
        self._die("after dispatch")
        return unreachable

    def _die(self, here: Point) -> None:
        if here == self.point and FaultyLedger.placements > _PLACEMENTS:
            os.kill(os.getpid(), signal.SIGKILL)


def run_faulty_core(point: Point) -> None:
    """The main of a ServeCore process that dies at `point`."""
    FaultyLedger.point = point
    loop.Ledger = FaultyLedger  # type: ignore[attr-defined]
    run_core()
