"""Variables as engines and apps see them: claim, publish, read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgpack
import orjson
from redis.asyncio import Redis

from parrot.broker.scripts import run
from parrot.broker.tokens import Part, written
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
    """A finished generation, ready to be published.

    Attributes:
        streamed: number of the last part that its token stream was given, by this attempt or before; 0 if it has no stream.
        rest: what its stream still lacks.
    """

    job: Job
    value: Value
    finish_reason: str
    event: GenerationDone
    ended: str
    streamed: int = 0
    rest: Part | None = None


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
        claims = orjson.dumps([(self._keys.variable(job.variable), str(job.attempt)) for job in jobs])
        return [answer == 1 for answer in await run(self._redis, "claim", [self._keys.events], now, claims)]

    async def publish(self, publications: Sequence[Publication]) -> list[bool]:
        """Set variables, each once; False where this attempt may not (any more) and nothing was changed."""
        tokens = [b"" if one.value.tokens is None else msgpack.packb(one.value.tokens) for one in publications]
        done = []
        for publication in publications:
            if publication.rest is not None:
                tokens.append(msgpack.packb(publication.rest.tokens))
            done.append(self._published(publication, len(tokens) - 1))
        arguments = (VERSION, GenerationDone.__name__, orjson.dumps(done), *tokens)
        return [answer == 1 for answer in await run(self._redis, "publish", [self._keys.events], *arguments)]

    def _published(self, done: Publication, tokens_of_rest: int) -> list[object]:
        job, value, usage = done.job, done.value, done.event.usage
        follows = () if not done.streamed else (self._keys.tokens(job.variable), f"{done.streamed + 1}-0")
        rest = follows if done.rest is None else (self._keys.tokens(job.variable), *written(done.rest), tokens_of_rest)
        fields = [
            *("value", value.text, "ended", done.ended, "finish_reason", done.finish_reason),
            *(("tokenizer", value.tokenizer) if value.tokens is not None else ()),
            *("tokens_in", str(usage.tokens_in), "tokens_cached", str(usage.tokens_cached), "tokens_out", str(usage.tokens_out)),
            *("first_token", f"{usage.first_token_seconds:.3f}", "seconds", f"{usage.seconds:.3f}"),
        ]
        names = (self._keys.variable(job.variable), self._keys.news(job.session), job.variable, str(job.attempt))
        return [*names, str(encode(done.event)["body"]), rest, *fields]

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


def _value(state: bytes | None, text: bytes | None, tokens: bytes | None, tokenizer: bytes | None, call: bytes | None) -> Value | None:
    if state != b"ready" or text is None:
        return None
    ids = None if tokens is None else tuple(msgpack.unpackb(tokens))
    return Value(text.decode(), ids, (tokenizer or b"").decode(), (call or b"").decode())
