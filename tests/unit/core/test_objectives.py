"""Objectives: each rule by name, and the incremental derivation against the one from scratch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parrot.core.asks import MANY
from parrot.core.graph import Generation, Graph, Session, Variable
from parrot.core.lowering import lower
from parrot.core.objectives import IDLE, STRICTNESS, Kind, Objective, derive, producers, refresh, strictest
from parrot.criteria import LATENCY, THROUGHPUT, TPOT, TTFT, Criterion
from parrot.wire.states import VariableState
from tests.unit.core.cell import call


class Story:
    """A graph that grows, with objectives kept up to date."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.session = self.graph.sessions["s"] = Session("s", "a program")

    def add(self, name: str, *needs: str, outputs: tuple[str, ...] = ("x",)) -> Generation:
        """A call that needs the first outputs of others; its first generation."""
        template = "".join(f"{{{{i{place}}}}} and " for place in range(len(needs))) + " then ".join(f"{{{{{out}}}}}" for out in outputs)
        request = call(name, template, **{f"i{place}": f"{need}.x" for place, need in enumerate(needs)})
        generations = self.graph.add(self.session, request, lower(request))
        refresh(self.graph, generations)
        return generations[0]

    def want(self, name: str, criterion: Criterion | None, due: float | None = None) -> None:
        variable = self.graph.variables[f"{name}.x"]
        variable.criterion, variable.due = criterion, due
        if variable.producer is not None:
            refresh(self.graph, [variable.producer])

    def cancel(self, variable: Variable) -> None:
        ended = [producer for _, producer in self.graph.end(variable, VariableState.CANCELLED, "") if producer is not None]
        refresh(self.graph, (producer for one in ended for producer in producers(self.graph, one)))

    def objective(self, name: str) -> Objective:
        producer = self.graph.variables[f"{name}.x"].producer
        assert producer is not None
        return producer.objective

    def kinds(self, *names: str) -> list[Kind]:
        return [self.objective(name).kind for name in names]


@pytest.fixture
def story() -> Story:
    return Story()


def test_what_nobody_asked_for_is_throughput(story: Story) -> None:
    story.add("a")
    assert story.objective("a") == IDLE


def test_serial_ancestors_of_a_latency_sink_are_latency_sensitive(story: Story) -> None:
    story.add("a")
    story.add("b", "a")
    story.add("c", "b")
    story.want("c", LATENCY)
    assert story.kinds("a", "b", "c") == [Kind.LATENCY] * 3


def test_parallel_producers_of_one_consumer_are_a_task_group(story: Story) -> None:
    for part in ("m1", "m2", "m3"):
        story.add(part)
    story.add("reduce", "m1", "m2", "m3")
    story.want("reduce", LATENCY)
    assert [story.objective(part) for part in ("m1", "m2", "m3")] == [Objective(Kind.GROUP, "reduce")] * 3
    assert story.kinds("reduce") == [Kind.LATENCY]


def test_what_a_member_waits_for_alone_belongs_to_its_group(story: Story) -> None:
    story.add("load")
    story.add("m1", "load")
    story.add("m2")
    story.add("reduce", "m1", "m2")
    story.want("reduce", LATENCY)
    assert story.objective("load") == Objective(Kind.GROUP, "reduce")


def test_what_all_members_of_a_group_wait_for_is_serial_again(story: Story) -> None:
    story.add("question")
    story.add("plan", "question")
    for part in ("m1", "m2", "m3"):
        story.add(part, "plan")
    story.add("reduce", "m1", "m2", "m3")
    story.want("reduce", LATENCY)
    assert story.kinds("question", "plan", "m1", "reduce") == [Kind.LATENCY, Kind.LATENCY, Kind.GROUP, Kind.LATENCY]
    story.want("reduce", THROUGHPUT)
    assert story.kinds("question", "plan", "m1") == [Kind.THROUGHPUT] * 3
    story.want("reduce", TTFT)
    assert story.kinds("question", "plan", "m1") == [Kind.LATENCY, Kind.LATENCY, Kind.GROUP]


