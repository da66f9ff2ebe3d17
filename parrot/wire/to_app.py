"""What an app reads: the news stream of its session.

An entry has two fields and no envelope, since the scripts that end a variable write it: `variable`, its id, and `state`, which is
`ready`, `failed` or `cancelled`. It says where to look; the outcome itself stands at the variable's key.
"""

from __future__ import annotations

from collections.abc import Mapping


def ended_variable(fields: Mapping[bytes, bytes]) -> str:
    """The id of the variable that an entry of the news says has ended; empty if it names none."""
    return fields.get(b"variable", b"").decode()
