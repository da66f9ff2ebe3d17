"""Which sessions there are."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from parrot.app.finding import list_sessions
from parrot.app.portal import open_portal
from parrot.broker.entries import SessionEntry
from parrot.config import load
from parrot.wire.keys import Keys


def sessions(
    url: str | None = None,
    *,
    name: str | None = None,
    tenant: str | None = None,
    labels: Mapping[str, str] | None = None,
    cell: str | None = None,
) -> list[SessionEntry]:
    """The sessions whose results still live, the newest first. It blocks: in async code, `await asyncio.to_thread(P.sessions)`.

    Args:
        url: the Redis server; the setting `redis_url` by default.
        name: only those of this name.
        tenant: only those of this tenant.
        labels: only those that have all of these labels.
        cell: which cell of the fleet; the setting `cell` by default.

    Returns:
        For each its `id`, `name`, `tenant`, `labels`, `state`, times and how many of its calls have ended; `P.Session.attach(id)` goes on
        with it.

    Raises:
        ConfigurationError: the URL or the cell cannot be understood.
        BrokerUnavailable: the server does not answer.
    """
    settings = load(redis_url=url, cell=cell)
    with open_portal() as portal:
        asked = partial(list_sessions, settings.redis_url, Keys(settings.cell), name=name, tenant=tenant, labels=labels or {})
        return portal.call(asked)