def test_it_is_so_too_if_members_come_one_or_more_steps_later(story: Story) -> None:
    story.add("plan")
    for part in ("1", "2"):
        story.add(f"draft{part}", "plan")
        story.add(f"critique{part}", f"draft{part}")
    story.add("m3", "plan")
    story.add("reduce", "critique1", "critique2", "m3")
    story.want("reduce", LATENCY)
    assert story.kinds("plan", "draft1", "critique2", "m3") == [Kind.LATENCY, *[Kind.GROUP] * 3]


def test_of_what_all_members_wait_for_the_last_one_counts_and_what_runs_beside_it_is_a_group(story: Story) -> None:
    story.add("first")
    story.add("plan", "first")
    story.add("facts")
    for part in ("m1", "m2"):
        story.add(part, "first", "plan")
    story.add("reduce", "m1", "m2")
    story.want("reduce", LATENCY)
    assert story.kinds("first", "plan") == [Kind.LATENCY] * 2
    for part in ("n1", "n2"):
        story.add(part, "plan", "facts")
    story.add("other", "n1", "n2")
    story.want("other", LATENCY)
    assert story.objective("facts").kind == Kind.GROUP


def test_the_head_of_a_group_within_a_group_is_in_a_group_too(story: Story) -> None:
    story.add("head")
    for part in ("a1", "a2"):
        story.add(part, "head")
    story.add("m1", "a1", "a2")
    story.add("m2")
    story.add("reduce", "m1", "m2")
    story.want("reduce", LATENCY)
    assert story.kinds("head", "m1") == [Kind.GROUP] * 2
    assert story.objective("m1").group == "reduce"


def test_a_member_that_gathers_makes_a_group_within_the_group(story: Story) -> None:
    for part in ("a1", "a2", "m2"):
        story.add(part)
    story.add("m1", "a1", "a2")
    story.add("reduce", "m1", "m2")
    story.want("reduce", LATENCY)
    assert story.objective("m1").group == story.objective("m2").group == "reduce"
    assert story.objective("a1") == story.objective("a2") == Objective(Kind.GROUP, "m1")


def test_inputs_that_are_there_make_no_group_of_the_one_that_is_not(story: Story) -> None:
    """As in a conversation: the turns before are its history."""
    for turn in ("turn1", "turn2"):
        story.add(turn)
        story.graph.make_ready(story.graph.variables[f"{turn}.x"])
    story.add("search")
    story.add("answer", "turn1", "turn2", "search")
    story.want("answer", LATENCY)
    assert story.objective("search") == Objective(Kind.LATENCY)


def test_serial_ancestors_are_no_group_though_one_consumer_reads_them_all(story: Story) -> None:
    story.add("a")
    story.add("b", "a")
    story.add("c", "a", "b")
    story.want("c", LATENCY)
    assert story.kinds("a", "b", "c") == [Kind.LATENCY] * 3


def test_members_of_a_group_that_has_a_deadline_stay_together(story: Story) -> None:
    story.session.deadline = 3_600.0
    for part in ("m1", "m2"):
        story.add(part)
    story.add("reduce", "m1", "m2")
    story.add("other", "m1")
    story.want("reduce", LATENCY)
    story.want("other", Criterion.DEADLINE, 60.0)
    assert story.objective("m1") == Objective(Kind.GROUP, "reduce", 60.0)
    assert story.objective("m2") == Objective(Kind.GROUP, "reduce", 3_600.0)


def test_parallel_work_for_which_nobody_waits_is_no_group(story: Story) -> None:
    story.add("m1")
    story.add("m2")
    story.add("reduce", "m1", "m2")
    story.want("reduce", THROUGHPUT)
    assert [story.objective(name) for name in ("m1", "m2", "reduce")] == [IDLE] * 3


def test_two_outputs_of_one_call_are_no_group(story: Story) -> None:
    story.add("a", outputs=("x", "y"))
    request = call("b", "{{i}} {{j}} {{x}}", i="a.x", j="a.y")
    story.graph.add(story.session, request, lower(request))
    story.want("b", LATENCY)
    assert story.kinds("a") == [Kind.LATENCY]


def test_a_reader_who_wants_the_first_token_early_makes_all_before_it_latency_sensitive(story: Story) -> None:
    story.add("a")
    story.add("b", "a")
    story.want("b", TTFT)
    assert story.kinds("a", "b") == [Kind.LATENCY, Kind.TTFT]


