"""Who is next, where it goes, and why: each rule by name, through the machine that carries it out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from parrot.core.beginnings import Beginnings
from parrot.core.check import check_machine
from parrot.core.limits import Limits
from parrot.core.machine import Machine
from parrot.core.placement import AHEAD, CAP, PATIENCE, RESERVE
from parrot.core.prefixes import PrefixIndex
from parrot.core.rules import Rules
from parrot.core.scheduler import LOOKED_AT, Scheduler
from parrot.core.urgency import LONG_BEFORE
from parrot.criteria import LATENCY, THROUGHPUT, Criterion
from parrot.sampling import SamplingConfig
from parrot.wire.keys import content_hash
from parrot.wire.to_core import (
    Argument,
    Capacity,
    EngineBeat,
    EngineDown,
    EngineHolds,
    EngineUp,
    GenerationFailed,
    GenerationReturned,
    OpenSession,
    SubmitCall,
    Usage,
    WantVariable,
)
from parrot.wire.to_engine import Job, Reorder, TellHoldings
from tests.unit.core.cell import KEYS, Cell, call, engine_up, open_session, text

TOKENS_A_SECOND = 4_000  # that an engine of which nothing is known is believed to compute of prompts
DAY = 86_400.0


def words(tokens: int, about: str = "w") -> str:
    """A text of about so many tokens; texts about other things begin otherwise."""
    return (about + " ").ljust(8, ".") * (tokens // 2)


def up(name: str, running: int = 8, kv: int = 1_000_000, context: int = 100_000, model: str = "m") -> EngineUp:
    capacity = Capacity(running=running, kv_tokens=kv, context_tokens=context, block_tokens=16)
    return engine_up(name, model=model).model_copy(update={"capacity": capacity})


def short(request: SubmitCall, most: int = 16) -> SubmitCall:
    """A call whose outputs may have so many tokens at most."""
    sampling = SamplingConfig(temperature=0, max_gen_length=most)
    return request.model_copy(
        update={"outputs": {slot: out.model_copy(update={"sampling": sampling}) for slot, out in request.outputs.items()}}
    )


def ask(name: str, prompt: str = "", most: int = 16, **more: Any) -> SubmitCall:
    """A call with one output, `name.x`."""
    return short(call(name, (prompt or f"{name}: ") + "{{x}}", **more), most)


def want(name: str, criterion: Criterion = LATENCY, due: float | None = None) -> WantVariable:
    return WantVariable(session="s", variable=f"{name}.x", criterion=criterion, deadline=due)


class Stage(Cell):
    """A cell whose engines do what they are told to."""

    def __init__(self, *engines: EngineUp, limits: Limits | None = None, rules: Rules | None = None) -> None:
        super().__init__(limits or Limits(lease=DAY))
        self.scheduler = Scheduler(rules=rules)
        self.machine = Machine(KEYS, self.limits, policy=self.scheduler)
        self.sent: list[tuple[str, Job]] = []
        self.prompts: dict[str, Beginnings] = {}
        self.sequence: Counter[str] = Counter()
        self.tell(open_session(), *engines)

    def tell(self, *messages: Any) -> Any:
        batch = super().tell(*messages)
        for engine, _, order in batch.orders:
            if isinstance(order, Job):
                self.sent.append((engine, order))
                self.prompts[order.call] = self.machine.fleet.engines[engine].holds[order.variable].beginnings
        assert check_machine(self.machine) == []
        return batch

    @property
    def order(self) -> list[str]:
        """The calls in the order in which they were sent."""
        return [job.call for _, job in self.sent]

    @property
    def where(self) -> dict[str, str]:
        """The engine that each call was sent to last."""
        return {job.call: engine for engine, job in self.sent}

    def running(self) -> dict[str, list[str]]:
        """The calls that each engine holds."""
        return {name: [held.call.id for held in engine.holds.values()] for name, engine in self.machine.fleet.engines.items()}

    def job(self, name: str) -> tuple[str, Job]:
        return next((engine, job) for engine, job in reversed(self.sent) if job.call == name)

    def finish(self, *names: str, cached: int = 0, seconds: float = 0.0) -> None:
        """Calls are done where they are, at the pace that is believed of engines, or after so many seconds."""
        events = []
        for name in names:
            engine, job = self.job(name)
            tokens = self.prompts[name].prompt_tokens
            first = 0.02 + (tokens - cached) / TOKENS_A_SECOND
            usage = Usage(tokens_in=tokens, tokens_cached=cached, tokens_out=16, first_token_seconds=first, running=1.0)
            usage = usage.model_copy(update={"seconds": seconds or first + 15 * 0.02})
            events.append(self.publish(job, engine).model_copy(update={"usage": usage}))
        self.tell(*events)

    def report(self, engine: str, *names: str, lost: bool = False, whole: bool = False) -> None:
        """An engine says that it holds the beginnings of calls' prompts, but not their outputs; each has a token less than estimated."""
        self.sequence[engine] += 1
        prompts = [self.prompts[name] for name in names]
        stored = [pair for prompt in prompts for pair in zip(prompt.names[:-1], [many - 1 for many in prompt.tokens[:-1]], strict=True)]
        if not lost:
            self.tell(EngineHolds(engine=engine, sequence=self.sequence[engine], stored=stored, whole=whole))

    def wait(self, seconds: float) -> None:
        """Time passes; engines live on."""
        self.now += seconds
        self.tell(*(EngineBeat(engine=name) for name in self.machine.fleet.engines))

    def run(self, seconds: float = 1.0, most: int = 1_000) -> None:
        """All that is sent is done after so long, until there is nothing left to do."""
        for _ in range(most):
            held = [name for names in self.running().values() for name in names]
            if not held:
                return
            self.now += seconds
            self.finish(*held)
        raise AssertionError("it never ends")


