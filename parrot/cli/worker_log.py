"""From what a starting engine worker writes in its log to what it is doing, for people who wait."""

from __future__ import annotations

from collections.abc import Sequence

_PHASES = (  # in the order in which they come: a piece of vLLM's own log lines, and what it means
    ("Initializing a V1 LLM engine", "vLLM starts its engine process"),
    ("Starting to load model", "vLLM loads the weights"),
    ("Loading weights took", "weights are loaded, vLLM measures the memory"),
    ("KV cache size", "the KV cache is laid out, vLLM warms up"),
)
_FIRST = "importing the libraries"


def phase(lines: Sequence[str]) -> str:
    """What the worker that wrote these lines is doing."""
    for line in reversed(lines):
        for mark, meaning in reversed(_PHASES):
            if mark in line:
                return meaning
    return _FIRST