def test_a_reader_who_wants_an_even_pace_hurries_nothing_before_it(story: Story) -> None:
    story.add("a")
    story.add("b", "a")
    story.want("b", TPOT)
    assert story.kinds("a", "b") == [Kind.THROUGHPUT, Kind.TPOT]


def test_a_deadline_holds_for_all_that_it_depends_on_and_the_earliest_counts(story: Story) -> None:
    story.add("a")
    story.add("b", "a")
    story.add("c", "a")
    story.want("b", Criterion.DEADLINE, due=200.0)
    story.want("c", Criterion.DEADLINE, due=100.0)
    assert story.objective("a") == Objective(Kind.DEADLINE, "", 100.0)


def test_the_deadline_of_a_call_makes_it_urgent_without_a_reader(story: Story) -> None:
    request = call("a", "{{x}}").model_copy(update={"deadline": 50.0})
    generations = story.graph.add(story.session, request, lower(request))
    refresh(story.graph, generations)
    assert story.objective("a") == Objective(Kind.DEADLINE, "", 50.0)


def test_what_several_sinks_want_takes_the_strictest(story: Story) -> None:
    story.add("a")
    story.add("slow", "a")
    story.add("fast", "a")
    story.want("slow", THROUGHPUT)
    story.want("fast", LATENCY)
    assert story.kinds("a") == [Kind.LATENCY]


def test_asking_again_raises_and_lowers_all_ancestors(story: Story) -> None:
    story.add("a")
    story.add("b", "a")
    for criterion, kinds in ((LATENCY, [Kind.LATENCY] * 2), (THROUGHPUT, [Kind.THROUGHPUT] * 2), (LATENCY, [Kind.LATENCY] * 2)):
        story.want("b", criterion)
        assert story.kinds("a", "b") == kinds


def test_a_consumer_that_ends_asks_nothing_any_more(story: Story) -> None:
    first = story.add("a")
    story.add("b", "a")
    story.want("b", LATENCY)
    list(story.graph.end(story.graph.variables["b.x"], VariableState.CANCELLED, ""))
    assert refresh(story.graph, [first]) == [first]
    assert story.kinds("a") == [Kind.THROUGHPUT]


Named = TypeVar("Named", Session, Variable)


class Counting(dict[str, Named]):
    """Counts lookups: of sessions there is one for each objective that is derived."""

    lookups = 0

    def __getitem__(self, name: str) -> Named:
        self.lookups += 1
        return super().__getitem__(name)


class Listened(list[Generation]):
    """Counts who of them is looked at."""

    heard = 0

    def __iter__(self) -> Iterator[Generation]:
        for one in super().__iter__():
            self.heard += 1
            yield one


def test_a_change_costs_work_for_what_it_changes_and_no_more(story: Story) -> None:
    for number in range(500):
        story.add(f"n{number}", *([f"n{number - 1}"] if number % 50 else []))
    sessions = story.graph.sessions = Counting(story.graph.sessions)
    story.want("n99", LATENCY)
    assert story.kinds("n50", "n49") == [Kind.LATENCY, Kind.THROUGHPUT]
    assert sessions.lookups == 1  # those before it are asked for more than before, by it alone
    sessions.lookups = 0
    story.want("n99", THROUGHPUT)
    assert sessions.lookups == 50  # the chain that it is the end of
    sessions.lookups = 0
    story.add("one_more", "n99")
    assert sessions.lookups == 1


def test_a_submission_costs_no_more_beside_many_siblings_that_are_wanted(story: Story) -> None:
    """What they all wait for is only asked for more: to derive it anew would be to look at all of them."""
    story.session.deadline = 3_600.0
    story.add("plan")
    for number in range(50):
        story.add(f"m{number}", "plan")
    sessions = story.graph.sessions = Counting(story.graph.sessions)
    story.add("more", "plan")
    assert sessions.lookups == 1
    assert story.objective("plan") == Objective(Kind.DEADLINE, "", 3_600.0)


