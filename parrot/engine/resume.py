"""Whether a generation can go on from what an earlier attempt has written down, and from where. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from parrot.broker.tokens import Part
from parrot.sampling import SamplingConfig


class Checkpoint(NamedTuple):
    """Where an attempt begins.

    Attributes:
        number: of the last part of the stream, or 0.
        tokens: what has been generated; empty to begin anew.
        text: what `tokens` say.
        void: there is something in the stream that does not count any more; readers must be told.
    """

    number: int = 0
    tokens: tuple[int, ...] = ()
    text: str = ""
    void: bool = False


def checkpoint(sampling: SamplingConfig, parts: Sequence[Part], by: str) -> Checkpoint:
    """Find the place from which a generation goes on.

    Going on with "prompt + tokens so far" gives what an undisturbed run gives only where the next token follows from the tokens
    before it and from nothing else, and where the tokens are known and mean the same here.

    Args:
        sampling: of the generation.
        parts: all that earlier attempts have written.
        by: the model and tokenizer that would go on.
    """
    last = parts[-1].number if parts else 0
    resets = [place for place, part in enumerate(parts) if part.kind == "reset"]
    current = parts[resets[-1] + 1 if resets else 0 :]
    if not current:
        return Checkpoint(last)
    complete = last - current[0].number == len(current) - 1  # else Redis lost power, and with it parts between those that are there
    if not _plain_greedy(sampling) or not complete or current[0].by != by or not all(part.tokens for part in current):
        return Checkpoint(last, void=True)
    return Checkpoint(last, tuple(token for part in current for token in part.tokens), "".join(part.text for part in current))


def _plain_greedy(sampling: SamplingConfig) -> bool:
    """Penalties, seeds and stop texts carry a state from token to token that a new attempt would not have."""
    chance = sampling.temperature or sampling.seed is not None
    memory = sampling.presence_penalty or sampling.frequency_penalty or sampling.stop or sampling.stop_token_ids
    return not chance and not memory
