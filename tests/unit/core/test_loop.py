"""What the settings become in a machine."""

from __future__ import annotations

from collections import Counter

from parrot.config import load
from parrot.core.limits import Limits
from parrot.core.loop import policy_of
from parrot.core.machine import Machine
from parrot.wire.to_core import OpenSession, Usage
from tests.unit.core.cell import KEYS, Cell
from tests.unit.core.stage import DAY, ask, up


def served(weights: dict[str, float], most: int) -> Counter[str]:
    """The calls that a full engine was given first, by tenant, while all of them have many waiting."""
    cell = Cell(Limits(lease=DAY))
    cell.machine = Machine(KEYS, cell.limits, policy=policy_of(load(tenant_weights=weights)))
    cell.tell(*(OpenSession(session=tenant, name="a program", tenant=tenant) for tenant in ("paid", "free")), up("e1", running=1))
    cell.tell(*(ask(f"{tenant}{number}", session=tenant) for number in range(most) for tenant in ("free", "paid")))
    found: Counter[str] = Counter()
    for _ in range(most):
        (job,) = cell.take_jobs()
        found[job.session] += 1
        cell.now += 1.0
        usage = Usage(tokens_in=10, tokens_out=16, first_token_seconds=0.1, seconds=0.5, running=1.0)
        cell.tell(cell.publish(job).model_copy(update={"usage": usage}))
    return found


def test_tenants_are_served_by_their_weights() -> None:
    assert served({}, 40) == {"paid": 20, "free": 20}
    assert served({"paid": 3.0}, 40) == {"paid": 30, "free": 10}
