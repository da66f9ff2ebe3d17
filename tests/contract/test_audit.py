"""What `parrot doctor` reads is all that is there, and nothing of other cells."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from parrot.broker.audit import Audit, Holdings
from parrot.broker.ledger import Lead, Ledger
from parrot.broker.streams import create_stream
from parrot.core.check import check
from parrot.wire.keys import Keys
from parrot.wire.to_core import CancelSession
from tests.unit.core.cell import KEYS, Cell, call, engine_up, open_session, text


@pytest.fixture
async def cell(redis: Redis) -> Cell:
    """A cell at work, committed to Redis."""
    cell = Cell()
    ledger = Ledger(redis, KEYS)
    lead = await ledger.lead("test", 60)
    assert isinstance(lead, Lead)
    calls = (call("a", "A: {{x}}"), call("b", "{{i}} B: {{x}}", i="a.x"), call("c", "{{i}} C: {{x}}", i="v"))
    batch = cell.tell(open_session(), engine_up(), text("v"), *calls)
    await create_stream(redis, KEYS.jobs("e1"))
    await ledger.commit(lead.cursors, batch.number, batch.operations)
    await ledger.dispatch(batch.orders)
    batch = cell.tell(open_session("over"), CancelSession(session="over"))
    await ledger.commit(lead.cursors, batch.number, batch.operations)
    return cell


async def read(redis: Redis) -> Holdings:
    return await Audit(redis, KEYS).read()


@pytest.mark.usefixtures("cell")
async def test_a_cell_at_work_is_read_whole_and_is_well(redis: Redis) -> None:
    held = await read(redis)
    assert check(KEYS, held) == []
    assert held.calls == {"s": ["a", "b", "c"], "over": []}
    assert held.active == {"a", "b", "c"}
    assert held.variable["v"]["value"] == ""
    assert held.variable["a.x"]["engine"] == "e1"
    assert held.lives[KEYS.session("s")] is None
    assert held.lives[KEYS.session("over")] == 3600


@pytest.mark.usefixtures("cell")
async def test_what_was_lost_or_left_over_in_redis_is_found(redis: Redis) -> None:
    await redis.srem(KEYS.active, "a")
    await redis.hdel(KEYS.variable("v"), "value")
    await redis.delete(KEYS.jobs("e1"))
    await redis.set(f"{KEYS.prefix}odd", 1)
    findings = check(KEYS, await read(redis))
    lost = ("call a is placed and is not in the set", "v is ready and has no value", "e1 is registered and has no job stream")
    for said in (*lost, "odd belongs to"):
        assert any(said in finding for finding in findings)


@pytest.mark.usefixtures("cell")
async def test_engines_of_other_cells_are_left_alone(redis: Redis) -> None:
    await create_stream(redis, KEYS.jobs("other"))
    assert any("parrot:{other}:jobs belongs to no registered engine" in finding for finding in check(KEYS, await read(redis)))
    await redis.sadd(Keys("elsewhere").engines, "other")
    assert check(KEYS, await read(redis)) == []


SCHEMA = {
    **dict.fromkeys((KEYS.tasks, KEYS.events, KEYS.dead, KEYS.jobs("e1"), KEYS.news("s"), KEYS.tokens("a.x")), "stream"),
    **dict.fromkeys((KEYS.core, KEYS.learned, KEYS.engine("e1"), KEYS.session("s"), KEYS.call("a"), KEYS.variable("a.x")), "hash"),
    **dict.fromkeys((KEYS.calls("s"), KEYS.variables("s")), "list"),
    **dict.fromkeys((KEYS.engines, KEYS.active), "set"),
    KEYS.sessions: "zset",
    KEYS.leader: "string",
    KEYS.text("00ff"): "string",
}


@pytest.mark.usefixtures("cell")
@pytest.mark.parametrize("key", SCHEMA)
async def test_a_key_of_the_wrong_type_is_named_and_everything_else_is_looked_at(redis: Redis, key: str) -> None:
    found = "string" if SCHEMA[key] == "hash" else "hash"
    await redis.delete(key)
    await (redis.set(key, "odd") if found == "string" else redis.hset(key, "odd", "1"))
    await redis.set(f"{KEYS.prefix}odd", 1)
    findings = check(KEYS, await read(redis))
    belongs = f"The key {key} is a {found} where a {SCHEMA[key]} belongs"
    assert [finding.split(";")[0] for finding in findings if " where a " in finding] == [belongs]
    assert any("odd belongs to nothing" in finding for finding in findings)


def test_of_keys_that_are_not_in_the_schema_no_type_is_known() -> None:
    assert [KEYS.type_of(key) for key in ("celery", f"{KEYS.prefix}odd", f"{KEYS.prefix}odd:x", KEYS.call("c:odd"))] == [None] * 4


async def test_an_empty_server_is_well(redis: Redis) -> None:
    assert check(KEYS, await read(redis)) == []
