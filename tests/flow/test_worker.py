"""Engine workers as they are run: real Celery worker processes, with the simulated engine. The tests play ServeCore."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from parrot.broker.embedded import EmbeddedServer
from parrot.cli.worker import CELERY_WORKER
from parrot.sampling import SamplingConfig
from parrot.wire.codec import encode
from parrot.wire.keys import Keys
from parrot.wire.to_engine import Job, Piece
from tests.flow.waiting import until
from tests.flow.worker_processes import NODE, ROOT, Flower, environment, flower, flower_url, inspect, process, worker

KEYS = Keys("main")


class Core:
    """ServeCore, as far as a worker sees it."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._placed = 0
        self.engine = ""

    async def events(self, kind: str) -> list[dict[str, Any]]:
        entries: Any = await self._redis.xrange(KEYS.events)
        return [json.loads(fields[b"body"]) for _, fields in entries if fields[b"kind"] == kind.encode()]

    async def until_up(self) -> None:
        await until(lambda: self.events("EngineUp"), 30)
        self.engine = (await self.events("EngineUp"))[-1]["engine"]

    async def place(self, length: int = 8, attempt: int = 1) -> str:
        """Give the engine one more job; the id of its variable."""
        self._placed += 1
        variable = f"v{self._placed}"
        await self._redis.hset(KEYS.variable(variable), mapping={"state": "pending", "attempt": str(attempt), "call": "c"})
        job = Job(
            variable=variable,
            attempt=attempt,
            session="s-1",
            call="c",
            function="summarize",
            output="summary",
            prompt=[Piece("text", f"Number {self._placed}")],
            sampling=SamplingConfig(temperature=0, max_gen_length=length, ignore_tokenizer_eos=True),
        )
        await self._redis.xadd(KEYS.jobs(self.engine), encode(job), id=f"1-{self._placed}", nomkstream=True)  # type: ignore[arg-type]
        return variable

    async def state(self, variable: str) -> str:
        raw: Any = await self._redis.hget(KEYS.variable(variable), "state")
        return str(raw.decode())

    async def until_state(self, variable: str, state: str) -> None:
        async def is_so() -> bool:
            return await self.state(variable) == state

        await until(is_so)


@pytest.fixture
def core(real_redis: Redis) -> Core:
    return Core(real_redis)


async def test_it_generates_and_says_over_celery_what_it_does(core: Core, redis_url: str, tmp_path: Path) -> None:
    with worker(redis_url, tmp_path / "worker.log"):
        await core.until_up()
        done, long = await core.place(), await core.place(length=3900)
        await core.until_state(done, "ready")
        await core.until_state(long, "generating")
        load, running, queues = await asyncio.gather(
            *(inspect(redis_url, what) for what in ("parrot_load", "parrot_running", "active_queues"))
        )
        assert (load["engine"], load["name"], load["kind"], load["state"]) == (core.engine, "sim-0", "simulated", "running")
        assert (load["running"], load["waiting"], load["generations"], load["tokens_out"]) == (1, 0, 1, 8)
        assert load["busy_seconds"] > 0
        (one,) = running
        assert (one["variable"], one["attempt"], one["function"], one["session"]) == (long, 1, "summarize", "s-1")
        assert one["seconds"] > 0
        assert [queue["name"] for queue in queues] == ["parrot.engine.sim-0"]


async def test_sigterm_finishes_what_runs_hands_back_the_rest_and_leaves_cleanly(
    core: Core, redis_url: str, tmp_path: Path, real_redis: Redis
) -> None:
    with worker(redis_url, tmp_path / "worker.log", max_running="1") as process:
        await core.until_up()
        runs, waits = await core.place(length=600), await core.place()  # about 2 s
        await core.until_state(runs, "generating")
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0
    assert await core.state(runs) == "ready"
    assert [(event["variable"], event["attempt"]) for event in await core.events("GenerationReturned")] == [(waits, 1)]
    assert len(await core.events("EngineDown")) == 1
    assert not await real_redis.exists(KEYS.jobs(core.engine))


async def test_sigterm_hands_back_what_takes_too_long(core: Core, redis_url: str, tmp_path: Path) -> None:
    with worker(redis_url, tmp_path / "worker.log", drain_seconds="0.2") as process:
        await core.until_up()
        variable = await core.place(length=3000)
        await core.until_state(variable, "generating")
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0
    assert [event["variable"] for event in await core.events("GenerationReturned")] == [variable]


MORTAL = """
from pathlib import Path
from parrot.errors import EngineError

alive = SimulatedEngine.load

def load(engine):
    if Path(argument).exists():
        raise EngineError("The engine core was killed.")
    return alive(engine)

SimulatedEngine.load = load
"""

SLOW = """
import asyncio, time
from pathlib import Path

async def start(engine):
    Path(argument).touch()
    await asyncio.get_running_loop().run_in_executor(None, time.sleep, 60)

SimulatedEngine.start = start
"""


def patched(patch: str, argument: Path) -> list[str]:
    """The command line of a worker whose engine has a fault."""
    lines = [
        "import sys",
        "from celery.__main__ import main",
        "from parrot.engine.simulated import SimulatedEngine",
        f"argument = {str(argument)!r}",
        patch,
        f"sys.argv[1:] = {list(CELERY_WORKER[2:])!r}",
        "sys.exit(main())",
    ]
    return [sys.executable, "-c", "\n".join(lines)]


