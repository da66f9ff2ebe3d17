"""The envelope and what it refuses; golden files pin the wire format."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parrot.criteria import Criterion
from parrot.errors import MessageError, VersionError
from parrot.sampling import SamplingConfig
from parrot.template import Segment
from parrot.wire import to_core, to_engine
from parrot.wire.codec import MAX_MESSAGE_BYTES, UNDERSTOOD, VERSION, Door, Message, encode
from parrot.wire.to_engine import Mark, Piece

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
                    arguments={"i": to_core.Argument(variable="v1"), "j": to_core.Argument(hash="00ff", blocks=[7, 8])},
                    outputs={"x": to_core.Output(variable="c1.x", sampling=SamplingConfig(temperature=0, stop=("\n",)))},
                    model="m",
                    chat="off",
                ),
                to_core.CancelVariable(session="s-1", variable="c1.x"),
                to_core.CancelSession(session="s-1"),
                to_core.WantVariable(session="s-1", variable="c1.x", criterion=Criterion.DEADLINE, deadline=1e9),
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
                to_core.EngineBeat(
                    engine="e-1", running=2, waiting=1, kv_used=0.5, busy_seconds=1.5, draining=True, read="7-1", holds=["c1.x"]
                ),
                to_core.EngineHolds(engine="e-1", sequence=3, whole=True, stored=[(5, 64)], removed=[6]),
                to_core.EngineDown(engine="e-1", reason="drained"),
                to_core.GenerationDone(
                    engine="e-1",
                    variable="c1.x",
                    attempt=1,
                    usage=to_core.Usage(tokens_in=5, tokens_cached=4, tokens_out=3, seconds=0.25, running=2.5),
                ),
                to_core.GenerationFailed(engine="e-1", variable="c1.x", attempt=1, code="engine", reason="it broke"),
                to_core.GenerationReturned(engine="e-1", variable="c1.x", attempt=1),
                to_core.GenerationRevoked(engine="e-1", variable="c1.x"),
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
                    marks=[Mark(2, 0, 5), Mark(2, 2048, 6)],
                    salt="t",
                ),
                to_engine.Reorder(variable="c1.x", attempt=2, priority=1),
                to_engine.TellHoldings(),
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
    golden = orjson.loads((GOLDEN / f"{kind}.v{VERSION}.json").read_bytes())
    assert {"v": fields[b"v"].decode(), "kind": kind, "body": orjson.loads(fields[b"body"])} == golden
    stored = {b"v": str(VERSION).encode(), b"kind": kind.encode(), b"body": orjson.dumps(golden["body"])}
    assert door.decode(stored) == message


def test_every_message_of_every_door_has_a_golden_file_of_this_version() -> None:
    kinds = {kind for door in (to_core.tasks, to_core.events, to_engine.jobs) for kind in door.kinds}
    assert kinds == set(EXAMPLES) == {path.name.split(".")[0] for path in GOLDEN.glob(f"*.v{VERSION}.json")}


def test_this_version_is_understood_and_the_one_before_it_so_that_upgrades_can_roll() -> None:
    assert {str(VERSION).encode(), str(max(1, VERSION - 1)).encode()} == UNDERSTOOD


@pytest.mark.parametrize("path", sorted(GOLDEN.iterdir()), ids=lambda path: path.name)
def test_every_golden_file_of_a_version_that_is_understood_can_be_read(path: Path) -> None:
    """The files of version 1 stay when VERSION becomes 2, and go when it becomes 3."""
    kind, version, _ = path.name.split(".")
    golden = orjson.loads(path.read_bytes())
    assert version[1:].encode() in UNDERSTOOD
    door, example = EXAMPLES[kind]
    assert isinstance(
        door.decode({b"v": version[1:].encode(), b"kind": kind.encode(), b"body": orjson.dumps(golden["body"])}), type(example)
    )


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_newer_message_is_refused_with_a_code_of_its_own(kind: str) -> None:
    door, message = EXAMPLES[kind]
    with pytest.raises(VersionError, match="Upgrade the older side") as raised:
        door.decode(as_redis_gives_it(message) | {b"v": str(VERSION + 1).encode()})
    assert raised.value.code == "version"


def test_a_body_that_is_too_large_is_refused_unread() -> None:
    with pytest.raises(MessageError, match="bytes; 16,777,216 are allowed"):
        to_core.tasks.decode(CLOSE | {b"body": b" " * (MAX_MESSAGE_BYTES + 1)})


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
        (CLOSE | {b"body": b"[" * 100_000}, "CloseSession"),
        (CLOSE | {b"body": b'{"session":"\\ud800"}'}, "CloseSession"),
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
