"""Programs for cells whose processes die, and what must be true when they have ended."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from redis.asyncio import Redis

import parrot as P
from parrot.broker.audit import Audit
from parrot.core.check import check
from parrot.wire.keys import Keys
from tests.flow.waiting import until

KEYS = Keys("main")
PATIENCE = 20.0  # seconds for anything that must come


@P.semantic_function()
def step(text: Annotated[str, P.Input], result: Annotated[str, P.Output(P.SamplingConfig(temperature=0, max_gen_length=8))]) -> None:
    """{{text}} goes on: {{result}}"""


@P.semantic_function()
def think(
    text: Annotated[str, P.Input],
    thought: Annotated[str, P.Output(P.SamplingConfig(temperature=0, max_gen_length=6))],
    answer: Annotated[str, P.Output(P.SamplingConfig(temperature=0, max_gen_length=6))],
) -> None:
    """{{text}} Thought: {{thought}} Answer: {{answer}}"""


@P.semantic_function()
def long_step(
    text: Annotated[str, P.Input],
    result: Annotated[str, P.Output(P.SamplingConfig(temperature=0, max_gen_length=400, ignore_tokenizer_eos=True))],
) -> None:
    """{{text}} goes on and on: {{result}}"""


@P.semantic_function()
def long_tale(
    text: Annotated[str, P.Input],
    result: Annotated[str, P.Output(P.SamplingConfig(temperature=0.7, max_gen_length=60, ignore_tokenizer_eos=True))],
) -> None:
    """{{text}} goes on otherwise each time: {{result}}"""


def chain(length: int, start: str = "It") -> list[P.Variable]:
    """A chain of calls in the current session, with a call of two outputs at its end; all variables that calls make."""
    made: list[P.Variable] = []
    for _ in range(length):
        made.append(step(text=made[-1] if made else start))
    return [*made, *think(text=made[-1])]


async def all_values(variables: Iterable[P.Variable], timeout: float = PATIENCE) -> list[str]:
    """The values of variables, all within one time limit."""
    async with asyncio.timeout(timeout):
        return [await variable.aget() for variable in variables]


# What must be true in the end ---------------------------------------------------------------------


async def check_left(redis: Redis, *sessions: tuple[str, Sequence[str]]) -> None:
    """Nothing is under way, every variable was set and told of once, and there is no key that the schema does not ask for.

    Args:
        redis: a client.
        sessions: all that there are: id, and ids of the variables that calls made.
    """

    async def all_ended() -> bool:
        closed = [await redis.hexists(KEYS.session(session), "expires") for session, _ in sessions]
        return all(closed) and not await redis.exists(KEYS.active)

    await until(all_ended, PATIENCE)
    for session, variables in sessions:
        news: Any = await redis.xrange(KEYS.news(session))
        told = Counter(fields[b"variable"].decode() for _, fields in news)
        assert told == Counter(variables)
        states = [await redis.hget(KEYS.variable(name), "state") for name in variables]
        assert states == [b"ready"] * len(variables)
    await until(lambda: _as_expected(redis, sessions), 5)
    await until_it_adds_up(redis)


async def until_it_adds_up(redis: Redis) -> None:
    """The conservation check finds nothing any more."""
    await until(lambda: _adds_up(redis), 5)


async def _adds_up(redis: Redis) -> bool:
    findings = check(KEYS, await Audit(redis, KEYS).read())
    print("findings:", findings)  # shown if they stay
    return not findings


async def _as_expected(redis: Redis, sessions: Sequence[tuple[str, Sequence[str]]]) -> bool:
    found = {key.decode() async for key in redis.scan_iter(count=1000)}
    living = await engines(redis)
    expected = expected_keys(sessions) | {KEYS.engine(name) for name in living} | {KEYS.jobs(name) for name in living}
    perhaps = {KEYS.tokens(name) for _, variables in sessions for name in variables}  # there where a checkpoint was written
    perhaps.add(KEYS.learned)  # there unless all was done while nobody led
    print("left over:", found - expected - perhaps, "missing:", expected - found)
    return found - perhaps == expected


def expected_keys(sessions: Sequence[tuple[str, Sequence[str]]]) -> set[str]:
    """What the schema says is there after programs have ended and before their results expire, but for engines and token streams."""
    permanent = {KEYS.tasks, KEYS.events, KEYS.core, KEYS.leader, KEYS.engines, KEYS.sessions}
    for session, variables in sessions:
        permanent |= {KEYS.session(session), KEYS.calls(session), KEYS.variables(session), KEYS.news(session)}
        permanent |= {KEYS.variable(name) for name in variables}
        permanent |= {KEYS.call(name.rpartition(".")[0]) for name in variables}
    return permanent


# Looking on ---------------------------------------------------------------------------------------


async def epoch(redis: Redis) -> int:
    """How often the lead was taken."""
    return int(await redis.hget(KEYS.core, "epoch") or 0)


async def until_led(redis: Redis, by_epoch: int = 1) -> None:
    """Wait until this many leaders have been there, and the last one has written something."""

    async def led() -> bool:
        return await epoch(redis) >= by_epoch

    await until(led)


async def engines(redis: Redis) -> set[str]:
    """The ids of the engines that are counted on."""
    members: Any = await redis.smembers(KEYS.engines)
    return {raw.decode() for raw in members}


async def until_engines(redis: Redis, count: int = 1) -> set[str]:
    """Wait until so many engines are registered; their ids."""

    async def registered() -> bool:
        return len(await engines(redis)) >= count

    await until(registered)
    return await engines(redis)


async def until_state(redis: Redis, variable: str, *states: str) -> None:
    """Wait until a variable is in one of these states."""

    async def is_so() -> bool:
        raw: Any = await redis.hget(KEYS.variable(variable), "state")
        return raw is not None and raw.decode() in states

    await until(is_so)
