"""The envelope and what it refuses; golden files pin the wire format."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parrot.criteria import THROUGHPUT
from parrot.errors import MessageError
from parrot.sampling import SamplingConfig
from parrot.template import Segment
from parrot.wire import to_core, to_engine
from parrot.wire.codec import Door, Message, encode
from parrot.wire.to_engine import Piece

GOLDEN = Path(__file__).parent / "golden"

EXAMPLES: dict[str, tuple[Door[Message], Message]] = {
    message.__class__.__name__: (door, message)  # type: ignore[misc]
    for door, messages in (
        (
            to_core.tasks,
            (
                to_core.OpenSession(session="s-1", name="s", tenant="t", labels={"k": "v"}),
                to_core.CloseSession(session="s-1"),
                to_core.DeclareVariable(session="s-1", variable="v1", name="topic", text="parrots"),
                to_core.SetVariable(session="s-1", variable="v2", text="🦜"),
                to_core.SubmitCall(
                    session="s-1",
                    call="c1",
                    function="f",
                    template=[Segment("role", "user"), Segment("text", "Say "), Segment("slot", "i"), Segment("slot", "x")],
                    arguments={"i": to_core.Argument(variable="v1")},
                    outputs={"x": to_core.Output(variable="c1.x", sampling=SamplingConfig(temperature=0, stop=("\n",)))},
                    model="m",
                    chat="off",
                ),
                to_core.CancelVariable(session="s-1", variable="c1.x"),
                to_core.CancelSession(session="s-1"),
                to_core.WantVariable(session="s-1", variable="c1.x", criterion=THROUGHPUT),
            ),
        ),
        (
            to_core.events,
            (
                to_core.EngineUp(
                    engine="e-1",
                    name="e",
                    kind="vllm",
                    model="m",
                    tokenizer="t",
                    host="h",
                    pid=7,
                    capacity=to_core.Capacity(running=8, kv_tokens=1024, context_tokens=512, block_tokens=32),
                ),
                to_core.EngineBeat(engine="e-1", running=2, waiting=1, kv_used=0.5, busy_seconds=1.5),
                to_core.EngineDown(engine="e-1", reason="drained"),
                to_core.GenerationDone(
                    engine="e-1", variable="c1.x", attempt=1, usage=to_core.Usage(tokens_in=5, tokens_cached=4, tokens_out=3, seconds=0.25)
                ),
                to_core.GenerationFailed(engine="e-1", variable="c1.x", attempt=1, code="engine", reason="it broke"),
                to_core.GenerationReturned(engine="e-1", variable="c1.x", attempt=1),
            ),
        ),
        (
            to_engine.jobs,
            (
                to_engine.Cancel(variable="c1.x", attempt=2),
                to_engine.Job(
                    variable="c1.x",
                    attempt=2,
                    session="s-1",
                    call="c1",
                    function="f",
                    output="x",
                    prompt=[Piece("role", "user"), Piece("text", "Say "), Piece("variable", "v1"), Piece("hash", "00ff")],
                    sampling=SamplingConfig(max_gen_length=5),
                    chat="off",
                    priority=3,
                ),
            ),
        ),
    )
    for message in messages
}


def as_redis_gives_it(message: Message) -> dict[bytes, bytes]:
    return {str(name).encode(): str(value).encode() for name, value in encode(message).items()}


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_message_survives_the_wire(kind: str) -> None:
    door, message = EXAMPLES[kind]
    assert door.decode(as_redis_gives_it(message)) == message


@pytest.mark.parametrize("kind", EXAMPLES)
def test_the_wire_format_is_the_one_in_the_golden_file(kind: str) -> None:
    """To change the format on purpose: raise VERSION, keep the old files readable, add new ones."""
    door, message = EXAMPLES[kind]
    fields = as_redis_gives_it(message)
    golden = orjson.loads((GOLDEN / f"{kind}.v1.json").read_bytes())
    assert {"v": fields[b"v"].decode(), "kind": kind, "body": orjson.loads(fields[b"body"])} == golden
    stored = {b"v": b"1", b"kind": kind.encode(), b"body": orjson.dumps(golden["body"])}
    assert door.decode(stored) == message


def test_every_message_of_every_door_has_a_golden_file() -> None:
    kinds = {kind for door in (to_core.tasks, to_core.events, to_engine.jobs) for kind in door.kinds}
    assert kinds == set(EXAMPLES) == {path.name.split(".")[0] for path in GOLDEN.iterdir()}


CLOSE = as_redis_gives_it(to_core.CloseSession(session="s"))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "lacks one of the fields"),
        (CLOSE | {b"v": b"999"}, "Version '999' is not understood"),
        (CLOSE | {b"kind": b"Job"}, "kind 'Job' is not expected"),
        (CLOSE | {b"body": b"\xff\xfe"}, "CloseSession"),
        (CLOSE | {b"body": b"[]"}, "CloseSession"),
        (CLOSE | {b"body": b'{"session":"s","extra":1}'}, "extra"),
        (CLOSE | {b"body": b'{"session":"../x"}'}, "session"),
        (CLOSE | {b"body": b"{}"}, "session: Field required"),
    ],
)
def test_what_cannot_be_understood_is_refused_in_a_sentence(fields: dict[bytes, bytes], says: str) -> None:
    with pytest.raises(MessageError, match=says):
        to_core.tasks.decode(fields)


@given(st.dictionaries(st.sampled_from([b"v", b"kind", b"body", b"x"]), st.one_of(st.binary(), st.sampled_from([b"1", b"SubmitCall"]))))
def test_any_bytes_are_a_message_or_a_message_error(fields: dict[bytes, bytes]) -> None:
    for door in (to_core.tasks, to_core.events, to_engine.jobs):
        try:
            door.decode(fields)
        except MessageError:
            continue
