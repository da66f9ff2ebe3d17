"""An app dies: what was acknowledged to it goes on without it, and nothing is there by halves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from redis.asyncio import Redis

from parrot.broker.directory import Directory
from parrot.wire.states import CallState, VariableState
from tests.fault.faulty_app import Point, submit_and_die, submit_and_wait, submit_for_ever
from tests.fault.processes import core, engine, process
from tests.fault.programs import KEYS, check_left, until_engines, until_state
from tests.flow.waiting import until

CELL = {"idle_seconds": 1, "result_seconds": 600}  # sessions of the dead are closed soon


@pytest.mark.parametrize("moment", ["while its calls wait", "mid-generation", "while idle"])
async def test_the_program_of_an_app_that_was_killed_ends_and_can_be_read_elsewhere(
    moment: str, redis_url: str, real_redis: Redis, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    app = process(submit_and_wait, notes, 10, environment={"PARROT_REDIS_URL": redis_url}, log=tmp_path / "app.log")
    with core(redis_url, tmp_path / "core.log", **CELL), engine(redis_url, tmp_path / "engine.log"):
        await until_engines(real_redis)
        with app as victim:
            await until(lambda: _written(notes))
            session, *variables = notes.read_text().split()
            if moment == "mid-generation":
                await until_state(real_redis, variables[-1], "generating")
            elif moment == "while idle":
                for name in variables:
                    await until_state(real_redis, name, "ready")
            victim.kill()
        await check_left(real_redis, (session, variables))
        program = await Directory(real_redis, KEYS).program(session)  # as anybody can read it
        assert all(variable.value for variable in program.variables)
        assert {call.state for call in program.calls} == {CallState.DONE}


async def _written(notes: Path) -> bool:
    return notes.exists() and len(notes.read_text().split()) > 1


async def test_an_app_that_is_killed_while_it_submits_leaves_whole_calls_and_all_that_were_acknowledged(
    redis_url: str, real_redis: Redis, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    app = process(submit_for_ever, notes, environment={"PARROT_REDIS_URL": redis_url}, log=tmp_path / "app.log")
    with core(redis_url, tmp_path / "core.log", **CELL), engine(redis_url, tmp_path / "engine.log", simulated_speed=0):
        await until_engines(real_redis)
        with app as victim:
            await until(lambda: _written(notes))
            await asyncio.sleep(0.3)
            victim.kill()
        await _check_whole(real_redis, notes, most_unknown=1)


@pytest.mark.parametrize("point", ["before it is sent", "after it was sent"])
async def test_an_app_that_dies_at_a_submission_has_made_it_or_not(point: Point, redis_url: str, real_redis: Redis, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    app = process(submit_and_die, notes, point, environment={"PARROT_REDIS_URL": redis_url}, log=tmp_path / "app.log")
    with core(redis_url, tmp_path / "core.log", **CELL), engine(redis_url, tmp_path / "engine.log"):
        await until_engines(real_redis)
        with app as victim:
            await victim.died()
        unknown = await _check_whole(real_redis, notes, most_unknown=1)
        assert unknown == (0 if point == "before it is sent" else 1)


async def _check_whole(redis: Redis, notes: Path, most_unknown: int) -> int:
    """Every acknowledged call has ended, every call that is there has all its outputs; how many the app was not told of."""
    session, *acknowledged = notes.read_text().rpartition("\n")[0].split()

    async def closed() -> bool:
        return bool(await redis.hexists(KEYS.session(session), "expires"))

    await until(closed)
    program = await Directory(redis, KEYS).program(session)
    made = [variable for call in program.calls for variable in call.outputs.values()]
    assert set(acknowledged) <= set(made)
    assert {variable.id for variable in program.variables} == set(made)
    assert {variable.state for variable in program.variables} == {VariableState.READY}
    unknown = len(program.calls) - len(acknowledged) // 2
    assert unknown <= most_unknown
    await check_left(redis, (session, made))
    return unknown