# Prefixes ---------------------------------------------------------------------------------------

SHARED = words(2_000, "shared")


def test_a_hot_prefix_goes_where_it_is_held() -> None:
    for holder, other in (("e1", "e2"), ("e2", "e1")):
        stage = Stage(up(holder))
        stage.tell(ask("first", SHARED))
        stage.finish("first")
        stage.report(holder, "first")
        stage.tell(up(other), ask("busy", words(100)))
        stage.tell(ask("next", SHARED + "?"), ask("same", SHARED))
        assert stage.where["same"] == holder
        assert stage.call("same")["prefix_expected"] == "2000"
        assert "since it holds 2,000 of about 2,000 prompt tokens" in stage.call("same")["why"]


def test_texts_that_begin_alike_go_together() -> None:
    document = words(4_000, "document")
    stage = Stage(up("e1"), up("e2"))
    stage.tell(ask("first", "Read: {{text}} Then say it.", text="=" + document + words(100, "one end")))
    stage.finish("first")
    stage.tell(ask("busy", words(50)), ask("next", "Read: {{text}} Then say it.", text="=" + document + words(100, "another end")))
    assert stage.where["next"] == stage.where["first"]
    assert int(stage.call("next")["prefix_expected"]) > 3_000


def test_siblings_with_a_common_prefix_go_together_before_any_report_arrives() -> None:
    stage = Stage(up("e1"), up("e2"), up("e3"))
    stage.tell(*(ask(f"part{number}", SHARED + "{{own}}", own=f"={number}") for number in range(4)))
    stage.wait(2_000 / TOKENS_A_SECOND)
    assert len(set(stage.where.values())) == 1
    assert len(stage.where) == 4


def test_siblings_that_share_little_are_spread_since_that_is_faster() -> None:
    stage = Stage(up("e1"), up("e2"), up("e3"))
    own = {number: "=" + words(4_000, f"own{number}") for number in range(3)}
    stage.tell(*(ask(f"part{number}", words(100, "shared") + "{{own}}", own=own[number]) for number in range(3)))
    assert sorted(stage.where.values()) == ["e1", "e2", "e3"]


def four_that_share(tokens: int) -> list[SubmitCall]:
    return [ask(f"c{number}", words(tokens, "shared") + "{{own}}", own=f"={number}", most=256) for number in range(4)]


def test_a_prefix_whose_holder_is_the_bottleneck_is_replicated() -> None:
    stage = Stage(up("e1", running=2), up("e2", running=2))
    stage.tell(*four_that_share(400))
    stage.wait(1)
    assert sorted(map(len, stage.running().values())) == [2, 2]


def test_a_long_prefix_is_rather_waited_for_but_not_for_ever() -> None:
    stage = Stage(up("e1", running=2), up("e2", running=2))
    stage.tell(*four_that_share(2_000))
    stage.wait(1)
    assert sorted(map(len, stage.running().values())) == [0, 2]
    for _ in range(20):  # its holder does not come to an end
        stage.wait(1)
    assert sorted(map(len, stage.running().values())) == [2, 2]


def test_who_waits_for_the_holder_of_its_prefix_lets_others_pass() -> None:
    stage = Stage(up("e1", running=4), up("e2", running=4))
    stage.tell(ask("a", SHARED + "{{own}}", own="=1"), ask("b", SHARED + "{{own}}", own="=2"), ask("c", words(40)))
    assert stage.where == {"a": "e1", "c": "e2"}
    assert stage.call("b")["state"] == "queued"
    assert stage.machine.deadline() == pytest.approx(stage.now + 2_000 / TOKENS_A_SECOND - AHEAD, abs=0.02)


def test_without_prefixes_calls_are_spread_whatever_engines_hold() -> None:
    stage = Stage(up("e1"), up("e2"), rules=Rules(prefixes=False))
    stage.tell(*(ask(f"part{number}", SHARED + "{{own}}", own=f"={number}") for number in range(2)))
    assert sorted(stage.where.values()) == ["e1", "e2"]


def test_a_lost_report_is_noticed_and_the_whole_is_asked_for() -> None:
    stage = Stage(up("e1"))
    stage.tell(ask("b", words(500)), ask("a", words(400)))
    stage.report("e1", "a", lost=True)
    stage.report("e1", "b")
    assert [(engine, order) for engine, _, order in stage.batch.orders] == [("e1", TellHoldings())]
    stage.report("e1", "a", "b", whole=True)
    assert stage.batch.orders == []
    stage.report("e1", "b")
    assert stage.batch.orders == []


