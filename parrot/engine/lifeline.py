"""The plugin that vLLM loads in each of its processes: they must neither outlive the worker that started them nor leave before it."""

from __future__ import annotations

import multiprocessing
import os

from parrot import lifeline


def die_with_parent() -> None:
    """End with the parent, or at once if it is gone; the process that hosts the engine, which nobody spawned, is left alone.

    A SIGKILLed worker so leaves no engine behind, alive and busy. And Ctrl-C in a terminal, which goes to the whole process
    group, is for the worker alone: it lets generations finish before it ends the engine.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        lifeline.die_with_parent(parent.pid)
        os.setpgid(0, 0)
