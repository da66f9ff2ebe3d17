"""A call says why it went where it did."""

from __future__ import annotations

import pytest

from parrot.criteria import Criterion
from parrot.wire.to_core import EngineDown
from tests.unit.core.cell import call
from tests.unit.core.stage import SHARED, Stage, ask, short, up, want, words


def test_a_call_says_why_it_went_where_it_did() -> None:
    stage = Stage(up("e1"), up("e2"))
    stage.tell(ask("first", SHARED))
    stage.finish("first")
    holder, other = stage.where["first"], {"e1": "e2", "e2": "e1"}[stage.where["first"]]
    stage.report(holder, "first")
    stage.tell(ask("a", SHARED), want("a"))
    record = stage.call("a")
    assert (record["state"], record["engine"], record["runner_up"]) == ("placed", holder, other)
    assert (record["objective"], record["group"], record["prefix_expected"]) == ("latency", "", "2000")
    assert float(record["slack"]) == pytest.approx(0, abs=0.01)  # its program has no longer way than this
    assert record["why"].startswith(f"{holder} should have it done in ")
    assert f"next best {other}: " in record["why"]
    assert "prefix_found" not in record
    stage.finish("a", cached=88)
    assert stage.call("a")["prefix_found"] == "88"


def test_slack_is_the_time_until_the_deadline_less_the_way_to_it() -> None:
    stage = Stage(up("e1"))
    stage.tell(ask("a"), ask("b", "{{i}} ", i="a.x"), want("b", Criterion.DEADLINE, stage.now + 100))
    a = float(stage.call("a")["slack"])
    stage.finish("a")
    assert 95 < a < float(stage.call("b")["slack"]) < 100


def test_where_nothing_can_be_late_there_is_no_slack() -> None:
    stage = Stage(up("e1"))
    stage.tell(ask("a"))
    assert (stage.call("a")["objective"], stage.call("a")["slack"]) == ("throughput", "")


def test_a_call_of_several_outputs_says_what_was_expected_and_found_of_all() -> None:
    stage = Stage(up("e1"))
    stage.tell(short(call("a", SHARED + "{{x}}" + words(100) + "{{y}}")))
    stage.finish("a", cached=0)
    assert int(stage.call("a")["prefix_expected"]) == pytest.approx(2_000, rel=0.05)  # its own first output
    stage.finish("a", cached=2_010)
    assert stage.call("a")["prefix_found"] == "2010"


def test_what_only_one_engine_can_take_has_no_runner_up() -> None:
    stage = Stage(up("e1"), up("n1", model="n"))
    stage.tell(ask("a", model="n"))
    assert stage.call("a")["runner_up"] == ""
    assert stage.call("a")["why"].endswith("no other engine has room for it")


def test_a_call_that_comes_back_is_explained_anew() -> None:
    stage = Stage(up("e1"), up("e2"))
    stage.tell(ask("a"))
    first = stage.where["a"]
    stage.tell(EngineDown(engine=first))
    assert stage.call("a")["engine"] == stage.where["a"] != first
    assert stage.call("a")["runner_up"] == ""