def test_an_engine_that_restarted_holds_nothing() -> None:
    stage = Stage(up("e1-a"))
    stage.tell(ask("a", SHARED))
    stage.finish("a")
    stage.report("e1-a", "a")
    stage.tell(up("e1-b").model_copy(update={"previous": "e1-a"}), ask("b", SHARED))
    assert stage.where["b"] == "e1-b"
    assert stage.call("b")["prefix_expected"] == "0"


def test_tenants_share_prefixes_unless_they_are_kept_apart() -> None:
    for isolate in (False, True):
        stage = Stage(up("e1"), limits=Limits(isolate=isolate))
        stage.tell(OpenSession(session="t", name="another", tenant="another"))
        for name, session in (("a", "s"), ("b", "t"), ("c", "s")):
            stage.tell(ask(name, SHARED, session=session))
            stage.wait(1)
        names = [{mark.name for mark in stage.job(name)[1].marks} for name in "abc"]
        assert bool(names[0] & names[1]) is not isolate
        assert names[0] & names[2]


def test_an_index_that_is_given_is_used_though_it_is_empty_yet() -> None:
    index = PrefixIndex(most=10)
    assert Scheduler(prefixes=index)._prefixes is index


# Groups -----------------------------------------------------------------------------------------


def map_reduce(parts: int, name: str = "") -> list[SubmitCall]:
    maps = [ask(f"{name}m{number}", words(200, f"{name}{number}")) for number in range(parts)]
    inputs: dict[str, Any] = {f"i{number}": f"{name}m{number}.x" for number in range(parts)}
    return [*maps, ask(f"{name}reduce", "".join(f"{{{{{slot}}}}} " for slot in inputs), **inputs)]


def test_a_group_larger_than_any_engine_is_split_and_all_of_it_runs() -> None:
    stage = Stage(up("e1", running=3), up("e2", running=4), up("e3", running=2))
    stage.tell(*map_reduce(30), want("reduce"))
    assert sum(map(len, stage.running().values())) == 9
    stage.run()
    assert stage.call("reduce")["state"] == "done"
    assert Counter(stage.order) == Counter([*(f"m{number}" for number in range(30)), "reduce"])
    assert set(stage.where.values()) == {"e1", "e2", "e3"}


def test_members_of_a_group_name_it_and_its_consumer_is_sensitive() -> None:
    stage = Stage(up("e1"))
    stage.tell(*map_reduce(3), want("reduce"))
    stage.run()
    assert [stage.call(f"m{number}")["objective"] for number in range(3)] == ["group"] * 3
    assert [stage.call(f"m{number}")["group"] for number in range(3)] == ["reduce"] * 3
    assert stage.call("reduce")["objective"] == "latency"


# Engines of different kinds ---------------------------------------------------------------------


def test_long_prompts_are_spread_over_idle_engines() -> None:
    """Engines that have many places look equally empty with one long prompt as with none."""
    stage = Stage(*(up(f"e{number}", running=256) for number in range(8)))
    stage.tell(*(ask(f"c{number}", words(3_000, f"c{number}")) for number in range(8)))
    assert Counter(stage.where.values()) == Counter([f"e{number}" for number in range(8)])


def test_who_finds_the_emptiest_engines_computing_long_prompts_goes_to_a_fuller_one() -> None:
    stage = Stage(*(up(f"e{number}", running=100) for number in range(5)))
    stage.tell(*(ask(f"c{number}", most=256) for number in range(50)))  # ten on each
    busy, free = ("e0", "e1", "e2"), {"e3", "e4"}
    stage.finish(*(name for name, engine in stage.where.items() if engine in busy))
    stage.tell(*(ask(f"long{number}", words(20_000, f"long{number}")) for number in range(3)))
    assert {stage.where[f"long{number}"] for number in range(3)} == set(busy)
    stage.tell(ask("short"))
    assert stage.where["short"] in free


def test_calls_go_to_engines_with_their_model() -> None:
    stage = Stage(up("m1", running=2), up("n1", running=2, model="n"))
    stage.tell(*(ask(f"n{number}", model="n") for number in range(4)), *(ask(f"m{number}", model="m") for number in range(4)))
    stage.run()
    assert {name: engine for name, engine in stage.where.items() if name[0] != engine[0]} == {}
    assert len(stage.where) == 8


def test_what_asks_for_no_model_goes_anywhere() -> None:
    stage = Stage(up("m1", running=1), up("n1", running=1, model="n"))
    stage.tell(ask("a"), ask("b"))
    assert set(stage.where.values()) == {"m1", "n1"}


def test_what_waits_for_a_model_that_nobody_serves_does_not_hold_up_others() -> None:
    stage = Stage(up("m1"))
    stage.tell(*(ask(f"n{number}", model="n") for number in range(2 * LOOKED_AT)))
    stage.now += PATIENCE
    stage.tell(up("m2"), ask("m", model="m"), ask("any"))
    assert sorted(stage.order) == ["any", "m"]


