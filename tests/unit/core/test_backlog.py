"""What waits comes in its order: by tenants' shares, then by rank, and nobody is forgotten."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parrot.core.backlog import STALE, Backlog, Lane
from parrot.core.graph import Generation
from parrot.core.objectives import Kind, Objective
from parrot.core.shares import INPUT, LEAD, Shares
from parrot.core.turns import Rank
from tests.unit.core.making import make_generation

LANES: list[Lane] = [(model, sensitive) for model in (None, "m", "n") for sensitive in (True, False)]


class Ranks:
    """Says what ranks are, until it says otherwise."""

    def __init__(self) -> None:
        self.said: dict[Generation, float] = {}
        self.numbers: dict[Generation, int] = {}  # ranks are all different
        self.asked = 0

    def __call__(self, generation: Generation) -> Rank:
        self.asked += 1
        return (self.said[generation], self.numbers.setdefault(generation, len(self.numbers)))


@pytest.fixture
def ranks() -> Ranks:
    return Ranks()


@pytest.fixture
def shares() -> Shares:
    return Shares()


@pytest.fixture
def backlog(ranks: Ranks, shares: Shares) -> Backlog:
    return Backlog(ranks, shares)


def wait(
    backlog: Backlog, ranks: Ranks, rank: float, tenant: str = "t", kind: Kind = Kind.THROUGHPUT, model: str | None = None
) -> Generation:
    generation = make_generation(kind=kind, tenant=tenant, model=model)
    ranks.said[generation] = rank
    backlog.push(generation)
    return generation


def taken(backlog: Backlog, lanes: list[Lane] = LANES) -> Iterator[Generation]:
    """All that waits, in the order in which it is taken."""
    while (generation := backlog.first(lanes)) is not None:
        backlog.drop(generation)
        yield generation


# Ranks ------------------------------------------------------------------------------------------


def test_the_smallest_rank_is_first(backlog: Backlog, ranks: Ranks) -> None:
    for rank in (3, 1, 2):
        wait(backlog, ranks, rank)
    assert [ranks.said[generation] for generation in taken(backlog)] == [1, 2, 3]


def test_who_is_first_goes_on_waiting_until_it_is_dropped(backlog: Backlog, ranks: Ranks) -> None:
    generation = wait(backlog, ranks, 1)
    assert backlog.first(LANES) is backlog.first(LANES) is generation
    assert generation in backlog
    backlog.drop(generation)
    assert generation not in backlog
    assert (backlog.first(LANES), len(backlog), list(backlog)) == (None, 0, [])


def test_a_rank_that_has_become_worse_sinks(backlog: Backlog, ranks: Ranks) -> None:
    sinks, stays = wait(backlog, ranks, 1), wait(backlog, ranks, 2)
    ranks.said[sinks] = 3
    assert list(taken(backlog)) == [stays, sinks]


def test_a_rank_that_has_become_better_rises_once_it_is_pushed_again(backlog: Backlog, ranks: Ranks) -> None:
    stays, rises = wait(backlog, ranks, 2), wait(backlog, ranks, 3)
    ranks.said[rises] = 1
    backlog.push(rises)
    assert len(backlog) == 2
    assert list(taken(backlog)) == [rises, stays]


def test_what_is_dropped_never_comes(backlog: Backlog, ranks: Ranks) -> None:
    first, second, third = (wait(backlog, ranks, rank) for rank in (1, 2, 3))
    backlog.drop(second)
    backlog.drop(second)
    assert list(taken(backlog)) == [first, third]


def test_what_comes_back_after_it_was_dropped_comes_once(backlog: Backlog, ranks: Ranks) -> None:
    generation = wait(backlog, ranks, 1)
    backlog.drop(generation)
    backlog.push(generation)
    assert list(taken(backlog)) == [generation]


@settings(max_examples=80, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["push", "push", "rank", "drop", "take", "pass"]), st.integers(0, 20), st.integers(0, 9)), max_size=60
    )
)
def test_whatever_happens_the_best_that_waits_is_taken(steps: list[tuple[str, int, int]]) -> None:
    ranks = Ranks()
    backlog = Backlog(ranks, None)
    waiting: list[Generation] = []
    for what, number, rank in steps:
        if what == "push":
            kind, model = (Kind.LATENCY, Kind.THROUGHPUT)[number % 2], (None, "m", "n")[number % 3]
            waiting.append(wait(backlog, ranks, rank, f"t{number % 2}", kind, model))
        elif waiting and what == "rank":
            changed = waiting[number % len(waiting)]
            ranks.said[changed] = rank
            changed.objective = Objective((Kind.LATENCY, Kind.THROUGHPUT)[rank % 2])
            backlog.push(changed)
        elif waiting and what == "drop":
            backlog.drop(waiting.pop(number % len(waiting)))
        elif waiting:
            first = backlog.first(LANES)
            assert first is not None
            assert ranks.said[first] == min(ranks.said[generation] for generation in waiting)
            if what == "take":
                waiting.remove(first)
                backlog.drop(first)
            else:
                backlog.pass_over()
                rest = [ranks.said[generation] for generation in waiting if generation is not first]
                second = backlog.first(LANES)
                assert (second is None) == (not rest)
                assert second is None or ranks.said[second] == min(rest)
                backlog.look_again()
        assert set(backlog) == set(waiting)
        assert len(backlog) == len(waiting)
    assert [ranks.said[generation] for generation in taken(backlog)] == sorted(ranks.said[generation] for generation in waiting)


def test_ranks_are_asked_for_when_they_are_needed_and_not_for_all(backlog: Backlog, ranks: Ranks) -> None:
    for rank in range(1_000):
        wait(backlog, ranks, rank)
    backlog.first(LANES)
    ranks.asked = 0
    for _ in range(10):
        backlog.first(LANES)
    assert ranks.asked == 10


def test_entries_that_do_not_count_any_more_do_not_pile_up(ranks: Ranks) -> None:
    """An app that changes its mind all the time does not fill the memory."""
    backlog = Backlog(ranks, None)
    first, *rest = [wait(backlog, ranks, rank) for rank in range(50)]
    for number in range(10_000):
        changed = rest[number % len(rest)]
        changed.objective = Objective(Kind.LATENCY if number % 2 else Kind.THROUGHPUT)
        backlog.push(changed)
    entries = [heap for queue in backlog._lanes.values() for line in queue.lines for heap in line.tenants.values()]
    assert sum(map(len, entries)) <= 2 * len(backlog) + STALE + 1
    assert list(taken(backlog)) == [first, *rest]


# Lanes ------------------------------------------------------------------------------------------


def test_only_models_of_engines_that_have_room_come(backlog: Backlog, ranks: Ranks) -> None:
    for_n, for_any, for_m = (wait(backlog, ranks, rank, model=model) for rank, model in ((1, "n"), (2, None), (3, "m")))
    lanes = [(None, True), (None, False), ("m", True), ("m", False)]
    assert list(taken(backlog, lanes)) == [for_any, for_m]
    assert list(taken(backlog)) == [for_n]


def test_what_is_sensitive_can_be_asked_for_alone(backlog: Backlog, ranks: Ranks) -> None:
    member, chat, many = (wait(backlog, ranks, rank, kind=kind) for rank, kind in enumerate((Kind.GROUP, Kind.TTFT, Kind.THROUGHPUT)))
    assert list(taken(backlog, [(None, True)])) == [chat]
    assert list(taken(backlog)) == [member, many]


def test_what_becomes_sensitive_changes_its_lane_when_it_is_pushed_again(backlog: Backlog, ranks: Ranks) -> None:
    generation = wait(backlog, ranks, 1)
    generation.objective = Objective(Kind.LATENCY)
    backlog.push(generation)
    assert list(taken(backlog, [(None, False)])) == []
    assert list(taken(backlog, [(None, True)])) == [generation]


def test_who_is_passed_over_waits_on_and_is_found_again(backlog: Backlog, ranks: Ranks) -> None:
    first, second, third = (wait(backlog, ranks, rank) for rank in (1, 2, 3))
    for expected in (first, second):
        assert backlog.first(LANES) is expected
        backlog.pass_over()
    assert backlog.first(LANES) is third
    assert len(backlog) == 3
    backlog.drop(second)
    backlog.look_again()
    assert list(taken(backlog)) == [first, third]


# Put aside --------------------------------------------------------------------------------------


def test_what_is_put_aside_waits_on_and_is_found_once_it_is_called(backlog: Backlog, ranks: Ranks) -> None:
    waits, other = wait(backlog, ranks, 1), wait(backlog, ranks, 2)
    assert backlog.first(LANES) is waits
    backlog.put_aside("e1")
    assert backlog.first(LANES) is other
    assert (len(backlog), backlog.awaited()) == (2, ["e1"])
    backlog.call("e2", 8)
    assert backlog.first(LANES) is other
    backlog.call("e1", 8)
    assert (list(taken(backlog)), backlog.awaited()) == ([waits, other], [])


def test_the_first_of_those_that_wait_for_one_thing_are_called(backlog: Backlog, ranks: Ranks) -> None:
    generations = [wait(backlog, ranks, rank) for rank in range(5)]
    for _ in generations:
        backlog.first(LANES)
        backlog.put_aside("e1")
    backlog.drop(generations[0])
    backlog.call("e1", 2)
    assert list(taken(backlog)) == generations[1:3]
    assert set(backlog) == set(generations[3:])


def test_those_that_wait_for_several_things_are_called_in_turn(backlog: Backlog, ranks: Ranks) -> None:
    generations = [wait(backlog, ranks, rank) for rank in range(6)]
    for number in range(6):
        backlog.first(LANES)
        backlog.put_aside(f"e{number % 3}")
    for _ in range(3):
        assert backlog.call_next()
    assert list(taken(backlog)) == generations[:3]
    while backlog.call_next():
        pass
    assert list(taken(backlog)) == generations[3:]
    assert not backlog.call_next()


def test_what_is_put_aside_and_becomes_better_is_found_at_once(backlog: Backlog, ranks: Ranks) -> None:
    generation = wait(backlog, ranks, 2)
    backlog.first(LANES)
    backlog.put_aside("e1")
    ranks.said[generation] = 1
    backlog.push(generation)
    assert list(taken(backlog)) == [generation]
    backlog.call("e1", 8)
    assert (list(taken(backlog)), backlog.awaited()) == ([], [])


def test_what_is_put_aside_stays_so_when_what_does_not_count_is_swept_out(backlog: Backlog, ranks: Ranks) -> None:
    aside, changed = wait(backlog, ranks, 1), wait(backlog, ranks, 2)
    assert backlog.first(LANES) is aside
    backlog.put_aside("e1")
    for _ in range(3 * STALE):
        backlog.push(changed)
    assert list(taken(backlog)) == [changed]
    backlog.call("e1", 1)
    assert list(taken(backlog)) == [aside]


# Tenants ----------------------------------------------------------------------------------------


def served(backlog: Backlog, shares: Shares, tokens: int = 100) -> Iterator[str]:
    for generation in taken(backlog):
        tenant = generation.program.tenant
        shares.charge(tenant, tokens, 0)
        yield tenant


def test_tenants_take_turns_whatever_their_ranks(backlog: Backlog, shares: Shares, ranks: Ranks) -> None:
    for rank in range(10):
        wait(backlog, ranks, rank, "loud")
    for rank in (100, 101, 102):
        wait(backlog, ranks, rank, "quiet")
    order = list(served(backlog, shares))
    assert Counter(order[:6]) == {"loud": 3, "quiet": 3}


class Counting(float):
    """A number that counts how often it is compared."""

    compared = 0

    def __lt__(self, other: float) -> bool:
        Counting.compared += 1
        return float(self) < float(other)


@pytest.mark.parametrize("fair", [True, False])
def test_who_is_next_is_found_without_looking_at_all_tenants(fair: bool, ranks: Ranks, shares: Shares) -> None:
    backlog = Backlog(ranks, shares if fair else None)
    for number in range(1_000):
        wait(backlog, ranks, Counting(number), f"t{number}")
    backlog.first(LANES)
    Counting.compared = 0
    for _ in range(100):
        first = backlog.first(LANES)
        assert first is not None
        backlog.drop(first)
        shares.charge(first.program.tenant, 100, 0)
    assert Counting.compared < 100 * 40  # a few times the logarithm


def test_without_shares_ranks_alone_count(ranks: Ranks) -> None:
    backlog = Backlog(ranks, None)
    loud = [wait(backlog, ranks, rank, "loud") for rank in range(3)]
    quiet = wait(backlog, ranks, 100, "quiet")
    assert list(taken(backlog)) == [*loud, quiet]


def test_tenants_get_what_their_weights_say(ranks: Ranks) -> None:
    shares = Shares({"a": 3.0})
    backlog = Backlog(ranks, shares)
    for rank in range(100):
        wait(backlog, ranks, rank, "a")
        wait(backlog, ranks, rank, "b")
    assert Counter(list(served(backlog, shares))[:80]) == {"a": 60, "b": 20}


def test_the_tenant_that_has_had_less_is_next_whatever_one_turn_costs(backlog: Backlog, shares: Shares, ranks: Ranks) -> None:
    large = {wait(backlog, ranks, rank, "large") for rank in range(20)}
    for rank in range(200):
        wait(backlog, ranks, rank, "small")
    worked: Counter[str] = Counter()
    for generation, _ in zip(taken(backlog), range(100), strict=False):
        tokens = 1_000 if generation in large else 100
        shares.charge(generation.program.tenant, tokens, 0)
        worked[generation.program.tenant] += tokens
    assert worked["large"] == pytest.approx(worked["small"], rel=0.15)


def test_nobody_saves_up_while_nothing_of_his_waits(backlog: Backlog, shares: Shares, ranks: Ranks) -> None:
    wait(backlog, ranks, 0, "rested")
    assert list(served(backlog, shares)) == ["rested"]
    for rank in range(50):
        wait(backlog, ranks, rank, "busy")
    for generation, _ in zip(taken(backlog), range(30), strict=False):
        shares.charge(generation.program.tenant, 100, 0)
    for rank in range(50):
        wait(backlog, ranks, rank, "rested")
    assert Counter(list(served(backlog, shares))[:20]) == {"busy": 10, "rested": 10}


def test_nobody_saves_up_while_nothing_waits_at_all(backlog: Backlog, shares: Shares, ranks: Ranks) -> None:
    """One tenant is served at once for long, so that nothing waits when the other one comes."""
    for rank in range(50):
        wait(backlog, ranks, rank, "busy")
        list(served(backlog, shares))
    for rank in range(50):
        wait(backlog, ranks, rank, "new")
        wait(backlog, ranks, rank, "busy")
    assert Counter(list(served(backlog, shares))[:20]) == {"busy": 10, "new": 10}


def test_nobody_saves_up_by_asking_for_another_model(backlog: Backlog, shares: Shares, ranks: Ranks) -> None:
    for rank in range(50):
        wait(backlog, ranks, rank, "busy", model=None)
    for generation, _ in zip(taken(backlog), range(30), strict=False):
        shares.charge(generation.program.tenant, 100, 0)
    for rank in range(50):
        wait(backlog, ranks, rank, "new", model="m")
    assert Counter(list(served(backlog, shares))[:20]) == {"busy": 10, "new": 10}


def test_who_waits_keeps_his_claim_when_he_asks_for_another_model_too(backlog: Backlog, shares: Shares, ranks: Ranks) -> None:
    wait(backlog, ranks, 0, "waits", model="n")
    wait(backlog, ranks, 0, "busy")
    shares.charge("busy", 10_000, 0)
    wait(backlog, ranks, 0, "waits", model="m")
    assert shares.had("waits") == 0


def test_who_is_passed_over_keeps_his_claim(backlog: Backlog, shares: Shares, ranks: Ranks) -> None:
    wait(backlog, ranks, 0, "waits")
    wait(backlog, ranks, 0, "busy")
    shares.charge("busy", 10_000, 0)
    assert backlog.first(LANES) is not None
    backlog.pass_over()
    assert backlog.first(LANES) is not None
    backlog.look_again()
    assert shares.had("waits") == 0


def test_work_that_somebody_waits_for_runs_ahead_of_its_share(backlog: Backlog, shares: Shares, ranks: Ranks) -> None:
    for rank in range(5):
        wait(backlog, ranks, rank, "many")
        wait(backlog, ranks, rank, "chat", kind=Kind.LATENCY)
    assert list(served(backlog, shares)) == ["chat"] * 5 + ["many"] * 5


def test_within_a_tenant_ranks_alone_decide(backlog: Backlog, ranks: Ranks) -> None:
    """Else work for which nobody waits would starve behind the chats of the same tenant."""
    chat, many, later = (wait(backlog, ranks, rank, kind=kind) for rank, kind in ((2, Kind.TTFT), (1, Kind.THROUGHPUT), (3, Kind.LATENCY)))
    assert list(taken(backlog)) == [many, chat, later]


def test_but_not_for_ever(backlog: Backlog, shares: Shares, ranks: Ranks) -> None:
    """Its lead is bounded: one tenant cannot starve the others by saying that somebody waits for all that it does."""
    for rank in range(300):
        wait(backlog, ranks, rank, "hurries", kind=Kind.LATENCY)
        wait(backlog, ranks, rank, "many")
    order = list(served(backlog, shares))
    ahead = order.index("many")
    assert ahead == pytest.approx(LEAD / (100 * INPUT), abs=1)
    assert Counter(order[ahead : ahead + 20]) == {"hurries": 10, "many": 10}


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_while_all_have_something_that_waits_nobody_has_had_much_more_than_another(seed: int) -> None:
    chance, ranks, shares = random.Random(seed), Ranks(), Shares()
    backlog = Backlog(ranks, shares)
    waiting = Counter(chance.choices("abc", (1, 2, 5), k=200))
    cost = {wait(backlog, ranks, place, tenant): chance.randint(1, 300) for place, tenant in enumerate(waiting.elements())}
    had: Counter[str] = Counter()
    for generation in taken(backlog):
        tenant = generation.program.tenant
        waiting[tenant] -= 1
        shares.charge(tenant, cost[generation], 0)
        had[tenant] += cost[generation]
        if all(waiting[one] for one in "abc"):
            assert max(had[one] for one in "abc") - min(had[one] for one in "abc") <= 300 * INPUT
    assert not +waiting


def test_of_those_put_aside_only_who_waits_counts() -> None:
    ranks = Ranks()
    backlog = Backlog(ranks, Shares())
    one = wait(backlog, ranks, 1.0)
    for _ in range(50):
        assert backlog.first(LANES) is one
        backlog.put_aside("e1")
        ranks.said[one] -= 0.001
        backlog.push(one)  # its objective changes, or less is left of its program than was thought
    assert backlog.first(LANES) is one
    backlog.put_aside("e1")
    two = wait(backlog, ranks, 2.0)
    assert backlog.first(LANES) is two
    assert backlog.ahead("e1") == 1
