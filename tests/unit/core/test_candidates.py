"""Of many engines a few are looked at: those that hold most of a prompt, and those that are emptiest."""

from __future__ import annotations

from collections import Counter

from parrot.core.candidates import EMPTIEST, HOLDERS, Candidates
from parrot.core.graph import Generation
from parrot.core.learning import Speed
from parrot.core.load import kind_of
from parrot.core.placement import AHEAD
from parrot.core.policy import Engine
from parrot.core.prefixes import PrefixIndex
from tests.unit.core.making import make_engine, make_generation, prompt, says

PROMPT = prompt(1, 2)


class Engines:
    """Some engines, and who of them is looked at."""

    def __init__(self, *engines: Engine, look_up: bool = True) -> None:
        self.prefixes = PrefixIndex()
        self.candidates = Candidates(self.prefixes, look_up)
        self.engines = {engine.id: engine for engine in engines}
        for engine in engines:
            self.candidates.add(engine, Speed())

    def hold(self, *names: str) -> None:
        """They hold the prompt."""
        for name in names:
            self.prefixes.report(says(name, 1, 1, 2, tokens=100), 0.0)

    def give(self, name: str, times: int = 1, tokens_in: int = 1) -> list[Generation]:
        load, given = self.candidates.loads[name], [make_generation(tokens_in=tokens_in, tokens_out=1) for _ in range(times)]
        for generation in given:
            load.engine.holds[generation.variable] = generation
            load.give(generation, 0, 0.0)
            self.candidates.update(load)
        return given

    def take(self, name: str, generation: Generation) -> None:
        load = self.candidates.loads[name]
        del load.engine.holds[generation.variable]
        load.take(generation, None, 0.0)
        self.candidates.update(load)

    def looked_at(self, generation: Generation | None = None) -> list[tuple[str, int]]:
        """Which engines, in order, and what each holds."""
        generation = generation or make_generation(names=PROMPT)
        kinds = self.candidates.serving(generation, self.candidates.kinds(self.candidates.loads))
        return [(load.engine.id, held) for load, held in self.candidates.of(generation, kinds, self.engines, 0.0)]

    def asked(self, tokens_in: int, model: str | None = None) -> set[str]:
        """The engines that come into question for a prompt of so many tokens."""
        kinds = self.candidates.serving(make_generation(tokens_in=tokens_in, model=model), self.candidates.kinds(self.candidates.loads))
        return {name for name, engine in self.engines.items() if kind_of(engine) in kinds}


def many(number: int, running: int = 8) -> list[Engine]:
    return [make_engine(f"e{place}", running=running) for place in range(number)]


def test_holders_come_first_and_the_emptiest_after_them() -> None:
    engines = Engines(*many(EMPTIEST + 5))
    idle = list(engines.engines)[-EMPTIEST:]
    for name in engines.engines.keys() - set(idle):
        engines.give(name)
    engines.hold("e1")
    found = engines.looked_at()
    assert found[0] == ("e1", 200)
    assert sorted(found[1:]) == [(name, 0) for name in sorted(idle)]


def test_nobody_is_looked_at_twice() -> None:
    engines = Engines(*many(2))
    engines.hold("e0")
    assert engines.looked_at() == [("e0", 200), ("e1", 0)]


def test_holders_that_have_room_are_preferred_to_those_that_have_none() -> None:
    engines = Engines(*many(3, running=1))
    engines.hold("e0", "e1")
    (given,) = engines.give("e0")
    assert engines.looked_at() == [("e1", 200), ("e2", 0)]
    engines.take("e0", given)
    assert {name for name, held in engines.looked_at() if held} == {"e0", "e1"}


def test_holders_that_have_no_room_are_looked_at_where_none_has_any() -> None:
    """It may be worth to wait for one."""
    engines = Engines(*many(3, running=1))
    engines.hold("e0")
    engines.give("e0")
    assert engines.looked_at()[0] == ("e0", 200)


def test_holders_take_turns_to_be_looked_at() -> None:
    engines = Engines(*many(8))
    engines.hold(*engines.engines)
    found = Counter(name for _ in range(8) for name, _ in engines.looked_at()[:HOLDERS])
    assert found == Counter(dict.fromkeys(engines.engines, HOLDERS))


def test_where_prefixes_do_not_count_nobody_holds_anything() -> None:
    engines = Engines(*many(5), look_up=False)
    engines.give("e4")
    engines.hold("e4", "e0")
    found = engines.looked_at()
    assert len(found) == EMPTIEST
    assert {held for _, held in found} == {0}
    assert "e4" not in dict(found)


def test_an_engine_that_may_take_nothing_now_is_not_looked_at() -> None:
    engines = Engines(*many(2))
    engines.hold("e0")
    del engines.engines["e0"]
    assert engines.looked_at() == [("e1", 0)]


def test_what_needs_more_context_than_any_engine_takes_is_shown_to_the_largest() -> None:
    engines = Engines(make_engine("small", context=1_000), make_engine("large", context=4_000), make_engine("n", model="n", context=2_000))
    assert engines.asked(100) == {"small", "large", "n"}
    assert engines.asked(3_000) == {"large"}
    assert engines.asked(50_000) == {"large"}
    assert engines.asked(50_000, model="n") == {"n"}


def test_when_the_largest_is_gone_the_next_one_is_the_largest() -> None:
    engines = Engines(make_engine("small", context=1_000), make_engine("large", context=4_000))
    engines.candidates.remove(engines.engines.pop("large"))
    assert engines.asked(50_000) == {"small"}
    assert list(engines.candidates.loads) == ["small"]


def test_what_an_engine_has_refused_is_shown_to_larger_ones_only() -> None:
    engines = Engines(make_engine("small", context=1_000), make_engine("large", context=4_000))
    refused = make_generation(names=PROMPT)
    refused.context = 1_001
    assert [name for name, _ in engines.looked_at(refused)] == ["large"]


def test_the_next_moment_is_when_the_first_that_computes_prompts_can_take_more() -> None:
    engines = Engines(*many(3))
    assert engines.candidates.next_filled(0.0) is None
    engines.give("e0", tokens_in=8_000)
    engines.give("e1", tokens_in=4_000)
    loads = engines.candidates.loads
    assert engines.candidates.next_filled(0.0) == loads["e1"].filled - AHEAD < loads["e0"].filled
    assert engines.candidates.next_filled(loads["e1"].filled) == loads["e0"].filled - AHEAD


def test_there_is_room_as_long_as_one_engine_has_a_free_place() -> None:
    engines = Engines(*many(2, running=1))
    (given,) = engines.give("e0")
    assert engines.candidates
    engines.give("e1")
    assert not engines.candidates
    engines.take("e0", given)
    assert engines.candidates
