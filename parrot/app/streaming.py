"""What `stream` does: a variable's text as it comes, part by part."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from parrot.app.line import Line
from parrot.app.news import PATIENCE
from parrot.app.pauses import pauses
from parrot.app.waiting import end_of, last_look, taken, want
from parrot.app.wishes import Wish
from parrot.broker import tokens
from parrot.errors import BrokerUnavailable, GetTimeout

if TYPE_CHECKING:
    from parrot.app.variable import Variable


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a variable's text; `str(part)` is the text.

    Attributes:
        number: its place, from 1: `stream(from_=number)` goes on behind it.
        text: what to append.
        reset: all text before it is void: the generation began anew. It has no text of its own.
    """

    number: int
    text: str
    reset: bool = False

    def __str__(self) -> str:
        return self.text


class Stream:
    """The parts of a variable, in order; made by `Variable.stream`. Iterate with `for`, in async code with `async for`.

    It can be iterated again, from the same number on.
    """

    def __init__(self, variable: Variable, from_: int, wanted: Wish | None, timeout: float | None) -> None:
        self._variable = variable
        self._from = from_
        self._wanted = wanted
        self._timeout = timeout

    def __iter__(self) -> Iterator[Part]:
        session, place, wanted = self._variable.session, Place(self._from), self._wanted
        session.may_block("async for part in variable.stream()")
        while parts := session.run(partial(_next, self._variable, place, wanted, self._timeout)):
            yield from parts
            wanted = None  # what it should be optimised for has been said
            place.go_on(parts)

    async def __aiter__(self) -> AsyncIterator[Part]:
        session, place, wanted = self._variable.session, Place(self._from), self._wanted
        while parts := await session.arun(partial(_next, self._variable, place, wanted, self._timeout)):
            for part in parts:
                yield part
            wanted = None
            place.go_on(parts)


class Place:
    """Where a reader is, and what it has read.

    Redis may lose parts that were read already, as in a power loss; others get their numbers then. What was read shows that at the end.

    Args:
        number: of the last part that was read.

    Attributes:
        said: the text up to there, since the last reset; None if it was read elsewhere, and those parts are not there.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.said: str | None = None if number else ""
        self._looked = not number

    async def look(self, all_parts: Callable[[], Awaitable[Sequence[tokens.Part]]]) -> None:
        """Find out what was said where somebody else stopped, once."""
        if self._looked:
            return
        before = [part for part in await all_parts() if part.number <= self.number]
        self._looked = True
        if before and before[-1].number == self.number:
            self.said = _said(before)

    def go_on(self, parts: Sequence[Part]) -> None:
        """These were read."""
        self.number = parts[-1].number
        for part in parts:
            if part.reset:
                self.said = ""
            elif self.said is not None:
                self.said += part.text


async def _next(variable: Variable, place: Place, wanted: Wish | None, timeout: float | None, line: Line) -> Sequence[Part]:
    """Wait for the parts after a number; empty when a ready variable has no more.

    Raises:
        ParrotError: as `Variable.stream`.
    """
    try:
        async with asyncio.timeout(timeout):
            await taken(variable)
            if not variable.ended:
                want(variable, wanted, line)
            parts = await _more(variable, place, line, patient=timeout is not None)
    except TimeoutError:
        standing = await last_look(variable, line)
        raise GetTimeout(
            f"The variable {variable.name!r} ({variable.id}) had no more parts after number {place.number} within {timeout:g} s. "
            f"{standing} Go on with stream(from_={place.number})."
        ) from None
    return [Part(part.number, part.text, part.kind == "reset") for part in parts]


async def _more(variable: Variable, place: Place, line: Line, patient: bool) -> Sequence[tokens.Part]:
    began = asyncio.get_running_loop().time()
    for pause in pauses():
        try:
            return await _listen(variable, place, line, patient)
        except BrokerUnavailable:
            # Nothing is lost: the parts stay where they are. Whoever set a timeout waits until then.
            if not patient and asyncio.get_running_loop().time() - began > PATIENCE:
                raise
        await asyncio.sleep(pause)
    raise AssertionError("pauses never end")


async def _listen(variable: Variable, place: Place, line: Line, patient: bool) -> Sequence[tokens.Part]:
    number = place.number
    while True:
        ring = line.listen(variable.id, number)  # before the look, so that nothing is missed
        try:
            await place.look(partial(line.all_parts, variable.id))
            ended = variable.ended  # before the look too: then nothing can come after it
            if parts := await line.parts(variable.id, number):
                return parts
            if ended:
                value = variable.result()
                if place.said is not None:
                    return _beyond(value, place.said, number)
                return _rest(value, number, await line.all_parts(variable.id))
            await _ring_or_end(variable, ring, line, patient)
        finally:
            ring.cancel()


async def _ring_or_end(variable: Variable, ring: asyncio.Future[None], line: Line, patient: bool) -> None:
    ending = asyncio.ensure_future(end_of(variable, line, patient))
    either: list[asyncio.Future[Any]] = [ring, ending]
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if ending.done():
            variable.end(ending.result())
        else:
            ring.result()
    finally:
        ending.cancel()


def _rest(value: str, number: int, parts: Sequence[tokens.Part]) -> Sequence[tokens.Part]:
    """What a value has beyond its parts: all of it, if it came without a stream. It is numbered after the last part."""
    last = parts[-1].number if parts else 0
    if number > last + 2:  # it has read more than there is, even with what comes at the end
        return _anew(value, number)
    return [part for part in _beyond(value, _said(parts), last) if part.number > number]


def _said(parts: Sequence[tokens.Part]) -> str:
    """Their text since the last reset."""
    resets = [place for place, part in enumerate(parts) if part.kind == "reset"]
    return "".join(part.text for part in parts[resets[-1] if resets else 0 :])


def _beyond(value: str, said: str, last: int) -> Sequence[tokens.Part]:
    """What a value has beyond what was said of it, if that has a number."""
    if said == value:
        return []
    if value.startswith(said):
        return [tokens.Part(last + 1, value.removeprefix(said))]
    return _anew(value, last)


def _anew(value: str, last: int) -> Sequence[tokens.Part]:
    return [tokens.Part(last + 1, "", (), "reset"), tokens.Part(last + 2, value)]
