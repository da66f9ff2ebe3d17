"""Each role's Redis user can do its work, and nobody else's."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from celery import Celery
from kombu import Consumer, Exchange, Producer, Queue
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, NoPermissionError

from parrot.broker.connection import connect
from parrot.broker.embedded import EmbeddedServer
from parrot.broker.engine_link import EngineLink
from parrot.broker.ledger import Lead, Ledger
from parrot.broker.streams import START, StreamReader, append, create_stream
from parrot.broker.submission import Submission
from parrot.broker.texts import Texts
from parrot.broker.tokens import Part, Tokens
from parrot.broker.variables import Publication, Value, Variables
from parrot.errors import MessageError
from parrot.wire.keys import Keys, content_hash
from parrot.wire.to_core import Capacity, EngineBeat, EngineUp, GenerationDone, OpenSession, SubmitCall
from parrot.wire.to_engine import Job
from parrot.wire.to_ledger import put

ROOT = Path(__file__).parents[2]
ROLES = ("app", "core", "engine", "flower", "admin")
KEYS = Keys()
UP = EngineUp(
    engine="e1",
    name="one",
    kind="simulated",
    model="m",
    tokenizer="t",
    host="h",
    pid=1,
    capacity=Capacity(running=1, kv_tokens=1, context_tokens=1, block_tokens=1),
)
JOB = Job(variable="v1", attempt=1, session="s1", call="c1", function="f", output="x", prompt=[])
VARIABLE, NEWS, JOBS = KEYS.variable("v1"), KEYS.news("s1"), KEYS.jobs("e1")


def passwords() -> dict[str, str]:
    return {f"PARROT_{role.upper()}_PASSWORD": f"secret of {role}" for role in ROLES}


def acl_file(folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    paths = {"PARROT_ACL_TEMPLATE": str(ROOT / "broker_configs/users.acl"), "PARROT_ACL_FILE": str(folder / "users.acl")}
    command = ["sh", str(ROOT / "docker/redis-entrypoint.sh"), "true"]
    return subprocess.run(command, env={"PATH": os.environ["PATH"], **paths, **environment}, cwd=folder, text=True, capture_output=True)


@pytest.fixture(scope="module", params=["valkey", pytest.param("redis7", marks=pytest.mark.redis7)])
def guarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server with the users of the real ACL file."""
    binary = request.getfixturevalue("redis7_binary") if request.param == "redis7" else None
    folder = tmp_path_factory.mktemp("acl")
    acl_file(folder, passwords()).check_returncode()
    with EmbeddedServer(folder, binary=binary, options={"aclfile": str(folder / "users.acl")}) as server:
        yield server


def url(server: EmbeddedServer, role: str, database: int = 0) -> str:
    return f"redis://{role}:secret%20of%20{role}@127.0.0.1:{server.port}/{database}"


@pytest.fixture
async def users(guarded: EmbeddedServer) -> AsyncIterator[dict[str, Redis]]:
    """One client for each role, on an empty server."""
    clients = {role: connect(url(guarded, role)) for role in ROLES}
    await clients["admin"].flushall()
    yield clients
    for client in clients.values():
        await client.aclose()


def test_a_missing_password_is_named(tmp_path: Path) -> None:
    incomplete = {name: value for name, value in passwords().items() if "FLOWER" not in name}
    refused = acl_file(tmp_path, incomplete)
    assert refused.returncode == 1
    assert "Set PARROT_FLOWER_PASSWORD" in refused.stderr


def test_passwords_are_not_in_the_file(tmp_path: Path) -> None:
    acl_file(tmp_path, passwords()).check_returncode()
    assert "secret" not in (tmp_path / "users.acl").read_text()
    assert (tmp_path / "users.acl").stat().st_mode & 0o077 == 0


async def test_nobody_comes_in_without_a_name(guarded: EmbeddedServer) -> None:
    async with connect(guarded.url) as stranger:
        with pytest.raises(AuthenticationError):
            await stranger.ping()


