"""What one cell allows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What the machine allows.

    Attributes:
        lease: an engine that was silent for longer is given up, in seconds.
        results: how long results live after their session was closed and all ended, in seconds.
        idle: an open session of which nothing was heard for so long is closed, in seconds.
        unserved: a call that names a model fails if no engine has served that for so long, in seconds.
        active: calls under way in the cell.
        tenant_active: calls under way of one tenant.
        session_calls: calls of one session.
        depth: generations one after the other.
        isolate: engines share nothing of their caches between tenants.
    """

    lease: float = 3.0
    results: int = 3600
    idle: float = 24 * 3600.0
    unserved: float = 600.0
    active: int = 100_000
    tenant_active: int = 50_000
    session_calls: int = 50_000
    depth: int = 10_000
    isolate: bool = False
