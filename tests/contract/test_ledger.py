"""ServeCore's state: all of a batch or nothing, by the leader alone, and jobs once."""

from __future__ import annotations

import asyncio
from hashlib import sha1

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError
from structlog.testing import capture_logs

from parrot.broker.ledger import Lead, Ledger
from parrot.broker.scripts import script
from parrot.broker.streams import create_stream
from parrot.errors import BrokerUnavailable, NotLeader
from parrot.wire.keys import Keys
from parrot.wire.states import VariableState
from parrot.wire.to_core import CloseSession, tasks
from parrot.wire.to_engine import Job
from parrot.wire.to_ledger import answer, end, move, put, unless

KEYS = Keys("test")
CURSORS = {KEYS.tasks: "5-0", KEYS.events: "7-1"}
NEWS = KEYS.news("s")


@pytest.fixture
async def ledger(redis: Redis) -> Ledger:
    ledger = Ledger(redis, KEYS)
    await lead(ledger)
    return ledger


async def lead(ledger: Ledger, lease: float = 0.001) -> Lead:
    """Take the lead as soon as it is free, under a lease that is over at once."""
    while not isinstance(found := await ledger.lead("me", lease), Lead):
        await asyncio.sleep(found)
    return found


async def test_a_new_leader_starts_at_the_beginning(redis: Redis) -> None:
    found = await lead(Ledger(redis, KEYS))
    assert (found.epoch, found.batches, set(found.cursors.values())) == (1, 0, {"0-0"})


async def test_a_batch_writes_state_and_cursors_together(ledger: Ledger, redis: Redis) -> None:
    await ledger.commit(CURSORS, 3, [put("{test}:k", {"a": "1", "b": "2"}), ("SADD", "{test}:s", "x")])
    assert await redis.hgetall("{test}:k") == {b"a": b"1", b"b": b"2"}
    found = await lead(Ledger(redis, KEYS))
    assert (found.epoch, found.batches, found.cursors) == (2, 3, CURSORS)


async def test_a_batch_that_comes_again_since_its_answer_was_lost_is_written_once(ledger: Ledger, redis: Redis) -> None:
    for _ in range(2):
        ledger._batches = 0  # as if no answer had come
        assert await ledger.commit(CURSORS, 1, [("RPUSH", "{test}:l", "x")]) == []
    assert await redis.lrange("{test}:l", 0, -1) == [b"x"]


async def test_a_server_that_lost_a_batch_is_noticed_and_takes_no_more_from_this_lead(ledger: Ledger, redis: Redis) -> None:
    await ledger.commit(CURSORS, 1, [])
    await ledger.commit(CURSORS, 2, [])
    await redis.hset(KEYS.core, "batches", "1")
    with pytest.raises(BrokerUnavailable, match="has lost what it had acknowledged"):
        await ledger.commit(CURSORS, 3, [put("{test}:k", {"a": "1"})])
    assert await redis.exists("{test}:k") == 0
    for _ in range(2):  # until what follows from that is written
        assert (await lead(ledger)).forgetful
    await ledger.commit(CURSORS, 4, [])
    assert not (await lead(ledger)).forgetful


async def restart(redis: Redis) -> None:
    """As far as a leader can see."""
    await redis.hset(KEYS.core, "server", "another")


async def test_a_new_process_trusts_no_server_that_was_restarted_since_the_lead_was_taken(real_redis: Redis) -> None:
    await lead(Ledger(real_redis, KEYS))
    assert not (await lead(Ledger(real_redis, KEYS))).forgetful
    about = await real_redis.info("server")
    assert await real_redis.hget(KEYS.core, "server") == about["run_id"].encode()
    await restart(real_redis)
    for _ in range(2):  # the first one dies before it has written anything
        ledger = Ledger(real_redis, KEYS)
        assert (await lead(ledger)).forgetful
    assert (await lead(ledger)).forgetful, "nor has it written anything when it leads again"
    await ledger.commit(CURSORS, 1, [])
    assert not (await lead(Ledger(real_redis, KEYS))).forgetful


