"""No password in what is shown or logged."""

from __future__ import annotations

import re

_PASSWORD = re.compile(r"(?P<user>://[^:/@\s]*:)\S*@|(?P<option>[?&]password=)[^&\s'\"]*", re.IGNORECASE)


def without_password(text: str) -> str:
    """URLs as they may be shown, alone or within a text: no password, however it was written.

    What stands between the first colon and the last at sign counts as one, so that one that nobody has encoded is hidden too.
    """
    return _PASSWORD.sub(lambda found: f"{found['user']}***@" if found["user"] else f"{found['option']}***", text)
