"""What `get` does: from a variable to its value, its failure or a timeout."""

from __future__ import annotations

import asyncio

from parrot.app.line import Line
from parrot.app.outbox import Receipt
from parrot.app.variable import Variable
from parrot.broker.variables import Outcome
from parrot.criteria import Criterion
from parrot.errors import BrokerUnavailable, GetTimeout
from parrot.wire.states import VariableState
from parrot.wire.to_core import WantVariable

_LAST_LOOK = 1.0  # seconds to find out where a variable stands, when a timeout is over

_STANDING = {
    None: "ServeCore has not taken it up, or its result has expired. Is one running (`parrot core`)?",
    VariableState.EMPTY: "It is empty: somebody must set() it.",
    VariableState.PENDING: "It is pending: the call that produces it waits for its inputs or for an engine.",
    VariableState.GENERATING: "An engine is generating it.",
}


async def value_of(variable: Variable, line: Line, criterion: Criterion | None, timeout: float | None) -> str:
    """Wait for a variable. Arguments and errors as `Variable.get`."""
    try:
        async with asyncio.timeout(timeout):
            for receipt in variable.receipts:
                await _acknowledged(receipt)
            if not variable.ended:
                variable.end(await _outcome(variable, line, criterion, patient=timeout is not None))
    except TimeoutError:
        await _last_look(variable, line, timeout)
    return variable.result()


async def _acknowledged(receipt: Receipt) -> None:
    if not receipt.done():
        await asyncio.wait([receipt])  # unlike a plain await, it leaves the receipt alone if the waiting is cancelled
    receipt.result()


async def _outcome(variable: Variable, line: Line, criterion: Criterion | None, patient: bool) -> Outcome:
    if criterion is not None:
        # Its receipt is not waited for: if this is lost, the value comes all the same, only less hurried.
        line.send(WantVariable(session=variable.session.id, variable=variable.id, criterion=criterion), {})
    return await line.ended(variable.id, patient)


async def _last_look(variable: Variable, line: Line, timeout: float | None) -> None:
    """Find the value after all, or say where the variable stands."""
    try:
        async with asyncio.timeout(_LAST_LOOK):
            (outcome,) = await line.look([variable.id])
    except (BrokerUnavailable, TimeoutError) as error:
        # The caller learns of the timeout, and that the broker is away.
        standing = str(error) or "Redis does not answer."
    else:
        variable.end(outcome)
        standing = _STANDING.get(outcome.state, "")
    if not variable.ended:
        raise GetTimeout(f"The variable {variable.name!r} ({variable.id}) was not ready after {timeout:g} s. {standing}") from None
