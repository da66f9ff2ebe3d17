"""How fast the real vLLM engine is on this machine: the figures that simulated engines take.

    python -m bench.profile --json bench/results/profile.json

Batches of several sizes decode on contexts of several lengths, and prompts of several lengths are taken in. To the medians a formula is
fitted: a step takes `a + b * sequences + c * KV tokens + d * prompt tokens` seconds (`bench.simulator.profile`). It counts relative errors:
a step of 60 ms and one of a second weigh the same. The raw times are kept.

The engine wants all cores, and whatever else runs makes it several times slower. Each batch waits for a quiet machine; what was disturbed
all the same counts only where there is nothing better.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import combinations, pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]
from rich.console import Console
from rich.table import Table

from parrot.config import load
from parrot.engine.contexts import context_name
from parrot.engine.vllm import VllmEngine
from parrot.sampling import SamplingConfig

RUNNING = (32, 16, 8, 4, 1)  # the largest first, so that the KV cache has the prompts of the others
CONTEXTS = (2000, 1000, 400, 100)
PROMPTS = (64, 256, 512, 1024, 2048)
STEPS = 12  # of a batch, in each round
QUIET = 0.25  # cores that others may use
PATIENCE = 20.0  # seconds to wait for that
VOCABULARY = range(100, 40_000)  # of random prompts
TERMS = ("step_seconds", "sequence_seconds", "kv_token_seconds", "prefill_token_seconds")


@dataclass(frozen=True)
class Sample:
    """Steps that were measured in one go.

    Attributes:
        seconds: of each.
        others: cores that other processes used meanwhile, on average.
    """

    seconds: list[float]
    others: float


@dataclass
class Point:
    """One batch.

    Attributes:
        running: sequences in it.
        kv: tokens in their contexts.
        prefill: prompt tokens that a step takes in.
        samples: what was measured.
    """

    running: int
    kv: int
    prefill: int
    samples: list[Sample] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Seconds of a step, of the samples that were not disturbed; if all were, of the one that was disturbed least."""
        quiet = max(QUIET, min(sample.others for sample in self.samples))
        return statistics.median(seconds for sample in self.samples if sample.others <= quiet for seconds in sample.seconds)

    @property
    def terms(self) -> tuple[int, int, int, int]:
        """What the coefficients of the formula are multiplied with."""
        return 1, self.running, self.kv, self.prefill


class Others:
    """How many cores other processes use, counted from when this was made."""

    def __init__(self) -> None:
        self._since, self._used = time.monotonic(), self._count()

    def cores(self) -> float:
        return max(0.0, (self._count() - self._used) / (time.monotonic() - self._since))

    def _count(self) -> float:
        """CPU seconds of all others, since ever. What the hypervisor gives to other machines is among them."""
        every, me = psutil.cpu_times(), psutil.Process()
        busy = every.user + every.nice + every.system + every.irq + every.softirq + getattr(every, "steal", 0.0)
        own = [process.cpu_times() for process in (me, *me.children(recursive=True))]
        return float(busy - sum(times.user + times.system for times in own))


async def quiet() -> None:
    """Wait until nobody else uses the machine, but not for ever."""
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        others = Others()
        await asyncio.sleep(1.0)
        if others.cores() <= QUIET:
            return


# Measuring ---------------------------------------------------------------------------------------


async def generate(engine: VllmEngine, prompt: Sequence[int], length: int, times: list[float]) -> None:
    """Generate tokens, and write down when each came."""
    context = context_name(None, prompt)
    await engine.fill(context, None, prompt)
    try:
        sampling = SamplingConfig(temperature=0, max_gen_length=length, ignore_tokenizer_eos=True)
        async for chunk in engine.generate(context, sampling, priority=0):
            times.extend([time.perf_counter()] * len(chunk.tokens))
    finally:
        await engine.release(context)


async def decode(engine: VllmEngine, prompts: Sequence[Sequence[int]]) -> tuple[int, Sample]:
    """KV tokens and steps of a batch, once all of it decodes."""
    times: list[list[float]] = [[] for _ in prompts]
    tasks = [asyncio.create_task(generate(engine, prompt, 500, own)) for prompt, own in zip(prompts, times, strict=True)]
    try:
        while not all(times):
            await asyncio.sleep(0.01)
        first, others = len(times[0]), Others()
        while len(times[0]) <= first + STEPS:
            await asyncio.sleep(0.01)
        cores = others.cores()
        kv = sum(len(prompt) + len(own) for prompt, own in zip(prompts, times, strict=True)) - len(prompts) * STEPS // 2
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    taken = times[0][first : first + STEPS + 1]
    return kv, Sample([round(after - before, 5) for before, after in pairwise(taken)], round(cores, 2))