def test_what_waits_for_a_busy_model_does_not_hold_up_others() -> None:
    stage = Stage(up("m1"), up("n1", model="n"))
    stage.tell(ask("n-long", words(40_000), model="n"))
    stage.tell(*(ask(f"n{number}", model="n") for number in range(2 * LOOKED_AT)))
    stage.tell(ask("m", model="m"), ask("any"))
    assert sorted(stage.order) == ["any", "m", "n-long"]


def test_what_waits_for_an_engine_that_drains_does_not_hold_up_others() -> None:
    stage = Stage(up("m1"), up("n1", model="n"))
    stage.tell(EngineBeat(engine="n1", draining=True))
    stage.tell(ask("n", model="n"))
    stage.tell(ask("m", model="m"))
    assert stage.order == ["m"]


def test_a_long_prompt_goes_to_an_engine_that_takes_it() -> None:
    stage = Stage(up("small", context=1_000), up("large", context=20_000))
    stage.tell(*(ask(f"busy{number}", words(100), model="m") for number in range(4)))
    stage.tell(*(ask(f"long{number}", words(3_000, f"long{number}")) for number in range(3)))
    stage.run()
    assert {stage.where[f"long{number}"] for number in range(3)} == {"large"}


def test_a_long_prompt_that_waits_does_not_keep_short_ones_from_small_engines() -> None:
    stage = Stage(up("small", context=1_000), up("large", running=1, context=20_000))
    stage.tell(ask("long0", words(3_000, "long0")), ask("long1", words(3_000, "long1")))
    stage.now += PATIENCE + 1
    stage.tell(up("small2", context=1_000))
    stage.tell(ask("short"))
    assert stage.where["short"].startswith("small")
    stage.finish("long0")
    assert stage.where["long1"] == "large"


def test_a_long_prompt_that_waits_for_room_gets_it_though_short_ones_keep_coming() -> None:
    stage = Stage(up("small", context=1_000), up("large", kv=10_000, context=20_000))
    stage.tell(*(ask(f"s{number}", words(400, f"s{number}")) for number in range(12)))
    assert stage.running()["large"]
    stage.tell(ask("long", words(9_000, "long")))
    for number in range(12, 200):
        if "long" in stage.where:
            break
        stage.wait(0.5)
        stage.tell(ask(f"s{number}", words(400, f"s{number}")))
        held = [names[0] for names in stage.running().values() if names]
        stage.finish(*held)
    assert stage.where["long"] == "large"
    assert stage.now < 1_000_000 + 2 * PATIENCE


HIDDEN = Argument(hash=content_hash("a text of which only the hash is known"))


def hidden(name: str) -> SubmitCall:
    """A call with a prompt that may be longer than it looks."""
    return ask(name, "Read {{text}}: ", text="=").model_copy(update={"arguments": {"text": HIDDEN}})


def too_long(stage: Stage, name: str) -> GenerationFailed:
    engine, job = stage.job(name)
    reason = f"{engine} takes less."
    return GenerationFailed(engine=engine, variable=job.variable, attempt=job.attempt, code="context_too_long", reason=reason)


def test_what_is_too_long_for_one_engine_goes_on_to_larger_ones_and_fails_with_the_reason_when_there_is_none() -> None:
    stage = Stage(up("e1", context=1_000))
    stage.tell(hidden("a"))
    stage.tell(up("e2", context=2_000), up("e3", context=1_000))
    stage.tell(too_long(stage, "a"))
    assert stage.where["a"] == "e2"
    stage.tell(up("e4", context=4_000))
    stage.tell(too_long(stage, "a"))
    assert stage.where["a"] == "e4"
    stage.tell(too_long(stage, "a"))
    assert stage.call("a")["state"] == "failed"
    assert stage.variable("a.x")["error_code"] == "context_too_long"
    assert stage.variable("a.x")["error"] == "e4 takes less."


def test_a_refusal_counts_even_when_the_larger_engine_has_left_meanwhile() -> None:
    stage = Stage(up("small", context=1_000))
    stage.tell(hidden("a"))
    stage.tell(up("large", running=1, context=2_000), ask("busy", words(1_500)))
    stage.tell(too_long(stage, "a"))
    assert stage.call("a")["state"] == "queued"
    stage.finish("busy")
    assert stage.where["a"] == "large"
    stage.tell(EngineDown(engine="large"))
    assert stage.where["a"] == "small"
    stage.tell(too_long(stage, "a"))
    assert stage.variable("a.x")["error"] == "small takes less."


def test_what_is_longer_than_any_engine_takes_is_refused_by_the_largest_and_not_by_us() -> None:
    """Only an engine knows how many tokens a text has."""
    stage = Stage(up("small", context=500), up("large", context=1_000))
    stage.tell(ask("a", words(5_000)))
    assert stage.where["a"] == "large"


# Order ------------------------------------------------------------------------------------------


