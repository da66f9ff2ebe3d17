"""Engines that differ in size, model or fullness: everything finds one that takes it, and holds up nothing else."""

from __future__ import annotations

from collections import Counter

import pytest

from parrot.core.placement import PATIENCE
from parrot.core.scheduler import LOOKED_AT
from parrot.wire.keys import content_hash
from parrot.wire.to_core import Argument, CancelVariable, EngineBeat, EngineDown, GenerationFailed, OpenSession, SubmitCall
from tests.unit.core.stage import Stage, ask, up, want, words


def test_long_prompts_are_spread_over_idle_engines() -> None:
    """Engines that have many places look equally empty with one long prompt as with none."""
    stage = Stage(*(up(f"e{number}", running=256) for number in range(8)))
    stage.tell(*(ask(f"c{number}", words(3_000, f"c{number}")) for number in range(8)))
    assert Counter(stage.where.values()) == Counter([f"e{number}" for number in range(8)])


def test_who_finds_the_emptiest_engines_computing_long_prompts_goes_to_a_fuller_one() -> None:
    stage = Stage(*(up(f"e{number}", running=100) for number in range(5)))
    stage.tell(*(ask(f"c{number}", most=256) for number in range(50)))  # ten on each
    busy, free = ("e0", "e1", "e2"), {"e3", "e4"}
    stage.finish(*(name for name, engine in stage.where.items() if engine in busy))
    stage.tell(*(ask(f"long{number}", words(20_000, f"long{number}")) for number in range(3)))
    assert {stage.where[f"long{number}"] for number in range(3)} == set(busy)
    stage.tell(ask("short"))
    assert stage.where["short"] in free


def test_calls_go_to_engines_with_their_model() -> None:
    stage = Stage(up("m1", running=2), up("n1", running=2, model="n"))
    stage.tell(*(ask(f"n{number}", model="n") for number in range(4)), *(ask(f"m{number}", model="m") for number in range(4)))
    stage.run()
    assert {name: engine for name, engine in stage.where.items() if name[0] != engine[0]} == {}
    assert len(stage.where) == 8


def test_what_asks_for_no_model_goes_anywhere() -> None:
    stage = Stage(up("m1", running=1), up("n1", running=1, model="n"))
    stage.tell(ask("a"), ask("b"))
    assert set(stage.where.values()) == {"m1", "n1"}


def test_what_waits_for_a_model_that_nobody_serves_does_not_hold_up_others() -> None:
    stage = Stage(up("m1"))
    stage.tell(*(ask(f"n{number}", model="n") for number in range(2 * LOOKED_AT)))
    stage.now += PATIENCE
    stage.tell(up("m2"), ask("m", model="m"), ask("any"))
    assert sorted(stage.order) == ["any", "m"]


def test_what_waits_for_a_busy_model_does_not_hold_up_others() -> None:
    stage = Stage(up("m1"), up("n1", model="n"))
    stage.tell(ask("n-long", words(40_000), model="n"))
    stage.tell(*(ask(f"n{number}", model="n") for number in range(2 * LOOKED_AT)))
    stage.tell(ask("m", model="m"), ask("any"))
    assert sorted(stage.order) == ["any", "m", "n-long"]


def test_what_waits_for_an_engine_that_drains_does_not_hold_up_others() -> None:
    stage = Stage(up("m1"), up("n1", model="n"))
    stage.tell(EngineBeat(engine="n1", draining=True))
    stage.tell(ask("n", model="n"))
    stage.tell(ask("m", model="m"))
    assert stage.order == ["m"]


def test_a_long_prompt_goes_to_an_engine_that_takes_it() -> None:
    stage = Stage(up("small", context=1_000), up("large", context=20_000))
    stage.tell(*(ask(f"busy{number}", words(100), model="m") for number in range(4)))
    stage.tell(*(ask(f"long{number}", words(3_000, f"long{number}")) for number in range(3)))
    stage.run()
    assert {stage.where[f"long{number}"] for number in range(3)} == {"large"}


def test_a_long_prompt_that_waits_does_not_keep_short_ones_from_small_engines() -> None:
    stage = Stage(up("small", context=1_000), up("large", running=1, context=20_000))
    stage.tell(ask("long0", words(3_000, "long0")), ask("long1", words(3_000, "long1")))
    stage.now += PATIENCE + 1
    stage.tell(up("small2", context=1_000))
    stage.tell(ask("short"))
    assert stage.where["short"].startswith("small")
    stage.finish("long0")
    assert stage.where["long1"] == "large"


def test_a_long_prompt_that_waits_for_room_gets_it_though_short_ones_keep_coming() -> None:
    stage = Stage(up("small", context=1_000), up("large", kv=10_000, context=20_000))
    stage.tell(*(ask(f"s{number}", words(400, f"s{number}")) for number in range(12)))
    assert stage.running()["large"]
    stage.tell(ask("long", words(9_000, "long")))
    for number in range(12, 200):
        if "long" in stage.where:
            break
        stage.wait(0.5)
        stage.tell(ask(f"s{number}", words(400, f"s{number}")))
        held = [names[0] for names in stage.running().values() if names]
        stage.finish(*held)
    assert stage.where["long"] == "large"
    assert stage.now < 1_000_000 + 2 * PATIENCE


HIDDEN = Argument(hash=content_hash("a text of which only the hash is known"))


def hidden(name: str) -> SubmitCall:
    """A call with a prompt that may be longer than it looks."""
    return ask(name, "Read {{text}}: ", text="=").model_copy(update={"arguments": {"text": HIDDEN}})


