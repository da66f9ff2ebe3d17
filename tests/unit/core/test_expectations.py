"""What a generation is expected to need follows from what was seen, and from counts rather than from estimates."""

from __future__ import annotations

import pytest

from parrot.core.expectations import Expectations
from parrot.core.learning import LearnedLengths, Speed
from parrot.core.load import Load
from parrot.core.prefixes import PrefixIndex
from parrot.wire.to_core import Usage
from tests.unit.core.making import make_engine, make_generation, prompt, says

SLOW = 0.01  # seconds that a slow engine takes for a token of a prompt


class Seen:
    """Engines, and what is expected of and with them."""

    def __init__(self) -> None:
        self.prefixes = PrefixIndex()
        self.loads: dict[str, Load] = {}
        self.expectations = Expectations(LearnedLengths(), self.prefixes, self.loads)

    def add(self, name: str, model: str = "m") -> Load:
        engine = make_engine(name, model=model)
        self.prefixes.add(name)
        load = self.loads[name] = Load(engine, self.expectations.speed_of(engine.about))
        self.expectations.engines_changed()
        return load

    def done(self, load: Load, tokens_in: int = 100, tokens_out: int = 50) -> None:
        """An engine has done something, and has shown that it is slow."""
        load.speed.learn_prefill(100_000, 100_000 * SLOW)
        usage = Usage(tokens_in=tokens_in, tokens_out=tokens_out, first_token_seconds=1.0, seconds=2.0, running=1.0)
        self.expectations.learn(make_generation(names=prompt(1, 2, 3)), load, usage)


@pytest.fixture
def seen() -> Seen:
    return Seen()


def test_a_new_engine_of_a_known_model_begins_with_its_speed(seen: Seen) -> None:
    seen.done(seen.add("e1"))
    assert seen.add("e2").speed.token_seconds == pytest.approx(SLOW, rel=0.05)
    assert seen.add("n1", model="n").speed.token_seconds == Speed().token_seconds


def test_what_a_new_engine_then_shows_is_not_believed_of_others(seen: Seen) -> None:
    first = seen.add("e1")
    seen.done(first)
    seen.add("e2").speed.learn_prefill(100_000, 1.0)
    assert seen.loads["e2"].speed.token_seconds < first.speed.token_seconds == seen.add("e3").speed.token_seconds


def test_the_speed_of_a_model_is_known_when_its_last_engine_is_gone(seen: Seen) -> None:
    seen.done(seen.add("e1"))
    del seen.loads["e1"]
    assert seen.expectations.speed_of(make_engine("e2").about).token_seconds == pytest.approx(SLOW, rel=0.05)


def test_engines_with_one_model_are_as_fast_for_a_successor_as_each_has_shown_itself(seen: Seen) -> None:
    slow, fast = seen.add("slow"), seen.add("fast")
    seen.done(slow)
    seen.done(fast)
    fast.speed.learn_prefill(10_000_000, 1.0)
    learned, successor = seen.expectations.learned(), Seen()
    successor.expectations.recall({name: text for name, text in learned.items() if text is not None})
    assert successor.add("slow").speed.token_seconds == pytest.approx(SLOW, rel=0.05)
    assert successor.add("fast").speed.token_seconds < SLOW / 10


def test_a_successor_is_told_what_was_learned_once(seen: Seen) -> None:
    seen.done(seen.add("e1"), tokens_out=200)
    learned, successor = seen.expectations.learned(), Seen()
    assert seen.expectations.learned() == {}
    successor.expectations.recall({name: text for name, text in learned.items() if text is not None})
    assert successor.expectations.speed_of(make_engine("e2").about).token_seconds == pytest.approx(SLOW, rel=0.05)
    for one in (seen, successor):
        generation = make_generation(tokens_out=0.0)
        one.expectations.added(generation)
        assert generation.tokens_out == pytest.approx(200, rel=0.1)


def test_counts_of_engines_are_preferred_to_estimates(seen: Seen) -> None:
    """Texts say 300 tokens, and what was missing in such estimates of late 200 more; but of the first 200, an engine has counted 180."""
    seen.done(seen.add("e1"), tokens_in=500)
    generation = make_generation(names=prompt(1, 2, 3))
    seen.expectations.ready(generation)
    assert generation.tokens_in == 500
    assert seen.prefixes.report(says("e1", 1, 1, 2), 0.0)
    seen.expectations.ready(generation)
    assert generation.tokens_in == 180 + 100


def test_a_generation_takes_as_long_as_on_an_engine_of_its_model(seen: Seen) -> None:
    seen.done(seen.add("e1"))
    seen.add("n1", model="n")
    slow, fast = (seen.expectations.seconds(make_generation(model=model, tokens_in=1_000)) for model in ("m", "n"))
    assert slow - fast == pytest.approx(1_000 * (SLOW - Speed().token_seconds), rel=0.05)
    assert seen.expectations.seconds(make_generation(model="served by nobody", tokens_in=1_000)) == fast


def test_what_is_ready_counts_in_its_program_as_its_prompt_turned_out(seen: Seen) -> None:
    generation = make_generation(tokens_in=300, names=prompt(1, 2, 3))
    program = generation.program
    seen.expectations.added(generation)
    without = program.rest
    seen.expectations.ready(generation)
    assert program.rest - without == pytest.approx(300 * Speed().token_seconds)
    assert (program.active, program.way) == (1, generation.tail)
    assert generation.tail == seen.expectations.seconds(generation)
