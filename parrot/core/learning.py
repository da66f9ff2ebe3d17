"""What is learned while a cell works: how long outputs are, by function; how fast engines are, from what they report."""

from __future__ import annotations

from collections import OrderedDict
from copy import deepcopy
from math import ceil, log
from typing import TYPE_CHECKING, Protocol

from parrot.wire.to_core import Usage

if TYPE_CHECKING:
    from parrot.core.graph import Generation

FUNCTIONS = 10_000  # whose outputs are known; the least recently used is forgotten
PRIOR_TOKENS = 128.0  # of an output of which nothing is known
_RATIO = log(1.15)  # between buckets of a sketch: quantiles are right to some 7%
_FADING = 0.99  # of the weight of what was seen, with each new one: the last hundred count
_LEAST_WEIGHT = 1e-4


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
        below = 0.0
        for bucket in sorted(self._buckets):
            below += self._buckets[bucket]
            if below >= q * self.weight:
                return float(2.718281828459045 ** ((bucket - 0.5) * _RATIO))
        return 0.0

    def _rescale(self) -> None:
        scale = 1.0 / self._unit
        self._buckets = {bucket: weight * scale for bucket, weight in self._buckets.items() if weight * scale > _LEAST_WEIGHT}
        self._sum *= scale
        self.weight *= scale
        self._unit = 1.0


class Lengths(Protocol):
    """Says how long an output will be."""

    def expect(self, generation: Generation) -> float:
        """Expected output tokens."""
        ...

    def learn(self, generation: Generation, usage: Usage) -> None:
        """How long it was."""
        ...


class LearnedLengths:
    """Output lengths by function, output slot and model: means for what is expected, from a prior that each observation weakens."""

    def __init__(self) -> None:
        self._sketches: OrderedDict[tuple[str, str, str | None], Sketch] = OrderedDict()
        self._all = Sketch()

    def expect(self, generation: Generation) -> float:
        """Expected output tokens of a generation; never above what its sampling allows."""
        most = generation.lowered.sampling.max_gen_length
        sketch = self._sketches.get(_key(generation))
        prior = self._all.mean if self._all.weight else PRIOR_TOKENS
        if sketch is None:
            return min(prior, most)
        seen = sketch.seen
        return min((sketch.mean * seen + prior) / (seen + 1.0), most)

    def quantile(self, generation: Generation, q: float) -> float:
        """What a fraction `q` of the outputs of this function does not exceed; of an unknown one, what its sampling allows."""
        most = float(generation.lowered.sampling.max_gen_length)
        sketch = self._sketches.get(_key(generation))
        return most if sketch is None else min(sketch.quantile(q), most)

    def learn(self, generation: Generation, usage: Usage) -> None:
        """Note an output that was generated."""
        key = _key(generation)
        sketch = self._sketches.get(key)
        if sketch is None:
            sketch = self._sketches[key] = Sketch()
            if len(self._sketches) > FUNCTIONS:
                self._sketches.popitem(last=False)
        else:
            self._sketches.move_to_end(key)
        sketch.add(usage.tokens_out)
        self._all.add(usage.tokens_out)


def _key(generation: Generation) -> tuple[str, str, str | None]:
    request = generation.call.request
    return (request.function, generation.lowered.output, request.model)


class Line:
    """A straight line through observations, the recent ones counting more: recursive least squares with forgetting.

    Args:
        at_zero, slope: what is believed before anything was seen, with the weight of a few observations.
        scale: typical size of the abscissa, so that both beliefs weigh alike.
    """

    __slots__ = ("_sum_w", "_sum_x", "_sum_xx", "_sum_xy", "_sum_y", "at_zero", "slope")

    def __init__(self, at_zero: float, slope: float, scale: float) -> None:
        self.at_zero, self.slope = at_zero, slope
        xs = (0.5 * scale, 1.5 * scale)
        self._sum_w = 2.0
        self._sum_x = sum(xs)
        self._sum_xx = sum(x * x for x in xs)
        self._sum_y = sum(at_zero + slope * x for x in xs)
        self._sum_xy = sum(x * (at_zero + slope * x) for x in xs)

    def add(self, x: float, y: float) -> None:
        """One more observation. The line never falls and never begins below 0: time does not run backwards."""
        self._sum_w = self._sum_w * _FADING + 1.0
        self._sum_x = self._sum_x * _FADING + x
        self._sum_xx = self._sum_xx * _FADING + x * x
        self._sum_y = self._sum_y * _FADING + y
        self._sum_xy = self._sum_xy * _FADING + x * y
        mean_x, mean_y = self._sum_x / self._sum_w, self._sum_y / self._sum_w
        variance = self._sum_xx / self._sum_w - mean_x * mean_x
        if variance > 1e-9 * (1.0 + mean_x * mean_x):
            self.slope = max(0.0, (self._sum_xy / self._sum_w - mean_x * mean_y) / variance)
        self.at_zero = max(0.0, mean_y - self.slope * mean_x)

    def at(self, x: float) -> float:
        """What is expected there."""
        return self.at_zero + self.slope * x


class Speed:
    """How fast an engine is, fitted online from the usages that it reports.

    A decoding step takes about `a + b * running` seconds, and the first token comes after the tokens that had to be computed, at so many a
    second. Before anything is known, the times of a small GPU are taken.
    """

    __slots__ = ("_prefill", "_step")

    def __init__(self) -> None:
        self._step = Line(0.02, 0.0005, scale=16.0)
        self._prefill = Line(0.02, 1 / 4000, scale=1000.0)

    def learn(self, usage: Usage) -> None:
        """Note what a generation took."""
        if usage.tokens_out > 1 and usage.running >= 1.0:
            self._step.add(usage.running, (usage.seconds - usage.first_token_seconds) / (usage.tokens_out - 1))
        if usage.tokens_out:
            self._prefill.add(max(0, usage.tokens_in - usage.tokens_cached), usage.first_token_seconds)

    def copy(self) -> Speed:
        """One for another engine, which is believed to be like this one until it shows how it is."""
        return deepcopy(self)

    def step(self, running: float) -> float:
        """Seconds of a decoding step with so many generations in the batch."""
        return max(1e-6, self._step.at(running))

    @property
    def neighbour(self) -> float:
        """Seconds that each generation adds to the step of all others."""
        return self._step.slope

    def prefill(self, tokens: float) -> float:
        """Seconds to compute so many tokens of a prompt."""
        return max(1e-7, self._prefill.slope) * tokens
