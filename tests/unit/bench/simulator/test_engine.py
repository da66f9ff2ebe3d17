"""A virtual engine takes exactly the time, the tokens and the blocks that its rules say."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from bench.simulator.sequence import Sequence
from parrot.wire.to_engine import Piece
from tests.unit.bench.simulator.engines import PROFILE, Bench, Stepping

A, B, C, D = PROFILE.step_seconds, PROFILE.sequence_seconds, PROFILE.kv_token_seconds, PROFILE.prefill_token_seconds


def alone(prompt: int, out: int) -> float:
    """A prompt of at most one step's budget, then one step for each further token; context grows by one with each."""
    contexts = prompt + sum(prompt + made for made in range(1, out))
    return out * (A + B) + C * contexts + D * prompt


def test_a_single_call_alone_takes_exactly_the_closed_form_time() -> None:
    bench = Bench()
    call = bench.add(bench.text("prompt", 95), out=50)
    bench.run()
    assert bench.since(call.first) == pytest.approx(A + B + C * 95 + D * 95)
    assert bench.since(call.ended) == pytest.approx(alone(95, 50))


def test_a_long_prompt_is_taken_in_in_chunks_of_the_budget() -> None:
    bench = Bench()
    call = bench.add(bench.text("prompt", 250), out=1)
    bench.run()
    assert bench.engine.steps == 3
    assert bench.since(call.ended) == pytest.approx(3 * (A + B) + C * (100 + 200 + 250) + D * 250)


def test_an_output_of_one_token_needs_no_decoding() -> None:
    bench = Bench()
    call = bench.add(bench.text("prompt", 20), out=1)
    bench.run()
    assert call.first == call.ended
    assert bench.since(call.ended) == pytest.approx(alone(20, 1))


def test_who_comes_during_a_step_waits_for_its_end() -> None:
    bench = Bench()
    bench.add(bench.text("one", 50), out=100)
    late = bench.add(bench.text("two", 30), out=5, at=0.5)
    bench.run()
    assert late.began is not None
    first = A + B + (C + D) * 50
    steps = PROFILE.steps_until(1, 50, 0.5 - first)
    assert bench.since(late.began) == pytest.approx(first + PROFILE.decode(1, 50, steps))
    assert 0 <= bench.since(late.began) - 0.5 < PROFILE.step(1, 150, 0)


def test_decoding_goes_on_while_a_prompt_is_taken_in_and_shares_the_budget() -> None:
    """100 tokens a step: one is decoded and 99 are taken in."""
    bench = Bench()
    first = bench.add(bench.text("one", 10), out=100)
    second = bench.add(bench.text("two", 198), out=1, at=0.001)
    bench.run()
    assert second.ended < first.ended
    step1 = A + B + (C + D) * 10
    step2 = A + 2 * B + C * (11 + 99) + D * 99
    step3 = A + 2 * B + C * (12 + 198) + D * 99
    assert bench.since(second.ended) == pytest.approx(step1 + step2 + step3)
    assert first.made == 100


def test_the_whole_batch_steps_together() -> None:
    bench = Bench()
    calls = [bench.add(bench.text(f"p{number}", 20), out=10) for number in range(4)]
    bench.run()
    contexts = sum(4 * (20 + made) for made in range(1, 10))
    expected = (A + 4 * B + (C + D) * 80) + 9 * (A + 4 * B) + C * contexts
    assert [bench.since(call.ended) for call in calls] == pytest.approx([expected] * 4)
    assert calls[0].running == pytest.approx(4.0)


def test_a_batch_has_as_many_places_as_the_profile_says() -> None:
    bench = Bench(replace(PROFILE, running=2))
    calls = [bench.add(bench.text(f"p{number}", 10), out=10) for number in range(3)]
    bench.run()
    assert calls[2].began == pytest.approx(calls[0].ended)


def test_those_that_wait_are_let_in_by_priority_and_then_by_arrival() -> None:
    bench = Bench(replace(PROFILE, running=1))
    for name, priority in (("first", 1), ("low", 2), ("high", 0), ("low too", 2), ("high too", 0)):
        bench.add(bench.text(name, 10), out=3, name=name.replace(" ", "-"), priority=priority, at=0.0 if name == "first" else 0.001)
    bench.run()
    assert [call.job.variable for call in bench.done] == ["first", "high", "high-too", "low", "low-too"]


def test_a_priority_that_changes_counts_for_those_that_wait() -> None:
    bench = Bench(replace(PROFILE, running=1))
    running = bench.add(bench.text("running", 10), out=20, name="running")
    bench.add(bench.text("one", 10), out=3, name="one", priority=1)
    two = bench.add(bench.text("two", 10), out=3, name="two", priority=1)
    bench.at(0.05, bench.engine.reorder, two, 0)
    bench.at(0.05, bench.engine.reorder, running, 9)
    bench.run()
    assert [call.job.variable for call in bench.done] == ["running", "two", "one"]


# What is shared ----------------------------------------------------------------------------------------


def test_an_equal_beginning_is_computed_once() -> None:
    bench = Bench()
    shared = bench.text("shared", 45)
    bench.add(shared, bench.text("one", 10), out=5)
    second = bench.add(shared, bench.text("two", 10), out=5, at=1.0)
    bench.run()
    assert second.cached == 40  # of 45 tokens four blocks are full
    assert bench.engine.tokens_in == 55 + 15


def test_the_last_token_of_a_prompt_is_always_computed() -> None:
    bench = Bench()
    shared = bench.text("shared", 40)
    bench.add(shared, out=5)
    second = bench.add(shared, out=5, at=1.0)
    bench.run()
    assert second.cached == 30


