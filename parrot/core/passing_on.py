"""What the policy has learned is kept for successors: now and then, with what is committed anyhow."""

from __future__ import annotations

from parrot.core.cell import Cell
from parrot.wire.to_ledger import put

RARELY = 5.0  # seconds between two times: what a leader learns in its last ones is lost with it


def pass_on(cell: Cell) -> None:
    """Write what has been learned since the last time, if that is some time ago; never a batch for this alone."""
    if not cell.batch.operations or cell.now < cell.passed_on + RARELY:
        return
    learned = cell.fleet.policy.learned()
    if not learned:
        return
    cell.passed_on = cell.now
    if kept := {name: text for name, text in learned.items() if text is not None}:
        cell.batch.write(put(cell.keys.learned, kept))
    if forgotten := learned.keys() - kept.keys():
        cell.batch.write(("HDEL", cell.keys.learned, *sorted(forgotten)))