@pytest.fixture
def single() -> Stage:
    """One engine with one place, which is taken."""
    stage = Stage(up("e1", running=1))
    stage.tell(ask("busy"))
    return stage


def rest(stage: Stage) -> list[str]:
    """The order in which all that waits is sent."""
    stage.run()
    return stage.order[1:]


def test_programs_with_equal_ways_go_in_the_order_in_which_they_came(single: Stage) -> None:
    for name in "abc":
        single.now += 1
        single.tell(ask(name), want(name))
    assert rest(single) == ["a", "b", "c"]


def test_what_somebody_waits_for_goes_first(single: Stage) -> None:
    single.tell(ask("a"), ask("b"), ask("c"), want("c"))
    assert rest(single)[0] == "c"


def test_a_change_of_objective_reorders_what_waits(single: Stage) -> None:
    single.tell(ask("a"), ask("b"), ask("c"), want("a"))
    single.now += 1
    single.tell(want("b"), want("a", THROUGHPUT))
    assert rest(single)[0] == "b"


def test_a_change_of_objective_is_sent_to_the_engine_for_what_it_holds(single: Stage) -> None:
    assert single.job("busy")[1].priority == 5
    single.tell(want("busy"))
    assert [order for _, _, order in single.batch.orders] == [Reorder(variable="busy.x", attempt=1, priority=0)]
    single.tell(want("busy"))
    assert single.batch.orders == []
    single.tell(want("busy", THROUGHPUT))
    assert [order for _, _, order in single.batch.orders] == [Reorder(variable="busy.x", attempt=1, priority=5)]


def test_people_see_the_objective_that_what_runs_has_now(single: Stage) -> None:
    single.tell(ask("a"))
    assert single.call("busy")["objective"] == "throughput"
    why = single.call("busy")["why"]
    single.tell(want("busy"))
    assert (single.call("busy")["objective"], single.call("busy")["why"]) == ("latency", why)
    single.tell(want("a"))
    assert single.call("a")["state"] == "queued"
    single.finish("busy")
    assert (single.call("a")["state"], single.call("a")["objective"]) == ("placed", "latency")


def test_people_see_the_group_that_what_runs_belongs_to_now() -> None:
    stage = Stage(up("e1"))
    stage.tell(ask("part"), ask("other"))
    assert (stage.call("part")["objective"], stage.call("part")["group"]) == ("throughput", "")
    stage.tell(ask("reduce", "{{i}} and {{j}} ", i="part.x", j="other.x"), want("reduce"))
    assert (stage.call("part")["objective"], stage.call("part")["group"]) == ("group", "reduce")


def test_all_that_an_answer_depends_on_is_reordered_with_it(single: Stage) -> None:
    single.tell(ask("a"), ask("b"), ask("c"), ask("d", "{{i}} ", i="c.x"))
    single.tell(want("d"))
    assert rest(single)[:2] == ["c", "d"]


def test_a_job_carries_the_priority_of_its_objective(single: Stage) -> None:
    for name, criterion, due in (("a", LATENCY, None), ("b", Criterion.DEADLINE, single.now + DAY), ("c", THROUGHPUT, None)):
        single.tell(ask(name), want(name, criterion, due))
    single.run()
    assert [single.job(name)[1].priority for name in "abc"] == [0, 3, 5]


def test_what_is_due_first_goes_first(single: Stage) -> None:
    for name, seconds in (("a", 9), ("b", 5), ("c", 7)):
        single.tell(ask(name, most=256), want(name, Criterion.DEADLINE, single.now + seconds))
    assert rest(single) == ["b", "c", "a"]


def test_deadlines_go_by_slack_and_not_by_their_moment(single: Stage) -> None:
    """What is due a little later, but has a long way to go until then, is the more urgent one."""
    chain = [ask("b0"), *(ask(f"b{number}", "{{i}} ", most=256, i=f"b{number - 1}.x") for number in range(1, 20))]
    single.tell(ask("a", most=256), want("a", Criterion.DEADLINE, single.now + 10), *chain)
    single.tell(want("b19", Criterion.DEADLINE, single.now + 55))
    assert rest(single)[0] == "b0"


def test_what_must_end_in_time_lets_chats_go_first_until_it_is_due_soon(single: Stage) -> None:
    single.tell(ask("later"), want("later", Criterion.DEADLINE, single.now + DAY))
    single.now += 1
    single.tell(ask("chat"), want("chat"), ask("soon"), want("soon", Criterion.DEADLINE, single.now + 0.5))
    assert rest(single) == ["soon", "chat", "later"]


def test_what_is_due_much_later_does_not_wait_for_its_last_moment(single: Stage) -> None:
    single.tell(ask("later"), want("later", Criterion.DEADLINE, single.now + DAY))
    single.now += LONG_BEFORE
    single.tell(ask("chat"), want("chat"))
    assert rest(single) == ["later", "chat"]


def test_what_must_end_in_time_goes_before_what_nobody_waits_for(single: Stage) -> None:
    single.tell(ask("many"), ask("later"), want("later", Criterion.DEADLINE, single.now + DAY))
    assert rest(single) == ["later", "many"]


