"""Variables as engines and apps see them: claim, publish, read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
from redis.asyncio import Redis

from parrot.broker.scripts import Invocation, run, script
from parrot.wire.codec import VERSION, encode
from parrot.wire.keys import Keys
from parrot.wire.states import VariableState
from parrot.wire.to_core import GenerationDone
from parrot.wire.to_engine import Job


@dataclass(frozen=True, slots=True)
class Value:
    """The value of a ready variable.

    Attributes:
        text: what people and apps see.
        tokens: the ids that a model generated, or None if the text came from elsewhere.
        tokenizer: the tokenizer that `tokens` belong to, or an empty name.
        call: the call that made it, or an empty id.
    """

    text: str
    tokens: tuple[int, ...] | None = None
    tokenizer: str = ""
    call: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where a variable stands.

    Attributes:
        state: its state, or None if there is no such variable (any more).
        text: its value, if it is ready.
        error_code, error: why it failed, if it did.
    """

    state: VariableState | None
    text: str | None = None
    error_code: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Publication:
    """A finished generation, ready to be published."""

    job: Job
    value: Value
    finish_reason: str
    event: GenerationDone
    ended: str


class Variables:
    """Access to the variables of one cell.

    Args:
        redis: a client.
        keys: the cell's names.
    """

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def claim(self, jobs: Sequence[Job], now: str) -> list[bool]:
        """Start attempts; False where the attempt is no longer the current one and the job must be dropped."""
        claim = script("claim")
        answers = await run(self._redis, *(Invocation(claim, [self._keys.variable(job.variable)], [job.attempt, now]) for job in jobs))
        return [answer == 1 for answer in answers]

    async def publish(self, publications: Sequence[Publication]) -> list[bool]:
        """Set variables, each once; False where this attempt may not (any more) and nothing was changed."""
        return [answer == 1 for answer in await run(self._redis, *map(self._publication, publications))]

    def _publication(self, done: Publication) -> Invocation:
        job, value, usage = done.job, done.value, done.event.usage
        event = encode(done.event)
        fields: dict[str, Any] = {
            "value": value.text,
            "ended": done.ended,
            "finish_reason": done.finish_reason,
            "tokens_in": usage.tokens_in,
            "tokens_cached": usage.tokens_cached,
            "tokens_out": usage.tokens_out,
            "seconds": f"{usage.seconds:.3f}",
        }
        if value.tokens is not None:
            fields |= {"tokens": msgpack.packb(value.tokens), "tokenizer": value.tokenizer}
        return Invocation(
            script("publish"),
            [self._keys.variable(job.variable), self._keys.events, self._keys.news(job.session)],
            [job.variable, job.attempt, VERSION, event["kind"], event["body"], *_flat(fields)],
        )

    async def values(self, variables: Iterable[str]) -> list[Value | None]:
        """The values of variables, in one round trip; None for one that is not ready."""
        rows = await self._fields(variables, ("state", "value", "tokens", "tokenizer", "call"))
        return [_value(*row) for row in rows]

    async def outcomes(self, variables: Iterable[str]) -> list[Outcome]:
        """Where variables stand, in one round trip."""
        rows = await self._fields(variables, ("state", "value", "error_code", "error"))
        return [
            Outcome(
                VariableState(state.decode()) if state else None,
                value.decode() if state == b"ready" and value is not None else None,
                (code or b"").decode(),
                (error or b"").decode(),
            )
            for state, value, code, error in rows
        ]

    async def _fields(self, variables: Iterable[str], fields: Sequence[str]) -> list[list[bytes | None]]:
        pipe = self._redis.pipeline(transaction=False)
        for variable in variables:
            pipe.hmget(self._keys.variable(variable), fields)
        rows: list[list[bytes | None]] = await pipe.execute()
        return rows


def _value(
    state: bytes | None, text: bytes | None, tokens: bytes | None, tokenizer: bytes | None, call: bytes | None
) -> Value | None:
    if state != b"ready" or text is None:
        return None
    ids = None if tokens is None else tuple(msgpack.unpackb(tokens))
    return Value(text.decode(), ids, (tokenizer or b"").decode(), (call or b"").decode())


def _flat(fields: Mapping[str, Any]) -> list[Any]:
    return [part for pair in fields.items() for part in pair]