async def test_whoever_led_last_and_finds_its_last_batch_again_trusts_a_server_that_was_restarted(real_redis: Redis) -> None:
    ledger = Ledger(real_redis, KEYS)
    await lead(ledger)
    await ledger.commit(CURSORS, 1, [])
    await restart(real_redis)
    assert not (await lead(ledger)).forgetful
    await restart(real_redis)
    ledger._batches = 0  # as if no answer had come
    assert not (await lead(ledger)).forgetful
    await restart(real_redis)
    await real_redis.hset(KEYS.core, "batches", "0")
    assert (await lead(ledger)).forgetful


@pytest.mark.parametrize("how", ["at a commit", "standing by"])
async def test_whoever_saw_that_another_led_trusts_no_server_that_was_restarted_since_though_it_looks_as_it_left_it(
    real_redis: Redis, how: str
) -> None:
    ledger, other = Ledger(real_redis, KEYS), Ledger(real_redis, KEYS)
    mine = await lead(ledger)
    await lead(other, 0.05)
    if how == "at a commit":
        with pytest.raises(NotLeader):
            await ledger.commit(CURSORS, 1, [])
    else:
        assert isinstance(await ledger.lead("me", 1), float)
    await restart(real_redis)
    await real_redis.hset(KEYS.core, "epoch", str(mine.epoch))  # the other's lead is lost
    assert (await lead(ledger)).forgetful


