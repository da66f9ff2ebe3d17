"""One run: a program, engines, leaders, faults; then calm; then the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from parrot.broker.heartbeat import JOBS_LIFE
from parrot.core.check import check, check_machine
from parrot.core.engine_rules import MAX_DEATHS
from parrot.core.limits import Limits
from tests.simulation.broker import Broker
from tests.simulation.engine import Engine, Log
from tests.simulation.faults import Faults
from tests.simulation.leader import Leader
from tests.simulation.program import write_program
from tests.simulation.world import World
from tests.unit.core.cell import KEYS

CALLS = 100
LIMITS = Limits(results=100, idle=60)
ENGINES = (("e0", "m"), ("e1", "n"), ("e2", "m"), ("e3", "n"))
PERMANENT = {KEYS.core, KEYS.dead, KEYS.learned}  # tasks and events are no keys of the model


class BrokenPromiseError(AssertionError):
    """A promise was broken."""


def broken_promise(seed: int, make_broker: Callable[[World], Broker] = Broker) -> str:
    """What one seed brings to light; empty if all goes well."""
    try:
        Run(seed, make_broker=make_broker).go()
    except Exception as error:  # noqa: BLE001  whatever it is, it is what a simulation is for: reported with its seed
        return f"{type(error).__name__}: {str(error)[:500]}"
    return ""


class Run:
    """Everything of one seed.

    Args:
        seed: decides all that happens.
        trace: receives a line for each thing that happens.
        make_broker: another one, to see that what is wrong with it is found.
    """

    def __init__(self, seed: int, trace: Callable[[str], None] | None = None, make_broker: Callable[[World], Broker] = Broker) -> None:
        self.world = World(seed, trace)
        self.faults = Faults.drawn(self.world.chance)
        self.broker = make_broker(self.world)
        self.broker.wake_core = self._wake_leaders
        self.program = write_program(self.world.chance, self.faults, CALLS)
        self.leaders: list[Leader] = []
        self.log = Log()
        self.engines = [Engine(self.world, self.broker, self.program, self.faults, self.log, name, model) for name, model in ENGINES]

    def go(self) -> None:
        """To the end.

        Raises:
            BrokenPromiseError: a promise was broken.
        """
        self._start_leader()
        for at, message in self.program.script:
            self.world.after(at, lambda message=message: self.broker.submit(message))
        self.world.after(0.5, self._make_trouble)
        length = self.program.script[-1][0] + 1 + self.world.chance.random() * 8
        self.world.run(lambda: False, length)
        self.world.calm = True
        self.world.say("calm")
        self._require(self.world.run(self._all_ended, 200), "These calls never ended", self._unended)
        self.world.run(lambda: False, 10)  # late duplicates, the last events
        self._judge()
        self._tidy_up()

    def _wake_leaders(self) -> None:
        for leader in self.leaders:
            if leader.alive:
                leader.wake()

    def _start_leader(self) -> None:
        self.leaders = [leader for leader in self.leaders if leader.alive]
        self._started = getattr(self, "_started", 0) + 1
        self.leaders.append(Leader(self.world, self.broker, self.faults, LIMITS, self._start_leader, self._started))

    def _make_trouble(self) -> None:
        """Something happens to an engine, but not to one that runs a suspect: nobody could tell that from poison. Or to Redis."""
        if not self.world.calm:
            engine = self.world.chance.choice(self.engines)
            if not self._runs_suspect(engine.id):
                engine.trouble()
            if self.world.happens(self.faults.power_lost):
                self.broker.lose_power()
                for leader in self.leaders:
                    leader.cut_off()
            self.world.after(self.world.chance.random(), self._make_trouble)

    def _runs_suspect(self, engine: str) -> bool:
        machines = [leader.machine for leader in self.leaders if leader.machine is not None]
        known = [machine.fleet.engines[engine] for machine in machines if engine in machine.fleet.engines]
        return any(generation.suspect for one in known for generation in one.holds.values())

    # The verdict ----------------------------------------------------------------------------------

    def _all_ended(self) -> bool:
        if self.broker.sets.get(KEYS.active):
            return False
        return all(map(self.broker.ended, self.program.requests))

    def _unended(self) -> list[str]:
        return [call for call in self.program.requests if not self.broker.ended(call)]

    def _require(self, holds: bool, promise: str, about: object = "") -> None:
        if not holds:
            raise BrokenPromiseError(f"{promise}: {about() if callable(about) else about}")

    def _judge(self) -> None:
        broker, program = self.broker, self.program
        self._require(not broker.sets.get(KEYS.active), "Calls are still active", broker.sets.get(KEYS.active))
        spoilt = program.downstream(program.spoilt | self._unlucky())
        for call, request in program.requests.items():
            record = broker.hashes[KEYS.call(call)]
            if call not in spoilt:
                self._require(record["state"] == "done", "An innocent call failed", (call, record, self._outputs(call)))
            for output in request.outputs.values():
                made = broker.hashes[KEYS.variable(output.variable)]
                right = made.get("value", program.values[output.variable]) == program.values[output.variable]
                self._require(right, "A value is wrong", (output.variable, made, program.values[output.variable]))
                times = 0 if "error_code" in record else 1  # a call that was refused says why, and is written with its outputs
                ends = broker.ends[output.variable]
                self._require(ends == times, "A variable ended not once", (output.variable, ends))
            self._require(program.nature(call) not in ("poison", "bad") or record["state"] != "done", "A call that cannot be done is", call)
            self._require(self.log.kills[call] <= MAX_DEATHS, "A poison call killed too many engines", (call, self.log.kills[call]))
        self._judge_news()
        self._judge_streams()
        (leader,) = [leader for leader in self.leaders if leader.leads()]
        assert leader.machine is not None
        findings = [*check_machine(leader.machine), *check(KEYS, broker.holdings())]
        self._require(not findings, "The books do not add up", findings)
        well = {engine.id for engine in self.engines if engine.is_well()}
        self._require(well == set(leader.machine.fleet.engines), "ServeCore does not count on every engine that is well", well)

    def _outputs(self, call: str) -> list[dict[str, str]]:
        return [self.broker.hashes[KEYS.variable(output.variable)] for output in self.program.requests[call].outputs.values()]

    def _unlucky(self) -> set[str]:
        """Calls that look like poison since accidents happened to three engines that held them; no scheduler could know better."""
        found = set()
        for call in set(self.program.requests) - self.program.spoilt:
            for made in self._outputs(call):
                if made.get("error_code") == "poison" and set(made["error"].rstrip(".").split(": ")[1].split(", ")) & self.log.accidents:
                    found.add(call)
        return found

    def _judge_news(self) -> None:
        told = Counter(entry["variable"] for key, entries in self.broker.streams.items() if key.endswith(":news") for entry in entries)
        for variable in self.program.makers:
            self._require(told[variable] == 1, "An app was told not once", (variable, told[variable]))

    def _judge_streams(self) -> None:
        """No number is missing, and what a reader sees after the last reset comes from the engine that set the variable, and no other."""
        for variable in self.program.makers:
            made = self.broker.hashes[KEYS.variable(variable)]
            parts = self.broker.streams.get(KEYS.tokens(variable), [])
            resets = [place for place, part in enumerate(parts) if part["kind"] == "reset"]
            writers = {part["engine"] for part in parts[resets[-1] :]} if resets else set()
            right = made["state"] != "ready" or writers == {made["publisher"]}
            self._require(right, "A token stream mixes attempts", (variable, parts, made))
            numbers = [int(part["number"]) for part in parts]
            self._require(numbers == list(range(1, len(parts) + 1)), "A token stream has a gap", (variable, parts, made))

    def _tidy_up(self) -> None:
        """When results have expired and engines have left, nothing is left; even if nobody led when that happened."""
        for engine in self.engines:
            engine.leave(back=False)
        if self.world.chance.random() < 0.5:
            self.world.run(lambda: False, 1)
            for leader in self.leaders:
                leader.kill()
            self.world.run(lambda: False, LIMITS.results + 10)
            self._start_leader()
        self.world.run(lambda: False, 2 * LIMITS.idle + LIMITS.results + JOBS_LIFE)
        left = set(self.broker.keys()) - PERMANENT
        self._require(not left, "These keys stay for ever", left)