def test_two_that_come_at_once_share_what_the_first_takes_in() -> None:
    bench = Bench()
    shared = bench.text("shared", 50)
    bench.add(shared, bench.text("one", 10), out=5)
    second = bench.add(shared, bench.text("two", 10), out=5)
    bench.run()
    assert second.cached == 50
    assert bench.engine.tokens_in == 60 + 10


def test_an_output_is_cached_for_who_goes_on_from_it_but_for_its_last_token() -> None:
    bench = Bench()
    prompt = bench.text("prompt", 25)
    first = bench.add(prompt, out=25, name="said")
    second = bench.add(prompt, Piece("variable", "said"), bench.text("more", 20), out=5, at=1.0)
    bench.run()
    assert bench.since(first.ended) < 1.0
    assert second.cached == 40  # 49 of the 50 tokens were fed to the model


def test_other_beginnings_share_nothing() -> None:
    bench = Bench()
    shared = bench.text("shared", 50)
    bench.add(bench.text("x", 1), shared, out=5)
    second = bench.add(bench.text("y", 1), shared, out=5, at=1.0)
    bench.run()
    assert second.cached == 0


def test_what_was_used_least_recently_is_given_up_first() -> None:
    bench = Bench(replace(PROFILE, kv_tokens=120))
    old, young = bench.text("old", 41), bench.text("young", 41)
    bench.add(old, out=1)
    bench.add(young, out=1, at=1.0)
    bench.add(bench.text("large", 61), out=1, at=2.0)  # 7 blocks, of 12 of which 8 are kept
    again = [bench.add(young, out=1, at=3.0), bench.add(old, out=1, at=4.0)]
    bench.run()
    assert [call.cached for call in again] == [40, 10]  # the ends of prompts go before their beginnings


# When there is no room ---------------------------------------------------------------------------------


def test_a_prompt_waits_until_there_is_room_for_all_of_it() -> None:
    bench = Bench(replace(PROFILE, kv_tokens=100))
    first = bench.add(bench.text("one", 60), out=20)
    second = bench.add(bench.text("two", 60), out=5)
    bench.run()
    assert second.began == pytest.approx(first.ended)


def test_when_room_runs_out_the_last_in_order_gives_its_up_and_is_computed_again() -> None:
    bench = Bench(replace(PROFILE, kv_tokens=100))
    low = bench.add(bench.text("low", 39), out=40, priority=1)
    high = bench.add(bench.text("high", 39), out=40, priority=0)
    bench.run()
    assert (low.preemptions, high.preemptions) == (1, 0)
    assert high.ended < low.ended
    assert (low.made, high.made) == (40, 40)
    assert bench.engine.tokens_out == 80
    assert bench.engine.tokens_in > 78  # what was given up is taken in once more


def test_a_cancelled_one_leaves_after_the_step_and_gives_its_blocks_back() -> None:
    bench = Bench()
    call = bench.add(bench.text("prompt", 50), out=200)
    bench.at(0.5, bench.engine.drop, call)
    bench.run()
    assert bench.done == []
    assert bench.engine.cache.free == bench.engine.cache.capacity
    assert 0.5 <= bench.engine.busy_seconds < 0.5 + PROFILE.step(1, 250, 0)


def test_one_that_waits_can_be_cancelled() -> None:
    bench = Bench(replace(PROFILE, running=1))
    bench.add(bench.text("one", 10), out=50)
    waiting = bench.add(bench.text("two", 10), out=5)
    bench.at(0.1, bench.engine.drop, waiting)
    bench.run()
    assert len(bench.done) == 1
    assert not bench.engine.waiting


# All of it at once -------------------------------------------------------------------------------------


def crowd(bench: Bench, seed: int) -> list[Sequence]:
    chance = random.Random(seed)
    shared = [bench.text(f"shared{number}", chance.randint(5, 120)) for number in range(3)]
    calls = []
    for number in range(60):
        prompt = [*chance.sample(shared, chance.randint(0, 2)), bench.text(f"own{number}", chance.randint(1, 90))]
        at = chance.random() * 12
        calls.append(bench.add(*prompt, out=chance.randint(1, 60), priority=chance.randint(0, 2), at=at))
    return calls


@pytest.mark.parametrize("seed", range(8))
def test_jumps_lead_to_the_same_as_single_steps(seed: int) -> None:
    profile = replace(PROFILE, kv_tokens=600)
    benches = [Bench(profile), Bench(profile, Stepping)]
    jumping, stepping = (crowd(bench, seed) for bench in benches)
    for bench in benches:
        bench.run()
    assert [call.ended for call in jumping] == pytest.approx([call.ended for call in stepping], abs=1e-6)
    assert [call.cached for call in jumping] == [call.cached for call in stepping]
    assert [call.running for call in jumping] == pytest.approx([call.running for call in stepping], abs=1e-6)
    assert benches[0].engine.steps == benches[1].engine.steps
    assert any(call.preemptions for call in jumping)


@pytest.mark.parametrize("seed", range(8))
def test_tokens_blocks_and_time_are_conserved(seed: int) -> None:
    bench = Bench(replace(PROFILE, kv_tokens=4000))
    calls = crowd(bench, seed)
    bench.run()
    engine = bench.engine
    assert sorted(map(id, bench.done)) == sorted(map(id, calls)) == sorted(map(id, bench.first))
    assert engine.preemptions == 0
    assert engine.tokens_out == sum(call.output.tokens for call in calls)
    assert engine.tokens_in == sum(call.prompt - call.cached for call in calls)
    assert engine.cache.free == engine.cache.capacity
    assert engine.busy_seconds <= bench.since(bench.clock.now) + 1e-9
    batched = sum(call.running * (call.ended - (call.began or 0.0)) for call in calls)
    assert batched >= engine.busy_seconds - 1e-9  # a batch of one at least