@pytest.mark.parametrize("criterion", [LATENCY, None])
def test_the_end_of_a_sibling_costs_no_more_beside_many_that_ask_for_the_same(story: Story, criterion: Criterion | None) -> None:
    story.add("plan")
    siblings = [story.add(f"m{number}", "plan") for number in range(200)]
    for number in range(200):
        story.want(f"m{number}", criterion)
    plan = story.graph.variables["plan.x"]
    plan.consumers = listened = Listened(plan.consumers)
    for sibling in siblings[:99]:
        story.cancel(sibling.made)
    assert listened.heard <= 99 * 100  # on average a half of those that have gone; they are forgotten before they are half of all
    assert [one.ended for one in plan.consumers].count(False) == 101
    story.cancel(siblings[99].made)
    assert len(plan.consumers) == 100
    assert story.kinds("plan") == [Kind.LATENCY if criterion else Kind.THROUGHPUT]


def test_the_end_of_a_sibling_costs_no_more_beside_many_that_have_deadlines_of_their_own(story: Story) -> None:
    story.add("plan")
    siblings = [story.add(f"m{number}", "plan") for number in range(400)]
    for number in range(400):
        story.want(f"m{number}", Criterion.DEADLINE, float(number))
    plan = story.graph.variables["plan.x"]
    plan.consumers = listened = Listened(plan.consumers)
    for number in range(199):  # whoever had to end first
        story.cancel(siblings[number].made)
        assert story.objective("plan").due == number + 1
    for number in range(399, 299, -1):  # who is asked for less, one by one
        story.want(f"m{number}", THROUGHPUT)
    story.want("m199", Criterion.DEADLINE, 7_000.0)
    assert story.objective("plan") == Objective(Kind.DEADLINE, "", 200.0)
    assert listened.heard < 400 + 300 * (MANY + 2)


def test_a_reader_who_asks_less_of_one_of_many_groups_costs_no_more_for_their_head(story: Story) -> None:
    story.add("plan")
    for number in range(200):
        story.add(f"l{number}", "plan")
        story.add(f"r{number}", "plan")
        story.add(f"end{number}", f"l{number}", f"r{number}")
        story.want(f"end{number}", LATENCY)
    plan = story.graph.variables["plan.x"]
    plan.consumers = Listened(plan.consumers)
    for number in (150, 130, 110, 90):
        story.want(f"end{number}", THROUGHPUT)
    assert story.kinds("plan", "l0") == [Kind.LATENCY, Kind.GROUP]
    assert plan.consumers.heard == 0


def test_a_submission_costs_as_much_as_it_has_inputs_where_all_wait_for_all(story: Story) -> None:
    layers = [[f"{layer}.{number}" for number in range(60)] for layer in range(3)]
    for before, names in zip([[], *layers], layers, strict=False):
        for name in names:
            story.add(name, *before)
    variables = story.graph.variables = Counting(story.graph.variables)
    story.add("last", *layers[-1])
    assert variables.lookups < 10 * 60
    story.want("last", LATENCY)
    assert story.kinds("2.0", "1.0") == [Kind.GROUP, Kind.GROUP]


def test_what_has_to_end_in_time_does_not_become_laxer_when_somebody_reads_what_is_made_of_it(story: Story) -> None:
    story.add("a")
    story.add("b", "a")
    story.graph.calls["b"].deadline = 60.0
    for criterion in (None, TPOT, THROUGHPUT):
        story.want("b", criterion)
        assert story.objective("a") == Objective(Kind.DEADLINE, "", 60.0)


WISHES = st.sampled_from([None, LATENCY, TTFT, TPOT, THROUGHPUT, Criterion.DEADLINE])


