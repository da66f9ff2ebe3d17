"""A value that is there or will be."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING

from parrot.app.outbox import Receipt, refused
from parrot.app.streaming import Stream
from parrot.app.waiting import value_of
from parrot.app.wishes import Criteria, wish
from parrot.broker.streams import START
from parrot.broker.variables import Outcome
from parrot.criteria import LATENCY, TTFT
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
    """

    def __init__(
        self,
        session: BaseSession,
        id: str,  # noqa: A002 - its public name
        name: str,
        receipt: Receipt | None,
        *,
        source: str,
        text: str | None = None,
    ) -> None:
        self.id = id
        self.name = name
        self.session = session
        self._made = receipt
        self._set: Receipt | None = None
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
        if self._set is not None and not refused(self._set):
            raise VariableError(
                f"The variable {self.name!r} is set already, and a variable is set once. Make another with session.variable()."
            )
        self._set = self.session.set_variable(self, text)

    def get(self, criteria: Criteria = LATENCY, timeout: float | None = None) -> str:
        """Wait for the value.

        What was asked before can be asked again at any time, for more or for less: the last word of this variable's readers counts.

        Args:
            criteria: what the work towards it should be optimised for: `P.LATENCY` (somebody waits for it), `P.TTFT` and `P.TPOT`
                (somebody reads it as it comes: soon begun, and then without halts), `P.Deadline(20)` (it is wanted within 20
                seconds from now; nothing fails when it is late), `P.THROUGHPUT` (nobody waits for this one), or None to leave it
                as it is. Their names in lower case will do, but for a deadline.
            timeout: seconds to wait; None waits for as long as it takes.

        Raises:
            ParrotError: why the variable failed, as the matching class of `parrot.errors`.
            CallError: `criteria` is none of these, or a deadline that cannot be met.
            GetTimeout: it was not ready in time; the message says where it stands.
            Overloaded: its call was not taken: too many are under way.
            BrokerUnavailable: its call was not taken by Redis, or Redis stayed away.
            VariableError: its results have expired.
            SessionError: it belongs to an `AsyncSession`; await it.
        """
        wanted = wish(criteria)
        self.session.may_block("await variable")
        return self.result() if self.ended else self.session.run(partial(value_of, self, wanted, timeout))

    async def aget(self, criteria: Criteria = LATENCY, timeout: float | None = None) -> str:
        """`get` for async code; `await variable` is the same with the defaults."""
        return await self.session.arun(partial(value_of, self, wish(criteria), timeout))

    def stream(self, from_: int = 0, criteria: Criteria = TTFT, timeout: float | None = None) -> Stream:
        """The text as it comes: `for part in variable.stream(): print(part, end="")`, or `async for`.

        Parts are durable and numbered from 1: each comes once and in order, whatever is restarted meanwhile, and whoever knows the
        last number that was read can go on from it, in another process too, for as long as the session's results live. The
        iteration ends with the text, or raises why there is none. A value that was made without a stream comes in one piece.

        Args:
            from_: the number of the last part that is known; 0 begins at the first.
            criteria: as for `get`, but by default `P.TTFT`: whoever streams reads it as it comes.
            timeout: seconds to wait for the next part, each time; None waits for as long as it takes.

        Returns:
            An iterable of `P.Part`. Where its `reset` is true, all text before it is void.

        Raises:
            CallError: `from_` is negative, or as for `get`. While it is iterated, besides: all that `get` raises.
        """
        if from_ < 0:
            raise CallError(f"from_={from_} is not the number of a part. Write 0, or the number of the last part that you have.")
        return Stream(self, from_, wish(criteria), timeout)

    def cancel(self) -> None:
        """Want the value no more: it is not made, nor what depends on it, nor what was made for it alone. `get` raises `Cancelled`.

        It changes nothing for a variable that has ended.

        Raises:
            BrokerUnavailable: Redis did not take it.
            SessionError: it belongs to an `AsyncSession` that was left.
        """
        self.session.cancel_variable(self)

    def __await__(self) -> Generator[object, None, str]:
        return self.aget().__await__()

    def __repr__(self) -> str:
        return f"<Variable {self.name} ({self.id}): {self._standing()}>"

    @property
    def receipts(self) -> list[Receipt]:
        """What must be acknowledged before it can be waited for."""
        return [receipt for receipt in (self._made, self._set) if receipt is not None]

    @property
    def made_by(self) -> str:
        """The task that makes it: the id of its stream entry, once Redis has acknowledged it."""
        return START if self._made is None else self._made.result()

    def check_taken(self) -> None:
        """See to it that nothing builds on a variable that will never be.

        Raises:
            ParrotError: Redis is known not to have taken what makes it; why.
        """
        if self._made is not None and refused(self._made):
            self._made.result()

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
            said = self._outcome.error if self._outcome.text is None else repr(self._outcome.text[:40])
            return f"{self._outcome.state}, {said}"
        if self._source:
            return self._source
        return "empty" if self._set is None else "set"
