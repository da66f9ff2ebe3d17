"""What was learned, as people read it in Redis and a successor understands it. Whatever does not look like this is ignored there."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_BOUND = 1e18  # so that no sum of squares overflows
Amount = Annotated[float, Field(ge=0, le=_BOUND, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, le=_BOUND, allow_inf_nan=False)]
Signed = Annotated[float, Field(ge=-_BOUND, le=_BOUND, allow_inf_nan=False)]
Weight = Annotated[float, Field(gt=0, le=101, allow_inf_nan=False)]  # about the last hundred count
Bucket = Annotated[int, Field(ge=0, le=500)]


class Learned(BaseModel):
    """One field. What is not known here is skipped: a later version may have written it."""

    model_config = ConfigDict(extra="ignore")


class LearnedLength(Learned):
    """How long the outputs of a function are, and its prompts.

    Attributes:
        p50, p90: quantiles of output tokens, for people.
        seen: about how many still count, for people.
        mean: of output tokens.
        missing: tokens in the estimates of its prompts, of late.
        computed: tokens of its prompts that were not cached, of late.
        buckets: of the sketch, with their weights.
    """

    p50: float = 0.0
    p90: float = 0.0
    seen: float = 0.0
    mean: Amount
    missing: Signed
    computed: Signed
    buckets: Annotated[dict[Bucket, Weight], Field(min_length=1)]


class LearnedLine(Learned):
    """What a line goes through.

    Attributes:
        weight: of the observations.
        x, y: on average.
        spread, together: the sum of the squares of how far they are from there, and of the products.
    """

    weight: Weight
    x: Amount
    y: Amount
    spread: Amount
    together: Signed


class LearnedSpeed(Learned):
    """How fast the engines of a model are.

    Attributes:
        step_seconds, context_seconds, token_seconds: what follows from the rest, for people.
        prompt_tokens, prompt_seconds: of prompts that were computed, of late.
        steps: seconds by context; None if none was measured.
    """

    step_seconds: float = 0.0
    context_seconds: float = 0.0
    token_seconds: float = 0.0
    prompt_tokens: Positive
    prompt_seconds: Positive
    steps: LearnedLine | None = None


def short(number: float) -> float:
    """A number of six digits: nobody reads more, and nothing depends on them."""
    return float(f"{number:.6g}")
