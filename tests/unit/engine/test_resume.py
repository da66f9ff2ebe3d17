"""Where a generation may go on, and where it must begin anew."""

from __future__ import annotations

import pytest

from parrot.broker.tokens import Part
from parrot.engine.resume import Checkpoint, checkpoint
from parrot.sampling import SamplingConfig

GREEDY = SamplingConfig(temperature=0)
BY = "model tokenizer"
PARTS = [Part(1, "Once ", (1, 2), by=BY), Part(2, "upon ", (3,))]
RESET = Part(3, "", (), "reset")


def test_plain_greedy_generation_goes_on_behind_the_last_part() -> None:
    assert checkpoint(GREEDY, PARTS, BY) == Checkpoint(2, (1, 2, 3), "Once upon ")


def test_where_nothing_was_written_it_begins_and_nothing_is_void() -> None:
    assert checkpoint(GREEDY, [], BY) == Checkpoint()


@pytest.mark.parametrize(
    "knob",
    [
        {"temperature": 0.1},
        {"seed": 1},
        {"stop": ("\n",)},
        {"stop_token_ids": (7,)},
        {"presence_penalty": 0.5},
        {"frequency_penalty": -0.5},
    ],
)
def test_what_carries_a_state_from_token_to_token_begins_anew(knob: dict[str, object]) -> None:
    assert checkpoint(GREEDY.model_copy(update=knob), PARTS, BY) == Checkpoint(2, void=True)


@pytest.mark.parametrize("knob", [{"top_p": 0.5}, {"max_gen_length": 7}, {"ignore_tokenizer_eos": True}])
def test_other_knobs_do_not_matter_at_temperature_zero(knob: dict[str, object]) -> None:
    assert checkpoint(GREEDY.model_copy(update=knob), PARTS, BY).tokens == (1, 2, 3)


def test_another_model_or_tokenizer_begins_anew() -> None:
    assert checkpoint(GREEDY, PARTS, "other tokenizer") == Checkpoint(2, void=True)


def test_a_part_whose_tokens_are_not_known_cannot_be_gone_on_from() -> None:
    assert checkpoint(GREEDY, [*PARTS, Part(3, "a time", ())], BY) == Checkpoint(3, void=True)


@pytest.mark.parametrize(
    "left",
    [
        [PARTS[1]],
        [PARTS[0], Part(3, "a time", (4,))],
        [*PARTS, Part(4, "There ", (9,), by=BY)],
    ],
    ids=["the first is lost", "one in the middle is lost", "a reset is lost"],
)
def test_where_a_part_was_lost_it_begins_anew(left: list[Part]) -> None:
    assert checkpoint(GREEDY, left, BY) == Checkpoint(left[-1].number, void=True)


def test_only_what_follows_the_last_reset_counts() -> None:
    assert checkpoint(GREEDY, [*PARTS, RESET], BY) == Checkpoint(3)
    assert checkpoint(GREEDY, [*PARTS, RESET, Part(4, "There ", (9,), by=BY)], BY) == Checkpoint(4, (9,), "There ")
    assert checkpoint(GREEDY, [*PARTS, RESET, Part(4, "There ", (9,), by="other")], BY) == Checkpoint(4, void=True)
