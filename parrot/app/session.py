"""What both kinds of session share: their life, their variables, and which of them is the current one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from itertools import count
from typing import NoReturn, Self, TypeVar

from pydantic import ValidationError

from parrot.app import texts as readable
from parrot.app.constants import Names
from parrot.app.deadlines import from_now
from parrot.app.finding import find_session
from parrot.app.ids import fresh
from parrot.app.line import Line
from parrot.app.outbox import Receipt
from parrot.app.variable import Variable
from parrot.broker.entries import SessionEntry
from parrot.config import load
from parrot.errors import BrokerUnavailable, CallError, SessionError
from parrot.wire.codec import Message, encode
from parrot.wire.keys import Keys
from parrot.wire.states import SessionState
from parrot.wire.to_core import CancelSession, CancelVariable, CloseSession, DeclareVariable, OpenSession, SetVariable, SubmitCall

T = TypeVar("T")
Work = Callable[[Line], Awaitable[T]]
"""What is done on a session's line."""

_LONGEST_NAME = 128  # characters, as the wire takes them


class BaseSession(ABC):
    """A namespace of variables and calls. Use `Session`, or `AsyncSession` in async code.

    Leaving the block closes the session: it takes no more submissions, what was submitted goes on. Leaving it by an exception
    cancels it. With `detach` it stays open for others (`attach`) however the block is left; one that is idle for a day is closed.

    Args:
        url: the Redis server; the setting `redis_url` by default.
        name: what people see it under.
        tenant: on whose account its calls run.
        labels: whatever helps people to find it.
        model: the model for functions that name none; None is any.
        cell: which cell of the fleet; the setting `cell` by default.
        deadline: seconds from the moment that it is opened within which all its calls must have ended; those that have not fail
            with `DeadlineExceeded`.
        detach: leave it open when the block is left.

    Attributes:
        id: its name in Redis, new for each session.
        name, model: as given.
        text_names: of the long constant texts that its calls used last.

    Raises:
        ConfigurationError: the URL or the cell cannot be understood.
        SessionError: a name, tenant or label that cannot be taken.
        CallError: a deadline that cannot be met.
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
        deadline: float | None = None,
        detach: bool = False,
    ) -> None:
        settings = load(redis_url=url, cell=cell)
        from_now(deadline)  # counts from the opening, but is refused here
        self.name = "session" if name is None else name
        self.model = model
        self._url = settings.redis_url
        self._keys = Keys(settings.cell)
        self._opening: OpenSession | None = _opening(self.name, tenant, labels or {})
        self._deadline = deadline
        self._tenant = tenant
        self.id = self._opening.session
        self.text_names = Names()
        self._line: Line | None = None
        self._left = False
        self._shut = ""
        self._detached = detach
        self._outer: BaseSession | None = None
        self._numbers = count(1)

    @classmethod
    def attach(cls, wanted: str, url: str | None = None, *, model: str | None = None, cell: str | None = None, detach: bool = True) -> Self:
        """Go on with a session that was opened elsewhere: `with P.Session.attach("report") as session:`.

        One that is open takes submissions; one that is closed can be read, and what goes on in it cancelled.

        Args:
            wanted: its id, or its name if no other session whose results still live has it.
            url, model, cell: as for a new session.
            detach: leave it open when the block is left; False closes it then, or cancels it, as one's own.

        Raises:
            ConfigurationError: the URL or the cell cannot be understood.
            SessionError: when the block is entered: there is no such session, or there are several.
        """
        session = cls(url, model=model, cell=cell, detach=detach)
        session.id = session.name = wanted
        session._opening = None
        return session

    # What an author uses ------------------------------------------------------------------------

    def variable(self, text: str | None = None, name: str | None = None) -> Variable:
        """Declare a variable: ready at once with `text`, without it empty until `set`.

        Args:
            text: its value.
            name: its name for people.

        Raises:
            CallError: a text or name that cannot be taken.
            LimitExceeded: the text is too long.
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
        return Variable(self, message.variable, name, self._submit(message, {}), source=source, text=text)

    def cancel(self) -> None:
        """Want nothing of the session any more that has not ended: it stops, `get` raises `Cancelled`, and the session is closed.

        Raises:
            BrokerUnavailable: Redis did not take it.
            SessionError: it was not opened, or it is an `AsyncSession` that was left.
        """
        self._check_opened()
        self._tell(CancelSession(session=self.id))
        self._shut = "cancelled"

    def detach(self) -> None:
        """Leave the session open when the block is left, for others to `attach` to."""
        self._detached = True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}: {self._shut or ('open' if self._line else 'not open yet')}>"

    # What variables and functions use -----------------------------------------------------------

    def submit(self, call: SubmitCall, texts: Mapping[str, str]) -> tuple[Variable, ...]:
        """Send a call; its outputs, in order.

        Args:
            call: the message.
            texts: long constant texts that it names, by hash.
        """
        receipt = self._submit(call, texts)
        source = f"the output of a call of {call.function}"
        return tuple(Variable(self, output.variable, name, receipt, source=source) for name, output in call.outputs.items())

    def set_variable(self, variable: Variable, text: str) -> Receipt:
        """Send the value of an empty variable."""
        _check_text(text, variable.name)
        return self._submit(SetVariable(session=self.id, variable=variable.id, text=text), {})

    def cancel_variable(self, variable: Variable) -> None:
        """Send word that a variable is wanted no more."""
        self._tell(CancelVariable(session=self.id, variable=variable.id))

    @abstractmethod
    def told(self, receipts: Iterable[Receipt]) -> None:
        """Somebody was told which of these were refused."""

    @abstractmethod
    def may_block(self, instead: str) -> None:
        """Check that the author's code may wait here.

        Args:
            instead: what to write where it may not.

        Raises:
            SessionError: it would block an event loop.
        """

    @abstractmethod
    def run(self, work: Work[T]) -> T:
        """Do something on the session's line and wait for it."""

    @abstractmethod
    async def arun(self, work: Work[T]) -> T:
        """The same for async code."""

    # What the two kinds build on ----------------------------------------------------------------

    @abstractmethod
    def _send(self, message: Message, texts: Mapping[str, str]) -> Receipt:
        """Send a message from wherever the author's code runs."""

    @abstractmethod
    def _tell(self, message: Message) -> None:
        """Send a message that a closed session takes too."""

    def _submit(self, message: Message, texts: Mapping[str, str]) -> Receipt:
        if self._shut:
            self._refuse()
        encode(message)  # one that is too large is refused here, not where it is sent among others
        return self._send(message, texts)

    def _new_line(self) -> Line:
        return Line(self._url, self._keys, self.id, self._tenant)

    def _open_line(self) -> Line:
        if self._line is None:
            self._refuse()
        return self._line

    def _check_opened(self) -> None:
        if self._line is None and not self._left:
            self._refuse()

    def _refuse(self) -> NoReturn:
        if self._shut:
            raise SessionError(f"The session {self.id} is {self._shut} and takes no more submissions. Open another one.")
        raise SessionError(f"The session {self.id} is not open yet. Use it in a with block, or async with for an AsyncSession.")

    async def _open(self) -> None:
        if self._line is not None or self._left:
            raise SessionError(f"The session {self.id} was opened before; each session is used in one with block. Make another one.")
        if self._opening is None:
            self._adopt(await self._find())
        line = self._new_line()
        await line.start()
        try:
            if self._opening is not None:
                deadline = {} if self._deadline is None else {"deadline": from_now(self._deadline)}
                await line.send(self._opening.model_copy(update=deadline), {})
        except BaseException:
            await line.stop()  # whoever could not open it holds no connection
            raise
        self._line = line

    async def _find(self) -> SessionEntry:
        return await find_session(self._url, self._keys, self.id)

    def _adopt(self, found: SessionEntry) -> None:
        self.id, self.name, self._tenant = found.id, found.name, found.tenant
        if found.state == SessionState.CLOSED:
            self._shut = "closed"

    def _take_leave(self) -> tuple[Line, str]:
        """From here on no more is submitted.

        Returns:
            The line, to be closed, and how the session stood.
        """
        line, stood = self._open_line(), self._shut
        self._line, self._left, self._shut = None, True, self._shut or ("left" if self._detached else "closed")
        return line, stood

    async def _close(self, line: Line, stood: str, in_peace: bool) -> None:
        """Tell the cell that no more comes.

        Args:
            line: the session's, of which it has taken leave.
            stood: how it stood then.
            in_peace: the block did not raise.
        """
        try:
            if self._detached or stood:
                await line.settle()
            else:
                await line.send(CloseSession(session=self.id) if in_peace else CancelSession(session=self.id), {})
        except BrokerUnavailable:
            if in_peace:
                raise
            # Else the exception that ends the block is the one to be seen; the server closes idle sessions by itself.
        finally:
            await line.stop()

    async def _on_line(self, work: Work[T]) -> T:
        async with self._listening() as line:
            return await work(line)

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[Line]:
        """The session's line, or after its end one for the moment: values can be read for as long as they live."""
        if self._line is not None:
            yield self._line
            return
        self._check_opened()
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
    readable.check(text, f"The value of the variable {name!r}")
