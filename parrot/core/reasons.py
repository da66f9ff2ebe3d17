"""Why what waits does so, in words that are kept true while it waits."""

from __future__ import annotations

from itertools import islice

from parrot.core import records, unserved
from parrot.core.cell import Cell
from parrot.core.graph import Generation
from parrot.core.urgency import slack
from parrot.wire.to_ledger import move, put

AT_ONCE = 250  # reasons that are corrected with one batch


def give_reasons(cell: Cell) -> None:
    """Say why what waits does: of what has begun to, and of some of what waits for something else than was said."""
    reasons: dict[str | None, str] = {}  # by model
    cell.misinformed.update((generation, None) for generation in cell.fleet.policy.reworded())
    corrected = list(islice(cell.misinformed, AT_ONCE))
    for generation in corrected:
        del cell.misinformed[generation]
    for generation in dict.fromkeys([*cell.queued, *corrected]):
        if generation.engine or generation.ended:
            continue
        model = generation.call.model
        if model not in reasons:
            reasons[model] = _what_it_waits_for(cell, model)
            if model is not None:  # else any engine will do that comes
                unserved.watch(cell, model)
            if not cell.fleet.serves(model):
                cell.unserved.setdefault(model, {})
        if model in cell.unserved:
            cell.unserved[model][generation] = None
        why = with_history(generation, cell.fleet.policy.awaits(generation) or _to_run_alone(generation) or reasons[model])
        cell.batch.write(
            put(cell.keys.call(generation.call.id), records.waits(generation, why, slack(generation, cell.now))),
            move(cell.keys.variable(generation.variable), records.queued(generation, why)),
        )
    cell.queued.clear()


def _what_it_waits_for(cell: Cell, model: str | None) -> str:
    """Why what asks for a model, or for any, was not placed at once."""
    wanted = f"that serves {model or 'any model'}"
    if not cell.fleet.serves(model):
        return f"waits for an engine {wanted}; {unserved.served(cell)}"
    if not cell.fleet.serves(model, staying=True):
        return f"waits for an engine {wanted}: those that do are leaving"
    return f"waits for an engine with room {wanted}: a place, space in its cache and no prompts before this one; others may come first"


def _to_run_alone(generation: Generation) -> str:
    deaths = len(generation.mishaps.deaths)
    return f"waits to run alone on an engine: {deaths} engines died while they held it" if generation.suspect else ""


def with_history(generation: Generation, why: str) -> str:
    """A reason, and why the generation runs again, if it does."""
    return f"{why}; {generation.mishaps.again}" if generation.mishaps.again else why


def served_less(cell: Cell, model: str) -> None:
    """Engines with a model leave or are gone: if no other one is there, what waits for it does so for another reason now."""
    for asked in (model, None):
        if not cell.fleet.serves(asked, staying=True):
            cell.misinformed.update((generation, None) for generation in cell.fleet.waiting() if generation.call.model == asked)
    if not cell.fleet.serves(model):
        served_otherwise(cell)


def served_otherwise(cell: Cell) -> None:
    """Other models are served than those that were told to what waits for one that is not."""
    for told in cell.unserved.values():
        cell.misinformed.update(told)
    cell.unserved.clear()