async def test_an_app_writes_tasks_and_texts_and_reads_its_results(users: dict[str, Redis]) -> None:
    app, admin = users["app"], users["admin"]
    call = SubmitCall(session="s1", call="c1", function="f", template=[], outputs={})
    await Submission(app, KEYS, "mine").send([OpenSession(session="s1", name="mine"), call])
    await Texts(app, KEYS).put({content_hash("long"): "long"})
    await admin.hset(VARIABLE, mapping={"state": "ready", "value": "42"})
    await admin.xadd(NEWS, {"variable": "v1", "state": "ready"})
    assert await Texts(app, KEYS).get([content_hash("long")]) == ["long"]
    assert await app.hgetall(VARIABLE) == {b"state": b"ready", b"value": b"42"}
    assert len(await StreamReader(app, {NEWS: START}).read(block_ms=100)) == 1
    assert await app.zrange(KEYS.sessions, 0, -1) == []
    assert await app.smembers(KEYS.engines) == set()


async def test_servecore_leads_commits_and_dispatches(users: dict[str, Redis]) -> None:
    core = users["core"]
    await append(users["app"], KEYS.tasks, [OpenSession(session="s1", name="mine")])
    ledger = Ledger(core, KEYS)
    lead = await ledger.lead("me", lease=1.0)
    assert isinstance(lead, Lead)
    assert len(await StreamReader(core, dict(lead.cursors)).read(block_ms=100)) == 1
    assert await ledger.commit(lead.cursors, 1, [put(KEYS.session("s1"), {"name": "mine"}), ("EXPIRE", VARIABLE, "10")]) == []
    await ledger.load()
    await create_stream(core, JOBS)
    await ledger.dispatch([("e1", "1-0", JOB)])
    assert await core.xlen(JOBS) == 1
    await ledger.trim(KEYS.tasks, "1-0")
    await ledger.abandon(["e1"])
    about = await users["admin"].info("server")
    assert await core.hget(KEYS.core, "server") == about["run_id"].encode()


async def test_an_engine_lives_its_whole_life(guarded: EmbeddedServer, users: dict[str, Redis]) -> None:
    """On the link that every worker uses, which asks again for ever if it is refused."""
    engine, admin = EngineLink(url(guarded, "engine"), KEYS, "e1"), users["admin"]
    async with asyncio.timeout(10):
        await engine.register(UP)
        await users["core"].xadd(JOBS, {"a": "job"}, nomkstream=True)
        (entry,) = await engine.jobs(block_ms=100)
        await engine.bury(entry, MessageError("It makes no sense."))
        async with engine.heartbeat(1.0) as heart:
            heart.tell(EngineBeat(engine="e1"))
            while await admin.xlen(JOBS):
                await asyncio.sleep(0.01)
            assert not heart.lost.is_set()
        await engine.leave()
        await engine.aclose()
    assert [await admin.xlen(KEYS.events), await admin.xlen(KEYS.dead)] == [2, 1]


async def test_an_engine_reads_claims_and_publishes(users: dict[str, Redis]) -> None:
    variables, admin = Variables(users["engine"], KEYS), users["admin"]
    await admin.hset(VARIABLE, mapping={"state": "pending", "attempt": "1"})
    event = GenerationDone(engine="e1", variable="v1", attempt=1)
    assert await variables.claim([JOB], "now") == [True]
    assert await Tokens(users["engine"], KEYS).append([(JOB, Part(1, "4", (4,)))]) == [True]
    assert await variables.publish([Publication(JOB, Value("42", (4, 2), "t"), "stop", event, "now")]) == [True]
    assert await variables.values(["v1"]) == [Value("42", (4, 2), "t")]
    assert await Texts(users["engine"], KEYS).get([content_hash("none")]) == [None]
    assert await admin.xlen(NEWS) == 1
    assert len(await StreamReader(users["app"], {KEYS.tokens("v1"): START}).read(block_ms=100)) == 1


