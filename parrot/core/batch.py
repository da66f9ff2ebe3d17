"""What follows from one batch of messages: operations to commit, orders to send."""

from __future__ import annotations

from dataclasses import dataclass, field

from parrot.wire.to_engine import Order
from parrot.wire.to_ledger import Op


def place(entry: str) -> tuple[int, ...]:
    """The id of a stream entry as numbers, since that is how ids are ordered; the empty id comes before all."""
    return tuple(map(int, entry.split("-"))) if entry else ()


@dataclass(slots=True)
class Batch:
    """What follows from one batch of messages.

    Attributes:
        number: of the batch; numbers never repeat in a cell.
        operations: for the commit script, in order.
        orders: to be sent once the operations are committed: engine, id of the stream entry, what to do.
        abandoned: engines whose job streams must go.
    """

    number: int
    operations: list[Op] = field(default_factory=list)
    orders: list[tuple[str, str, Order]] = field(default_factory=list)
    abandoned: list[str] = field(default_factory=list)

    def write(self, *operations: Op) -> None:
        """Add operations."""
        self.operations.extend(operations)

    def order(self, engine: str, order: Order) -> str:
        """Add an order for an engine.

        Returns:
            The id of its stream entry: it grows with every order of a cell, over restarts too.
        """
        entry = f"{self.number}-{len(self.orders)}"
        self.orders.append((engine, entry, order))
        return entry
