"""What is learned while a cell works: how long outputs are, by function; how fast engines are, from what they report."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, exp, log
from typing import TYPE_CHECKING, Protocol

from mypy_extensions import mypyc_attr

from parrot.core.learned import LearnedLength, LearnedLine, LearnedSpeed, short
from parrot.core.memory import Memory
from parrot.wire.to_core import Usage

if TYPE_CHECKING:
    from parrot.core.graph import Generation

FUNCTIONS = 10_000  # whose outputs are known; the least recently used is forgotten
MEMORY = 0.8  # of what was missing in the estimates of prompts, with each new one
PRIOR_TOKENS = 128.0  # of an output of which nothing is known
_RATIO = log(1.15)  # between buckets of a sketch: quantiles are right to some 7%
_FADING = 0.99  # of the weight of what was seen, with each new one: the last hundred count
_LEAST_WEIGHT = 1e-4
EVERY = "*"  # all functions together: no function has this name, since names of outputs are in them
ORDINARY_BATCH = 16.0  # sequences that share what a step takes in any case
LEAST_PROMPT = 64  # tokens: the time of a shorter one says more about all else


class Sketch:
    """Streaming quantiles of positive numbers, the recent ones counting more: counts in buckets of equal ratio.

    The idea of DDSketch (Masson, Rim, Lee, VLDB'19), with weights that fade.
    """

    __slots__ = ("_buckets", "_sum", "_unit", "weight")

    def __init__(self) -> None:
        self._buckets: dict[int, float] = {}
        self._sum = 0.0
        self._unit = 1.0  # the weight of the next one: it grows, which is cheaper than to let all others fade
        self.weight = 0.0

    def add(self, value: float) -> None:
        """One more."""
        self._unit /= _FADING
        bucket = ceil(log(max(1.0, value)) / _RATIO)
        self._buckets[bucket] = self._buckets.get(bucket, 0.0) + self._unit
        self._sum += self._unit * value
        self.weight += self._unit
        if self._unit > 1e12:
            self._rescale()

    @property
    def seen(self) -> float:
        """About how many still count."""
        return self.weight / self._unit

    @property
    def mean(self) -> float:
        return self._sum / self.weight

    def quantile(self, q: float) -> float:
        """The value below which a fraction `q` of the weight lies."""
        below, buckets = 0.0, sorted(self._buckets)
        for bucket in buckets:
            below += self._buckets[bucket]
            if below >= q * self.weight or bucket == buckets[-1]:  # sums are not exact: the last one has all below it
                return exp((bucket - 0.5) * _RATIO)
        return 0.0

    @classmethod
    def of(cls, mean: float, buckets: Mapping[int, float]) -> Sketch:
        """One of which so much is known."""
        sketch = cls()
        sketch._buckets = dict(buckets)
        sketch.weight = sum(buckets.values())
        sketch._sum = mean * sketch.weight
        return sketch

    def buckets(self) -> dict[int, float]:
        """The weights of its buckets, of which the newest number has 1; not those that hardly count."""
        weights = {bucket: round(weight / self._unit, 2) for bucket, weight in sorted(self._buckets.items())}
        return {bucket: weight for bucket, weight in weights.items() if weight}

    def _rescale(self) -> None:
        scale = 1.0 / self._unit
        self._buckets = {bucket: weight * scale for bucket, weight in self._buckets.items() if weight * scale > _LEAST_WEIGHT}
        self._sum *= scale
        self.weight *= scale
        self._unit = 1.0


class Lengths(Protocol):
    """Says how long a prompt is, and how long its output will be."""

    def prompt(self, generation: Generation) -> float:
        """Expected prompt tokens, of which parts may be known by their names only."""
        ...

    def computed(self, generation: Generation) -> float:
        """Expected tokens of the prompt that will have to be computed; what is asked before the prompt is known."""
        ...

    def expect(self, generation: Generation) -> float:
        """Expected output tokens."""
        ...

    def learn(self, generation: Generation, usage: Usage) -> None:
        """How long both were."""
        ...

    def learned(self, most: int) -> Mapping[str, str | None]:
        """What has changed in it, for successors; see `Memory.changes`."""
        ...

    def recall(self, found: Mapping[str, str]) -> None:
        """What a predecessor had learned."""
        ...


class FunctionLengths:
    """What is known of one output of a function.

    Attributes:
        outputs: their tokens.
        missing: tokens in the estimates of its prompts, of late.
        computed: tokens of its prompts that were not cached, of late.
    """

    __slots__ = ("computed", "missing", "outputs")

    def __init__(self, outputs: Sketch, missing: float, computed: float) -> None:
        self.outputs = outputs
        self.missing = missing
        self.computed = computed

    def add(self, usage: Usage, missing: float) -> None:
        """One more was made, in the estimate of whose prompt so many tokens were missing."""
        computed = usage.tokens_in - usage.tokens_cached
        self.missing = missing + MEMORY * (self.missing - missing)
        self.computed = computed + MEMORY * (self.computed - computed)
        self.outputs.add(usage.tokens_out)

    @classmethod
    def read(cls, text: str) -> FunctionLengths:
        """The inverse of `text`.

        Raises:
            ValueError: this is none.
        """
        learned = LearnedLength.model_validate_json(text)
        return cls(Sketch.of(learned.mean, learned.buckets), learned.missing, learned.computed)

    def text(self) -> str:
        """What a successor needs to know, and people want to."""
        outputs = self.outputs
        return LearnedLength.model_construct(
            p50=round(outputs.quantile(0.5)),
            p90=round(outputs.quantile(0.9)),
            seen=round(outputs.seen, 1),
            mean=short(outputs.mean),
            missing=short(self.missing),
            computed=short(self.computed),
            buckets=outputs.buckets(),
        ).model_dump_json()


@mypyc_attr(allow_interpreted_subclasses=True)
class LearnedLengths:
    """Output lengths by function, output slot and model: means for what is expected, from a prior that each observation weakens."""

    def __init__(self) -> None:
        self._functions = Memory("length:", FUNCTIONS, FunctionLengths.read)

    def prompt(self, generation: Generation) -> float:
        """Expected prompt tokens: the estimate from texts, and what was missing in it for this function of late."""
        known = self._functions.get(_name(generation))
        return max(1.0, generation.beginnings.prompt_tokens + (0.0 if known is None else known.missing))

    def computed(self, generation: Generation) -> float:
        """Tokens of its prompt that will have to be computed, as of late for this function; 0 if nothing is known."""
        known = self._functions.get(_name(generation))
        return 0.0 if known is None else known.computed

    def expect(self, generation: Generation) -> float:
        """Expected output tokens of a generation; never above what its sampling allows."""
        most = generation.lowered.sampling.max_gen_length
        known, every = self._functions.get(_name(generation)), self._functions.get(EVERY)
        prior = PRIOR_TOKENS if every is None else every.outputs.mean
        if known is None:
            return min(prior, most)
        seen = known.outputs.seen
        return min((known.outputs.mean * seen + prior) / (seen + 1.0), most)

    def learn(self, generation: Generation, usage: Usage) -> None:
        """Note an output that was generated."""
        missing = usage.tokens_in - generation.beginnings.prompt_tokens
        for name in (_name(generation), EVERY):
            known = self._functions.get(name) or FunctionLengths(Sketch(), missing, usage.tokens_in - usage.tokens_cached)
            known.add(usage, missing)
            self._functions.note(name, known)

    def learned(self, most: int) -> Mapping[str, str | None]:
        """What has changed in it, for successors."""
        return self._functions.changes(most)

    def recall(self, found: Mapping[str, str]) -> None:
        """What a predecessor had learned."""
        self._functions.recall(found)


def _name(generation: Generation) -> str:
    """Under which it is known: those of which all parts are equal are alike."""
    call = generation.call
    return f"{call.function}.{generation.lowered.output}" + (f"@{call.model}" if call.model is not None else "")


class Line:
    """A straight line through observations, the recent ones counting more: ridge regression with forgetting.

    What is believed of the slope at first counts like a few observations, and is not forgotten: where all observations lie at one
    place, they say nothing of the slope.

    Args:
        at_zero, slope: what is believed before anything was seen.
        scale: typical size of the abscissa.
    """

    __slots__ = ("_belief", "_strength", "_sum_w", "_sum_x", "_sum_xx", "_sum_xy", "_sum_y", "at_zero", "slope")

    def __init__(self, at_zero: float, slope: float, scale: float) -> None:
        self.at_zero = at_zero
        self.slope = self._belief = slope
        self._strength = scale * scale
        self._sum_w = self._sum_x = self._sum_y = self._sum_xx = self._sum_xy = 0.0

    def add(self, x: float, y: float) -> None:
        """One more observation. The line never falls and never begins below 0: time does not run backwards."""
        self._sum_w = self._sum_w * _FADING + 1.0
        self._sum_x = self._sum_x * _FADING + x
        self._sum_xx = self._sum_xx * _FADING + x * x
        self._sum_y = self._sum_y * _FADING + y
        self._sum_xy = self._sum_xy * _FADING + x * y
        self._fit()

    def copy(self) -> Line:
        """One that has seen the same."""
        alike = Line(self.at_zero, self._belief, 0.0)
        alike.slope, alike._strength = self.slope, self._strength
        alike._sum_w, alike._sum_x, alike._sum_y = self._sum_w, self._sum_x, self._sum_y
        alike._sum_xx, alike._sum_xy = self._sum_xx, self._sum_xy
        return alike

    def _fit(self) -> None:
        mean_x, mean_y = self._sum_x / self._sum_w, self._sum_y / self._sum_w
        together = self._sum_xy - self._sum_w * mean_x * mean_y
        spread = self._sum_xx - self._sum_w * mean_x * mean_x
        self.slope = max(0.0, (together + self._strength * self._belief) / (spread + self._strength))
        self.at_zero = mean_y - self.slope * mean_x
        if self.at_zero < 0.0:
            self.at_zero, self.slope = 0.0, mean_y / mean_x

    def at(self, x: float) -> float:
        """What is expected there."""
        return self.at_zero + self.slope * x

    def learned(self) -> LearnedLine | None:
        """What it goes through, for a successor; None if that is nothing yet."""
        if not self._sum_w:
            return None
        x, y = self._sum_x / self._sum_w, self._sum_y / self._sum_w
        return LearnedLine.model_construct(
            weight=short(self._sum_w),
            x=short(x),
            y=short(y),
            spread=short(max(0.0, self._sum_xx - self._sum_x * x)),
            together=short(self._sum_xy - self._sum_x * y),
        )

    def recall(self, learned: LearnedLine) -> None:
        """Go through what a predecessor's went through."""
        weight, x, y = learned.weight, learned.x, learned.y
        self._sum_w, self._sum_x, self._sum_y = weight, weight * x, weight * y
        self._sum_xx, self._sum_xy = learned.spread + weight * x * x, learned.together + weight * x * y
        self._fit()


class Speed:
    """How fast an engine is, fitted online from the usages that it reports.

    A step takes about `a + b * context + c * computed` seconds: context is what the sequences of the batch attend to, in tokens, and
    computed are the tokens of prompts that are computed in it. Before anything is known, the times of a small GPU are taken.

    Attributes:
        step_seconds: of a step, whatever is in it.
        context_seconds: that each token of context adds to it.
        token_seconds: to compute one token of a prompt.
    """

    __slots__ = ("_seconds", "_step", "_tokens", "context_seconds", "step_seconds", "token_seconds")

    def __init__(self) -> None:
        self._step = Line(0.02, 5e-7, scale=10_000.0)
        self._tokens, self._seconds = 100.0, 100.0 / 4000  # of prompts
        self._settle()

    def _settle(self) -> None:
        self.step_seconds, self.context_seconds = max(1e-6, self._step.at_zero), self._step.slope
        self.token_seconds = max(1e-9, self._seconds / self._tokens)

    def learn_step(self, context: float, seconds: float, steps: int, computed: float) -> None:
        """Note how long an output took.

        Args:
            context: of the batch, on average.
            seconds: from its first token to its last.
            steps: between them.
            computed: tokens of other prompts that were computed in between.
        """
        self._step.add(context, max(0.0, seconds - self.prefill(computed)) / steps)
        self._settle()

    def learn_prefill(self, tokens: float, seconds: float) -> None:
        """Note how long prompts took.

        Args:
            tokens: that were computed: of one prompt, and of those that waited before it when it came.
            seconds: from then to the first token of its output.
        """
        if tokens >= LEAST_PROMPT:
            self._tokens = self._tokens * _FADING + tokens
            self._seconds = self._seconds * _FADING + max(0.0, seconds - self.step(tokens))
            self._settle()

    @classmethod
    def read(cls, text: str) -> Speed:
        """The inverse of `text`.

        Raises:
            ValueError: this is none.
        """
        learned, speed = LearnedSpeed.model_validate_json(text), cls()
        speed._tokens, speed._seconds = learned.prompt_tokens, learned.prompt_seconds
        if learned.steps is not None:
            speed._step.recall(learned.steps)
        speed._settle()
        return speed

    def text(self) -> str:
        """What a successor needs to know, and people want to."""
        return LearnedSpeed.model_construct(
            step_seconds=short(self.step_seconds),
            context_seconds=short(self.context_seconds),
            token_seconds=short(self.token_seconds),
            prompt_tokens=short(self._tokens),
            prompt_seconds=short(self._seconds),
            steps=self._step.learned(),
        ).model_dump_json()

    def copy(self) -> Speed:
        """One for another engine, which is believed to be like this one until it shows how it is."""
        alike = Speed()
        alike._step = self._step.copy()
        alike._tokens, alike._seconds = self._tokens, self._seconds
        alike._settle()
        return alike

    def step(self, context: float) -> float:
        """Seconds of a decoding step of a batch with so many tokens of context."""
        return self.step_seconds + self.context_seconds * context

    def share(self, context: float) -> float:
        """Seconds of the engine's time that a token takes of a sequence with so much context, in a batch of ordinary size."""
        return self.step_seconds / ORDINARY_BATCH + self.context_seconds * context

    def prefill(self, tokens: float) -> float:
        """Seconds to compute so many tokens of a prompt."""
        return tokens * self.token_seconds
