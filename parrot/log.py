"""Logs: lines for people on a console, or one JSON object a line; never a password."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog
from structlog.typing import Processor

from parrot.passwords import without_password

_SECRET = re.compile(r"password|passwd|secret|api_?key|authorization", re.IGNORECASE)
_HIDDEN = "***"


def setup(level: str = "info", as_json: bool = False) -> None:
    """Send all logs of this process to its standard error, ours (structlog) and those of libraries (logging) alike.

    Args:
        level: `debug`, `info`, `warning` or `error`; libraries speak from `warning` on, unless it is `debug`.
        as_json: one JSON object a line instead of lines for people.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,  # as text: that can be searched for secrets, an exception cannot
                hide_secrets,
                structlog.processors.JSONRenderer() if as_json else _for_people(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
    for own in ("parrot", "workers"):
        logging.getLogger(own).setLevel(level.upper())


def _for_people() -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)


def hide_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """A structlog processor: passwords in URLs, and fields named like a secret, become `***`."""
    return {name: _HIDDEN if _SECRET.search(name) else _hidden(value) for name, value in event.items()}


def _hidden(value: Any) -> Any:
    if isinstance(value, str):
        return without_password(value)
    if isinstance(value, dict):
        return {name: _HIDDEN if isinstance(name, str) and _SECRET.search(name) else _hidden(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_hidden(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return without_password(str(value))