async def prefill(engine: VllmEngine, prompt: Sequence[int]) -> Sample:
    """Seconds to the first token."""
    times: list[float] = []
    began, others = time.perf_counter(), Others()
    await generate(engine, prompt, 1, times)
    return Sample([round(times[0] - began, 5)], round(others.cores(), 2))


async def measure(engine: VllmEngine, rounds: int, console: Console) -> list[Point]:
    """All batches, so many times."""
    chance = random.Random(1)
    prompts = [chance.choices(VOCABULARY, k=max(CONTEXTS)) for _ in range(max(RUNNING))]
    batches = {(running, context): Point(running, 0, 0) for context, running in product(CONTEXTS, RUNNING)}
    fresh = {tokens: Point(1, tokens, tokens) for tokens in PROMPTS}
    for number in range(rounds):
        for (running, context), point in batches.items():
            await quiet()
            point.kv, sample = await decode(engine, [prompt[:context] for prompt in prompts[:running]])
            point.samples.append(sample)
        for tokens, point in fresh.items():
            await quiet()
            point.samples += [await prefill(engine, chance.choices(VOCABULARY, k=tokens)) for _ in range(2)]
        disturbed = sum(sample.others > QUIET for point in (*batches.values(), *fresh.values()) for sample in point.samples)
        console.print(f"round {number + 1} of {rounds}; {disturbed} samples were disturbed", style="dim")
    return [*batches.values(), *fresh.values()]


# Fitting -----------------------------------------------------------------------------------------


def fit(points: Sequence[Point]) -> dict[str, float]:
    """The coefficients with the smallest relative errors; none is negative."""
    rows = np.array([point.terms for point in points], dtype=float)
    seconds = np.array([point.median for point in points])
    best: tuple[float, dict[str, float]] | None = None
    for count in range(1, len(TERMS) + 1):
        for chosen in combinations(range(len(TERMS)), count):
            found, *_ = np.linalg.lstsq(rows[:, chosen] / seconds[:, None], np.ones(len(seconds)), rcond=None)
            error = float(np.sum((rows[:, chosen] @ found / seconds - 1) ** 2))
            if (found >= 0).all() and (best is None or error < best[0]):
                best = (
                    error,
                    {**dict.fromkeys(TERMS, 0.0), **{TERMS[term]: float(value) for term, value in zip(chosen, found, strict=True)}},
                )
    assert best is not None  # a constant alone is never negative
    return best[1]


def predicted(coefficients: dict[str, float], point: Point) -> float:
    return sum(coefficients[name] * value for name, value in zip(TERMS, point.terms, strict=True))


# Reporting ---------------------------------------------------------------------------------------


def show(points: Sequence[Point], coefficients: dict[str, float], console: Console) -> None:
    table = Table("sequences", "KV tokens", "prompt tokens", "step, ms", "by the formula", "error")
    for point in points:
        said = predicted(coefficients, point)
        cells = (str(point.running), f"{point.kv:,}", str(point.prefill), f"{point.median * 1e3:.1f}", f"{said * 1e3:.1f}")
        table.add_row(*cells, f"{said / point.median - 1:+.0%}")
    console.print(table)
    a, b, c, d = (coefficients[name] for name in TERMS)
    console.print(
        f"a step takes {a * 1e3:.1f} ms + {b * 1e3:.3f} ms a sequence + {c * 1e6:.3f} µs a KV token + {d * 1e3:.3f} ms a prompt token"
    )


async def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    engine = VllmEngine(load(engine="vllm", max_running=max(RUNNING), context_tokens=max(CONTEXTS) + 500, kv_gib=options.kv_gib))
    try:
        await engine.start()
        began, before = time.monotonic(), os.getloadavg()
        points = await measure(engine, options.rounds, console)
        coefficients = fit(points)
        show(points, coefficients, console)
        errors = sorted(abs(predicted(coefficients, point) / point.median - 1) for point in points)
        return {
            "model": engine.model,
            "machine": {"platform": platform.platform(), "cores": os.cpu_count(), "load_before": before, "load_after": os.getloadavg()},
            "seconds": time.monotonic() - began,
            "capacity": engine.capacity.model_dump(),
            "budget_tokens": engine._llm.vllm_config.scheduler_config.max_num_batched_tokens,
            "fit": {**coefficients, "prefill_tokens_per_second": 1 / coefficients["prefill_token_seconds"]},
            "errors": {"median": statistics.median(errors), "largest": errors[-1]},
            "points": [{**asdict(point), "median": point.median} for point in points],
        }
    finally:
        await engine.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="measure each batch so many times")
    parser.add_argument("--kv-gib", type=float, default=2.0, help="GiB of KV cache; the largest batch has some 65,000 tokens")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    options = parser.parse_args()
    console = Console()
    said = asyncio.run(run(options, console))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(said, indent=1) + "\n")
        console.print(f"written to {options.json}")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):  # the engine has been stopped
        main()
