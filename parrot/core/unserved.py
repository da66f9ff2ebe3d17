"""Models that no engine serves: what names one waits for so long, and then fails."""

from __future__ import annotations

from parrot.core.cell import Cell
from parrot.core.ending import fail
from parrot.errors import NoEngine


def watch(cell: Cell, model: str) -> None:
    """If no engine serves a model, what names it is not to wait for ever."""
    timer = ("unserved", model)
    if not cell.fleet.serves(model) and timer not in cell.timers:
        cell.timers.set(timer, cell.now + cell.limits.unserved)


def over(cell: Cell, model: str) -> None:
    """A model was missed for a long time: if it still is, what waits for it fails. When an engine comes and goes the time begins anew."""
    if cell.fleet.serves(model):
        return
    seconds = f"{cell.limits.unserved:,.0f} s"
    error = NoEngine(f"No engine has served the model {model} for {seconds}; {served(cell)}. Start a worker with it, or name another one.")
    for generation in [waiting for waiting in cell.fleet.waiting() if waiting.call.model == model]:
        if not generation.ended:  # with another one that failed
            fail(cell, generation, error)


def served(cell: Cell) -> str:
    """The models that engines serve, in words."""
    models = sorted({engine.about.model for engine in cell.fleet.engines.values()})
    return f"here is only {', '.join(models)}" if models else "there is no engine at all"
