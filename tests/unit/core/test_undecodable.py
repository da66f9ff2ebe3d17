"""Who asked for what cannot be understood is told so, and nothing that exists is touched."""

from __future__ import annotations

import orjson
import pytest

from parrot.core.undecodable import MOST, answers, set_in_vain
from parrot.errors import MessageError, VersionError
from tests.unit.core.cell import KEYS, Cell, call, engine_up, open_session, text

ERROR = VersionError("Version '2' is not understood here.")


def said(cell: Cell, kind: str, body: object) -> None:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    cell.store.apply(answers(KEYS, {b"v": b"2", b"kind": kind.encode(), b"body": raw}, ERROR, 60, "now"))


def test_the_outputs_of_a_call_of_a_newer_version_fail_with_its_code() -> None:
    cell = Cell()
    said(cell, "SubmitCall", {"session": "s", "novelty": 1, "outputs": {"x": {"variable": "a.x"}, "y": {"variable": "a.y", "new": 2}}})
    for name in ("x", "y"):
        variable = cell.variable(f"a.{name}")
        assert (variable["state"], variable["error_code"], variable["error"]) == ("failed", "version", str(ERROR))
        assert (variable["name"], variable["session"]) == (name, "s")
        assert cell.store.expiring[KEYS.variable(f"a.{name}")] == 60
    assert cell.news() == [("a.x", "failed"), ("a.y", "failed")]


def test_a_variable_that_could_not_be_declared_fails() -> None:
    cell = Cell()
    said(cell, "DeclareVariable", {"session": "s", "variable": "v", "name": ["no", "name"]})
    assert cell.variable("v")["state"] == "failed"


def test_a_variable_that_exists_is_left_alone() -> None:
    cell = Cell()
    cell.tell(open_session(), engine_up(), call("a", "A: {{x}}"))
    before = dict(cell.variable("a.x"))
    said(cell, "SubmitCall", {"session": "s", "outputs": {"x": {"variable": "a.x"}}})
    assert cell.variable("a.x") == before
    assert cell.news() == []


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("SubmitCall", b"{not json"),
        ("SubmitCall", b"[" * 100_000),
        ("SubmitCall", b"\xff"),
        ("SubmitCall", []),
        ("SubmitCall", {"outputs": {"x": {"variable": "a.x"}}}),
        ("SubmitCall", {"session": "s:calls", "outputs": {"x": {"variable": "a.x"}}}),
        ("SubmitCall", {"session": "s", "outputs": ["a.x"]}),
        ("SubmitCall", {"session": "s", "outputs": {"x": "a.x", "y": {"variable": 7}, "z": {"variable": "a:tokens"}, "w": {}}}),
        ("DeclareVariable", {"session": "s", "variable": "../v"}),
        ("CancelSession", {"session": "s", "variable": "v"}),
        ("WantVariable", {"session": "s", "variable": "v"}),
    ],
)
def test_what_names_nothing_that_can_be_is_answered_with_nothing(kind: str, body: object) -> None:
    cell = Cell()
    said(cell, kind, body)
    assert (cell.store.hashes, cell.store.streams) == ({}, {})


def not_set(cell: Cell, body: object, kind: bytes = b"SetVariable") -> None:
    cell.tell(*set_in_vain({b"v": b"2", b"kind": kind, b"body": orjson.dumps(body)}, ERROR))


def test_an_empty_variable_that_could_not_be_set_fails_with_all_that_waits_for_it() -> None:
    cell = Cell()
    cell.tell(open_session(), text("v", None), call("a", "{{i}} A: {{x}}", i="v"))
    not_set(cell, {"session": "s", "variable": "v", "text": "t", "novelty": 1})
    assert (cell.variable("v")["state"], cell.variable("v")["error_code"], cell.variable("v")["error"]) == ("failed", "version", str(ERROR))
    assert (cell.call("a")["state"], cell.variable("a.x")["error_code"]) == ("failed", "upstream")
    assert cell.news() == [("v", "failed"), ("a.x", "failed")]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"SetVariable", {"session": "another", "variable": "v"}),
        (b"SetVariable", {"session": "s", "variable": "set"}),
        (b"SetVariable", {"session": "s", "variable": "a.x"}),
        (b"SetVariable", {"session": "s", "variable": "no-such"}),
        (b"SetVariable", {"session": "s", "variable": ["v"]}),
        (b"SetVariable", ["v"]),
        (b"WantVariable", {"session": "s", "variable": "v"}),
    ],
)
def test_what_cannot_be_set_or_is_set_already_is_left_alone(kind: bytes, body: object) -> None:
    cell = Cell()
    cell.tell(open_session(), text("v", None), text("set"), call("a", "A: {{x}}"))
    not_set(cell, body, kind)
    assert [cell.variable(name)["state"] for name in ("v", "set", "a.x")] == ["empty", "ready", "pending"]
    assert cell.batch.operations == []


def test_the_number_of_answers_is_bounded() -> None:
    body = orjson.dumps({"session": "s", "outputs": {str(i): {"variable": f"v{i}"} for i in range(MOST + 5)}})
    assert len(answers(KEYS, {b"kind": b"SubmitCall", b"body": body}, MessageError("no"), 60, "now")) == MOST
