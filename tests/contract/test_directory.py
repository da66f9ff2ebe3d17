"""What `parrot ls` and `parrot show` read."""

import pytest
from redis.asyncio import Redis

from parrot.broker.cancelling import Cancelling
from parrot.broker.directory import Directory
from parrot.broker.entries import ArgumentEntry, DecisionEntry
from parrot.errors import SessionError
from parrot.template import Segment
from parrot.wire.keys import Keys
from parrot.wire.to_core import Argument, Output, SubmitCall

KEYS = Keys("main")


@pytest.fixture
async def directory(redis: Redis) -> Directory:
    await redis.zadd(KEYS.sessions, {"alpha-1": 1, "alpha-2": 2, "beta-1": 3})
    for session, name in (("alpha-1", "alpha"), ("alpha-2", "alpha"), ("beta-1", "beta")):
        await redis.hset(KEYS.session(session), mapping={"name": name, "state": "open", "labels": '{"run":"7"}'})
    request = SubmitCall(
        session="alpha-1",
        call="c1",
        function="summarize",
        template=[Segment("slot", "text"), Segment("slot", "summary")],
        arguments={"text": Argument(text="Some text.")},
        outputs={"summary": Output(variable="v1")},
    )
    await redis.rpush(KEYS.calls("alpha-1"), "c1", "c2")
    await redis.hset(
        KEYS.call("c1"), mapping={"function": "summarize", "state": "done", "request": request.model_dump_json(exclude_defaults=True)}
    )
    await redis.hset(KEYS.call("c2"), mapping={"function": "combine", "state": "failed"})
    await redis.rpush(KEYS.variables("alpha-1"), "v1")
    await redis.hset(
        KEYS.variable("v1"), mapping={"name": "summary", "state": "ready", "value": "Short.", "seconds": "1.5", "tokens": b"\xff\x01"}
    )
    return Directory(redis, KEYS)


async def test_sessions_come_newest_first_with_the_count_of_their_calls(directory):
    found = await directory.sessions()
    assert [session.id for session in found] == ["beta-1", "alpha-2", "alpha-1"]
    assert (found[2].calls, found[2].done, found[2].failed) == (2, 1, 1)
    assert found[2].labels == {"run": "7"}
    assert [session.id for session in await directory.sessions(last=1)] == ["beta-1"]


async def test_a_session_whose_results_have_expired_is_left_out(directory, redis):
    await redis.delete(KEYS.session("beta-1"))
    assert [session.id for session in await directory.sessions()] == ["alpha-2", "alpha-1"]


async def test_a_program_shows_calls_with_their_arguments_and_variables(directory):
    program = await directory.program("alpha-1")
    assert [call.function for call in program.calls] == ["summarize", "combine"]
    assert program.calls[0].arguments == {"text": ArgumentEntry(text="Some text.")}
    assert program.calls[0].outputs == {"summary": "v1"}
    assert (program.variables[0].value, program.variables[0].seconds) == ("Short.", 1.5)


async def test_fields_that_were_never_written_are_empty(directory):
    program = await directory.program("alpha-1")
    assert (program.calls[1].outputs, program.calls[1].ended, program.variables[0].engine) == ({}, "", "")


async def test_a_session_is_found_by_id_by_its_beginning_and_by_name(directory):
    assert await directory.find("alpha-1") == "alpha-1"
    assert await directory.find("bet") == "beta-1"
    assert await directory.find("alpha") == "alpha-2"  # the newest of that name


async def test_an_ambiguous_beginning_names_the_candidates(directory):
    with pytest.raises(SessionError, match="2 sessions begin with 'alp': alpha-2, alpha-1"):
        await directory.find("alp")


async def test_a_session_that_is_not_there_is_an_error(directory):
    with pytest.raises(SessionError, match="No session has the id or the name 'gamma'"):
        await directory.find("gamma")
    with pytest.raises(SessionError, match="not there"):
        await directory.program("gamma")


async def test_a_call_is_found_by_id_by_its_beginning_and_by_its_function(directory, redis):
    await redis.rpush(KEYS.calls("beta-1"), "early", "late", "later")
    for call, submitted in (
        ("early", "2026-01-01T00:00:00.000Z"),
        ("late", "2026-01-01T00:00:01.000Z"),
        ("later", "2026-01-01T00:00:01.000Z"),
    ):
        await redis.hset(KEYS.call(call), mapping={"function": "combine", "submitted": submitted})
    assert await directory.find_call("c2") == "c2"
    assert await directory.find_call("ear") == "early"
    assert await directory.find_call("late") == "late"  # the whole id, though another begins so
    assert await directory.find_call("summarize") == "c1"
    assert await directory.find_call("combine") == "later"  # the latest; of two at the same time, the one that came later


