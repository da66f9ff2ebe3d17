"""The graph keeps its books, whatever is added, set, ended and cancelled in whatever order."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from parrot.core.graph import Generation, Graph, Session, Variable
from parrot.core.lowering import lower
from parrot.wire.states import ENDED, VariableState
from tests.unit.core.cell import call


class Books(RuleBasedStateMachine):
    """A graph beside the plainest model of it: what each variable is made from, and how it ended."""

    def __init__(self) -> None:
        super().__init__()
        self.graph = Graph()
        self.session = Session("s", "a program")
        self.made_from: dict[str, tuple[str, ...]] = {}
        self.ended: dict[str, VariableState] = {}
        self.ran: set[str] = set()
        self.calls = 0

    @initialize()
    def open(self) -> None:
        self.graph.sessions["s"] = self.session

    def open_variables(self) -> list[str]:
        return [name for name in self.graph.variables if name not in self.ended]

    def runnable(self) -> list[str]:
        return sorted(self.ran - self.ended.keys())

    # What happens -----------------------------------------------------------------------------------

    @rule(ready=st.booleans())
    def declare(self, ready: bool) -> None:
        state = VariableState.READY if ready else VariableState.EMPTY
        name = f"v{len(self.graph.variables)}"
        self.graph.declare(self.session, name, state)
        if ready:
            self.ended[name] = state

    @rule(chosen=st.lists(st.integers(0, 1_000), max_size=3), outputs=st.integers(1, 3))
    def add(self, chosen: list[int], outputs: int) -> None:
        known = [name for name in self.graph.variables if self.ended.get(name, VariableState.READY) == VariableState.READY]
        inputs = {f"i{place}": known[number % len(known)] for place, number in enumerate(chosen)} if known else {}
        prompt = " ".join(["Go", *(f"{{{{{slot}}}}}" for slot in inputs), *(f"{place}: {{{{o{place}}}}}" for place in range(outputs))])
        request = call(f"c{self.calls}", prompt, **inputs)
        self.calls += 1
        for generation in self.graph.add(self.session, request, lower(request)):
            self.made_from[generation.variable] = generation.lowered.inputs
            if generation.missing == 0:
                self.ran.add(generation.variable)

    @precondition(lambda self: any(name not in self.made_from for name in self.open_variables()) or self.runnable())
    @rule(number=st.integers(0, 1_000))
    def make_ready(self, number: int) -> None:
        """An app sets an empty variable, or an engine one whose inputs are there."""
        names = [name for name in self.open_variables() if name not in self.made_from] + self.runnable()
        variable = self.graph.variables[names[number % len(names)]]
        producer = variable.producer
        unblocked = [generation for generation in self.graph.make_ready(variable) if not generation.ended]
        self.ended[variable.id] = VariableState.READY
        assert {generation.variable for generation in unblocked} == {name for name in self.can_run() if name not in self.ran}
        self.ran |= {generation.variable for generation in unblocked}
        self.finish([producer])

    @precondition(lambda self: self.open_variables())
    @rule(number=st.integers(0, 1_000), state=st.sampled_from([VariableState.FAILED, VariableState.CANCELLED]))
    def end(self, number: int, state: VariableState) -> None:
        names = self.open_variables()
        first = self.graph.variables[names[number % len(names)]]
        expected = self.downstream(first.id)
        ended = list(self.graph.end(first, state, "why"))
        assert sorted(variable.id for variable, _ in ended) == sorted(expected)
        self.ended |= dict.fromkeys(expected, state)
        self.finish([producer for _, producer in ended])

    @precondition(lambda self: self.open_variables())
    @rule(number=st.integers(0, 1_000))
    def end_what_has_ended(self, number: int) -> None:
        names = [name for name in self.ended if self.graph.variables[name].producer is None]
        if names:
            assert list(self.graph.end(self.graph.variables[names[number % len(names)]], VariableState.FAILED, "again")) == []

    @precondition(lambda self: any(name in self.made_from for name in self.open_variables()))
    @rule(number=st.integers(0, 1_000))
    def cancel_with_what_it_needed(self, number: int) -> None:
        """As the machine cancels: what was made for it alone goes too, and nothing else."""
        names = [name for name in self.open_variables() if name in self.made_from]
        stack: list[Variable] = [self.graph.variables[names[number % len(names)]]]
        while stack:
            ended = [(variable, producer) for variable, producer in self.graph.end(stack.pop(), VariableState.CANCELLED, "why")]
            self.ended |= {variable.id: VariableState.CANCELLED for variable, _ in ended}
            producers = [producer for _, producer in ended if producer is not None]
            unneeded = list(self.graph.unneeded(producers))
            for variable in unneeded:
                users = [user for user, inputs in self.made_from.items() if variable.id in inputs]
                assert users
                assert all(user in self.ended for user in users)
            stack.extend(unneeded)
            self.finish(list(producers))

    def finish(self, producers: list[Generation | None]) -> None:
        for producer in producers:
            if producer is not None:
                producer.call.unfinished -= 1
                if not producer.call.unfinished:
                    self.graph.finish(producer.call)

    # What must always hold --------------------------------------------------------------------------

    def downstream(self, name: str) -> set[str]:
        reached, before = {name}, set[str]()
        while reached != before:
            before = set(reached)
            reached |= {made for made, inputs in self.made_from.items() if made not in self.ended and before.intersection(inputs)}
        return reached

    def can_run(self) -> set[str]:
        ready = {name for name, state in self.ended.items() if state == VariableState.READY}
        return {name for name, inputs in self.made_from.items() if name not in self.ended and ready.issuperset(inputs)}

    @invariant()
    def states_are_as_they_were_made(self) -> None:
        for name, variable in self.graph.variables.items():
            assert (variable.state in ENDED) == (name in self.ended)
            assert variable.state == self.ended.get(name, variable.state)
            assert (variable.producer is not None) == (name in self.made_from and name not in self.ended)

    @invariant()
    def missing_inputs_are_counted(self) -> None:
        for name, variable in self.graph.variables.items():
            if (generation := variable.producer) is not None:
                unready = [needed for needed in self.made_from[name] if self.ended.get(needed) != VariableState.READY]
                assert generation.missing == len(unready)
                assert all(self.graph.variables[needed].consumers.count(generation) == 1 for needed in unready)

    @invariant()
    def calls_under_way_are_those_with_something_unmade(self) -> None:
        unmade = [name.partition(".")[0] for name in self.open_variables() if name in self.made_from]
        assert set(self.graph.calls) == set(unmade)
        assert self.session.active == len(self.graph.calls) == self.graph.tenants.total()
        for call_ in self.graph.calls.values():
            assert call_.unfinished == unmade.count(call_.id)

    @invariant()
    def a_variable_is_deeper_than_what_it_is_made_from(self) -> None:
        for name, inputs in self.made_from.items():
            assert all(self.graph.variables[needed].depth < self.graph.variables[name].depth for needed in inputs)


Books.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBooks = Books.TestCase
