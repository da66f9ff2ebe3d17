"""Programs: what is connected counts as one, and the way to its end is known, at little cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parrot.core.graph import Generation
from parrot.core.objectives import IDLE, Kind, Objective
from parrot.core.programs import GROWTH, Program, judge
from tests.unit.core.making import make_generation
from tests.unit.core.stage import Stage, ask, up


def seconds(generation: Generation) -> float:
    """How long each takes: its output, a second for each token."""
    return generation.tokens_out


def step(program: Program, length: float = 1.0, needs: Iterable[Generation] = ()) -> Generation:
    """One more generation of a program, which waits for others."""
    generation = make_generation(tokens_out=length, program=program)
    for needed in needs:
        needed.made.serve(generation)
        generation.made.depth = max(generation.made.depth, needed.made.depth + 1)
    return generation


def end(program: Program, generation: Generation) -> None:
    generation.ended = True
    program.whole().drop(generation)


# Components -------------------------------------------------------------------------------------


def full(members: int, arrived: float, attained: float, service: float) -> Program:
    program = Program("t")
    for _ in range(members):
        generation = step(program)
        program.expect(generation, service)
    program.arrived, program.attained = arrived, attained
    return program


@pytest.mark.parametrize(("first", "second"), [(2, 5), (5, 2)])
def test_programs_that_are_joined_keep_all_that_is_known_of_both(first: int, second: int) -> None:
    one, other = full(first, arrived=10.0, attained=3.0, service=1.5), full(second, arrived=20.0, attained=4.0, service=0.5)
    members = {*one.members, *other.members}
    for program in (one, other):
        program.begin(next(iter(program.members)))
    joined = one.joined(other)
    assert one.whole() is other.whole() is joined
    assert set(joined.members) == members
    assert (joined.arrived, joined.attained, joined.active) == (10.0, 7.0, 2)
    assert joined.rest == pytest.approx(first * 1.5 + second * 0.5)


def test_a_program_is_joined_with_itself_once() -> None:
    one, other = full(2, 1.0, 1.0, 1.0), full(2, 2.0, 1.0, 1.0)
    for _ in range(3):
        joined = other.joined(one)
    assert (joined.attained, len(joined.members)) == (2.0, 4)


def test_a_program_with_nothing_to_do_is_as_old_as_the_one_that_it_is_joined_with() -> None:
    """A conversation that has rested does not bring its age into a new question."""
    for turned in (False, True):
        rested, new = Program("t"), full(1, arrived=50.0, attained=0.0, service=1.0)
        rested.arrived, rested.attained = 5.0, 2.0
        joined = new.joined(rested) if turned else rested.joined(new)
        assert (joined.arrived, joined.attained) == (50.0, 2.0)


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(0, 4), min_size=1, max_size=12), joins=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11))))
def test_whatever_is_joined_in_whatever_order_is_the_component_of_a_graph(sizes: list[int], joins: list[tuple[int, int]]) -> None:
    programs = [full(size, arrived=10.0 + place, attained=1.0 + place, service=1.0) for place, size in enumerate(sizes)]
    members = [set(program.members) for program in programs]
    component = list(range(len(programs)))
    for left, right in joins:
        one, other = left % len(programs), right % len(programs)
        programs[one].joined(programs[other])
        component = [component[one] if found == component[other] else found for found in component]
    for place, program in enumerate(programs):
        alike = [number for number, found in enumerate(component) if found == component[place]]
        whole = program.whole()
        assert {id(programs[number].whole()) for number in alike} == {id(whole)}
        assert set(whole.members) == set[Generation]().union(*(members[number] for number in alike))
        assert whole.attained == pytest.approx(sum(1.0 + number for number in alike))
        assert whole.rest == pytest.approx(sum(sizes[number] for number in alike))
        busy = [number for number in alike if sizes[number]]
        if busy:
            assert whole.arrived == 10.0 + min(busy)


def test_who_was_joined_long_ago_is_found_without_recursion() -> None:
    chain = [Program("t") for _ in range(5_000)]
    for one, other in pairwise(chain):
        one._into = other
    assert chain[0].whole() is chain[-1]
    assert all(program._into is chain[-1] for program in chain[:-1])  # the next one who asks has a short way


# Ways -------------------------------------------------------------------------------------------


def test_the_tail_of_a_generation_is_the_longest_way_that_begins_with_it() -> None:
    program = Program("t")
    first = step(program, 1)
    short, long = step(program, 2, [first]), step(program, 5, [first])
    last = step(program, 3, [short, long])
    program.reckon(seconds)
    assert [generation.tail for generation in (first, short, long, last)] == [9, 5, 8, 3]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_tails_are_what_looking_at_every_way_finds(data: st.DataObject) -> None:
    program = Program("t")
    made: list[Generation] = []
    for _ in range(data.draw(st.integers(1, 10))):
        needs = data.draw(st.lists(st.sampled_from(made), unique_by=id, max_size=3)) if made else []
        made.append(step(program, data.draw(st.integers(1, 9)), needs))
    for generation in data.draw(st.lists(st.sampled_from(made), unique_by=id, max_size=3)):
        end(program, generation)
    program.reckon(seconds)

    def ways(generation: Generation) -> Iterable[float]:
        yield seconds(generation)
        for consumer in generation.made.consumers:
            if not consumer.ended:
                for way in ways(consumer):
                    yield seconds(generation) + way

    for generation in program.members:
        assert generation.tail == max(ways(generation))


def asked(*generations: Generation) -> None:
    """Somebody waits for these, so also for all that they wait for; each is in the list before what it waits for."""
    for generation in generations:
        generation.objective = Objective(Kind.LATENCY)
    judge(generations)


def split() -> tuple[Program, Generation, Generation]:
    """A program of which somebody waits for the first, short step, and nobody for the long one after it; both, and others beside them."""
    program = Program("t")
    first = step(program, 2)
    after = step(program, 50, [first])
    for generation in (first, after):
        program.expect(generation, seconds(generation))
    program.reckon(seconds)
    program.begin(first)
    return program, first, after


def test_what_nobody_waits_for_does_not_prolong_the_way_to_what_somebody_waits_for() -> None:
    program, first, _ = split()
    assert (first.tail, program.way_of(first), program.rest_of(first)) == (52, 52, 52)
    asked(first)
    assert (first.tail, program.way_of(first), program.rest_of(first)) == (2, 2, 2)
    program.reckon(seconds)
    assert (first.tail, program.way_of(first)) == (2, 2)


def test_it_does_again_once_somebody_waits_for_all_of_it_or_for_nothing() -> None:
    program, first, after = split()
    asked(first)
    asked(after)
    program.reckon(seconds)
    assert (first.tail, program.way_of(first), program.rest_of(first)) == (52, 52, 52)
    for generation in (first, after):
        generation.objective = IDLE
    judge([after, first])
    assert (first.tail, program.way_of(first), program.awaited) == (52, 52, 0)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_ways_to_what_somebody_waits_for_are_what_looking_at_every_way_finds(data: st.DataObject) -> None:
    program = Program("t")
    made: list[Generation] = []
    needed: dict[Generation, list[Generation]] = {}
    for _ in range(data.draw(st.integers(1, 10))):
        needs = data.draw(st.lists(st.sampled_from(made), unique_by=id, max_size=3)) if made else []
        made.append(step(program, data.draw(st.integers(1, 9)), needs))
        needed[made[-1]] = needs
    program.reckon(seconds)
    wanted = set(data.draw(st.lists(st.sampled_from(made), unique_by=id, min_size=1, max_size=3)))
    for generation in reversed(made):
        if generation in wanted:
            wanted.update(needed[generation])
    asked(*(generation for generation in reversed(made) if generation in wanted))
    if data.draw(st.booleans()):
        program.reckon(seconds)

    def ways(generation: Generation) -> Iterable[float]:
        yield seconds(generation)
        for consumer in generation.made.consumers:
            if consumer in wanted:
                for way in ways(consumer):
                    yield seconds(generation) + way

    assert all(generation.tail == max(ways(generation)) for generation in wanted)
    assert program.awaited == len(wanted)
    for generation in data.draw(st.lists(st.sampled_from(made), unique_by=id, max_size=3)):
        end(program, generation)
    assert program.awaited == sum(generation.awaited for generation in program.members)


def counting(times: list[Generation]) -> Callable[[Generation], float]:
    def counted(generation: Generation) -> float:
        times.append(generation)
        return 1.0

    return counted


@pytest.mark.parametrize("size", [1_000, 4_000])
def test_a_program_that_is_submitted_call_by_call_does_not_cost_the_square_of_its_length(size: int) -> None:
    program, times = Program("t"), list[Generation]()
    last: list[Generation] = []
    for _ in range(size):
        last = [step(program, 1, last)]
        program.reckon(counting(times))
    assert len(times) < 1.2 * size / GROWTH


def test_ways_are_at_most_a_tenth_of_the_program_old() -> None:
    program, times = Program("t"), list[Generation]()
    last: list[Generation] = []
    first = None
    for length in range(1, 500):
        last = [step(program, 1, last)]
        first = first or last[0]
        program.reckon(counting(times))
        assert length * (1 - GROWTH) - 1 <= first.tail <= length


def test_a_program_that_shrinks_is_reckoned_again_when_enough_of_it_has_ended() -> None:
    program, times = Program("t"), list[Generation]()
    members = [step(program) for _ in range(100)]
    program.reckon(counting(times))
    while len(times) == 100:
        end(program, members.pop())
        program.reckon(counting(times))
    assert 100 - len(members) == pytest.approx(GROWTH * len(members), abs=1)
    assert len(times) == 100 + len(members)


def test_the_work_of_reckoning_a_program_that_shrinks_to_nothing_is_in_proportion_to_its_size() -> None:
    program, times = Program("t"), list[Generation]()
    members = [step(program) for _ in range(1_000)]
    for generation in members:
        program.reckon(counting(times))
        end(program, generation)
    assert len(times) < 12 * len(members)


def test_what_a_program_has_had_is_measured_by_its_longest_way_not_by_what_is_left_of_it() -> None:
    program = Program("t")
    members = [step(program, 5), step(program, 3)]
    program.reckon(seconds)
    for generation in members:
        program.begin(generation)
    assert program.served == 0.0
    program.attained = 5.0
    end(program, members[0])
    program.reckon(seconds)
    assert (program.way, program.length, program.served) == (3, 5, 0.5)


def test_the_way_of_a_program_is_the_longest_of_what_can_run() -> None:
    program = Program("t")
    short, long = step(program, 2), step(program, 7)
    program.reckon(seconds)
    program.begin(short)
    assert (program.way, program.active) == (2, 1)
    program.begin(long)
    assert (program.way, program.active) == (7, 2)


def test_the_way_is_reckoned_anew_when_more_comes_below_it() -> None:
    program = Program("t")
    first = step(program, 1)
    program.reckon(seconds)
    program.begin(first)
    last = step(program, 5, [first])
    program.reckon(seconds)
    assert program.way == 6
    end(program, last)
    step(program, 2, [first])
    program.reckon(seconds)
    assert program.way == 3


def test_what_comes_back_from_an_engine_does_not_begin_twice() -> None:
    program = Program("t")
    generation = step(program)
    program.begin(generation)
    program.begin(generation)
    assert program.active == 1
    end(program, generation)
    assert program.active == 0


def test_the_way_grows_shorter_as_a_chain_goes_on() -> None:
    program = Program("t")
    chain = [step(program, 1)]
    for _ in range(9):
        chain.append(step(program, 1, chain[-1:]))
    program.reckon(seconds)
    ways = []
    for generation in chain:
        program.begin(generation)
        ways.append(program.way)
        end(program, generation)
    assert ways == list(range(10, 0, -1))
    assert (program.way, program.active, len(program.members)) == (0, 0, 0)


def test_what_ends_without_having_begun_leaves_what_is_under_way() -> None:
    program = Program("t")
    runs, waits = step(program, 3), step(program, 1)
    program.reckon(seconds)
    program.begin(runs)
    end(program, waits)
    assert (program.active, program.way) == (1, 3)


# Engine time ------------------------------------------------------------------------------------


def test_the_rest_is_what_its_members_will_need_as_far_as_is_known() -> None:
    program = Program("t")
    one, other = step(program), step(program)
    program.expect(one, 2.0)
    program.expect(other, 3.0)
    program.expect(one, 5.0)
    assert program.rest == 8.0
    end(program, one)
    assert program.rest == 3.0


@settings(max_examples=50, deadline=None)
@given(services=st.lists(st.floats(0, 100), min_size=1, max_size=20), order=st.randoms(use_true_random=False))
def test_nothing_is_left_of_the_rest_when_all_has_ended(services: list[float], order: object) -> None:
    program = Program("t")
    members = [step(program) for _ in services]
    for generation, service in zip(members, services, strict=True):
        program.expect(generation, service)
    order.shuffle(members)  # type: ignore[attr-defined]
    for generation in members:
        assert program.rest >= 0
        end(program, generation)
    assert program.rest == 0


def test_a_program_that_has_work_again_arrives_anew() -> None:
    program = Program("t")
    first = make_generation(program=program)
    program.arrived = 10.0
    program.add([make_generation(program=Program("t"))], 20.0)
    assert program.arrived == 10.0  # it went on all the time
    for generation in list(program.members):
        end(program, generation)
    program.add([first], 30.0)
    assert program.arrived == 30.0


def test_what_a_program_has_had_survives_a_takeover() -> None:
    stage = Stage(up("e1", running=1))
    stage.tell(ask("a"), ask("b", "{{i}} ", i="a.x"), ask("c", "{{i}} ", i="b.x"))
    stage.now += 5.0
    stage.finish("a", seconds=5.0)
    program = stage.machine.graph.variables["c.x"].producer.program.whole()  # type: ignore[union-attr]
    assert program.attained == 5.0
    stage.restart()
    again = stage.machine.graph.variables["c.x"].producer.program.whole()  # type: ignore[union-attr]
    assert again is not program
    assert (again.attained, again.served) == (5.0, pytest.approx(program.served, abs=0.01))


@pytest.mark.parametrize(("earlier", "all_of_it"), [(0.1, False), (10.0, True)])
def test_a_program_is_reckoned_anew_when_what_joins_it_came_notably_earlier(earlier: float, all_of_it: bool) -> None:
    """A fold from the newest to the oldest would reckon all with each call else."""
    large, small = Program("t"), Program("t")
    for program, arrived, many in ((large, 100.0, 50), (small, 100.0 - earlier, 1)):
        program.add([make_generation() for _ in range(many)], arrived)
    before = large._changes
    assert large.joined(small) is large
    assert large.arrived == 100.0 - earlier
    assert (large._changes - before > 50) == all_of_it