async def test_a_worker_whose_engine_dies_exits_with_an_error_and_a_sentence(core: Core, redis_url: str, tmp_path: Path) -> None:
    log, switch = tmp_path / "worker.log", tmp_path / "die"
    with process(patched(MORTAL, switch), environment(redis_url), log) as running:
        await core.until_up()
        await core.until_state(await core.place(length=3000), "generating")
        switch.touch()
        assert await running.ended() == 1
        assert "The engine core was killed." in log.read_text()
        assert "Traceback" not in log.read_text()
    assert [event["reason"] for event in await core.events("EngineDown")] == ["The engine core was killed."]


async def test_sigterm_ends_a_worker_that_is_still_loading(redis_url: str, tmp_path: Path) -> None:
    loading = tmp_path / "loading"
    with process(patched(SLOW, loading), environment(redis_url), tmp_path / "worker.log") as running:
        await until(lambda: asyncio.to_thread(loading.exists))
        await until(lambda: inspect(redis_url, "ping"))
        running.signal(signal.SIGTERM)
        assert await running.ended(10) == 0


async def test_sigquit_hands_everything_back_at_once(core: Core, redis_url: str, tmp_path: Path) -> None:
    with worker(redis_url, tmp_path / "worker.log") as running:
        await core.until_up()
        variable = await core.place(length=3000)
        await core.until_state(variable, "generating")
        running.signal(signal.SIGQUIT)
        assert await running.ended(10) == 0
    assert [event["variable"] for event in await core.events("GenerationReturned")] == [variable]


async def test_the_work_goes_on_while_celerys_broker_is_away(core: Core, redis_url: str, tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "celery") as broker, worker(redis_url, tmp_path / "worker.log", celery_url=broker.url):
        await core.until_up()
        assert await inspect(redis_url, "ping", celery_url=broker.url) == {"ok": "pong"}
        await asyncio.to_thread(broker.stop)
        await core.until_state(await core.place(), "ready")
        await asyncio.to_thread(broker.start)
        await core.until_state(await core.place(), "ready")

        async def answers() -> bool:
            with suppress(AssertionError):  # the worker has not noticed yet
                return bool((await inspect(redis_url, "parrot_load", celery_url=broker.url))["generations"] == 2)
            return False

        await until(answers, 40)
    assert len(await core.events("EngineUp")) == 1, "the engine was not loaded again"


async def test_an_engine_that_was_given_up_comes_back_under_a_new_id(core: Core, redis_url: str, tmp_path: Path, real_redis: Redis) -> None:
    with worker(redis_url, tmp_path / "worker.log"):
        await core.until_up()
        before = core.engine
        await real_redis.delete(KEYS.jobs(before))

        async def is_back() -> bool:
            return len(await core.events("EngineUp")) == 2

        await until(is_back)
        await core.until_up()
        assert core.engine != before
        assert (await core.events("EngineUp"))[1]["previous"] == before
        await core.until_state(await core.place(), "ready")


async def test_flower_shows_the_worker_and_each_generation_as_a_task(core: Core, redis_url: str, tmp_path: Path) -> None:
    with flower(redis_url, tmp_path / "flower.log") as shown, worker(redis_url, tmp_path / "worker.log") as process_:
        ask = Flower(await flower_url(shown.log))
        await core.until_up()
        await until(lambda: ask.workers(), 20)
        variables = [await core.place() for _ in range(3)]
        for variable in variables:
            await core.until_state(variable, "ready")
        uuid = f"{variables[0]}:1"

        async def all_succeeded() -> bool:
            tasks = await ask.tasks()
            return [task["state"] for task in tasks.values()] == ["SUCCESS"] * 3

        await until(all_succeeded)
        task = (await ask.tasks())[uuid]
        assert task["name"] == "parrot.generate"
        assert task["kwargs"] == f"{{'session': 's-1', 'function': 'summarize', 'output': 'summary', 'variable': '{variables[0]}'}}"
        assert len(task["result"]) > 10
        assert task["runtime"] > 0
        assert task["received"] <= task["started"] <= task["succeeded"]
        assert NODE.match(task["worker"])
        with pytest.raises(urllib.error.HTTPError, match="401"):
            await asyncio.to_thread(urllib.request.urlopen, f"{ask.url}/api/tasks")

        last = await core.place(length=600)  # still runs when the worker is told to end: its end is seen all the same
        await core.until_state(last, "generating")
        process_.signal(signal.SIGTERM)
        await process_.ended()

        async def last_succeeded() -> bool:
            return bool((await ask.tasks())[f"{last}:1"]["state"] == "SUCCESS")

        await until(last_succeeded)


def test_flower_does_not_start_without_a_password(tmp_path: Path) -> None:
    argv = [sys.executable, str(ROOT / "broker_configs" / "flowerconfig.py")]
    for given in ({}, {"FLOWER_BASIC_AUTH": "me:"}):
        clean = {name: value for name, value in os.environ.items() if name != "FLOWER_BASIC_AUTH"}
        refused = subprocess.run(argv, env=clean | given, capture_output=True, text=True, check=False)
        assert refused.returncode == 1
        assert "Set FLOWER_BASIC_AUTH" in refused.stderr
