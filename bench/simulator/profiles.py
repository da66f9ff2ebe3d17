"""The engines that the virtual ones stand for, and the arithmetic behind each."""

from __future__ import annotations

import json
from pathlib import Path

from bench.simulator.profile import Profile
from parrot.engine.simulated import SMOLLM2_ON_TWO_CORES

EFFICIENCY_OF_MEMORY = 0.8  # of its bandwidth, that decoding reaches
EFFICIENCY_OF_COMPUTE = 0.5  # of its peak, that prefill reaches
SEQUENCE_SECONDS = 30e-6  # of scheduling and sampling, for each sequence of a step: the order of magnitude in vLLM
CONTEXT_TOKENS = 32_768  # more than these models have: the paper's own prompts of 7,437 tokens were more than LLaMA has


def gpu(name: str, *, parameters: float, layers: int, width: int, memory: float, bandwidth: float, flops: float, source: str) -> Profile:
    """A GPU with a dense transformer in 16 bits, by arithmetic.

    Every step reads all weights once (a) and the KV of all contexts (c); prefill is bound by computing two operations for each parameter
    and token (d). What 90% of the memory leaves beside the weights, and 2 GB for activations, holds KV: a key and a value of
    `width` numbers in each layer for every token.

    Args:
        name: of the profile.
        parameters: of the model.
        layers, width: of the model.
        memory: of the GPU, in bytes.
        bandwidth: of that memory, in bytes per second.
        flops: peak of the GPU in 16 bits, per second.
        source: where these figures come from.
    """
    weights, kv_token = 2 * parameters, 2 * 2 * layers * width
    read = bandwidth * EFFICIENCY_OF_MEMORY
    return Profile(
        name=name,
        step_seconds=weights / read,
        sequence_seconds=SEQUENCE_SECONDS,
        kv_token_seconds=kv_token / read,
        prefill_token_seconds=2 * parameters / (flops * EFFICIENCY_OF_COMPUTE),
        running=256,
        budget=2048,
        kv_tokens=int((0.9 * memory - weights - 2e9) / kv_token),
        context_tokens=CONTEXT_TOKENS,
        source=f"derived, not measured: {source}",
    )


# 26.0 GB of weights at 1.63 TB/s: 16.0 ms a step. 819 kB of KV a token, 0.50 us to read, 53,700 of them in 44 GB; 167 us to take one in.
A100_13B = gpu(
    "a100-13b",
    parameters=13.0e9,
    layers=40,
    width=5120,
    memory=80e9,
    bandwidth=2.039e12,
    flops=312e12,
    source="A100-80GB SXM (2,039 GB/s, 312 TFLOPS in bfloat16) with LLaMA-13B (40 layers of 5,120), the first testbed of the paper",
)

# 13.5 GB of weights at 614 GB/s: 22.0 ms a step. 524 kB of KV a token, 0.85 us to read, 52,800 of them in 27.7 GB; 174 us to take one in.
A6000_7B = gpu(
    "a6000-7b",
    parameters=6.74e9,
    layers=32,
    width=4096,
    memory=48e9,
    bandwidth=768e9,
    flops=154.8e12,
    source="RTX A6000 (768 GB/s, 154.8 TFLOPS dense in 16 bits) with LLaMA-7B (32 layers of 4,096), the second testbed of the paper",
)


def measured(path: Path) -> Profile:
    """vLLM on a CPU with the packaged model, as `bench.profile` measured it; before it has, with the figures of the simulated engine.

    Args:
        path: what `bench.profile` wrote.
    """
    name, rough = "smollm2-cpu", SMOLLM2_ON_TWO_CORES
    if not path.exists():
        return Profile(
            name=name,
            step_seconds=rough.step_seconds,
            sequence_seconds=rough.sequence_seconds,
            kv_token_seconds=0.0,
            prefill_token_seconds=1 / rough.prefill_tokens,
            running=32,
            budget=2048,
            kv_tokens=int(2 * 2**30 / rough.kv_token_bytes),
            context_tokens=CONTEXT_TOKENS,
            source="SmolLM2-135M in vLLM on two cores, as parrot.engine.simulated has it; bench.profile measures it anew",
        )
    said = json.loads(path.read_text())
    fit, capacity = said["fit"], said["capacity"]
    return Profile(
        name=name,
        step_seconds=fit["step_seconds"],
        sequence_seconds=fit["sequence_seconds"],
        kv_token_seconds=fit["kv_token_seconds"],
        prefill_token_seconds=fit["prefill_token_seconds"],
        running=capacity["running"],
        budget=said["budget_tokens"],
        kv_tokens=capacity["kv_tokens"],
        context_tokens=CONTEXT_TOKENS,
        block_tokens=capacity["block_tokens"],
        source=f"measured: {said['model']} in vLLM on {said['machine']['cores']} cores of {said['machine']['platform']} ({path.name})",
    )


SMOLLM2_CPU = measured(Path(__file__).parents[1] / "results" / "profile.json")
PROFILES = {profile.name: profile for profile in (SMOLLM2_CPU, A100_13B, A6000_7B)}
