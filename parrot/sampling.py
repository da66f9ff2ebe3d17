"""How an output is sampled: the part of a call that the engine needs and that the prompt does not say."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class SamplingConfig(BaseModel):
    """Sampling parameters of one output.

    Args:
        temperature: 0 is greedy; above, the softmax temperature.
        top_p: nucleus sampling mass, in (0, 1].
        max_gen_length: most tokens to generate, at least 1.
        stop: texts that end the output; they are not part of it.
        stop_token_ids: token ids that end the output; they are not part of it.
        ignore_tokenizer_eos: go on until `max_gen_length` even if the model says it has finished.
        presence_penalty: in [-2, 2], as OpenAI defines it.
        frequency_penalty: in [-2, 2], as OpenAI defines it.
        seed: makes a temperature above 0 repeatable on one engine.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(default=1.0, ge=0.0, le=10.0)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    max_gen_length: int = Field(default=256, ge=1, le=1_000_000)
    stop: tuple[str, ...] = Field(default=(), max_length=1024)
    stop_token_ids: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = Field(default=(), max_length=1024)
    ignore_tokenizer_eos: bool = False
    presence_penalty: float = Field(default=0.0, ge=-2.0, le=2.0)
    frequency_penalty: float = Field(default=0.0, ge=-2.0, le=2.0)
    seed: int | None = Field(default=None, ge=0, lt=2**63)
