"""Settings say what they take, and what is wrong with what they were given."""

from __future__ import annotations

from pathlib import Path

import pytest

from parrot.config import load
from parrot.errors import ConfigurationError


def test_tenants_weigh_the_same_unless_said_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().tenant_weights == {}
    monkeypatch.setenv("PARROT_TENANT_WEIGHTS", '{"paid": 3, "trial": 0.5}')
    assert load().tenant_weights == {"paid": 3.0, "trial": 0.5}


def test_weights_can_stand_in_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "parrot.yaml").write_text("tenant_weights:\n  paid: 3\n")
    monkeypatch.setenv("PARROT_CONFIG", str(tmp_path / "parrot.yaml"))
    assert load().tenant_weights == {"paid": 3.0}


@pytest.mark.parametrize("weight", ["0", "-1", "Infinity", "NaN", '"much"'])
def test_a_weight_is_a_number_above_nothing(monkeypatch: pytest.MonkeyPatch, weight: str) -> None:
    monkeypatch.setenv("PARROT_TENANT_WEIGHTS", f'{{"paid": {weight}}}')
    with pytest.raises(ConfigurationError, match=r"tenant_weights \(PARROT_TENANT_WEIGHTS\) of 'paid' is wrong"):
        load()


@pytest.mark.parametrize("weights", ["paid=3", "{"])
def test_weights_that_are_no_json_are_refused_with_an_example(monkeypatch: pytest.MonkeyPatch, weights: str) -> None:
    monkeypatch.setenv("PARROT_TENANT_WEIGHTS", weights)
    with pytest.raises(ConfigurationError, match=r'PARROT_TENANT_WEIGHTS.*write it like \{"paid": 3\}'):
        load()


def test_a_setting_out_of_range_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"max_running \(PARROT_MAX_RUNNING\) is wrong"):
        load(max_running=0)


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/1"),
        ("redis://app:pw@host", "redis://app:pw@host/1"),
        ("redis://host:6379/0?socket_timeout=20", "redis://host:6379/1"),
        ("rediss://:pw@host:6379/0?ssl_ca_certs=/etc/ca.pem&socket_timeout=2", "rediss://:pw@host:6379/1?ssl_ca_certs=/etc/ca.pem"),
        ("unix:///run/redis.sock?db=0", "redis+socket:///run/redis.sock?virtual_host=1"),
    ],
)
def test_celery_has_database_1_of_the_same_server(url: str, broker: str) -> None:
    assert load(redis_url=url).celery_broker == broker


def test_a_socket_with_a_password_needs_a_url_for_celery() -> None:
    with pytest.raises(ConfigurationError, match="PARROT_CELERY_URL must be set"):
        load(redis_url="unix://app:pw@/run/redis.sock").celery_broker  # noqa: B018 - it raises


@pytest.mark.parametrize("content", ["a: [", "- 1\n- 2", "just text", "\0"])
def test_a_file_without_settings_is_refused(content: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text(content)
    monkeypatch.setenv("PARROT_CONFIG", str(tmp_path / "settings.yaml"))
    with pytest.raises(ConfigurationError, match="has no settings in YAML"):
        load()
