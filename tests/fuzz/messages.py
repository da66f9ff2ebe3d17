"""Messages that nobody should send: broken ones, and well-formed ones that mean no good. Seeded; knows no server."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from parrot.wire.codec import MAX_MESSAGE_BYTES, VERSION

Raw = dict[bytes, bytes]

HOSTILE = "hostile"  # of sessions and variables that only hostile messages use
STRANGE: tuple[Any, ...] = (
    *(None, True, 0, -1, 0.5, 10**30, -(10**400), 1e308, "", " ", "\x00", "../..", "a:b", "{main}", "🦜" * 40, "x" * 300, [], {}),
    *([[]] * 50, {"a": {"b": {"c": []}}}, "parrot:{main}:core", "'; DROP", "NaN", list(range(300))),
)


class Sent(NamedTuple):
    """A message to be sent, and how it was made."""

    way: str
    fields: Raw


@dataclass
class World:
    """What a stranger has overheard: names that exist.

    Attributes:
        engines: ids of engines that run.
        variables, calls: of programs that must come right.
    """

    engines: Sequence[str] = ()
    variables: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)


class Maker:
    """Makes messages for the streams of a cell.

    Args:
        chance: where all choices come from.
        world: what may be named.
    """

    def __init__(self, chance: random.Random, world: World) -> None:
        self._chance = chance
        self._world = world
        self._made = 0
        self._mutations: list[tuple[str, Callable[[bytes, Any], Raw]]] = [
            ("random bytes", self._random),
            ("truncated", self._truncated),
            ("flipped bits", self._flipped),
            ("fields swapped", self._swapped),
            ("field missing", self._missing),
            ("another kind", self._another_kind),
            ("unknown version", self._unknown_version),
            ("strange value", self._strange),
            ("strange value", self._strange),
            ("strange value", self._strange),
            ("unknown name", self._unknown_name),
            ("deeply nested", self._nested),
            ("duplicate key", self._duplicate),
            ("number that is none", self._no_number),
            ("half a surrogate pair", self._surrogate),
            ("large text", self._large),
        ]

    def task(self) -> Sent:
        """For the stream of tasks."""
        return self._mutated(*self._a_task()) if self._chance.random() < 0.7 else self._hostile_task()

    def event(self) -> Sent:
        """For the stream of events."""
        return self._mutated(*self._an_event()) if self._chance.random() < 0.7 else self._hostile_event()

    def order(self) -> Sent:
        """For an engine's job stream."""
        return self._mutated(*self._an_order()) if self._chance.random() < 0.8 else Sent("hostile order", fields(*self._an_order()))

    def huge(self) -> Sent:
        """Larger than any message may be."""
        return Sent("huge", {b"v": b"1", b"kind": b"SetVariable", b"body": b'"' + b"x" * MAX_MESSAGE_BYTES + b'"'})

    # Well-formed messages ------------------------------------------------------------------------

    def _name(self, kind: str) -> str:
        """One of few, so that messages meet; others after a while, since sessions are closed and variables end."""
        return f"{HOSTILE}-{kind}{self._made // 100 + self._chance.randrange(40)}"

    def _new(self) -> str:
        self._made += 1
        return f"{HOSTILE}-new{self._made}"

    def _pick(self, known: Sequence[str], kind: str) -> str:
        return self._chance.choice(known) if known and self._chance.random() < 0.5 else self._name(kind)

    def _a_task(self) -> tuple[str, Any]:
        session = self._name("s")
        return self._chance.choice(
            [
                ("OpenSession", {"session": session, "name": "h", "labels": {"a": "b"}, "deadline": 4e9}),
                ("CloseSession", {"session": session}),
                ("DeclareVariable", {"session": session, "variable": self._name("v"), "name": "v", "text": "t"}),
                ("SetVariable", {"session": session, "variable": self._name("v"), "text": "t"}),
                ("WantVariable", {"session": session, "variable": self._name("v"), "criterion": "latency"}),
                ("CancelVariable", {"session": session, "variable": self._name("v")}),
                ("CancelSession", {"session": session}),
                *[("SubmitCall", self._call(session)) for _ in range(4)],
            ]
        )

    def _call(self, session: str) -> dict[str, Any]:
        call = self._new()
        return {
            "session": session,
            "call": call,
            "function": "f",
            "template": [["text", "Say "], ["slot", "i"], ["text", ": "], ["slot", "x"]],
            "arguments": {"i": {"variable": self._name("v")} if self._chance.random() < 0.5 else {"text": "t"}},
            "outputs": {"x": {"variable": f"{call}.x", "sampling": {"temperature": 0, "max_gen_length": 4}}},
            "model": self._chance.choice([None, "nobody serves this"]),
        }

    def _an_event(self) -> tuple[str, Any]:
        engine, variable = self._pick(self._world.engines, "e"), self._name("v")
        about = {"engine": engine, "variable": variable, "attempt": self._chance.randrange(3)}
        capacity = {"running": 8, "kv_tokens": 1000, "context_tokens": 1000, "block_tokens": 16}
        up = {"engine": self._name("e"), "name": "h", "kind": "h", "model": "h", "tokenizer": "h", "host": "h", "pid": 1}
        return self._chance.choice(
            [
                ("EngineUp", up | {"capacity": capacity}),
                ("EngineBeat", {"engine": engine, "running": 1, "kv_used": 0.5, "busy_seconds": 1.5}),
                ("EngineDown", {"engine": self._name("e"), "reason": "r"}),
                ("GenerationDone", about | {"usage": {"tokens_in": 1, "seconds": 0.5}}),
                ("GenerationFailed", about | {"code": "engine", "reason": "r"}),
                ("GenerationReturned", about),
                ("GenerationRevoked", {"engine": engine, "variable": variable}),
            ]
        )

    def _an_order(self) -> tuple[str, Any]:
        about = {"variable": self._pick(self._world.variables, "v"), "attempt": 7}
        prompt = [["role", "user"], ["text", "t"], ["variable", self._name("v")], ["hash", "00ff"]]
        job = about | {"session": self._name("s"), "call": "c", "function": "f", "output": "x", "prompt": prompt}
        return self._chance.choice([("Job", job), ("Job", job), ("Cancel", about)])

    # Well-formed messages that mean no good ------------------------------------------------------

    def _hostile_task(self) -> Sent:
        calls: list[Callable[[], dict[str, Any]]] = [
            lambda: self._outputs(10_000),
            lambda: self._outputs(64),
            self._many_inputs,
            self._own_input,
            self._shared_output,
            self._theft,
            lambda: self._call(self._name("s")) | {"deadline": self._chance.choice([0, 1.5, 253402300799.0, 1e300])},
            lambda: self._call(self._name("s")) | {"template": [["role", "nobody"], ["slot", "x"], ["slot", "x"]]},
            lambda: self._call("nowhere"),
        ]
        if self._chance.random() < 0.5:
            # The large ones are seldom, since making them is what costs most here.
            weights = [1, 4, 4, *(20 for _ in calls[3:])]
            return Sent("hostile call", fields("SubmitCall", self._chance.choices(calls, weights)[0]()))
        known = self._pick(self._world.variables, "v")
        kind, body = self._chance.choice(
            [
                ("SetVariable", {"session": self._name("s"), "variable": known, "text": "stolen"}),
                ("CancelVariable", {"session": self._name("s"), "variable": known}),
                ("WantVariable", {"session": "nowhere", "variable": known, "criterion": "latency"}),
                ("DeclareVariable", {"session": self._name("s"), "variable": known, "name": "{{x}}"}),
                ("OpenSession", {"session": self._name("s"), "name": "\x00", "tenant": "tenant:epoch", "deadline": 0}),
                ("OpenSession", {"session": self._new(), "name": "n", "deadline": 1e300}),
                self._a_task(),
            ]
        )
        return Sent("hostile task", fields(kind, body))

    def _outputs(self, count: int) -> dict[str, Any]:
        call = self._call(self._name("s"))
        call["template"] = [part for i in range(count) for part in (["text", "t"], ["slot", f"x{i}"])]
        call["outputs"] = {f"x{i}": {"variable": f"{call['call']}.x{i}"} for i in range(count)}
        return call | {"arguments": {}}

    def _own_input(self) -> dict[str, Any]:
        call = self._call(self._name("s"))
        return call | {"arguments": {"i": {"variable": f"{call['call']}.x"}}}

    def _shared_output(self) -> dict[str, Any]:
        call, variable = self._call(self._name("s")), self._name("v")
        call["template"] += [["text", " and "], ["slot", "y"]]
        return call | {"outputs": {"x": {"variable": variable}, "y": {"variable": variable}}}

    def _theft(self) -> dict[str, Any]:
        """A call that takes the id or the output of a call of another session."""
        call = self._call(self._name("s"))
        if self._chance.random() < 0.5:
            return call | {"call": self._pick(self._world.calls, "c")}
        return call | {"outputs": {"x": {"variable": self._pick(self._world.variables, "v")}}}

    def _many_inputs(self) -> dict[str, Any]:
        call = self._call(self._name("s"))
        call["template"] = [*(["slot", f"i{n}"] for n in range(2_000)), ["slot", "x"]]
        return call | {"arguments": {f"i{n}": {"variable": self._name("v")} for n in range(2_000)}}

    def _hostile_event(self) -> Sent:
        absurd = self._chance.choice([0, 1, 10**6, 10**9, 10**18, 10**400])
        capacity = {"running": absurd, "kv_tokens": 10**9, "context_tokens": 1, "block_tokens": 10**9}
        up = {"engine": self._name("e"), "name": "h", "kind": "h", "model": "h", "tokenizer": "h", "host": "h", "pid": 1}
        up |= {"capacity": capacity, "previous": self._name("e")}
        engine = self._pick(self._world.engines, "e")
        about = {"engine": engine, "variable": self._pick(self._world.variables, "v"), "attempt": self._chance.choice([0, 99, 2**60])}
        mine = about | {"variable": self._name("v"), "attempt": 1}
        kind, body = self._chance.choice(
            [
                ("EngineUp", up),
                ("EngineUp", up | {"engine": engine}),
                ("EngineBeat", {"engine": engine, "running": 10**15, "kv_used": -1e300}),
                ("EngineBeat", {"engine": engine, "read": f"{2**64}-0", "holds": []}),
                ("GenerationDone", about),
                ("GenerationDone", mine | {"usage": {"tokens_in": 2**52, "seconds": 1e15}}),
                ("GenerationFailed", about | {"code": "poison", "reason": "r" * 10_000}),
                ("GenerationFailed", mine | {"code": "no such code", "reason": "r" * 10_000}),
                ("GenerationReturned", about),
                ("GenerationReturned", about | {"attempt": 1}),
                self._an_event(),
            ]
        )
        if self._world.engines and self._chance.random() < 0.001:  # seldom: each costs programs the time until the engine is back
            gone = self._chance.choice(self._world.engines)
            kind, body = self._chance.choice([("EngineDown", {"engine": gone, "reason": "lies"}), ("EngineUp", up | {"previous": gone})])
        return Sent("hostile event", fields(kind, body))

    # Broken messages -----------------------------------------------------------------------------

    def _mutated(self, kind: str, body: Any) -> Sent:
        way, mutate = self._chance.choice(self._mutations)
        return Sent(way, mutate(kind.encode(), body))

    def _random(self, _kind: bytes, _body: Any) -> Raw:
        chance = self._chance
        return {chance.randbytes(chance.randrange(12)): chance.randbytes(chance.randrange(200)) for _ in range(chance.randrange(1, 6))}

    def _truncated(self, kind: bytes, body: Any) -> Raw:
        raw = orjson.dumps(body)
        return envelope(kind, raw[: self._chance.randrange(len(raw))])

    def _flipped(self, kind: bytes, body: Any) -> Raw:
        raw = bytearray(orjson.dumps(body))
        for _ in range(self._chance.randrange(1, 6)):
            raw[self._chance.randrange(len(raw))] ^= 1 << self._chance.randrange(8)
        return envelope(kind, bytes(raw))

    def _swapped(self, kind: bytes, body: Any) -> Raw:
        values = [b"1", kind, orjson.dumps(body)]
        self._chance.shuffle(values)
        return dict(zip((b"v", b"kind", b"body"), values, strict=True))

    def _missing(self, kind: bytes, body: Any) -> Raw:
        whole = fields(kind.decode(), body)
        del whole[self._chance.choice(list(whole))]
        return whole

    def _another_kind(self, _kind: bytes, body: Any) -> Raw:
        kinds = (b"Job", b"Cancel", b"EngineUp", b"SubmitCall", b"News", b"", b"submitcall", b"\xff", b"Message", b"SubmitCall ")
        return envelope(self._chance.choice(kinds), orjson.dumps(body))

    def _unknown_version(self, kind: bytes, body: Any) -> Raw:
        versions = (str(VERSION + 1).encode(), b"0", b"-1", b"999", b"1.0", b" 1", b"", b"\xff", b"1" * 5_000)
        return fields(kind.decode(), body) | {b"v": self._chance.choice(versions)}

    def _strange(self, kind: bytes, body: Any) -> Raw:
        changed = orjson.loads(orjson.dumps(body))
        place, key = self._chance.choice(list(places(changed)))
        place[key] = self._chance.choice(STRANGE)
        return envelope(kind, dumps(changed))

    def _unknown_name(self, kind: bytes, body: Any) -> Raw:
        return envelope(kind, orjson.dumps(body | {self._chance.choice(("extra", "__class__", "", "v", "é")): 1}))

    def _nested(self, kind: bytes, body: Any) -> Raw:
        depth = self._chance.choice((50, 500, 5_000))
        deep = b"[" * depth + b"]" * depth
        return envelope(kind, self._chance.choice((deep, orjson.dumps(body)[:-1] + b',"extra":' + deep + b"}")))

    def _duplicate(self, kind: bytes, body: Any) -> Raw:
        return envelope(kind, b'{"session":{"no":"name"},"engine":[],' + orjson.dumps(body)[1:-1] + b',"attempt":"x","session":7}')

    def _no_number(self, kind: bytes, body: Any) -> Raw:
        none = self._chance.choice((b"NaN", b"Infinity", b"-Infinity", b"1e999", b"1" * 5_000))
        name = self._chance.choice((b"deadline", b"kv_used", b"attempt", b"pid", b"busy_seconds"))
        return envelope(kind, orjson.dumps(body)[:-1] + b',"' + name + b'":' + none + b"}")

    def _surrogate(self, kind: bytes, body: Any) -> Raw:
        half = self._chance.choice((rb"\ud800", rb"\udfff", rb"\ud800\ud800", b"\xed\xa0\x80"))
        raw = orjson.dumps(body)
        return envelope(kind, raw.replace(b'":"', b'":"' + half, 1) if b'":"' in raw else b'{"session":"' + half + b'"}')

    def _large(self, kind: bytes, body: Any) -> Raw:
        size = 1_000_000 if self._chance.random() < 0.01 else 20_000
        return envelope(kind, orjson.dumps(body)[:-1] + b',"extra":"' + b"x" * size + b'"}')


def fields(kind: str, body: Any) -> Raw:
    """The stream fields of a message."""
    return envelope(kind.encode(), dumps(body))


def envelope(kind: bytes, body: bytes) -> Raw:
    return {b"v": b"1", b"kind": kind, b"body": body}


def dumps(body: Any) -> bytes:
    """JSON with integers of any size, which orjson does not write."""
    return json.dumps(body, separators=(",", ":")).encode()


def places(body: Any) -> list[tuple[Any, Any]]:
    """Every place in a JSON value where another value can be put: container and key."""
    found: list[tuple[Any, Any]] = []
    items = body.items() if isinstance(body, dict) else enumerate(body)
    for key, value in items:
        found.append((body, key))
        if isinstance(value, dict | list):
            found += places(value)
    return found
