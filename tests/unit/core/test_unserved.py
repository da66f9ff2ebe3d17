"""A call that names a model which no engine serves fails with the reason, but not before one may have come."""

from __future__ import annotations

import pytest

from parrot.core.limits import Limits
from parrot.wire.to_core import EngineDown
from tests.unit.core.stage import DAY, Stage, ask, up

LONG = 600.0


def stage_with(*models: str) -> Stage:
    return Stage(*(up(f"e{number}", model=model) for number, model in enumerate(models)), limits=Limits(lease=DAY, unserved=LONG))


def state(stage: Stage, name: str) -> str:
    return str(stage.variable(f"{name}.x")["state"])


def test_what_names_a_model_that_nobody_serves_fails_after_a_while_and_says_which_there_are() -> None:
    stage = stage_with("m", "n")
    stage.tell(ask("a", model="gpt-9"), ask("b", "{{i}} ", i="a.x"))
    stage.wait(LONG - 1)
    assert state(stage, "a") == "pending"
    stage.wait(2)
    assert (state(stage, "a"), state(stage, "b")) == ("failed", "failed")
    assert stage.variable("a.x")["error_code"] == "no_engine"
    assert "No engine has served the model gpt-9 for 600 s; here is only m, n." in stage.variable("a.x")["error"]


def test_when_an_engine_comes_in_time_nothing_fails() -> None:
    stage = stage_with("m")
    stage.tell(ask("a", model="n"))
    stage.wait(LONG - 1)
    stage.tell(up("late", model="n"))
    assert stage.where["a"] == "late"
    stage.wait(2 * LONG)
    assert state(stage, "a") == "pending"


def test_when_the_last_engine_of_a_model_leaves_the_time_begins() -> None:
    stage = stage_with("m", "n")
    stage.tell(ask("a", model="n"))
    stage.wait(LONG / 2)
    stage.tell(EngineDown(engine="e1"))
    stage.wait(LONG - 1)
    assert state(stage, "a") == "pending"
    stage.wait(2)
    assert state(stage, "a") == "failed"


@pytest.mark.parametrize("models", [(), ("m",)])
def test_what_names_no_model_waits_for_whatever_comes(models: tuple[str, ...]) -> None:
    stage = stage_with(*models)
    for engine in stage.machine.fleet.engines.copy():
        stage.tell(EngineDown(engine=engine))
    stage.tell(ask("a"))
    stage.wait(10 * LONG)
    assert state(stage, "a") == "pending"


def test_a_new_leader_gives_engines_the_whole_time_again() -> None:
    stage = stage_with("m")
    stage.tell(ask("a", model="n"))
    stage.wait(LONG - 1)
    stage.restart()
    stage.tell()
    stage.wait(LONG - 1)
    assert state(stage, "a") == "pending"
    stage.wait(2)
    assert state(stage, "a") == "failed"
