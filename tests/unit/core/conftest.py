"""What several tests of the core need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from parrot.core import deadlines, objectives
from parrot.core.asks import MANY


@pytest.fixture(params=[0, MANY], ids=["all in order", "few in no order"])
def many(request: pytest.FixtureRequest) -> Iterator[int]:
    """From how many on what is asked is put in order."""
    for module in (objectives, deadlines):
        vars(module)["MANY"] = request.param
    yield request.param
    for module in (objectives, deadlines):
        vars(module)["MANY"] = MANY
