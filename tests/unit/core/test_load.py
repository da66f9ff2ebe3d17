"""The books of one engine: what it was given, until it is done."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parrot.core.graph import Generation
from parrot.core.learning import LEAST_PROMPT, Speed
from parrot.core.load import LATELY, MOST_PROMPTS, REMEMBERED, SEQUENCE, Load, context_of, weight_of
from parrot.core.objectives import Kind
from parrot.core.programs import Program
from parrot.wire.to_core import Usage
from tests.unit.core.making import make_engine, make_generation

NOW = 1_700_000_000.0


class Books:
    """The load of an engine, with the time."""

    def __init__(self, running: int = 100, kv: int = 10_000) -> None:
        self.engine = make_engine(running=running, kv=kv)
        self.load = Load(self.engine, Speed())
        self.now = NOW

    def give(self, generation: Generation, held: float = 0) -> None:
        self.engine.holds[generation.variable] = generation
        self.load.give(generation, held, self.now)

    def take(self, generation: Generation, usage: Usage | None = None) -> None:
        del self.engine.holds[generation.variable]
        self.load.take(generation, usage, self.now)


@pytest.fixture
def books() -> Books:
    return Books()


def done(generation: Generation, seconds: float = 2.0, first: float = 0.5) -> Usage:
    return Usage(
        tokens_in=generation.tokens_in,
        tokens_out=int(generation.tokens_out),
        first_token_seconds=first,
        seconds=seconds,
        running=2.0,
    )


def test_of_a_prompt_only_what_is_not_held_is_computed_and_takes_room(books: Books) -> None:
    generation = make_generation(tokens_in=1_000, tokens_out=50)
    charge = books.load.give(generation, 900, NOW)
    assert (charge.computed, charge.tokens_out, books.load.tokens) == (100, 50, 150)
    assert books.load.filled == pytest.approx(NOW + books.load.speed.prefill(100))


def test_all_of_the_context_is_attended_to_whether_it_was_held_or_not(books: Books) -> None:
    generation = make_generation(tokens_in=1_000, tokens_out=50)
    books.give(generation, 900)
    assert books.load.context == context_of(generation) == 1_000 + 25 + SEQUENCE


def test_more_than_the_prompt_may_be_held(books: Books) -> None:
    books.give(make_generation(tokens_in=100, tokens_out=50), 130)
    assert books.load.tokens == 50
    assert books.load.filled == NOW


def test_prompts_are_computed_one_after_the_other(books: Books) -> None:
    for _ in range(3):
        books.give(make_generation(tokens_in=1_000))
    assert books.load.filled == pytest.approx(NOW + books.load.speed.prefill(3_000))


def test_an_engine_is_as_full_as_its_batch_or_its_cache(books: Books) -> None:
    books.give(make_generation(tokens_in=4_000, tokens_out=1_000))
    assert books.load.fullness == 0.5
    for _ in range(80):
        books.give(make_generation(tokens_in=1, tokens_out=1))
    assert books.load.fullness == 0.81


def test_when_one_is_done_the_prompts_before_it_have_been_computed(books: Books) -> None:
    first, second, third = (make_generation(tokens_in=1_000, tokens_out=10) for _ in range(3))
    for generation in (first, second, third):
        books.give(generation)
    books.now += 0.1  # it is faster than it was believed to be
    books.take(second, done(second, seconds=0.1, first=0.05))
    assert books.load.filled == pytest.approx(books.now + books.load.speed.prefill(1_000))


def test_nothing_is_left_to_be_computed_when_nothing_is_left(books: Books) -> None:
    generation = make_generation(tokens_in=5_000)
    books.give(generation)
    books.take(generation)
    assert books.load.filled == books.now


def test_what_somebody_asks_for_while_it_runs_is_protected_from_then_on(books: Books) -> None:
    generation, other = make_generation(kind=Kind.THROUGHPUT, tokens_in=100), make_generation(kind=Kind.GROUP, tokens_in=50)
    books.give(other)
    books.give(generation)
    remaining = books.load.remaining(NOW)
    generation.objective = generation.objective._replace(kind=Kind.LATENCY)
    books.load.renamed(generation)
    assert (books.load.sensitive, books.load.sensitive_context) == (1, context_of(generation))
    assert books.load.weight == weight_of(generation) + weight_of(other)
    assert books.load.remaining(NOW) != remaining, "it weighs more now, so the average is another one"
    books.take(generation)
    books.take(other)
    assert (books.load.sensitive, books.load.sensitive_context, books.load.weight, books.load.remaining(NOW)) == (0, 0, 0, 0)


def test_what_counts_is_what_it_was_when_it_was_given(books: Books) -> None:
    """A change of objective that was not told, or of estimates, while it runs does not upset the books."""
    generation = make_generation(kind=Kind.LATENCY, tokens_in=100)
    books.give(generation)
    assert (books.load.sensitive, books.load.sensitive_context) == (1, context_of(generation))
    generation.objective = generation.objective._replace(kind=Kind.THROUGHPUT)
    generation.tokens_in = 7_777
    books.take(generation)
    assert (books.load.sensitive, books.load.sensitive_context, books.load.tokens, books.load.weight) == (0, 0, 0, 0)


@pytest.mark.parametrize(("kind", "counts"), [(Kind.GROUP, 1.0), (Kind.LATENCY, 1.0), (Kind.THROUGHPUT, 0.5), (Kind.TTFT, 5.0)])
def test_a_second_counts_half_for_each_that_is_read_as_it_comes_and_for_all_of_a_program_once_or_half_if_nobody_waits(
    kind: Kind, counts: float
) -> None:
    program = Program("t")
    members = [make_generation(kind=kind, program=program) for _ in range(10)]
    for member in members:
        program.begin(member)
    assert sum(map(weight_of, members)) == pytest.approx(counts)


def test_prompts_that_keep_coming_make_tokens_come_slower_and_are_forgotten(books: Books) -> None:
    alone = books.load.pace(books.now)
    for _ in range(20):  # every half a second one that takes a quarter of it: half of the time, in the end
        books.give(make_generation(tokens_in=int(0.25 / books.load.speed.token_seconds)))
        books.now += LATELY / 20
    assert alone == 1.0
    assert 1.3 < books.load.pace(books.now) < 2.0
    assert books.load.pace(books.now + 10 * LATELY) == pytest.approx(1.0, abs=1e-3)


def test_however_many_prompts_came_tokens_are_believed_to_come_some_day(books: Books) -> None:
    books.give(make_generation(tokens_in=10_000_000))
    assert books.load.pace(books.now) == pytest.approx(1 / (1 - MOST_PROMPTS))


def test_what_remains_is_the_time_until_the_end_on_average(books: Books) -> None:
    assert books.load.remaining(NOW) == 0
    generation = make_generation(kind=Kind.LATENCY, tokens_in=1_000, tokens_out=100)
    books.give(generation)
    speed = books.load.speed
    expected = speed.prefill(1_000) + 100 * speed.step(context_of(generation))
    assert books.load.remaining(NOW) == pytest.approx(expected, rel=1e-6)
    assert books.load.remaining(NOW + 1) == pytest.approx(expected - 1, rel=1e-6)


def test_what_is_late_takes_as_long_again_as_it_is_late(books: Books) -> None:
    """Else everybody would wait for an engine that should be done at any moment and never is."""
    books.give(make_generation(tokens_in=1_000, tokens_out=100))
    expected = books.load.remaining(NOW)
    assert books.load.remaining(NOW + expected + 50) == pytest.approx(50, rel=1e-6)


def test_what_remains_is_exact_after_very_many(books: Books) -> None:
    """Sums of moments since the epoch would lose the fractions of seconds."""
    stays = make_generation(kind=Kind.THROUGHPUT, tokens_in=100, tokens_out=1e6)
    books.give(stays)
    expected = books.load.remaining(NOW)
    for _ in range(3_000):
        generation = make_generation(kind=Kind.LATENCY, tokens_in=10, tokens_out=3)
        books.give(generation)
        books.take(generation)
    assert books.load.remaining(NOW) == pytest.approx(expected, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_nothing_is_left_in_the_books_when_all_is_taken(data: st.DataObject) -> None:
    books, held = Books(), list[Generation]()
    for _ in range(data.draw(st.integers(1, 30))):
        books.now += data.draw(st.sampled_from([0.0, 0.01, 3.0]))
        if bool(held) and data.draw(st.booleans()):
            generation = held.pop(data.draw(st.integers(0, len(held) - 1)))
            books.take(generation, done(generation) if data.draw(st.booleans()) else None)
        else:
            kind = data.draw(st.sampled_from(Kind))
            generation = make_generation(kind=kind, tokens_in=data.draw(st.integers(1, 5_000)), tokens_out=data.draw(st.floats(1, 500)))
            books.give(generation, data.draw(st.floats(0, 5_000)))
            held.append(generation)
        load = books.load
        assert load.running == len(held)
        assert load.tokens >= 0
        assert load.context == pytest.approx(sum(map(context_of, held)))
        assert load.sensitive == sum(generation.objective.sensitive for generation in held)
        assert load.filled >= NOW
        assert load.remaining(books.now) >= 0
    for generation in held:
        books.take(generation)
    load = books.load
    assert (load.tokens, load.context, load.sensitive, load.sensitive_context, load.weight, load.fullness) == (0, 0, 0, 0, 0, 0)
    assert load.filled <= books.now
    assert load.remaining(books.now) == 0


# What is learned of its speed -------------------------------------------------------------------


def numbers(speed: Speed) -> tuple[float, float, float]:
    return speed.step_seconds, speed.context_seconds, speed.token_seconds


def test_the_time_of_a_prompt_is_that_of_those_before_it_too(books: Books) -> None:
    first, second = make_generation(tokens_in=1_000, tokens_out=1), make_generation(tokens_in=500, tokens_out=1)
    books.give(first)
    books.give(second)
    books.now += 3
    books.take(first, done(first, first=0.5))
    books.take(second, done(second, first=0.8))
    expected = Speed()
    expected.learn_prefill(1_000, 0.5)
    expected.learn_prefill(1_500, 0.8)
    assert numbers(books.load.speed) == pytest.approx(numbers(expected))
    assert numbers(expected) != numbers(Speed())


@pytest.mark.parametrize("true", [400.0, 20_000.0])
def test_a_speed_far_from_what_was_believed_is_learned_where_prompts_always_wait(true: float) -> None:
    """Tokens a second. Each prompt comes while one before it is still being computed."""
    books = Books(kv=10**9)
    done_at, waiting = books.now, []
    for _ in range(300):
        generation = make_generation(tokens_in=800, tokens_out=1)
        books.give(generation)
        done_at = max(done_at, books.now) + 800 / true
        waiting.append((generation, books.now, done_at))
        if len(waiting) > 2:
            generation, came, books.now = waiting.pop(0)
            books.take(generation, done(generation, seconds=books.now - came, first=books.now - came))
    assert 1 / books.load.speed.token_seconds == pytest.approx(true, rel=0.35)


def test_a_step_is_learned_with_the_context_of_the_batch_and_the_prompts_that_came_between(books: Books) -> None:
    first, second = make_generation(tokens_in=1_000, tokens_out=11), make_generation(tokens_in=3_000, tokens_out=11)
    books.give(first)
    books.now += 1  # it has its first token after half a second
    books.give(second)
    books.now += 1.5
    books.take(first, done(first, seconds=2.5, first=0.5))
    expected = Speed()
    expected.learn_step(context_of(first) + context_of(second), seconds=2.0, steps=10, computed=3_000)
    expected.learn_prefill(1_000, 0.5)
    assert numbers(books.load.speed) == pytest.approx(numbers(expected))
    assert numbers(expected) != numbers(Speed())


def test_an_output_of_one_token_says_nothing_of_steps(books: Books) -> None:
    generation = make_generation(tokens_in=LEAST_PROMPT - 1, tokens_out=1)
    books.give(generation)
    books.take(generation, done(generation))
    assert numbers(books.load.speed) == numbers(Speed())


def test_what_was_not_done_here_says_nothing(books: Books) -> None:
    generation = make_generation()
    books.give(generation)
    books.take(generation, None)
    assert numbers(books.load.speed) == numbers(Speed())


def test_an_engine_that_was_not_measured_says_nothing_of_steps(books: Books) -> None:
    generation = make_generation(tokens_in=LEAST_PROMPT - 1)
    books.give(generation)
    books.take(generation, done(generation).model_copy(update={"running": 0.0}))
    assert numbers(books.load.speed) == numbers(Speed())


def test_prompts_that_were_computed_sooner_than_expected_are_remembered_at_that_time(books: Books) -> None:
    early, slow = make_generation(tokens_in=40, tokens_out=2), make_generation(tokens_in=8_000, tokens_out=2)
    for generation in (early, slow):  # two seconds are expected of the second one
        books.give(generation)
        books.now += 0.1
        books.take(generation, done(generation, seconds=0.1, first=0.1))
    last = make_generation(tokens_in=400, tokens_out=11)
    books.give(last)
    books.now += 3.0
    assert books.load._between(books.now - 2.0, books.now) == 0  # while it decoded: not the one that was done before it began


def test_only_the_last_prompts_are_remembered(books: Books) -> None:
    for _ in range(10 * REMEMBERED):
        generation = make_generation()
        books.give(generation)
        books.take(generation, done(generation))
    assert len(books.load._times) == len(books.load._totals) <= 2 * REMEMBERED
    assert books.load._times == sorted(books.load._times)
