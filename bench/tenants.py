"""What a decision costs when many tenants have something that waits.

    python -m bench.tenants

For each number of tenants 10,000 calls wait, or one for each tenant, for one engine with 8 places; its generations end one by one.
Counted is the CPU time of `Machine.handle` from the event that ends one to the job of the next, median of 2,000, in this process.
"""

from __future__ import annotations

import time
from statistics import median

from rich.progress import track

from parrot.core.limits import Limits
from parrot.core.machine import Machine
from parrot.sampling import SamplingConfig
from parrot.template import Segment
from parrot.wire.keys import Keys
from parrot.wire.to_core import Argument, Capacity, EngineUp, GenerationDone, OpenSession, Output, SubmitCall, Usage

TENANTS = (1, 10, 100, 1_000, 10_000)
CALLS = 10_000
MEASURED = 2_000
CAPACITY = Capacity(running=8, kv_tokens=10**6, context_tokens=10**5, block_tokens=16)
USAGE = Usage(tokens_in=10, tokens_cached=0, tokens_out=16, first_token_seconds=0.1, running=8.0, seconds=1.0)


def ask(number: int, session: str) -> SubmitCall:
    """A short call."""
    output = Output(variable=f"c{number}.out", sampling=SamplingConfig(temperature=0, max_gen_length=16))
    template = [Segment("slot", "given"), Segment("slot", "out")]
    given = {"given": Argument(text=f"question {number}")}
    return SubmitCall(session=session, call=f"c{number}", function="f", template=template, arguments=given, outputs={"out": output})


def measure(tenants: int) -> float:
    """CPU milliseconds from one end to the next job."""
    machine, now = Machine(Keys("bench"), Limits(lease=1e9, active=10**6, tenant_active=10**6, session_calls=10**6)), 1.0
    machine.handle([EngineUp(engine="e", name="e", kind="k", model="m", tokenizer="t", host="h", pid=1, capacity=CAPACITY)], now)
    machine.handle([OpenSession(session=f"s{number}", name="s", tenant=f"t{number}") for number in range(tenants)], now)
    for number in range(CALLS):
        machine.handle([ask(number, f"s{number % tenants}")], now)
    engine, spent = machine.fleet.engines["e"], []
    for _ in range(MEASURED):
        held = next(iter(engine.holds.values()))
        now += 0.1
        began = time.thread_time()
        machine.handle([GenerationDone(engine="e", variable=held.variable, attempt=held.attempt, usage=USAGE)], now)
        spent.append(time.thread_time() - began)
    return 1000 * median(spent)


if __name__ == "__main__":
    costs = {tenants: measure(tenants) for tenants in track(TENANTS, "calls of many tenants")}
    for tenants, cost in costs.items():
        print(f"{tenants:>7,} tenants: {cost:.3f} ms for each generation")
