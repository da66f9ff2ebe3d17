"""How fast the engines are that the virtual ones stand for: one formula, and where its figures come from.

A step of a batch takes `a + b * sequences + c * KV tokens read + d * prompt tokens taken in`. The KV tokens of a step are those in the
contexts of its sequences after it, each counted for itself: attention reads a shared prefix once for each sequence that has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of engine.

    Attributes:
        name: of the profile.
        step_seconds: a.
        sequence_seconds: b.
        kv_token_seconds: c.
        prefill_token_seconds: d.
        running: sequences in one batch.
        budget: tokens of one step, decoded and taken in.
        kv_tokens: that the KV cache holds.
        context_tokens: longest prompt with its output.
        block_tokens: of one KV block.
        source: where the figures come from.
    """

    name: str
    step_seconds: float
    sequence_seconds: float
    kv_token_seconds: float
    prefill_token_seconds: float
    running: int
    budget: int
    kv_tokens: int
    context_tokens: int
    block_tokens: int = 64
    source: str = ""

    @property
    def blocks(self) -> int:
        return self.kv_tokens // self.block_tokens

    def step(self, sequences: int, kv: int, prefill: int) -> float:
        """Seconds of one step.

        Args:
            sequences: in the batch.
            kv: tokens in their contexts after the step.
            prefill: prompt tokens that are taken in.
        """
        return self.step_seconds + self.sequence_seconds * sequences + self.kv_token_seconds * kv + self.prefill_token_seconds * prefill

    def decode(self, sequences: int, kv: int, steps: int) -> float:
        """Seconds of some steps in which each sequence gets a token.

        Args:
            sequences: in the batch.
            kv: tokens in their contexts before the first of these steps.
            steps: how many.
        """
        grown = sequences * (steps * (steps + 1) // 2)
        return steps * self.step(sequences, kv, 0) + self.kv_token_seconds * grown

    def steps_until(self, sequences: int, kv: int, seconds: float) -> int:
        """The fewest steps, at least one, after which so much time has passed; arguments as for `decode`."""
        square, linear = self.kv_token_seconds * sequences / 2, self.step(sequences, kv, 0) + self.kv_token_seconds * sequences / 2
        root = seconds / linear if square == 0 else (sqrt(linear * linear + 4 * square * seconds) - linear) / (2 * square)
        steps = max(1, ceil(root - 1e-6))
        return steps if self.decode(sequences, kv, steps) >= seconds - 1e-9 else steps + 1
