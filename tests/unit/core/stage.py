"""A stage on which the scheduler plays: engines that do what they are told to, and short ways to say what apps and engines say."""

from __future__ import annotations

from collections import Counter
from typing import Any

from parrot.core.beginnings import Beginnings
from parrot.core.check import check_machine
from parrot.core.limits import Limits
from parrot.core.machine import Machine
from parrot.core.rules import Rules
from parrot.core.scheduler import Scheduler
from parrot.criteria import LATENCY, Criterion
from parrot.sampling import SamplingConfig
from parrot.wire.to_core import Capacity, EngineBeat, EngineHolds, EngineUp, SubmitCall, Usage, WantVariable
from parrot.wire.to_engine import Job
from tests.unit.core.cell import KEYS, Cell, call, engine_up, open_session

TOKENS_A_SECOND = 4_000  # that an engine of which nothing is known is believed to compute of prompts
DAY = 86_400.0


def words(tokens: int, about: str = "w") -> str:
    """A text of about so many tokens; texts about other things begin otherwise."""
    return (about + " ").ljust(8, ".") * (tokens // 2)


SHARED = words(2_000, "shared")


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


def map_reduce(parts: int, name: str = "") -> list[SubmitCall]:
    maps = [ask(f"{name}m{number}", words(200, f"{name}{number}")) for number in range(parts)]
    inputs: dict[str, Any] = {f"i{number}": f"{name}m{number}.x" for number in range(parts)}
    return [*maps, ask(f"{name}reduce", "".join(f"{{{{{slot}}}}} " for slot in inputs), **inputs)]


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