def test_programs_with_the_shorter_way_go_first(single: Stage) -> None:
    chain = [ask("a0"), *(ask(f"a{number}", "{{i}} ", most=256, i=f"a{number - 1}.x") for number in range(1, 10))]
    single.tell(*chain, want("a9"))
    single.now += 1
    single.tell(ask("b"), want("b"))
    assert rest(single)[0] == "b"


def test_but_only_for_so_long(single: Stage) -> None:
    """A long program is overtaken by short ones that come after it for a bounded time only."""
    single.tell(ask("a0"), ask("a1", "{{i}} ", most=64, i="a0.x"), want("a1"))
    single.now += 100
    single.tell(ask("b"), want("b"))
    assert rest(single) == ["a0", "a1", "b"]


def test_of_programs_for_which_nobody_waits_the_one_that_has_had_least_goes_first(single: Stage) -> None:
    single.tell(ask("a0"), ask("a1", "{{i}} ", i="a0.x"), ask("b0"))
    single.finish("busy")
    assert single.order[-1] == "a0"
    single.finish("a0", seconds=30.0)
    assert single.order[-1] == "b0"


def test_work_for_which_nobody_waits_does_not_starve() -> None:
    """While chats keep both places busy all the time, it is taken after `PATIENCE` and what is ahead by then."""
    stage = Stage(up("e1", running=2))
    stage.tell(*(ask(f"first{number}") for number in range(2)), ask("batch"))
    stage.tell(*(want(f"first{number}") for number in range(2)))
    start = stage.now
    for number in range(1_000):
        if "batch" in stage.where:
            break
        stage.tell(ask(f"chat{number}"), want(f"chat{number}"))
        stage.wait(1)
        held = stage.running()["e1"]
        assert len(held) == 2
        stage.finish(held[0])
    assert PATIENCE <= stage.now - start <= PATIENCE + 15


def test_tenants_take_turns_however_much_one_of_them_sends(single: Stage) -> None:
    single.tell(OpenSession(session="t", name="quiet", tenant="quiet"))
    single.tell(*(ask(f"loud{number}") for number in range(30)))
    single.tell(*(ask(f"quiet{number}", session="t") for number in range(5)))
    assert sum(name.startswith("quiet") for name in rest(single)[:12]) == 5


# Harm -------------------------------------------------------------------------------------------


def chats(stage: Stage, number: int) -> None:
    for name in (f"chat{place}" for place in range(number)):
        stage.tell(ask(name, most=64), want(name))


def test_sensitive_work_is_kept_from_large_batches() -> None:
    """Neighbours are taken as long as a step takes no more than `CAP` times as long as without them."""
    stage = Stage(up("e1", running=500))
    stage.tell(*(ask(f"early{number}", words(4_000, f"early{number}")) for number in range(1)))
    stage.wait(60)
    chats(stage, 1)
    for number in range(40):
        stage.tell(ask(f"many{number}", words(4_000, f"many{number}")))
        stage.wait(1)
    load = stage.scheduler._candidates.loads["e1"]
    assert 3 < load.running < 30
    assert load.speed.step(load.context) <= CAP * load.speed.step(load.sensitive_context)
    stage.finish("chat0")
    for _ in range(40):
        stage.wait(1)
    assert load.running == 41  # nobody suffers from them any more


def test_without_the_rule_it_is_not() -> None:
    stage = Stage(up("e1", running=500), rules=Rules(harm=False))
    chats(stage, 1)
    for number in range(40):
        stage.tell(ask(f"many{number}", words(4_000, f"many{number}")))
        stage.wait(1)
    assert stage.scheduler._candidates.loads["e1"].running == 41


def test_after_a_while_the_comfort_of_others_does_not_count_any_more() -> None:
    stage = Stage(up("e1", running=500))
    chats(stage, 1)
    for number in range(20):
        stage.tell(ask(f"many{number}", words(8_000, f"many{number}")))
        stage.wait(2)
    assert stage.scheduler._candidates.loads["e1"].running < 20
    for _ in range(60):
        stage.wait(2)
    assert stage.scheduler._candidates.loads["e1"].running == 21


def test_a_chat_goes_where_it_has_fewer_neighbours() -> None:
    stage = Stage(up("e1", running=100))
    stage.tell(*(ask(f"many{number}", words(1_000, f"many{number}")) for number in range(20)))
    for _ in range(20):
        stage.wait(1)
    stage.tell(up("e2", running=100), *(ask(f"few{number}", words(1_000, f"few{number}")) for number in range(3)))
    for _ in range(5):
        stage.wait(1)
    chats(stage, 1)
    assert (len(stage.running()["e1"]), stage.where["chat0"]) == (20, "e2")


def test_places_are_kept_for_sensitive_work_where_there_is_such() -> None:
    stage = Stage(up("e1", running=2 * RESERVE))
    chats(stage, 1)
    stage.tell(*(ask(f"many{number}") for number in range(40)))
    assert len(stage.running()["e1"]) == 2 * RESERVE - 2
    stage.tell(ask("chat9"), want("chat9"))
    assert stage.where["chat9"] == "e1"