async def test_the_latest_call_of_a_function_may_be_of_an_older_session(directory, redis):
    await redis.rpush(KEYS.calls("beta-1"), "x1")
    await redis.hset(KEYS.call("x1"), mapping={"function": "combine", "submitted": "2026-01-01T00:00:00.000Z"})
    await redis.hset(KEYS.call("c2"), "submitted", "2026-01-01T00:00:09.000Z")
    assert await directory.find_call("combine") == "c2"


async def test_an_ambiguous_beginning_of_a_call_names_the_candidates(directory):
    with pytest.raises(SessionError, match=r"2 calls begin with 'c': c2, c1\. Write more of the id"):
        await directory.find_call("c")


async def test_a_call_that_is_not_there_is_an_error(directory):
    with pytest.raises(SessionError, match="No call has the id 'paint'"):
        await directory.find_call("paint")
    with pytest.raises(SessionError, match="not there"):
        await directory.call("paint")


async def test_a_call_shows_what_was_decided_for_it_with_the_variables_around_it(directory, redis):
    request = SubmitCall(
        session="alpha-1",
        call="c3",
        function="retell",
        template=[
            Segment("slot", "who"),
            Segment("slot", "first"),
            Segment("slot", "text"),
            Segment("slot", "who"),
            Segment("slot", "then"),
        ],
        arguments={"who": Argument(text="Ann"), "text": Argument(variable="v1")},
        outputs={"then": Output(variable="c3.then"), "first": Output(variable="c3.first")},
    )
    decided = {
        "objective": "group",
        "group": "c9",
        "slack": "-0.250",
        "way": "3.500",
        "prefix_expected": "64",
        "engine": "e-1",
        "runner_up": "e-2",
        "why": "least",
    }
    await redis.hset(KEYS.call("c3"), mapping={"session": "alpha-1", "request": request.model_dump_json(exclude_unset=True), **decided})
    times = {"ready": "2026-01-01T00:00:00.000Z", "placed": "2026-01-01T00:00:01.000Z", "first_token": "0.125"}
    await redis.hset(KEYS.variable("c3.first"), mapping=times)
    record = await directory.call("c3")
    assert record.call.session == "alpha-1"
    assert record.call.needs == {"first": ["who"], "then": ["who", "first", "text"]}
    assert record.call.decision == DecisionEntry("group", "c9", -0.25, 3.5, 64, None, "e-1", "e-2", "least")
    assert list(record.variables) == ["v1", "c3.first"]  # c3.then is not there
    first = record.variables["c3.first"]
    assert (first.ready, first.placed, first.first_token) == ("2026-01-01T00:00:00.000Z", "2026-01-01T00:00:01.000Z", 0.125)


async def test_a_call_of_which_nothing_was_decided_says_so(directory):
    record = await directory.call("c2")
    assert (record.call.decision, record.call.needs, record.variables) == (DecisionEntry(), {}, {})


async def test_engines_are_listed_by_name(directory, redis):
    await redis.sadd(KEYS.engines, "b-2", "a-1", "gone")
    await redis.hset(KEYS.engine("b-2"), mapping={"name": "b", "pid": "12", "kv_used": "0.5", "state": "up"})
    await redis.hset(KEYS.engine("a-1"), mapping={"name": "a"})
    found = await directory.engines()
    assert [(engine.id, engine.pid, engine.kv_used) for engine in found] == [("a-1", 0, 0.0), ("b-2", 12, 0.5)]


async def test_nothing_means_nothing(directory):
    with pytest.raises(SessionError, match="No session has the id or the name"):
        await directory.find("")
    with pytest.raises(SessionError, match="No call has the id"):
        await directory.find_call("")


@pytest.mark.parametrize("wanted", ["", "b", "bet"])
async def test_a_slip_of_few_letters_cancels_nothing(directory, redis, wanted):
    with pytest.raises(SessionError, match="No session has the id or the name"):
        await Cancelling(redis, KEYS).cancel(wanted)
    assert await Cancelling(redis, KEYS).cancel("beta") == "session beta-1"
