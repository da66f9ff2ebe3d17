"""Python's garbage collector, as long-lived processes with much small, short-lived data want it."""

from __future__ import annotations

import gc


def spare_the_collector() -> None:
    """Messages come by the hundreds and live shortly: at Python's default, looking for cycles among them takes a quarter of their time."""
    gc.collect()
    gc.freeze()  # what is loaded stays
    gc.set_threshold(50_000, 20, 50)