@pytest.mark.usefixtures("many")
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_graph_in_any_order_of_arrival_has_the_objectives_that_are_derived_from_scratch(data: st.DataObject) -> None:
    story = Story()
    names: list[str] = []
    for number in range(data.draw(st.integers(1, 14), "calls")):
        needs = data.draw(st.lists(st.sampled_from(names), unique=True, max_size=4), "needs") if names else []
        story.add(f"n{number}", *needs, outputs=("x", "y")[: data.draw(st.integers(1, 2))])
        names.append(f"n{number}")
        event = data.draw(st.integers(0, 3), "event")
        if event <= 1:
            wish = data.draw(WISHES)
            due = data.draw(st.sampled_from([100.0, 200.0, 300.0])) if wish == Criterion.DEADLINE else None
            story.want(data.draw(st.sampled_from(names)), wish, due)
        elif event == 2:
            runnable = [v for v in story.graph.variables.values() if v.producer is not None and not v.producer.missing]
            if runnable:
                story.graph.make_ready(data.draw(st.sampled_from(sorted(runnable, key=lambda v: v.id))))
        else:
            pending = sorted(name for name, variable in story.graph.variables.items() if variable.producer is not None)
            story.cancel(story.graph.variables[data.draw(st.sampled_from(pending), "cancelled")])
            names = [name for name in names if story.graph.variables[f"{name}.x"].state != VariableState.CANCELLED]
    living = [variable for variable in story.graph.variables.values() if variable.producer is not None]
    kept = {variable.id: _objective(variable) for variable in living}
    for variable in living:
        assert variable.producer is not None
        variable.producer.objective, variable.producer.asks = IDLE, None
    for variable in sorted(living, key=lambda variable: -variable.depth):
        assert variable.producer is not None
        variable.producer.objective = derive(story.graph, variable.producer)
        variable.producer.asks = None
    assert kept == {variable.id: _objective(variable) for variable in living}


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_graph_in_any_order_of_wishes_has_the_objectives_that_its_edges_alone_say(data: st.DataObject) -> None:
    """All is derived once more from who reads what, and from what is asked, by another way: from the sinks up, with sets of ancestors."""
    story, edges, asked = Story(), dict[str, list[str]](), dict[str, Criterion | None]()
    for number in range(data.draw(st.integers(1, 12), "calls")):
        needs = data.draw(st.lists(st.sampled_from(sorted(edges)), unique=True, max_size=4), "needs") if edges else []
        story.add(f"n{number}", *needs)
        edges[f"n{number}"] = needs
        if data.draw(st.booleans(), "wish"):
            name = data.draw(st.sampled_from(sorted(edges)), "of")
            asked[name] = data.draw(st.sampled_from([None, LATENCY, TTFT, TPOT, THROUGHPUT]))
            story.want(name, asked[name])
    depth: dict[str, int] = {}
    for name, needs in edges.items():
        depth[name] = 1 + max((depth[need] for need in needs), default=0)
    found = {name: Kind.THROUGHPUT if (wish := asked.get(name)) is None else Kind(wish.value) for name in edges}
    for name in sorted(edges, key=lambda name: -depth[name]):
        handed = {Kind.TTFT: Kind.LATENCY, Kind.TPOT: Kind.THROUGHPUT}.get(found[name], found[name])
        last = [need for need in edges[name] if depth[need] == max(map(depth.__getitem__, edges[name]))]
        group = [need for need in edges[name] if not any(need in edges[one] for one in last)]
        asks = dict.fromkeys(edges[name], handed)
        if len(group) > 1 and handed is not Kind.THROUGHPUT:
            asks = dict.fromkeys(edges[name], Kind.GROUP)
            shared = set.intersection(*(_in_a_row(edges, member) for member in group))
            head = max(shared, key=depth.__getitem__, default=None)
            if head is not None and shared <= {head} | _in_a_row(edges, head):
                asks[head] = min(handed, asks.get(head, handed), key=STRICTNESS.__getitem__)
        for need, kind in asks.items():
            found[need] = min(found[need], kind, key=STRICTNESS.__getitem__)
    assert found == {name: story.objective(name).kind for name in edges}


def _in_a_row(edges: dict[str, list[str]], name: str) -> set[str]:
    """What a call needs, and what that needs, as long as it is one only."""
    needs = set(edges[name])
    return needs | _in_a_row(edges, edges[name][0]) if len(needs) == 1 else needs


def _objective(variable: Variable) -> Objective:
    assert variable.producer is not None
    return variable.producer.objective


@given(st.lists(st.builds(Objective, st.sampled_from(Kind), st.sampled_from(["", "g", "h"]), st.none() | st.floats(1, 9)), min_size=1))
def test_the_strictest_of_many_does_not_depend_on_their_order(objectives: list[Objective]) -> None:
    def fold(some: list[Objective]) -> Objective:
        found = some[0]
        for one in some[1:]:
            found = strictest(found, one)
        return found

    assert fold(objectives) == fold(objectives[::-1]) == fold(sorted(objectives, key=str))
    assert STRICTNESS[fold(objectives).kind] == min(STRICTNESS[one.kind] for one in objectives)