async def test_a_server_that_does_not_say_which_run_it_is_can_be_led_on(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    source = script("lead").source.replace("'INFO'", "'NOINFO'")
    monkeypatch.setattr(script("lead"), "source", source)
    monkeypatch.setattr(script("lead"), "digest", sha1(source.encode(), usedforsecurity=False).hexdigest())
    ledger = Ledger(redis, KEYS)
    assert [(await lead(ledger)).forgetful, (await lead(Ledger(redis, KEYS))).forgetful] == [False, False]


async def test_a_leader_on_another_run_of_the_server_gets_behind_the_tasks_that_were_lost(real_redis: Redis) -> None:
    ledger = Ledger(real_redis, KEYS)
    assert not (await lead(ledger)).restarted
    await restart(real_redis)
    assert (await lead(ledger)).restarted
    await ledger.move_on()
    ((_, fields),) = await real_redis.xrange(KEYS.tasks)
    assert isinstance(tasks.decode(fields), CloseSession)


async def test_a_leader_that_was_replaced_can_write_nothing(ledger: Ledger, redis: Redis) -> None:
    await lead(Ledger(redis, KEYS))
    with pytest.raises(NotLeader, match="Another ServeCore leads"):
        await ledger.commit(CURSORS, 1, [put("{test}:k", {"a": "1"})])
    assert await redis.exists("{test}:k") == 0
    assert await redis.hget(KEYS.core, "batches") is None


@pytest.mark.parametrize("many", [3_997, 3_998, 3_999, 20_000])
async def test_an_operation_may_be_about_more_than_lua_can_pass_on(many: int, ledger: Ledger, redis: Redis) -> None:
    fields = {f"f{number}": str(number) for number in range(many)}
    await ledger.commit(CURSORS, 1, [put("{test}:k", fields)])
    assert await redis.hgetall("{test}:k") == {name.encode(): value.encode() for name, value in fields.items()}
    await ledger.commit(CURSORS, 2, [("HDEL", "{test}:k", *fields), ("SADD", "{test}:s", "x")])
    assert await redis.keys("{test}:*") == [b"{test}:s"]


async def test_a_variable_that_has_ended_is_not_moved_or_ended_again(ledger: Ledger, redis: Redis) -> None:
    await redis.hset("{test}:v", mapping={"state": "ready", "value": "x"})
    operations = [
        put("{test}:k", {"a": "1"}),
        move("{test}:v", {"state": "pending"}),
        end("{test}:v", NEWS, "v", VariableState.FAILED, {"error": "no"}),
    ]
    assert await ledger.commit(CURSORS, 1, operations) == [1, 2]
    assert await redis.hgetall("{test}:v") == {b"state": b"ready", b"value": b"x"}
    assert await redis.exists(NEWS) == 0


async def test_ending_a_variable_tells_its_session(ledger: Ledger, redis: Redis) -> None:
    await ledger.commit(CURSORS, 1, [end("{test}:v", NEWS, "v", VariableState.READY, {"value": "x"})])
    assert await redis.hgetall("{test}:v") == {b"state": b"ready", b"value": b"x"}
    ((_, fields),) = await redis.xrange(NEWS)
    assert fields == {b"variable": b"v", b"state": b"ready"}


async def test_a_batch_of_thousands_of_operations_is_one_commit(ledger: Ledger, redis: Redis) -> None:
    await ledger.commit(CURSORS, 1, [put(f"{{test}}:{i}", {"a": "1"}) for i in range(5_000)])
    assert len(await redis.keys("{test}:*")) == 5_000


async def test_a_key_of_the_wrong_type_stops_no_other_operation(ledger: Ledger, redis: Redis) -> None:
    wrong = "{test}:wrong"
    await redis.set(wrong, "made by an operator")
    operations = [
        put(wrong, {"a": "1"}),
        move(wrong, {"a": "1"}),
        end(wrong, NEWS, "v", VariableState.FAILED, {"a": "1"}),
        answer("{test}:w", wrong, KEYS.session("s"), "w", "60", {"state": "failed"}),
        unless(wrong, "value", "x", ("SADD", "{test}:s", "x")),
        ("SADD", wrong, "x"),
        put("{test}:k", {"a": "1"}),
    ]
    with capture_logs() as logs:
        assert await ledger.commit(CURSORS, 1, operations) == []
    assert [(entry["operation"], entry["key"]) for entry in logs] == [(operation[0], operation[1]) for operation in operations[:-1]]
    assert await redis.get(wrong) == b"made by an operator"
    assert await redis.hgetall("{test}:k") == {b"a": b"1"}
    assert (await lead(Ledger(redis, KEYS))).batches == 1


async def test_any_other_error_of_an_operation_is_raised(ledger: Ledger) -> None:
    with pytest.raises(ResponseError, match=r"(?i)command"):
        await ledger.commit(CURSORS, 1, [("NONSENSE", "{test}:k")])


async def test_what_is_no_hash_is_loaded_as_if_it_were_not_there(ledger: Ledger, redis: Redis) -> None:
    await redis.sadd(KEYS.engines, "e1", "e2")
    await redis.hset(KEYS.engine("e1"), "about", "it")
    await redis.set(KEYS.engine("e2"), "made by an operator")
    assert (await ledger.load()).engines == {"e1": {"about": "it"}}


async def test_an_operation_is_carried_out_unless_a_field_has_that_value(ledger: Ledger, redis: Redis) -> None:
    await redis.hset("{test}:v", "value", "🦜 1")
    said = [unless("{test}:v", "value", value, ("RPUSH", "{test}:l", value)) for value in ("🦜 1", "🦜 2")]
    absent = unless("{test}:none", "value", "x", ("RPUSH", "{test}:l", "x"))
    assert await ledger.commit(CURSORS, 1, [*said, absent]) == []
    assert await redis.lrange("{test}:l", 0, -1) == ["🦜 2".encode(), b"x"]


async def test_a_script_that_the_server_forgot_is_sent_again(ledger: Ledger, redis: Redis) -> None:
    await ledger.commit(CURSORS, 1, [])
    await redis.script_flush()
    assert await ledger.commit(CURSORS, 2, [put("{test}:k", {"a": "1"})]) == []


def job(name: str) -> Job:
    return Job(variable=name, attempt=1, session="s", call="a", function="f", output="x", prompt=[])


async def test_a_job_that_is_sent_twice_arrives_once_even_after_it_was_read_and_trimmed(ledger: Ledger, redis: Redis) -> None:
    await create_stream(redis, KEYS.jobs("e"))
    await ledger.commit(CURSORS, 2, [])
    await ledger.dispatch([("e", "1-0", job("a")), ("e", "1-1", job("b"))])
    await ledger.dispatch([("e", "1-0", job("a")), ("e", "1-1", job("b")), ("e", "2-0", job("c"))])
    assert await redis.xlen(KEYS.jobs("e")) == 3
    await redis.xtrim(KEYS.jobs("e"), maxlen=0, approximate=False)
    await ledger.dispatch([("e", "2-0", job("c"))])
    assert await redis.xlen(KEYS.jobs("e")) == 0


async def test_an_engine_whose_job_stream_a_stranger_has_written_to_is_reported(ledger: Ledger, redis: Redis) -> None:
    for engine in ("e", "other"):
        await create_stream(redis, KEYS.jobs(engine))
    await redis.xadd(KEYS.jobs("e"), {"not": "a job"})
    await redis.set(KEYS.jobs("third"), "not even a stream")
    await ledger.commit(CURSORS, 1, [])
    assert await ledger.dispatch([("e", "1-0", job("a")), ("other", "1-1", job("b")), ("third", "1-2", job("c"))]) == ["e", "third"]
    assert (await redis.xlen(KEYS.jobs("e")), await redis.xlen(KEYS.jobs("other"))) == (1, 1)


async def test_an_answer_makes_a_failed_variable_that_expires_and_tells_its_session(ledger: Ledger, redis: Redis) -> None:
    said = answer("{test}:v", NEWS, KEYS.session("s"), "v", "60", {"state": "failed", "error": "no"})
    await ledger.commit(CURSORS, 1, [said, said])
    assert await redis.hgetall("{test}:v") == {b"state": b"failed", b"error": b"no"}
    ((_, fields),) = await redis.xrange(NEWS)
    assert fields == {b"variable": b"v", b"state": b"failed"}
    assert 0 < await redis.ttl("{test}:v") <= 60
    assert 0 < await redis.ttl(NEWS) <= 60


async def test_an_answer_changes_no_variable_that_exists_and_lets_the_news_of_a_living_session_live(ledger: Ledger, redis: Redis) -> None:
    await redis.hset("{test}:v", mapping={"state": "empty"})
    await redis.hset(KEYS.session("s"), mapping={"state": "open"})
    for number, name in enumerate(("v", "w"), 1):
        await ledger.commit(CURSORS, number, [answer(f"{{test}}:{name}", NEWS, KEYS.session("s"), name, "60", {"state": "failed"})])
    assert await redis.hgetall("{test}:v") == {b"state": b"empty"}
    assert await redis.ttl("{test}:v") == -1
    assert await redis.xlen(NEWS) == 1
    assert await redis.ttl(NEWS) == -1


async def test_a_job_for_an_engine_that_has_left_makes_no_key(ledger: Ledger, redis: Redis) -> None:
    await create_stream(redis, KEYS.jobs("e"))
    await ledger.abandon(["e"])
    await ledger.dispatch([("e", "1-0", job("a"))])
    assert await redis.exists(KEYS.jobs("e")) == 0


async def test_a_created_stream_is_empty_and_creating_it_again_does_no_harm(redis: Redis) -> None:
    for _ in range(2):
        await create_stream(redis, "{test}:stream")
    assert await redis.xlen("{test}:stream") == 0
    assert await redis.exists("{test}:stream") == 1


async def test_there_is_no_second_leader_while_the_lease_runs(redis: Redis) -> None:
    assert isinstance(await Ledger(redis, KEYS).lead("first", 60), Lead)
    left = await Ledger(redis, KEYS).lead("second", 60)
    assert isinstance(left, float)
    assert 50 < left <= 60
    assert await redis.hget(KEYS.core, "leader") == b"first"


@pytest.mark.parametrize("key", [KEYS.sessions, KEYS.calls("s"), KEYS.variables("s"), KEYS.active, KEYS.engines, KEYS.learned])
async def test_a_list_that_somebody_replaced_counts_as_empty_and_is_named(ledger: Ledger, redis: Redis, key: str) -> None:
    listed = [("ZADD", KEYS.sessions, "1", "s"), ("RPUSH", KEYS.calls("s"), "c"), ("RPUSH", KEYS.variables("s"), "v")]
    await ledger.commit(
        CURSORS, 1, [*listed, ("SADD", KEYS.active, "c"), ("SADD", KEYS.engines, "e"), put(KEYS.session("s"), {"name": "n"})]
    )
    await redis.set(key, "odd")
    with capture_logs() as said:
        found = await ledger.load()
    assert [(line["key"], line["remedy"]) for line in said] == [(key, "delete the key")]
    assert (list(found.active) == []) == (key == KEYS.active)
    assert (found.sessions == {}) == (key == KEYS.sessions)
    assert found.variables.get("s") == {KEYS.sessions: None, KEYS.variables("s"): []}.get(key, ["v"])


async def test_what_was_learned_is_read_whatever_somebody_put_there(ledger: Ledger, redis: Redis) -> None:
    await ledger.commit(CURSORS, 1, [put(KEYS.learned, {"length:f.x": "{}", "speed:m": "{}"}), ("HDEL", KEYS.learned, "speed:m")])
    await redis.hset(KEYS.learned, b"\xff", b"\xfe")
    assert (await ledger.load()).learned == {"length:f.x": "{}", "\ufffd": "\ufffd"}


async def test_what_was_read_before_the_lead_was_free_is_used_if_nothing_was_written_since(ledger: Ledger, redis: Redis) -> None:
    call = put(KEYS.call("c"), {"request": "{}"})
    await ledger.commit(
        CURSORS, 1, [("SADD", KEYS.active, "c"), call, ("SADD", KEYS.engines, "e1"), put(KEYS.engine("e1"), {"about": "it"})]
    )
    successor = Ledger(redis, KEYS)
    foreseen = await successor.foresee()
    await lead(successor)
    found = await successor.load(foreseen)
    assert found is foreseen
    assert found.active["c"]["request"] == "{}"
    assert found.engines == {"e1": {"about": "it"}}


async def test_variables_that_engines_were_given_are_read_again(ledger: Ledger, redis: Redis) -> None:
    made = {"given": {"state": "pending", "attempt": "1"}, "waiting": {"state": "pending", "attempt": "0"}}
    lists = [("RPUSH", KEYS.variables("s"), name) for name in made]
    records = [put(KEYS.variable(name), record) for name, record in made.items()]
    await ledger.commit(CURSORS, 1, [("ZADD", KEYS.sessions, "1", "s"), put(KEYS.session("s"), {"name": "s"}), *lists, *records])
    successor = Ledger(redis, KEYS)
    foreseen = await successor.foresee()
    await redis.hset(KEYS.variable("given"), "state", "ready")
    await lead(successor)
    states = {name: record["state"] for name, record in (await successor.load(foreseen)).variable.items()}
    assert states == {"given": "ready", "waiting": "pending"}


async def test_what_was_read_before_the_last_batch_is_read_again(ledger: Ledger, redis: Redis) -> None:
    successor = Ledger(redis, KEYS)
    foreseen = await successor.foresee()
    await ledger.commit(CURSORS, 1, [("SADD", KEYS.active, "c"), put(KEYS.call("c"), {"request": "{}"})])
    await lead(successor)
    assert "c" in (await successor.load(foreseen)).active
