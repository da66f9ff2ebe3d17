"""No password is shown, however it was written."""

from __future__ import annotations

import pytest

from parrot.broker.connection import connect
from parrot.errors import ConfigurationError
from parrot.passwords import without_password


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://app:s3cret@host:6379/0", "redis://app:***@host:6379/0"),
        ("rediss://:s3cret@host", "rediss://:***@host"),
        ("redis://app:s3/cr@et@host:6379/0", "redis://app:***@host:6379/0"),
        ("redis://app:s3#cret@host:6379/0", "redis://app:***@host:6379/0"),
        ("redis://app:s3?cret@host:6379/0", "redis://app:***@host:6379/0"),
        ("unix://app:s3cret@/run/redis.sock?db=1", "unix://app:***@/run/redis.sock?db=1"),
        ("redis://host:6379/0?username=app&password=s3cret&db=1", "redis://host:6379/0?username=app&password=***&db=1"),
        ("redis://app@host:6379/0", "redis://app@host:6379/0"),
        ("redis://host:6379/0", "redis://host:6379/0"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown
    assert without_password(f"No server at {url} answers.") == f"No server at {shown} answers."


@pytest.mark.parametrize("character", "/?#")
def test_a_password_that_makes_a_url_unreadable_is_not_quoted(character: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a Redis URL: in a user name and a password, write") as caught:
        connect(f"redis://app:s3{character}cret@host:6379/0")
    assert "s3" not in str(caught.value)


def test_an_option_that_nobody_knows_is_a_sentence() -> None:
    with pytest.raises(ConfigurationError, match=r"is not a Redis URL: .*nonsense"):
        connect("redis://host:6379/0?nonsense=1")
