"""What is known by name: so much and no more, with note of what has changed, so that successors can be told."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Generic, Protocol, TypeVar


class Known(Protocol):
    """Something that was learned."""

    def text(self) -> str:
        """What a successor needs of it, as JSON that people can read."""
        ...


T = TypeVar("T", bound=Known)


class Memory(Generic[T]):
    """What is known of some kind of thing.

    Args:
        prefix: of the names of this kind, where successors find it beside other kinds.
        most: things that are known; the one that was noted least recently is forgotten.
        read: the inverse of `text`; raises ValueError if it cannot be.
    """

    def __init__(self, prefix: str, most: int, read: Callable[[str], T]) -> None:
        self._prefix = prefix
        self._most = most
        self._read = read
        self._known: OrderedDict[str, T] = OrderedDict()
        self._changed: dict[str, None] = {}  # in the order in which they did first
        self._told: set[str] = set()  # names that successors find

    def __len__(self) -> int:
        return len(self._known)

    def get(self, name: str) -> T | None:
        """What is known under a name."""
        return self._known.get(name)

    def note(self, name: str, known: T) -> None:
        """Something is known, or has changed."""
        self._known[name] = known
        self._known.move_to_end(name)
        self._changed[name] = None
        self._forget()

    def _forget(self) -> None:
        while len(self._known) > self._most:
            name, _ = self._known.popitem(last=False)
            if name in self._told:
                self._changed[name] = None
            else:
                self._changed.pop(name, None)

    def changes(self, most: int) -> dict[str, str | None]:
        """Take out what has changed and was not taken out yet, the oldest changes first.

        Args:
            most: to be taken out.

        Returns:
            Texts for successors, by prefixed name; None for what is forgotten.
        """
        names = list(islice(self._changed, most))
        found: dict[str, str | None] = {}
        for name in names:
            del self._changed[name]
            known = self._known.get(name)
            found[self._prefix + name] = None if known is None else known.text()
            (self._told.discard if known is None else self._told.add)(name)
        return found

    def recall(self, found: Mapping[str, str]) -> None:
        """Know what a predecessor knew.

        Args:
            found: as it comes from `changes`, with other kinds. What cannot be read is forgotten: nobody else can read it either.
        """
        for field, text in found.items():
            name = field.removeprefix(self._prefix)
            if name == field:
                continue
            self._told.add(name)
            try:
                self._known[name] = self._read(text)
            except ValueError:  # somebody else wrote it, or another version; it is learned again
                self._changed[name] = None
        self._forget()
