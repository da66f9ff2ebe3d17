"""What an app reads: the news stream of its session."""

from __future__ import annotations

from typing import NamedTuple


class News(NamedTuple):
    """A variable of the session has ended. One stream entry with these two fields, no body: the script that ends a variable writes it.

    Attributes:
        variable: its id.
        state: `ready` or `failed`.
    """

    variable: str
    state: str
