"""A value that is there or will be."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from parrot.app.outbox import Receipt, refused
from parrot.broker.variables import Outcome
from parrot.criteria import LATENCY, Criterion
from parrot.errors import CallError, VariableError, from_wire
from parrot.wire.states import ENDED, VariableState

if TYPE_CHECKING:
    from parrot.app.session import BaseSession


class Variable:
    """A Semantic Variable: a named slot of a session that is set once. Made by `session.variable` and by calls.

    Attributes:
        id: its name in Redis.
        name: its name for people.
        session: where it lives.
        receipts: what must be acknowledged before it can be waited for.
    """

    def __init__(self, session: BaseSession, id: str, name: str, receipt: Receipt, *, source: str, text: str | None = None) -> None:  # noqa: A002 - its public name
        self.id = id
        self.name = name
        self.session = session
        self.receipts = [receipt]
        self._source = source
        self._outcome = None if text is None else Outcome(VariableState.READY, text)

    def set(self, text: str) -> None:
        """Give an empty variable its value.

        Raises:
            VariableError: it has a value, or a call produces it.
            SessionError: its session is closed.
            BrokerUnavailable: Redis did not take it; it may be set again.
        """
        if self._source:
            raise VariableError(
                f"The variable {self.name!r} cannot be set: it is {self._source}. Only one that was declared without a text can."
            )
        if any(not refused(receipt) for receipt in self.receipts[1:]):
            raise VariableError(
                f"The variable {self.name!r} is set already, and a variable is set once. Make another with session.variable()."
            )
        self.receipts[1:] = [self.session.set_variable(self, text)]

    def get(self, criteria: Criterion | str | None = LATENCY, timeout: float | None = None) -> str:
        """Wait for the value.

        Args:
            criteria: what the work towards it should be optimised for: `P.LATENCY` (somebody waits for it), `P.THROUGHPUT`, or
                None to leave it as it is.
            timeout: seconds to wait; None waits for as long as it takes.

        Raises:
            ParrotError: why the variable failed, as the matching class of `parrot.errors`.
            GetTimeout: it was not ready in time; the message says where it stands.
            BrokerUnavailable: its call was not taken by Redis, or Redis stayed away.
            SessionError: it belongs to an `AsyncSession`; await it.
        """
        return self.session.get_value(self, _criterion(criteria), timeout)

    async def aget(self, criteria: Criterion | str | None = LATENCY, timeout: float | None = None) -> str:
        """`get` for async code; `await variable` is the same with the defaults."""
        return await self.session.await_value(self, _criterion(criteria), timeout)

    def __await__(self) -> Generator[object, None, str]:
        return self.aget().__await__()

    def __repr__(self) -> str:
        return f"<Variable {self.name} ({self.id}): {self._standing()}>"

    @property
    def ended(self) -> bool:
        """Whether its value or failure is known here, so that no one need be asked."""
        return self._outcome is not None

    def end(self, outcome: Outcome) -> None:
        """Remember how it ended; ignored for one that has not."""
        if outcome.state in ENDED:
            self._outcome = outcome

    def result(self) -> str:
        """The value of a variable that has ended.

        Raises:
            ParrotError: why it failed.
        """
        if self._outcome is None:
            raise VariableError(f"The variable {self.name!r} has not ended.")
        if self._outcome.text is not None:
            return self._outcome.text
        raise from_wire(self._outcome.error_code, self._outcome.error)

    def _standing(self) -> str:
        if self._outcome is not None:
            return f"ready, {self._outcome.text[:40]!r}" if self._outcome.text is not None else f"failed, {self._outcome.error}"
        if self._source:
            return self._source
        return "set" if len(self.receipts) > 1 else "empty"


def _criterion(criteria: Criterion | str | None) -> Criterion | None:
    try:
        return None if criteria is None else Criterion(criteria)
    except ValueError:
        raise CallError(f"criteria={criteria!r} is not known. Write P.LATENCY, P.THROUGHPUT or None.") from None
