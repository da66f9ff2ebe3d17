"""What was made of texts, so that it is made once. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class TextCache(Generic[T]):
    """A function of a text that remembers; the texts that were used latest are kept.

    Args:
        make: the function.
        room: how many characters to keep.
    """

    def __init__(self, make: Callable[[str], T], room: int) -> None:
        self._make = make
        self._room = room
        self._held = 0
        self._kept: OrderedDict[str, T] = OrderedDict()  # the least recently used first

    def __call__(self, text: str) -> T:
        if text in self._kept:
            self._kept.move_to_end(text)
            return self._kept[text]
        made = self._kept[text] = self._make(text)
        self._held += len(text)
        while self._held > self._room:
            oldest, _ = self._kept.popitem(last=False)
            self._held -= len(oldest)
        return made