def test_and_only_there() -> None:
    stage = Stage(up("e1", running=2 * RESERVE))
    stage.tell(*(ask(f"many{number}") for number in range(40)))
    assert len(stage.running()["e1"]) == 2 * RESERVE


def test_a_kept_place_is_taken_by_sensitive_work_though_older_work_waits_before_it() -> None:
    """Work for which nobody waits may come first, after a while: it still does not take, or block, what is kept."""
    stage = Stage(up("e1", running=RESERVE))
    stage.tell(ask("long-ago"), *(ask(f"step{number}", "{{i}} ", i="long-ago.x") for number in range(2 * LOOKED_AT)))
    stage.wait(2 * PATIENCE)
    chats(stage, 1)
    stage.finish("long-ago")
    assert len(stage.running()["e1"]) == RESERVE - 1
    stage.tell(ask("chat9"), want("chat9"))
    assert "chat9" in stage.where


def test_sensitive_work_is_seen_when_it_is_asked_for_after_it_was_submitted() -> None:
    stage = Stage(up("e1", running=RESERVE))
    stage.tell(ask("chat"), want("chat"), *(ask(f"many{number}") for number in range(20)))
    assert len(stage.running()["e1"]) == RESERVE - 1


# Room -------------------------------------------------------------------------------------------


def test_what_waits_waits_in_the_core_where_it_can_be_reordered() -> None:
    stage = Stage(up("e1", running=100))
    stage.tell(*(ask(f"c{number}", words(2_000, f"c{number}")) for number in range(10)))
    assert len(stage.order) == 1
    stage.tell(want("c9"))
    stage.wait(2_000 / TOKENS_A_SECOND)
    assert stage.order[1] == "c9"


def test_an_engine_is_asked_again_when_it_should_have_computed_its_prompts() -> None:
    stage = Stage(up("e1", running=100))
    stage.tell(ask("a", words(8_000, "a")), ask("b", words(8_000, "b")))
    due = stage.machine.deadline()
    assert due == pytest.approx(stage.now + 8_000 / TOKENS_A_SECOND - AHEAD, rel=1e-6, abs=0.05)
    assert due is not None
    stage.now = due
    stage.tell()
    assert stage.order == ["a", "b"]


def test_nobody_is_woken_for_what_waits_no_more() -> None:
    stage = Stage(up("e1", running=100))
    stage.tell(ask("a", words(8_000, "a")), ask("b", words(8_000, "b")))
    woken = stage.machine.deadline()
    assert woken is not None
    stage.tell(GenerationReturned(engine="e1", variable="a.x", attempt=1), EngineDown(engine="e1"))
    assert stage.scheduler.wake() is None
    stage.now = woken + 1
    stage.tell()
    due = stage.machine.deadline()
    assert due is None or due > stage.now


def test_what_fits_nowhere_beside_others_waits_until_an_engine_is_empty() -> None:
    stage = Stage(up("e1", kv=2_000), up("e2", kv=2_000))
    stage.tell(ask("a", words(1_000, "a")), ask("b", words(1_000, "b")))
    stage.tell(ask("huge", words(3_000, "huge")))
    assert "huge" not in stage.where
    stage.finish("a")
    assert "huge" in stage.where


def test_engines_are_given_no_more_than_their_cache_holds() -> None:
    stage = Stage(up("e1", running=1_000, kv=10_000))
    stage.tell(*(ask(f"c{number}", words(900, f"c{number}")) for number in range(30)))
    for _ in range(30):
        stage.wait(1)
    assert len(stage.order) == 10


# Why --------------------------------------------------------------------------------------------


def test_a_call_says_why_it_went_where_it_did() -> None:
    stage = Stage(up("e1"), up("e2"))
    stage.tell(ask("first", SHARED))
    stage.finish("first")
    holder, other = stage.where["first"], {"e1": "e2", "e2": "e1"}[stage.where["first"]]
    stage.report(holder, "first")
    stage.tell(ask("a", SHARED), want("a"))
    record = stage.call("a")
    assert (record["state"], record["engine"], record["runner_up"]) == ("placed", holder, other)
    assert (record["objective"], record["group"], record["prefix_expected"]) == ("latency", "", "2000")
    assert float(record["slack"]) == pytest.approx(0, abs=0.01)  # its program has no longer way than this
    assert record["why"].startswith(f"{holder} should have it done in ")
    assert f"next best {other}: " in record["why"]
    assert "prefix_found" not in record
    stage.finish("a", cached=88)
    assert stage.call("a")["prefix_found"] == "88"


def test_slack_is_the_time_until_the_deadline_less_the_way_to_it() -> None:
    stage = Stage(up("e1"))
    stage.tell(ask("a"), ask("b", "{{i}} ", i="a.x"), want("b", Criterion.DEADLINE, stage.now + 100))
    a = float(stage.call("a")["slack"])
    stage.finish("a")
    assert 95 < a < float(stage.call("b")["slack"]) < 100


