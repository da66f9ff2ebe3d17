"""What is done for one does not cost more beside many."""

from __future__ import annotations

from typing import Any

from parrot.wire.to_core import CancelVariable
from tests.unit.core.stage import Stage, ask, up, want


def gathered(groups: int) -> Stage:
    """Calls that each gather two that all wait for the same plan: it is the head of all these groups."""
    stage = Stage()
    stage.tell(ask("plan"))
    for n in range(groups):
        stage.tell(
            ask(f"l{n}", "{{i}} l ", i="plan.x"),
            ask(f"r{n}", "{{i}} r ", i="plan.x"),
            ask(f"g{n}", "{{i}} {{j}} ", i=f"l{n}.x", j=f"r{n}.x"),
            want(f"g{n}"),
        )
    return stage


class Counting(list[Any]):
    """Counts how many of it are looked at."""

    looked = 0

    def __iter__(self) -> Any:
        for one in super().__iter__():
            Counting.looked += 1
            yield one


def test_one_of_many_who_gather_after_the_same_is_cancelled() -> None:
    """Those that have ended are looked through each time that another one is cancelled."""
    costs = []
    for groups in (50, 200):
        stage = gathered(groups)
        plan = stage.machine.graph.variables["plan.x"].producer
        assert plan is not None
        assert plan.gatherers is not None
        plan.gatherers, Counting.looked = Counting(plan.gatherers), 0
        for n in range(groups - 1):
            stage.tell(CancelVariable(session="s", variable=f"g{n}.x"))
        costs.append(Counting.looked / groups)
    assert costs[1] < 2 * costs[0]


class CountingDict(dict[Any, Any]):
    """Counts how many of it are looked at."""

    looked = 0

    def __iter__(self) -> Any:
        CountingDict.looked += len(self)
        return super().__iter__()

    def keys(self) -> Any:
        CountingDict.looked += len(self)
        return super().keys()

    def items(self) -> Any:
        CountingDict.looked += len(self)
        return super().items()


def test_a_step_of_a_large_program_looks_at_what_can_run_and_not_at_all_that_will() -> None:
    """Three parts, what gathers them, three parts again: with each turn many more or fewer of its members can run."""
    stage = Stage(up("e1"))
    before: dict[str, Any] = {}
    for turn in range(100):
        parts = [ask(f"m{turn}.{part}", "{{before}} " if before else "", **before) for part in range(3)]
        inputs: dict[str, Any] = {f"i{part}": f"m{turn}.{part}.x" for part in range(3)}
        stage.tell(*parts, ask(f"r{turn}", "".join(f"{{{{{slot}}}}} " for slot in inputs), **inputs))
        before = {"before": f"r{turn}.x"}
    program = next(iter(stage.machine.fleet.engines["e1"].holds.values())).program.whole()
    members = program.members._several
    assert members is not None
    program.members._several, CountingDict.looked = CountingDict(members), 0
    for turn in range(5):
        stage.finish(*(f"m{turn}.{part}" for part in range(3)))
        stage.finish(f"r{turn}")
    assert CountingDict.looked < len(program.members)
