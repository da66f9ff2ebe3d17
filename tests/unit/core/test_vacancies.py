"""Engines with free places are found by how full they are."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from parrot.core.graph import Generation
from parrot.core.learning import Speed
from parrot.core.load import Load
from parrot.core.policy import Engine
from parrot.core.vacancies import LEVELS, Vacancies, serves
from tests.unit.core.making import make_engine, make_generation


class Engines:
    """Some engines, and their vacancies."""

    def __init__(self, *engines: Engine) -> None:
        self.vacancies = Vacancies()
        self.loads: dict[str, Load] = {}
        for engine in engines:
            self.add(engine)

    def add(self, engine: Engine) -> None:
        load = self.loads[engine.id] = Load(engine, Speed())
        self.vacancies.update(load)

    def give(self, name: str, times: int = 1, tokens_in: int = 10) -> list[Generation]:
        load, given = self.loads[name], [make_generation(tokens_in=tokens_in, tokens_out=10) for _ in range(times)]
        for generation in given:
            load.engine.holds[generation.variable] = generation
            load.give(generation, 0, 0.0)
            self.vacancies.update(load)
        return given

    def take(self, name: str, generation: Generation) -> None:
        load = self.loads[name]
        del load.engine.holds[generation.variable]
        load.take(generation, None, 0.0)
        self.vacancies.update(load)

    def emptiest(self, model: str | None = None, context: int = 0, without: tuple[str, ...] = ()) -> list[str]:
        kinds = {load.kind for load in self.loads.values() if serves(load.kind, model, context)}
        return [engine.id for engine in self.vacancies.emptiest(kinds, self.loads.keys() - set(without))]


def test_the_emptier_ones_come_first() -> None:
    engines = Engines(*(make_engine(name) for name in ("e1", "e2", "e3")))
    engines.give("e1", 4)
    engines.give("e2", 1)
    assert engines.emptiest() == ["e3", "e2", "e1"]


def test_the_cache_counts_as_much_as_the_batch() -> None:
    engines = Engines(make_engine("e1", kv=1_000), make_engine("e2", kv=100_000))
    engines.give("e1", 1, tokens_in=800)
    engines.give("e2", 3, tokens_in=800)
    assert engines.emptiest() == ["e2", "e1"]


def test_a_full_engine_is_not_there_until_something_leaves_it() -> None:
    engines = Engines(make_engine("e1", running=2))
    first, _ = engines.give("e1", 2)
    assert engines.emptiest() == []
    assert not engines.vacancies
    engines.take("e1", first)
    assert engines.emptiest() == ["e1"]
    assert engines.vacancies


def test_an_idle_engine_comes_before_one_that_has_ever_so_little() -> None:
    engines = Engines(make_engine("e1", running=10 * LEVELS), make_engine("e2", running=10 * LEVELS))
    engines.give("e1")
    engines.take("e2", *engines.give("e2"))
    assert engines.emptiest() == ["e2", "e1"]


def test_of_engines_that_are_about_as_full_the_one_that_was_given_something_last_comes_last() -> None:
    """Else the same few would be looked at again and again while they still compute what they were given."""
    names = [f"e{number}" for number in range(8)]
    engines = Engines(*(make_engine(name, running=1_000, kv=10**9) for name in names))
    for _ in range(3):
        order = []
        for _ in names:
            order.append(engines.emptiest()[0])
            engines.give(order[-1])
        assert sorted(order) == names


def test_what_needs_much_context_finds_only_engines_that_take_it() -> None:
    engines = Engines(make_engine("small", context=1_000), make_engine("large", context=8_000), make_engine("larger", context=16_000))
    engines.give("large", 2)
    assert sorted(engines.emptiest(context=1_000)[:2]) == ["larger", "small"]
    assert engines.emptiest(context=1_000)[2] == "large"
    assert engines.emptiest(context=1_001) == ["larger", "large"]
    assert engines.emptiest(context=16_000) == ["larger"]
    assert engines.emptiest(context=16_001) == []


def test_a_model_finds_its_engines_whatever_their_contexts() -> None:
    engines = Engines(make_engine("m1"), make_engine("n1", model="n"), make_engine("m2", context=99))
    assert sorted(engines.emptiest("m")) == ["m1", "m2"]
    assert engines.emptiest("n") == ["n1"]
    assert engines.emptiest("o") == []
    assert sorted(engines.emptiest(None)) == ["m1", "m2", "n1"]


def test_kinds_are_told_only_while_an_engine_has_a_free_place() -> None:
    engines = Engines(make_engine("m1"), make_engine("m2", context=99), make_engine("n1", model="n", running=1))
    assert set(engines.vacancies.kinds()) == {load.kind for load in engines.loads.values()}
    engines.give("n1")
    assert {model for model, _ in engines.vacancies.kinds()} == {"m"}


def test_engines_that_do_not_come_into_question_are_left_out() -> None:
    """As those that drain, or that a suspect shall have for itself."""
    engines = Engines(make_engine("e1"), make_engine("e2"))
    assert engines.emptiest(without=("e1",)) == ["e2"]
    assert engines.vacancies


def test_an_engine_that_is_gone_is_found_no_more() -> None:
    engines = Engines(make_engine("e1"))
    for _ in range(2):
        engines.vacancies.remove(engines.loads["e1"])
    assert engines.emptiest() == []
    assert not engines.vacancies


class Places(RuleBasedStateMachine):
    """Vacancies beside a plain list of all engines."""

    def __init__(self) -> None:
        super().__init__()
        self.engines = Engines()
        self.held: list[tuple[str, Generation]] = []
        self.made = 0

    @rule(model=st.sampled_from("mn"), context=st.sampled_from([100, 200]), running=st.integers(1, 50))
    def comes(self, model: str, context: int, running: int) -> None:
        self.made += 1
        self.engines.add(make_engine(f"e{self.made}", model=model, context=context, running=running, kv=500))

    @rule(number=st.integers(0, 99), times=st.integers(1, 9), tokens=st.integers(1, 100))
    def given(self, number: int, times: int, tokens: int) -> None:
        names = [name for name, load in self.engines.loads.items() if load.running + times <= load.engine.about.capacity.running]
        if names:
            name = names[number % len(names)]
            self.held += [(name, generation) for generation in self.engines.give(name, times, tokens)]

    @rule(number=st.integers(0, 99))
    def left(self, number: int) -> None:
        if self.held:
            self.engines.take(*self.held.pop(number % len(self.held)))

    @rule(number=st.integers(0, 99))
    def goes(self, number: int) -> None:
        if self.engines.loads:
            name = sorted(self.engines.loads)[number % len(self.engines.loads)]
            self.engines.vacancies.remove(self.engines.loads.pop(name))
            self.held = [pair for pair in self.held if pair[0] != name]

    @invariant()
    def all_that_have_a_place_are_found_and_no_others_in_order(self) -> None:
        for model in ("m", "n", None):
            for context in (0, 150):
                found = self.engines.emptiest(model, context)
                fitting = [load for load in self.engines.loads.values() if model in (None, load.engine.about.model)]
                fitting = [load for load in fitting if load.engine.about.capacity.context_tokens >= context]
                assert sorted(found) == sorted(load.engine.id for load in fitting if load.running < load.engine.about.capacity.running)
                fullness = [min(1.0, self.engines.loads[name].fullness) for name in found]
                assert all(later >= earlier - 1 / (LEVELS - 1) for place, earlier in enumerate(fullness) for later in fullness[place:])

    @invariant()
    def kinds_are_those_with_a_place(self) -> None:
        kinds = {load.kind for load in self.engines.loads.values() if load.running < load.engine.about.capacity.running}
        assert set(self.engines.vacancies.kinds()) == kinds
        assert bool(self.engines.vacancies) == bool(kinds)


TestPlaces = Places.TestCase
TestPlaces.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