def too_long(stage: Stage, name: str) -> GenerationFailed:
    engine, job = stage.job(name)
    reason = f"{engine} takes less."
    return GenerationFailed(engine=engine, variable=job.variable, attempt=job.attempt, code="context_too_long", reason=reason)


def test_what_is_too_long_for_one_engine_goes_on_to_larger_ones_and_fails_with_the_reason_when_there_is_none() -> None:
    stage = Stage(up("e1", context=1_000))
    stage.tell(hidden("a"))
    stage.tell(up("e2", context=2_000), up("e3", context=1_000))
    stage.tell(too_long(stage, "a"))
    assert stage.where["a"] == "e2"
    stage.tell(up("e4", context=4_000))
    stage.tell(too_long(stage, "a"))
    assert stage.where["a"] == "e4"
    stage.tell(too_long(stage, "a"))
    assert stage.call("a")["state"] == "failed"
    assert stage.variable("a.x")["error_code"] == "context_too_long"
    assert stage.variable("a.x")["error"] == "e4 takes less."


def test_a_refusal_counts_even_when_the_larger_engine_has_left_meanwhile() -> None:
    stage = Stage(up("small", context=1_000))
    stage.tell(hidden("a"))
    stage.tell(up("large", running=1, context=2_000), ask("busy", words(1_500)))
    stage.tell(too_long(stage, "a"))
    assert stage.call("a")["state"] == "queued"
    stage.finish("busy")
    assert stage.where["a"] == "large"
    stage.tell(EngineDown(engine="large"))
    assert stage.where["a"] == "small"
    stage.tell(too_long(stage, "a"))
    assert stage.variable("a.x")["error"] == "small takes less."


def test_what_is_longer_than_any_engine_takes_is_refused_by_the_largest_and_not_by_us() -> None:
    """Only an engine knows how many tokens a text has."""
    stage = Stage(up("small", context=500), up("large", context=1_000))
    stage.tell(ask("a", words(5_000)))
    assert stage.where["a"] == "large"


def test_however_many_wait_for_a_larger_engine_a_smaller_one_gets_what_it_takes() -> None:
    stage = Stage(up("small", context=1_000), up("large", running=1, context=20_000))
    stage.tell(*(ask(f"long{number}", words(3_000, f"long{number}")) for number in range(50)))
    stage.tell(ask("short"))
    assert stage.where["short"] == "small"


def test_however_many_wait_for_an_engine_that_drains_another_model_gets_what_asks_for_it() -> None:
    stage = Stage(up("m1"), up("n1", model="n"))
    stage.tell(EngineBeat(engine="n1", draining=True))
    stage.tell(*(ask(f"n{number}", model="n") for number in range(1_000)))
    stage.tell(ask("m", model="m"))
    assert stage.order == ["m"]


def test_who_takes_any_model_does_not_wait_behind_who_asks_for_one() -> None:
    stage = Stage(up("small", context=1_000), up("large", running=1, context=100_000))
    stage.tell(ask("busy", words(2_000, "busy")))
    stage.tell(ask("named", words(2_000, "named"), model="m"), ask("any", words(2_000, "any")))
    assert stage.running()["large"] == ["busy"]
    stage.tell(up("other", context=100_000, model="n"))
    stage.wait(1.0)
    assert stage.running()["other"] == ["any"]


def test_who_is_put_aside_behind_one_that_is_cancelled_does_not_wait_for_prompts_of_another_model() -> None:
    big, small = up("big", running=4, kv=10_000, context=9_500), up("small", running=4, context=1_000)
    stage = Stage(big, small, up("other", model="n", context=1_000_000))
    stage.tell(ask("prompt", words(200_000, "prompt"), model="n"), ask("busy", words(1_500, "busy"), model="m"))
    stage.wait(3.0)
    stage.tell(ask("first", words(8_500, "first"), model="m"))
    stage.tell(ask("second", words(1_500, "second"), model="m"))
    assert stage.running()["big"] == ["busy"]
    stage.tell(CancelVariable(session="s", variable="first.x"))
    stage.wait(1.0)
    assert stage.running()["big"] == ["busy", "second"]


def test_tenants_take_turns_where_only_a_large_engine_will_do_too() -> None:
    stage = Stage(up("large", running=1, context=100_000), up("small", running=4, context=1_000))
    stage.tell(OpenSession(session="t", name="quiet", tenant="quiet"))
    stage.tell(ask("busy", words(2_000, "busy")))
    stage.tell(*(ask(f"loud{number}", words(2_000, f"loud{number}")) for number in range(30)))
    stage.now += 1
    stage.tell(*(ask(f"quiet{number}", words(2_000, f"quiet{number}"), session="t") for number in range(5)))
    stage.run()
    assert sum(name.startswith("quiet") for name in stage.order[1:13]) == 5


@pytest.mark.parametrize("many", [1, 2, 3])
def test_a_fast_engine_that_is_not_empty_is_looked_at(many: int) -> None:
    """One engine is 20 times as fast; it runs 1 of 64. The slow ones are idle."""
    slow = [f"slow{number}" for number in range(many)]
    stage = Stage(up("fast", running=64))
    loads = stage.scheduler._candidates.loads
    stage.tell(ask("first", words(200, "first"), most=1000))
    stage.tell(*(up(name, running=64) for name in slow))
    for _ in range(200):
        loads["fast"].speed.learn_step(500.0, 0.01 * 100, 100, 0.0)
        for name in slow:
            loads[name].speed.learn_step(500.0, 0.2 * 100, 100, 0.0)
    for load in loads.values():
        stage.scheduler._candidates.update(load)  # as after each generation
    stage.wait(1.0)
    stage.tell(
        ask(
            "next",
            words(200, "next"),
            most=1000,
        ),
        want("next"),
    )
    assert stage.where["next"] == "fast"
