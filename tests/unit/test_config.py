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
