"""What is buried can be unearthed, byte for byte, and is bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from parrot.errors import MessageError
from parrot.wire.to_ledger import KEPT_BYTES, bury, unearth


def letter(fields: dict[bytes, bytes]) -> dict[str, str]:
    parts = bury("dead", "tasks", "1-0", MessageError("no"), fields)
    flat = parts[parts.index("*") + 1 :]
    return dict(zip(flat[::2], flat[1::2], strict=True))


@given(st.dictionaries(st.binary(), st.binary()))
def test_any_bytes_come_back_as_they_were(fields: dict[bytes, bytes]) -> None:
    buried = letter(fields)["entry"]
    buried.encode()  # it is text
    assert unearth(buried) == fields


def test_text_stays_readable() -> None:
    assert "🦜" in letter({b"body": "🦜".encode()})["entry"]


def test_a_huge_entry_is_cut_and_the_letter_says_so() -> None:
    buried = letter({b"v": b"1", b"body": b"x" * 1_000_000, b"more": b"y"})
    assert buried["cut"] == "1000011"
    assert sum(len(name) + len(value) for name, value in unearth(buried["entry"]).items()) == KEPT_BYTES
    assert "cut" not in letter({b"v": b"1"})
