"""What an engine was given and has not done: its cache, its batch, its prompts; and how fast it has shown itself."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import takewhile
from math import exp
from typing import NamedTuple

from parrot.core.graph import Generation
from parrot.core.learning import Speed
from parrot.core.objectives import Kind
from parrot.core.policy import Engine
from parrot.wire.to_core import Usage

SEQUENCE = 32.0  # tokens of context that a sequence costs as much as, beside its own
LATELY = 10.0  # seconds for which it counts what prompts were given
MOST_PROMPTS = 0.8  # of the time that prompts are believed to take
READ = 0.5  # what a second of delay counts to who reads as it comes, if it counts 1 to who waits for the end
UNAWAITED = 0.5  # what it counts to a program for which nobody waits
REMEMBERED = 256  # prompts, to see which came between the tokens of others


EngineKind = tuple[str, int]  # model, and tokens of context that an engine takes


def kind_of(engine: Engine) -> EngineKind:
    """What decides for whom an engine comes into question."""
    return engine.about.model, engine.about.capacity.context_tokens


class Charge(NamedTuple):
    """What an engine was charged for one generation.

    Attributes:
        computed: tokens of its prompt that it was not expected to hold.
        tokens_out: expected.
        context: that it adds to the batch, on average over its life.
        sensitive: whether it suffers from its neighbours.
        weight: what a second of delay to it counts.
        began: when it was given, and ends: when it should be done, in seconds since the epoch.
        ahead: tokens of other prompts that waited to be computed when it came.
    """

    computed: float
    tokens_out: float
    context: float
    sensitive: bool
    weight: float
    began: float
    ends: float
    ahead: float

    def left(self, now: float) -> float:
        """The part of it that should not be done yet, from 0 to 1."""
        return max(0.0, min(1.0, (self.ends - now) / max(1e-9, self.ends - self.began)))  # nothing is left of what takes no time


class Load:
    """The load of one engine, as far as it follows from what it was given and what it has reported.

    Args:
        engine: whose.
        speed: what is believed of it.

    Attributes:
        kind: decides for whom the engine comes into question.
        places: generations that it runs at once, and kv_tokens: what its cache takes.
        tokens: of KV cache that it will need: of what it holds, prompts that it did not have already, and expected outputs.
        context: of the batch, in tokens.
        sensitive: how many of what it holds suffer from each neighbour in the batch, and sensitive_context: their part of it.
        weight: what a second of delay to all that it holds counts.
        filled: when it will have computed the prompts that it was given, in seconds since the epoch.
    """

    __slots__ = (
        *("_charges", "_computed", "_ends", "_holds", "_origin", "_pace", "_paced_at", "_prompted", "_prompted_at"),
        *("_times", "_totals", "_unseen", "_unseen_tokens"),
        *("context", "engine", "filled", "kind", "kv_tokens", "places", "sensitive", "sensitive_context", "speed", "tokens", "weight"),
    )

    def __init__(self, engine: Engine, speed: Speed) -> None:
        self.engine = engine
        self._holds = engine.holds
        self.speed = speed
        self.kind = kind_of(engine)
        self.places = engine.about.capacity.running
        self.kv_tokens = engine.about.capacity.kv_tokens
        self.tokens = 0.0
        self.context = 0.0
        self.sensitive = 0
        self.sensitive_context = 0.0
        self.weight = 0.0
        self.filled = 0.0
        self._origin = 0.0  # when it last began to be busy
        self._ends = 0.0  # of all that it holds, weighted, in seconds since then
        self._charges: dict[Generation, Charge] = {}
        self._unseen: dict[Generation, float] = {}  # tokens of prompts of which it is not known that they were computed, in order
        self._unseen_tokens = 0.0
        self._prompted = 0.0  # seconds of prompts of late
        self._prompted_at = 0.0
        self._pace, self._paced_at = 1.0, 0.0
        self._computed = 0.0  # of prompts in all
        self._times: list[float] = []  # when so much of them will have been computed
        self._totals: list[float] = []

    @property
    def running(self) -> int:
        """Generations that it holds."""
        return len(self._holds)

    @property
    def fullness(self) -> float:
        """Of its batch or its cache, whichever is fuller; 1 is full."""
        return max(self.running / self.places, self.tokens / self.kv_tokens)

    def give(self, generation: Generation, held: float, now: float) -> Charge:
        """It was given a generation, of whose prompt it is expected to hold so many tokens."""
        computed = max(0.0, generation.tokens_in - held)
        context, sensitive = context_of(generation), generation.objective.sensitive
        ahead = max(0.0, self.filled - now) / self.speed.token_seconds
        since = min(0.0, now - self._prompted_at)  # a successor is told of what an engine holds in no order of time
        self._prompted = self._prompts(max(now, self._prompted_at)) + self.speed.prefill(computed) * exp(since / LATELY)
        self._prompted_at, self._paced_at = max(now, self._prompted_at), 0.0
        if not self._charges:
            self._origin = now
        self.filled = max(now, self.filled) + self.speed.prefill(computed)
        ends = self.filled + generation.tokens_out * self.speed.step(self.context + context)
        weight = weight_of(generation)
        charge = self._charges[generation] = Charge(computed, generation.tokens_out, context, sensitive, weight, now, ends, ahead)
        self.weight += weight
        self._ends += weight * (ends - self._origin)
        self.tokens += charge.computed + charge.tokens_out
        self.context += context
        self.sensitive += sensitive
        self.sensitive_context += context * sensitive
        self._unseen_tokens += computed - self._unseen.pop(generation, 0.0)
        self._unseen[generation] = computed
        self._remember(computed)
        return charge

    def take(self, generation: Generation, usage: Usage | None, now: float) -> Charge:
        """It holds a generation no more.

        Returns:
            What it was charged.
        """
        context = self.context / len(self._charges)
        charge = self._charges.pop(generation)
        if usage is not None:
            self._learn(charge, context, usage, now)
            self._see(generation)
        self.tokens -= charge.computed + charge.tokens_out
        self.context -= charge.context
        self.sensitive -= charge.sensitive
        self.sensitive_context -= charge.context * charge.sensitive
        self.weight -= charge.weight
        self._ends -= charge.weight * (charge.ends - self._origin)
        if not self._charges:
            self._unseen.clear()
            self.tokens = self.context = self.sensitive_context = self.weight = self._ends = 0.0  # sums of fractions leave crumbs
            self._unseen_tokens = 0.0
        self._hasten(now + self.speed.prefill(self._unseen_tokens))
        return charge

    def renamed(self, generation: Generation) -> None:
        """What a generation that it holds is optimised for has changed."""
        charge = self._charges[generation]
        sensitive, weight = generation.objective.sensitive, weight_of(generation)
        self.sensitive += sensitive - charge.sensitive
        self.sensitive_context += charge.context * (sensitive - charge.sensitive)
        self.weight += weight - charge.weight
        self._ends += (weight - charge.weight) * (charge.ends - self._origin)
        self._charges[generation] = charge._replace(sensitive=sensitive, weight=weight)

    def remaining(self, now: float) -> float:
        """Seconds until what it holds is done, on average over the programs; what is late takes as long again as it is late."""
        return abs(self._origin + self._ends / self.weight - now) if self._charges else 0.0

    def _prompts(self, now: float) -> float:
        return self._prompted * exp((self._prompted_at - now) / LATELY)

    def pace(self, now: float) -> float:
        """How many times longer a sequence takes since prompts are computed between its tokens, as of late."""
        if now != self._paced_at:
            self._paced_at, self._pace = now, 1.0 / (1.0 - min(MOST_PROMPTS, self._prompts(now) / LATELY))
        return self._pace

    def _hasten(self, filled: float) -> None:
        """Its prompts will have been computed sooner than it was thought, those before them no later."""
        self.filled = min(self.filled, filled)
        for place in range(len(self._times) - 1, -1, -1):
            if self._times[place] <= self.filled:
                break
            self._times[place] = self.filled

    def _see(self, generation: Generation) -> None:
        """Prompts are computed in order: when one has been, those before it have been, too."""
        if generation in self._unseen:
            for seen in tuple(takewhile(lambda one: one is not generation, self._unseen)):
                self._unseen_tokens -= self._unseen.pop(seen)
            self._unseen_tokens -= self._unseen.pop(generation)

    def _learn(self, charge: Charge, context: float, usage: Usage, now: float) -> None:
        if usage.tokens_out < 1:
            return
        span = usage.seconds - usage.first_token_seconds
        if usage.tokens_out > 1 and usage.running >= 1.0:
            self.speed.learn_step(usage.running * context, span, usage.tokens_out - 1, self._between(now - span, now))
        # Not only of prompts that waited for none: where there is always one before, the speed would never be known.
        self.speed.learn_prefill(charge.ahead + usage.tokens_in - usage.tokens_cached, usage.first_token_seconds)

    def _remember(self, computed: float) -> None:
        self._computed += computed
        self._times.append(self.filled)
        self._totals.append(self._computed)
        if len(self._times) > 2 * REMEMBERED:
            del self._times[:REMEMBERED], self._totals[:REMEMBERED]

    def _between(self, begin: float, end: float) -> float:
        """About how many tokens of prompts were computed from one moment to another."""
        return _at(self._times, self._totals, end) - _at(self._times, self._totals, begin)


def weight_of(generation: Generation) -> float:
    """What a second of delay to a generation counts.

    Half for one that is read as it comes: it may still be faster than its reader. Of a program's others all that can run at once count
    as one, since only the last of them matters, also where each was asked for by itself; half of that if nobody waits for them.
    """
    if generation.objective.kind in (Kind.TTFT, Kind.TPOT):
        return READ
    whole = 1.0 if generation.objective.urgent else UNAWAITED
    return whole / max(1, generation.program.whole().active)


def context_of(generation: Generation) -> float:
    """Tokens that a generation adds to the context of its batch, on average over its life."""
    return generation.tokens_in + generation.tokens_out / 2 + SEQUENCE


def _at(times: Sequence[float], totals: Sequence[float], when: float) -> float:
    place = bisect_right(times, when)
    return totals[place - 1] if place else totals[0] if totals else 0.0