def test_where_nothing_can_be_late_there_is_no_slack() -> None:
    stage = Stage(up("e1"))
    stage.tell(ask("a"))
    assert (stage.call("a")["objective"], stage.call("a")["slack"]) == ("throughput", "")


def test_a_call_of_several_outputs_says_what_was_expected_and_found_of_all() -> None:
    stage = Stage(up("e1"))
    stage.tell(short(call("a", SHARED + "{{x}}" + words(100) + "{{y}}")))
    stage.finish("a", cached=0)
    assert int(stage.call("a")["prefix_expected"]) == pytest.approx(2_000, rel=0.05)  # its own first output
    stage.finish("a", cached=2_010)
    assert stage.call("a")["prefix_found"] == "2010"


def test_what_only_one_engine_can_take_has_no_runner_up() -> None:
    stage = Stage(up("e1"), up("n1", model="n"))
    stage.tell(ask("a", model="n"))
    assert stage.call("a")["runner_up"] == ""
    assert stage.call("a")["why"].endswith("no other engine has room for it")


def test_a_call_that_comes_back_is_explained_anew() -> None:
    stage = Stage(up("e1"), up("e2"))
    stage.tell(ask("a"))
    first = stage.where["a"]
    stage.tell(EngineDown(engine=first))
    assert stage.call("a")["engine"] == stage.where["a"] != first
    assert stage.call("a")["runner_up"] == ""


# A successor ------------------------------------------------------------------------------------


def taken_over(*batches: Iterable[Any], engines: Iterable[EngineUp] = ()) -> Cell:
    """A cell that was told this before its leader was replaced."""
    cell = Cell()
    cell.tell(open_session(), *(engines or (up("e1", running=1),)))
    for messages in batches:
        cell.tell(*messages)
    cell.now += 1
    cell.restart()
    cell.tell()
    assert check_machine(cell.machine) == []
    return cell


def objective_of(cell: Cell, name: str) -> tuple[str, str, float | None]:
    producer = cell.machine.graph.variables[f"{name}.x"].producer
    assert producer is not None
    return (*producer.objective[:2], producer.objective.due)


def test_a_successor_keeps_criteria_and_due_times_and_deduces_the_same() -> None:
    due = 1_000_000.0 + 500
    wishes = [want("reduce"), want("c", Criterion.DEADLINE, due), want("d", Criterion.TPOT)]
    cell = taken_over([*map_reduce(2), ask("c"), ask("d"), *wishes])
    assert objective_of(cell, "m0") == ("group", "reduce", None)
    assert objective_of(cell, "reduce") == ("latency", "", None)
    assert objective_of(cell, "c") == ("deadline", "", due)
    assert objective_of(cell, "d") == ("tpot", "", None)


def test_a_successor_sends_no_priority_that_the_engine_knows_and_every_new_one() -> None:
    cell = taken_over([ask("a"), want("a")])
    cell.jobs.clear()
    cell.tell(want("a"))
    assert cell.jobs == []
    cell.tell(want("a", THROUGHPUT))
    assert [order for _, _, order in cell.jobs] == [Reorder(variable="a.x", attempt=1, priority=5)]


def test_a_successor_knows_with_which_priority_engines_were_given_what_they_hold() -> None:
    cell = taken_over([ask("a")])
    cell.jobs.clear()
    cell.tell(want("a"))
    assert [order for _, _, order in cell.jobs] == [Reorder(variable="a.x", attempt=1, priority=0)]


def test_a_successor_goes_on_in_the_same_order() -> None:
    cell = taken_over([ask("busy")], [ask("a"), ask("b"), ask("c"), want("c")])
    order = []
    for _ in range(4):
        (job,) = cell.take_jobs()[-1:]
        order.append(job.call)
        cell.tell(cell.publish(job))
    assert order == ["busy", "c", "a", "b"]


def test_a_successor_counts_what_engines_hold_as_under_way() -> None:
    cell = taken_over([*map_reduce(3), want("reduce")], engines=[up("e1")])
    generation = next(iter(cell.machine.fleet.engines["e1"].holds.values()))
    assert generation.program.whole().active == 3


def test_what_an_engine_held_over_a_change_of_leaders_has_not_waited_since_the_epoch() -> None:
    cell = taken_over([ask("a")])
    cell.tell(GenerationReturned(engine="e1", variable="a.x", attempt=1))
    assert cell.variable("a.x")["ready"] >= "1970-01-12T13:46:40"
    assert cell.machine.fleet.engines["e1"].holds["a.x"].since == cell.now


def test_a_successor_names_prompts_as_its_predecessor_did() -> None:
    cell = Cell()
    cell.tell(open_session(), up("e1"), text("v", words(1_000)), ask("a", "{{t}} {{u}} ", t="v", u="=" + words(500)))
    (before,) = cell.take_jobs()
    cell.restart()
    cell.now += 1
    cell.tell(ask("b", "{{t}} {{u}} ", t="v", u="=" + words(500)))
    (after,) = [job for job in cell.take_jobs() if job.call == "b"]
    assert {mark.name for mark in after.marks[:-1]} <= {mark.name for mark in before.marks}
    assert len(after.marks) >= 3
