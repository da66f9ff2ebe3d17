"""Progress of what takes a while: a spinner on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape


class Steps:
    """Says what is being done, on standard error, so that standard output stays for results.

    Args:
        console: where to say it; standard error by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self._detail = ""
        self._show: Callable[[str], object] = self.say

    def say(self, text: str) -> None:
        """One line that stays."""
        self.console.print(escape(text), soft_wrap=True)

    def detail(self, text: str) -> None:
        """What the current step is at; said again only when it changes."""
        if text and text != self._detail:
            self._detail = text
            self._show(text)

    @contextmanager
    def doing(self, text: str) -> Iterator[None]:
        """A step that takes a while; `detail` inside it adds what it is at."""
        began = time.monotonic()
        self._detail = ""
        if self.console.is_terminal:
            with self.console.status(escape(f"{text} …")) as status:
                self._show = lambda detail: status.update(escape(f"{text}: {detail} …"))
                yield
        else:
            self.say(f"{text} …")
            self._show = lambda detail: self.say(f"  {detail} …")
            yield
        self.console.print(f"[green]✓[/] {escape(text)} ({time.monotonic() - began:.1f} s)", soft_wrap=True)
