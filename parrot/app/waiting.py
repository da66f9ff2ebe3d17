"""What `get` does: from a variable to its value, its failure or a timeout."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from parrot.app.line import Line
from parrot.app.outbox import Receipt
from parrot.app.wishes import Wish
from parrot.broker.variables import Outcome
from parrot.errors import BrokerUnavailable, GetTimeout, ParrotError
from parrot.wire.states import VariableState
from parrot.wire.to_core import WantVariable

if TYPE_CHECKING:
    from parrot.app.variable import Variable

_LAST_LOOK = 1.0  # seconds to find out where a variable stands, when a timeout is over

_STANDING = {
    None: "ServeCore has not taken it up, or its result has expired. Is one running (`parrot core`)?",
    VariableState.EMPTY: "It is empty: somebody must set() it.",
    VariableState.PENDING: "It is pending: the call that produces it waits for its inputs or for an engine.",
    VariableState.GENERATING: "An engine is generating it.",
}


async def value_of(variable: Variable, wanted: Wish | None, timeout: float | None, line: Line) -> str:
    """Wait for a variable. Arguments and errors as `Variable.get`."""
    try:
        async with asyncio.timeout(timeout):
            await taken(variable)
            if not variable.ended:
                want(variable, wanted, line)
                variable.end(await end_of(variable, line, patient=timeout is not None))
    except TimeoutError:
        standing = await last_look(variable, line)
        if not variable.ended:
            raise GetTimeout(f"The variable {variable.name!r} ({variable.id}) was not ready after {timeout:g} s. {standing}") from None
    return variable.result()


async def taken(variable: Variable) -> None:
    """Wait until Redis has acknowledged all that a variable follows from.

    Raises:
        BrokerUnavailable, Overloaded: it did not take it.
    """
    try:
        for receipt in variable.receipts:
            await _acknowledged(receipt)
    except ParrotError:
        variable.session.told(variable.receipts)
        raise


async def _acknowledged(receipt: Receipt) -> None:
    if not receipt.done():
        await asyncio.wait([receipt])  # unlike a plain await, it leaves the receipt alone if the waiting is cancelled
    receipt.result()


def want(variable: Variable, wanted: Wish | None, line: Line) -> None:
    """Say what the work towards a variable should be optimised for."""
    if wanted is not None:
        deadline = {} if wanted.deadline is None else {"deadline": wanted.deadline}
        # Its receipt is not waited for: if this is lost, the value comes all the same, only less hurried.
        line.send(WantVariable(session=variable.session.id, variable=variable.id, criterion=wanted.criterion, **deadline), {})


async def end_of(variable: Variable, line: Line, patient: bool) -> Outcome:
    """Wait until a variable that was taken has ended; see `News.ended`."""
    return await line.ended(variable.id, variable.made_by, patient)


async def last_look(variable: Variable, line: Line) -> str:
    """Find the end of a variable after all, or say where it stands."""
    try:
        async with asyncio.timeout(_LAST_LOOK):
            (outcome,) = await line.look({variable.id: variable.made_by})
    except (BrokerUnavailable, TimeoutError) as error:
        # The caller learns of the timeout, and that the broker is away.
        return str(error) or "Redis does not answer."
    variable.end(outcome)
    return _STANDING.get(outcome.state, "")
