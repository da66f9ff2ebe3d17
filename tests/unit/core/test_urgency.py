"""What decides who goes first, by itself."""

from __future__ import annotations

from math import inf

import pytest

from parrot.core.graph import Generation
from parrot.core.objectives import Kind
from parrot.core.rules import Rules
from parrot.core.urgency import LATER, SERVED, WAY, rank, slack
from tests.unit.core.making import make_generation


def waiting(
    kind: Kind, arrived: float = 0.0, *, due: float | None = None, way: float = 0.0, rest: float = 0.0, had: float = 0.0
) -> Generation:
    """One at the beginning of a way of so many seconds, in a program that needs `rest` in all and has had so much."""
    generation = make_generation(kind=kind)
    generation.objective = generation.objective._replace(due=due)
    program = generation.program
    generation.tail = program.way = program.length = way
    generation.late = inf if due is None else due - way
    program.arrived, program.rest, program.attained = arrived, rest, had
    return generation


def first_of(*generations: Generation, engines: int = 1, rules: Rules | None = None) -> int:
    """Which of some goes first."""
    ranks = [rank(generation, engines, rules or Rules()) for generation in generations]
    return ranks.index(min(ranks))


def test_of_what_is_due_the_least_slack_goes_first() -> None:
    dues = [waiting(Kind.DEADLINE, due=due, way=way) for due, way in ((20.0, 1.0), (25.0, 15.0), (19.0, 2.0), (30.0, 18.0))]
    by_rank = sorted(dues, key=lambda one: rank(one, 1, Rules()))
    assert by_rank == sorted(dues, key=lambda one: slack(one, 0.0) or 0.0)
    assert [slack(one, 5.0) for one in by_rank] == [5.0, 7.0, 12.0, 14.0]


def test_what_is_late_already_has_less_than_no_slack() -> None:
    assert slack(waiting(Kind.DEADLINE, due=10.0, way=4.0), 8.0) == -2.0


def test_a_chat_that_is_due_begins_in_time_though_its_way_is_long() -> None:
    chat, short = waiting(Kind.LATENCY, due=12.0, way=11.0), waiting(Kind.LATENCY, way=1.0)
    assert first_of(chat, short) == 0
    assert first_of(waiting(Kind.LATENCY, way=11.0), short) == 1


def test_what_can_be_late_for_its_program_only_has_the_rest_of_the_way_as_slack() -> None:
    chat = waiting(Kind.LATENCY, way=5.0)
    chat.tail = 2.0
    assert slack(chat, 1_000.0) == 3.0
    assert slack(waiting(Kind.THROUGHPUT, way=5.0), 1_000.0) is None


def test_what_nobody_waits_for_goes_after_what_somebody_waits_for_that_comes_within_bounds() -> None:
    batch = waiting(Kind.THROUGHPUT)
    assert first_of(batch, waiting(Kind.LATENCY, LATER - 1)) == 1
    assert first_of(batch, waiting(Kind.LATENCY, LATER + 1)) == 0


def test_what_a_program_has_had_counts_only_where_nobody_waits() -> None:
    for kind, first in ((Kind.THROUGHPUT, 1), (Kind.LATENCY, 0)):
        assert first_of(waiting(kind, 0.0, had=10.0), waiting(kind, 5.0)) == first


def test_where_nobody_waits_the_program_that_has_had_least_for_its_length_goes_first() -> None:
    short, long, fresh = (waiting(Kind.THROUGHPUT, way=way, had=had) for way, had in ((2.0, 2.0), (100.0, 10.0), (2.0, 0.0)))
    assert [first_of(short, long, fresh), first_of(short, long)] == [2, 1]


@pytest.mark.parametrize("had", [10.0, 1e9])
def test_however_much_a_program_has_had_it_lets_others_go_first_for_a_bounded_time_only(had: float) -> None:
    old = waiting(Kind.THROUGHPUT, way=1.0, had=had)
    assert first_of(old, waiting(Kind.THROUGHPUT, SERVED + 1)) == 0
    assert first_of(old, waiting(Kind.LATENCY, LATER + SERVED + 1)) == 0


def test_of_two_programs_that_are_alike_what_has_less_slack_goes_first() -> None:
    spare, urgent = waiting(Kind.LATENCY, way=10.0), waiting(Kind.LATENCY, 0.5, way=10.0)
    spare.tail = 1.0
    assert (slack(spare, 0.0), slack(urgent, 0.0)) == (9.0, 0.0)
    assert first_of(spare, urgent) == 1


def test_each_of_the_first_seconds_of_way_lets_others_go_first_for_so_many_seconds() -> None:
    long = waiting(Kind.LATENCY, way=0.1)
    assert first_of(long, waiting(Kind.LATENCY, 0.9 * WAY * 0.1)) == 1
    assert first_of(long, waiting(Kind.LATENCY, 1.1 * WAY * 0.1)) == 0


@pytest.mark.parametrize("way", [1.0, 10.0, 1_000.0])
@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.THROUGHPUT])
def test_however_long_its_way_what_somebody_waits_for_goes_before_what_comes_with_it_and_nobody_waits_for(kind: Kind, way: float) -> None:
    assert first_of(waiting(Kind.THROUGHPUT), waiting(kind, way=way, rest=way)) == 1


def test_a_stricter_objective_never_goes_later() -> None:
    ranks = [rank(waiting(kind, way=5.0, rest=5.0), 1, Rules())[0] for kind in Kind]
    assert ranks == sorted(ranks)


def test_a_broad_program_is_long_where_engines_are_few() -> None:
    broad, narrow = waiting(Kind.LATENCY, way=1.0, rest=12.0), waiting(Kind.LATENCY, way=4.0, rest=4.0)
    assert first_of(broad, narrow, engines=1) == 1
    assert first_of(broad, narrow, engines=12) == 0


def test_within_a_program_the_longer_way_goes_first() -> None:
    short = waiting(Kind.LATENCY, way=3.0)
    long = make_generation(kind=Kind.LATENCY, program=short.program)
    short.tail, long.tail = 1.0, 3.0
    assert first_of(short, long) == 1


def test_without_ways_it_does_not_count_how_long_they_are_or_what_was_had() -> None:
    rules = Rules(ways=False, attained=False)
    assert first_of(waiting(Kind.LATENCY, way=10.0, rest=10.0), waiting(Kind.LATENCY, 1.0), rules=rules) == 0
    assert first_of(waiting(Kind.THROUGHPUT, had=10.0), waiting(Kind.THROUGHPUT, 1.0), rules=rules) == 0
    assert first_of(waiting(Kind.THROUGHPUT), waiting(Kind.LATENCY, 1.0), rules=rules) == 1


def test_without_ageing_what_nobody_waits_for_lets_all_others_go_first() -> None:
    rules, batch, late = Rules(ageing=False), waiting(Kind.THROUGHPUT), waiting(Kind.LATENCY, 1e6)
    assert (first_of(batch, late), first_of(batch, late, rules=rules)) == (0, 1)


def test_without_deadlines_what_is_due_goes_as_if_it_were_not() -> None:
    rules, early, due = Rules(deadlines=False), waiting(Kind.DEADLINE, due=500.0), waiting(Kind.DEADLINE, 1.0, due=5.0)
    assert (first_of(early, due), first_of(early, due, rules=rules)) == (1, 0)


def test_without_attained_service_it_does_not_count_what_was_had() -> None:
    rules, had, fresh = Rules(attained=False), waiting(Kind.THROUGHPUT, had=10.0), waiting(Kind.THROUGHPUT, 1.0)
    assert (first_of(had, fresh), first_of(had, fresh, rules=rules)) == (1, 0)
