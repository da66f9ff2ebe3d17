"""vLLM's processes and the process that hosts them. That they end with a host that is killed: `tests/fault/test_vllm_takeover.py`."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from tests.vllm.conftest import is_tracker

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(300),  # a cold start prepares the model first
]

HOST = """
import asyncio, sys
from parrot.config import load
from parrot.engine.contexts import context_name
from parrot.engine.vllm import VllmEngine
from parrot.errors import EngineError
from parrot.sampling import SamplingConfig

async def generate(engine):
    name = context_name(None, [1])
    await engine.fill(name, None, [1])
    async for chunk in engine.generate(name, SamplingConfig(max_gen_length=900, ignore_tokenizer_eos=True), 0):
        print("chunk", flush=True)

async def main():
    engine = VllmEngine(load(engine="vllm", kv_gib=0.25, context_tokens=1024))
    await engine.start()
    try:
        await generate(engine)
    except EngineError as error:
        print("died", error, flush=True)
    try:
        engine.load()
    except EngineError:
        print("known", flush=True)
    await engine.stop()
    print("stopped", flush=True)

asyncio.run(main())
"""


def host() -> subprocess.Popen[str]:
    """A process that hosts an engine, with a generation in flight."""
    process = subprocess.Popen([sys.executable, "-c", HOST], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "chunk\n"
    return process


def test_a_dead_engine_is_noticed_by_its_host() -> None:
    with host() as process:
        processes = psutil.Process(process.pid).children(recursive=True)
        next(process for process in processes if not is_tracker(process)).kill()
        assert process.stdout
        said = [line.split()[0] for line in process.stdout]
    assert [word for word in said if word != "chunk"] == ["died", "known", "stopped"]
    assert psutil.wait_procs(processes, timeout=3)[1] == []
