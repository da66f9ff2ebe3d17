"""`parrot core`: one ServeCore."""

from __future__ import annotations

import uvloop

from parrot import log
from parrot.cli import signals
from parrot.cli.options import RedisUrl
from parrot.collector import spare_the_collector
from parrot.config import load


def core(redis_url: RedisUrl = None) -> None:
    """Run ServeCore, which sees all programs and places their calls on engines.

    It leads the cell PARROT_CELL of the broker, and waits for a broker that is not there yet. SIGTERM ends it; nothing is
    lost, since its state lies in the broker.

    Example: `PARROT_REDIS_URL=redis://bus:6379/0 parrot core`
    """
    settings = load(redis_url=redis_url)
    log.setup(settings.log_level, settings.log_json)
    from parrot.core.loop import serve  # here, so that `parrot --help` need not load it

    spare_the_collector()

    signals.run(serve(settings), stopped=None, loop_factory=uvloop.new_event_loop)
