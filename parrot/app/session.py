"""What both kinds of session share: their life, their variables, and which of them is the current one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from itertools import count
from typing import NoReturn

from pydantic import ValidationError

from parrot.app.ids import fresh, is_text
from parrot.app.line import Line
from parrot.app.outbox import Receipt
from parrot.app.variable import Variable
from parrot.app.waiting import value_of
from parrot.config import load
from parrot.criteria import Criterion
from parrot.errors import BrokerUnavailable, CallError, SessionError
from parrot.wire.codec import Message
from parrot.wire.keys import Keys
from parrot.wire.to_core import CloseSession, DeclareVariable, OpenSession, SetVariable, SubmitCall

_LONGEST_NAME = 128  # characters, as the wire takes them


class BaseSession(ABC):
    """A namespace of variables and calls. Use `Session`, or `AsyncSession` in async code.

    Args:
        url: the Redis server; the setting `redis_url` by default.
        name: what people see it under.
        tenant: on whose account its calls run.
        labels: whatever helps people to find it.
        model: the model for functions that name none; None is any.
        cell: which cell of the fleet; the setting `cell` by default.

    Attributes:
        id: its name in Redis, new for each session.
        name, model: as given.

    Raises:
        ConfigurationError: the URL or the cell cannot be understood.
        SessionError: a name, tenant or label that cannot be taken.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        name: str | None = None,
        tenant: str = "default",
        labels: Mapping[str, str] | None = None,
        model: str | None = None,
        cell: str | None = None,
    ) -> None:
        settings = load(redis_url=url, cell=cell)
        self.name = "session" if name is None else name
        self.model = model
        self._url = settings.redis_url
        self._keys = Keys(settings.cell)
        self._opening = _opening(self.name, tenant, labels or {})
        self.id = self._opening.session
        self._line: Line | None = None
        self._closed = False
        self._outer: BaseSession | None = None
        self._numbers = count(1)

    # What an author uses ------------------------------------------------------------------------

    def variable(self, text: str | None = None, name: str | None = None) -> Variable:
        """Declare a variable: ready at once with `text`, without it empty until `set`.

        Args:
            text: its value.
            name: its name for people.

        Raises:
            CallError: a text or name that cannot be taken.
            SessionError: the session is closed.
            BrokerUnavailable: Redis did not take it.
        """
        name = f"v{next(self._numbers)}" if name is None else name
        if not 0 < len(name) <= _LONGEST_NAME:
            raise CallError(f"A variable's name has 1 to {_LONGEST_NAME} characters; {name!r} has {len(name)}.")
        if text is not None:
            _check_text(text, name)
        message = DeclareVariable(session=self.id, variable=fresh(name), name=name, text=text)
        source = "" if text is None else "declared with a value"
        return Variable(self, message.variable, name, self._send(message, {}), source=source, text=text)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}: {'closed' if self._closed else 'open' if self._line else 'not open yet'}>"

    # What variables and functions use -----------------------------------------------------------

    def submit(self, call: SubmitCall, texts: Mapping[str, str]) -> tuple[Variable, ...]:
        """Send a call; its outputs, in order.

        Args:
            call: the message.
            texts: long constant texts that it names, by hash.
        """
        receipt = self._send(call, texts)
        source = f"the output of a call of {call.function}"
        return tuple(Variable(self, output.variable, name, receipt, source=source) for name, output in call.outputs.items())

    def set_variable(self, variable: Variable, text: str) -> Receipt:
        """Send the value of an empty variable."""
        _check_text(text, variable.name)
        return self._send(SetVariable(session=self.id, variable=variable.id, text=text), {})

    @abstractmethod
    def get_value(self, variable: Variable, criterion: Criterion | None, timeout: float | None) -> str:
        """`Variable.get`."""

    @abstractmethod
    async def await_value(self, variable: Variable, criterion: Criterion | None, timeout: float | None) -> str:
        """`Variable.aget`."""

    # What the two kinds build on ----------------------------------------------------------------

    @abstractmethod
    def _send(self, message: Message, texts: Mapping[str, str]) -> Receipt:
        """Send a message from wherever the author's code runs."""

    def _new_line(self) -> Line:
        return Line(self._url, self._keys, self.id)

    def _open_line(self) -> Line:
        """The line that submissions go through."""
        if self._line is None or self._closed:
            self._refuse()
        return self._line

    def _refuse(self) -> NoReturn:
        if self._closed:
            raise SessionError(f"The session {self.id} is closed and takes no more submissions. Open another one.")
        raise SessionError(f"The session {self.id} is not open yet. Use it in a with block, or async with for an AsyncSession.")

    async def _open(self) -> None:
        if self._line is not None or self._closed:
            raise SessionError(f"The session {self.id} was opened before; each session is used in one with block. Make another one.")
        line = self._new_line()
        await line.start()
        try:
            await line.send(self._opening, {})
        except BaseException:
            await line.stop()  # whoever could not open it holds no connection
            raise
        self._line = line

    def _take_leave(self) -> Line:
        """From here on no more is submitted; the line is given back to be closed."""
        line, self._line, self._closed = self._open_line(), None, True
        return line

    async def _close(self, line: Line, in_peace: bool) -> None:
        """Tell the cell that no more comes.

        Args:
            line: the session's, of which it has taken leave.
            in_peace: the block did not raise.
        """
        try:
            await line.send(CloseSession(session=self.id), {})
        except BrokerUnavailable:
            if in_peace:
                raise
            # Else the exception that ends the block is the one to be seen; the server closes idle sessions by itself.
        finally:
            await line.stop()

    async def _value(self, variable: Variable, criterion: Criterion | None, timeout: float | None) -> str:
        async with self._listening() as line:
            return await value_of(variable, line, criterion, timeout)

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[Line]:
        """The session's line, or after its end one for the moment: values can be read for as long as they live."""
        if self._line is not None:
            yield self._line
            return
        line = self._new_line()
        await line.start()
        try:
            yield line
        finally:
            await line.stop()

    def _become_current(self) -> None:
        self._outer = _current.get()
        _current.set(self)

    def _cease_to_be_current(self) -> None:
        # Not by token: a block may be left in another context than it was entered in, e.g. in a test fixture.
        _current.set(self._outer)


_current: ContextVar[BaseSession | None] = ContextVar("parrot_session", default=None)


def current(function: str) -> BaseSession:
    """The session of the innermost `with` block.

    Args:
        function: who asks, for the error.

    Raises:
        SessionError: there is none.
    """
    session = _current.get()
    if session is None:
        raise SessionError(f"{function} was called outside of a session. Call it inside `with P.Session():`, or pass session=.")
    return session


def _opening(name: str, tenant: str, labels: Mapping[str, str]) -> OpenSession:
    try:
        return OpenSession(session=fresh(name), name=name, tenant=tenant, labels=dict(labels))
    except ValidationError as error:
        first = error.errors()[0]
        raise SessionError(f"The session's {'.'.join(map(str, first['loc']))} cannot be taken: {first['msg']}.") from None


def _check_text(text: object, name: str) -> None:
    if not isinstance(text, str):
        raise CallError(f"The value of the variable {name!r} is a str, not {type(text).__name__}. Pass str(...).")
    if not is_text(text):
        raise CallError(f"The value of the variable {name!r} holds half of a surrogate pair, which no model can read. Remove it.")
