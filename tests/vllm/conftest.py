"""The real engine with the real small model, in float32, where equal means equal."""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator
from importlib.util import find_spec

import psutil
import pytest
import pytest_asyncio

from parrot.config import load
from parrot.engine.vllm import VllmEngine


@pytest.fixture(scope="session", autouse=True)
def vllm() -> None:
    """Without vLLM tests are skipped, but CI insists on it."""
    if find_spec("vllm") is None:
        missing = "vLLM is not installed: `make install`."
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(vllm: None) -> AsyncIterator[VllmEngine]:
    """One engine for all tests of a file."""
    engine = VllmEngine(load(engine="vllm", dtype="float32", kv_gib=1, context_tokens=1024))
    try:
        await engine.start()
        yield engine
    finally:
        await engine.stop()
        gc.collect()  # vLLM leaves a ZeroMQ context to it, which warns: best here, where vLLM's warnings are no errors


def is_tracker(process: psutil.Process) -> bool:
    """Whether it is multiprocessing's own helper, which ends with the process that it helps."""
    return any("resource_tracker" in part for part in process.cmdline())
