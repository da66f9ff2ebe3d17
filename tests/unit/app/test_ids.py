"""Ids fit the wire whatever people call things."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from parrot.app.ids import fresh, is_text
from parrot.wire.to_core import Id

AS_ON_THE_WIRE: TypeAdapter[str] = TypeAdapter(Id)


@given(st.text(max_size=200))
def test_any_name_gives_an_id_that_the_wire_takes_with_room_for_an_output(name: str) -> None:
    AS_ON_THE_WIRE.validate_python(f"{fresh(name)}.{'o' * 48}")


def test_the_name_stays_readable() -> None:
    assert fresh("map_reduce").startswith("map_reduce-")
    assert fresh("Größe 1").startswith("Gr-e-1-")


def test_half_of_a_surrogate_pair_is_no_text() -> None:
    assert is_text("größe 🦜")
    assert not is_text("\ud83e")