@pytest.mark.parametrize("role", ["engine", "flower"])
async def test_celery_works(guarded: EmbeddedServer, users: dict[str, Redis], role: str) -> None:
    """Kombu swallows some refusals and tries again, so the server is asked whether it refused anything."""
    await users["admin"].acl_log_reset()
    heard = await asyncio.to_thread(celery_traffic, url(guarded, role, database=1))
    assert heard[0] == {"an": "event"}
    assert await users["admin"].acl_log() == []


def celery_traffic(broker: str) -> list[dict[str, str]]:
    """A task through a queue, a question to all workers, and an event to all who listen."""
    heard: list[dict[str, str]] = []
    exchange = Exchange("celeryev", type="fanout")
    with Celery(broker=broker) as app, app.connection() as connection, connection.channel() as channel:
        with connection.SimpleQueue("parrot.engine.e1", serializer="json") as queue:
            queue.put({"a": "task"})
            queue.get(timeout=5).ack()
        assert app.control.ping(timeout=0.2, connection=connection) == []
        with Consumer(channel, Queue("celeryev.one", exchange, "#", auto_delete=True), callbacks=[lambda body, _: heard.append(body)]):
            producer = Producer(channel, exchange, routing_key="task.received", serializer="json")
            for _ in range(50):  # what is said before it listens is not heard
                producer.publish({"an": "event"})
                with suppress(TimeoutError):
                    connection.drain_events(timeout=0.1)
                if heard:
                    break
    return heard


EVERYBODY = ["app", "core", "engine", "flower"]
FORBIDDEN: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "reading tasks": (["app", "engine", "flower"], ("XRANGE", KEYS.tasks, "-", "+")),
    "submitting tasks": (["engine", "flower"], ("XADD", KEYS.tasks, "*", "a", "task")),
    "overwriting the tasks": (["app", "engine", "flower"], ("SET", KEYS.tasks, "gone")),
    "deleting the tasks": (["app", "engine", "flower"], ("DEL", KEYS.tasks)),
    "placing a job": (["app", "flower"], ("XADD", JOBS, "*", "a", "job")),
    "reporting an event": (["app", "flower"], ("XADD", KEYS.events, "*", "an", "event")),
    "telling lies": (["app", "flower"], ("XADD", NEWS, "*", "variable", "v1")),
    "forging a value": (["app", "flower"], ("HSET", VARIABLE, "value", "forged")),
    "deleting a variable": (["app", "engine", "flower"], ("DEL", VARIABLE)),
    "reading a variable": (["flower"], ("HGETALL", VARIABLE)),
    "forging a text": (["engine", "flower"], ("SET", KEYS.text("x"), "forged")),
    "reading a session": (["engine", "flower"], ("HGETALL", KEYS.session("s1"))),
    "reading dead letters": (["app", "engine", "flower"], ("XRANGE", KEYS.dead, "-", "+")),
    "taking the lead": (["app", "engine", "flower"], ("HINCRBY", KEYS.core, "epoch", "1")),
    "reading Celery's queue": (["app", "core"], ("LRANGE", "celery", "0", "-1")),
    "running a script": (["app"], ("EVAL", "return 1", "0")),
    "taking the lead in a script": (["engine", "flower"], ("EVAL", "return redis.call('GET', KEYS[1])", "1", KEYS.core)),
    "loading code": (EVERYBODY, ("FUNCTION", "LOAD", "#!lua name=x")),
    "reading settings": (EVERYBODY, ("CONFIG", "GET", "*")),
    "listing users": (EVERYBODY, ("ACL", "LIST")),
    "listing keys": (EVERYBODY, ("KEYS", "*")),
    "disconnecting others": (EVERYBODY, ("CLIENT", "KILL", "TYPE", "normal")),
    "emptying the server": (EVERYBODY, ("FLUSHALL",)),
    "stopping the server": (EVERYBODY, ("SHUTDOWN",)),
}


@pytest.mark.parametrize(("role", "what"), [(role, what) for what, (roles, _) in FORBIDDEN.items() for role in roles])
async def test_the_role_is_refused(users: dict[str, Redis], role: str, what: str) -> None:
    with pytest.raises(NoPermissionError):
        await users[role].execute_command(*FORBIDDEN[what][1])  # type: ignore[no-untyped-call]
