"""The app on a real server, with a small stand-in for ServeCore and engines that answers each call by its prompt."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

import parrot as P
from parrot.broker.connection import connect
from parrot.broker.embedded import EmbeddedServer
from parrot.broker.ledger import Lead, Ledger
from parrot.broker.streams import StreamReader
from parrot.broker.texts import LONG, Texts
from parrot.broker.variables import Variables
from parrot.wire.keys import Keys, content_hash
from parrot.wire.states import VariableState
from parrot.wire.to_core import Argument, DeclareVariable, SetVariable, SubmitCall, Task, WantVariable, tasks
from parrot.wire.to_ledger import Op, end, move

KEYS = Keys("main")


@P.semantic_function
def echo(text: P.Input, said: P.Output):
    """{{text}}!{{said}}"""


@P.semantic_function
def join(left: P.Input, right: P.Input, joined: P.Output):
    """{{left}}+{{right}}{{joined}}"""


@P.semantic_function
def two(text: P.Input, first: P.Output, second: P.Output):
    """1 {{text}} {{first}} 2 {{second}}"""


@P.semantic_function
def fail(text: P.Input, never: P.Output):
    """{{text}} {{never}}"""


class StandIn:
    """Ends variables in the order in which they were asked for: the value of an output is the prompt before it.

    Attributes:
        tasks: what apps sent, in order.
    """

    def __init__(self, redis: Redis) -> None:
        self._ledger = Ledger(redis, KEYS)
        self._variables = Variables(redis, KEYS)
        self._texts = Texts(redis, KEYS)
        self._redis = redis
        self.tasks: list[Task] = []

    async def run(self) -> None:
        lead = await self._ledger.lead("stand-in", lease=0.001)
        assert isinstance(lead, Lead)
        batch = lead.batches
        reader = StreamReader(self._redis, lead.cursors)
        while True:
            for entry in await reader.read():
                task = tasks.decode(entry.fields)
                self.tasks.append(task)
                operations = await self._operations(task)
                # One commit, as ServeCore's: variables are there once the cursor is past their task.
                batch += 1
                await self._ledger.commit({**reader.cursors, entry.stream: entry.id}, batch, operations)

    async def _operations(self, task: Task) -> list[Op]:
        if isinstance(task, DeclareVariable) and task.text is None:
            return [move(KEYS.variable(task.variable), {"state": "empty"})]
        if isinstance(task, DeclareVariable | SetVariable):
            return [self._end(task.session, task.variable, task.text or "")]
        if isinstance(task, SubmitCall):
            return [operation async for operation in self._answers(task)]
        return []

    async def _answers(self, call: SubmitCall) -> AsyncIterator[Op]:
        prompt = ""
        for kind, value in call.template:
            if kind == "slot" and value in call.outputs:
                yield self._end(call.session, call.outputs[value].variable, prompt.strip(), failed=call.function == "fail")
            elif kind == "slot":
                prompt += await self._argument(call.arguments[value])
            elif kind == "hash":
                prompt += await self._argument(Argument(hash=value))
            else:
                prompt += value

    async def _argument(self, argument: Argument) -> str:
        if argument.hash is not None:
            (text,) = await self._texts.get([argument.hash])
            return text or "lost"
        if argument.variable is None:
            return argument.text or ""
        (found,) = await self._variables.values([argument.variable])
        return found.text if found else "not there"

    def _end(self, session: str, variable: str, text: str, failed: bool = False) -> Op:
        fields = {"error_code": "engine", "error": "It broke."} if failed else {"value": text}
        state = VariableState.FAILED if failed else VariableState.READY
        return end(KEYS.variable(variable), KEYS.news(session), variable, state, fields)


@asynccontextmanager
async def standing_in(url: str) -> AsyncIterator[StandIn]:
    """A stand-in that works until the block ends."""
    async with connect(url) as redis:
        stand_in = StandIn(redis)
        task = asyncio.create_task(stand_in.run())
        yield stand_in
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=0.1)


@contextmanager
def in_a_thread(url: str) -> Iterator[None]:
    """The same for synchronous programs."""
    over = threading.Event()

    async def main() -> None:
        async with standing_in(url):
            await asyncio.to_thread(over.wait)

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, main())
        try:
            yield
        finally:
            over.set()


@pytest.fixture
async def cell(redis_url: str) -> AsyncIterator[StandIn]:
    async with standing_in(redis_url) as stand_in:
        yield stand_in


# Asynchronous programs ----------------------------------------------------------------------------


async def test_a_chain_of_calls_gives_its_value(cell: StandIn, redis_url: str) -> None:
    async with P.AsyncSession(redis_url) as session:
        said = session.variable("a")
        for _ in range(100):
            said = echo(said)
        assert await said == "a" + "!" * 100


async def test_several_outputs_come_in_order(cell: StandIn, redis_url: str) -> None:
    async with P.AsyncSession(redis_url):
        first, second = two("x")
        assert await asyncio.gather(first, second) == ["1 x", "1 x 2"]


async def test_what_ended_before_anybody_asked_is_found(cell: StandIn, redis_url: str) -> None:
    async with P.AsyncSession(redis_url) as session:
        made = [echo(str(i)) for i in range(300)]
        await session.flush()
        assert await made[-1].aget(timeout=10) == "299!"
        assert await asyncio.gather(*made) == [f"{i}!" for i in range(300)]


async def test_a_variable_that_is_set_later_lets_its_consumers_go_on(cell: StandIn, redis_url: str) -> None:
    async with P.AsyncSession(redis_url) as session:
        empty = session.variable()
        waiting = asyncio.ensure_future(empty.aget(timeout=10))
        await asyncio.sleep(0.02)
        empty.set("now")
        assert await waiting == "now"
        assert await join(empty, "then") == "now+then"


async def test_a_failure_reaches_whoever_waits(cell: StandIn, redis_url: str) -> None:
    async with P.AsyncSession(redis_url):
        with pytest.raises(P.EngineError, match="It broke"):
            await fail("x")


async def test_long_texts_are_stored_once_and_arrive_whole(cell: StandIn, redis_url: str, real_redis: Redis) -> None:
    long = "long " * LONG
    async with P.AsyncSession(redis_url):
        assert await join(long, long) == f"{long}+{long}".strip()
        assert await echo(long) == f"{long}!"
    assert await real_redis.ttl(KEYS.text(content_hash(long))) > 0
    assert not any(long in call.model_dump_json() for call in cell.tasks)


async def test_the_criterion_of_a_get_is_told_to_servecore(cell: StandIn, redis_url: str) -> None:
    async with P.AsyncSession(redis_url) as session:
        said = echo("x")
        await said.aget(P.THROUGHPUT)
    assert WantVariable(session=session.id, variable=said.id, criterion=P.THROUGHPUT) in cell.tasks


async def test_a_deadline_is_told_to_servecore_as_a_moment(cell: StandIn, redis_url: str) -> None:
    before = time.time()
    async with P.AsyncSession(redis_url):
        await echo("x").aget(P.Deadline(20))
    (want,) = (task for task in cell.tasks if isinstance(task, WantVariable))
    assert want.criterion == P.Criterion.DEADLINE
    assert want.deadline is not None
    assert before + 20 <= want.deadline <= time.time() + 20


async def test_many_sessions_at_once_keep_apart(cell: StandIn, redis_url: str) -> None:
    async def program(number: int) -> str:
        async with P.AsyncSession(redis_url):
            return await echo(echo(str(number)))

    assert await asyncio.gather(*map(program, range(20))) == [f"{i}!!" for i in range(20)]


async def test_a_timeout_says_that_nobody_took_the_call_up(redis_url: str) -> None:
    async with P.AsyncSession(redis_url):
        with pytest.raises(P.GetTimeout, match="ServeCore has not taken it up"):
            await echo("x").aget(timeout=0.1)


async def test_values_can_be_read_after_the_block(cell: StandIn, redis_url: str) -> None:
    async with P.AsyncSession(redis_url):
        said = echo("x")
    assert await said.aget(timeout=10) == "x!"


async def test_no_task_is_left_behind(cell: StandIn, redis_url: str) -> None:
    before = asyncio.all_tasks()
    async with P.AsyncSession(redis_url):
        await echo("x")
    assert asyncio.all_tasks() == before


# Synchronous programs -----------------------------------------------------------------------------


def test_a_synchronous_program_gives_its_values(redis_url: str) -> None:
    with in_a_thread(redis_url), P.Session(redis_url) as session:
        said = session.variable("a")
        for _ in range(20):
            said = echo(said)
        assert said.get(timeout=10) == "a" + "!" * 20
        assert join(said, "b").get(criteria=P.THROUGHPUT, timeout=10) == "a" + "!" * 20 + "+b"


def test_a_call_has_been_acknowledged_when_it_returns(redis_url: str) -> None:
    """What a synchronous program submitted is done even if the program ends in the next moment."""
    with P.Session(redis_url):
        said = echo("x")
    with in_a_thread(redis_url):
        assert said.get(timeout=10) == "x!"


def test_threads_wait_at_the_same_time(redis_url: str) -> None:
    with in_a_thread(redis_url), P.Session(redis_url) as session, ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda i: echo(str(i), session=session).get(timeout=10), range(40))) == [f"{i}!" for i in range(40)]


def test_no_thread_is_left_behind(redis_url: str) -> None:
    before = set(threading.enumerate())
    with P.Session(redis_url):
        echo("x")
    assert set(threading.enumerate()) == before


# A broker that is not there -----------------------------------------------------------------------


def test_a_server_that_is_not_there_is_a_sentence() -> None:
    with pytest.raises(P.BrokerUnavailable, match=r"No Redis server answers at .* Start one"), P.Session("redis://127.0.0.1:1/0"):
        pytest.fail("must not be entered")


async def test_a_get_outlives_a_restart_of_the_broker(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server:
        async with P.AsyncSession(server.url) as session:
            said = echo("x")
            waiting = asyncio.ensure_future(said.aget(timeout=30))
            await session.flush()
            await asyncio.sleep(0.1)
            await asyncio.to_thread(server.stop)
            await asyncio.sleep(0.3)
            assert not waiting.done()
            server.start()
            async with standing_in(server.url):
                assert await waiting == "x!"


async def test_a_timeout_while_the_broker_is_away_says_so(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server:
        async with P.AsyncSession(server.url) as session:
            said = echo("x")
            await session.flush()
            server.stop()
            began = time.monotonic()
            with pytest.raises(P.GetTimeout, match=r"No Redis server answers|Redis does not answer"):
                await said.aget(timeout=0.3)
            assert time.monotonic() - began < 3
            server.start()


async def test_a_call_that_a_full_redis_does_not_take_raises_with_a_remedy(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path, options={"maxmemory": "1"}) as server, pytest.raises(P.BrokerUnavailable, match="is full"):
        async with P.AsyncSession(server.url):
            pytest.fail("must not be entered")
