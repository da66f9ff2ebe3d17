"""The story of one call for people: what was decided and why, and where its time went."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from rich.markup import escape

from parrot.broker.entries import CallEntry, CallRecord, DecisionEntry, VariableEntry
from parrot.cli.timeline import Step, Timeline
from parrot.cli.words import COLOURS, coloured, duration, spare
from parrot.wire.states import CallState

_OBJECTIVES = {
    "latency": "as early as possible: somebody waits for it, or for what is made of it",
    "ttft": "soon begun: somebody reads it as it comes, or what is made of it",
    "tpot": "no halts once it has begun: somebody reads it as it comes",
    "deadline": "in time: it, or what is made of it, is wanted by a certain moment",
    "group": "all of its group as early as possible, since the last one counts",
    "throughput": "nobody waits for it: all that is like it as early as possible",
}
_UNPLACED = (CallState.WAITING, CallState.QUEUED)
_ENDS = (CallState.DONE, CallState.FAILED, CallState.CANCELLED)
_BAR = (8, 24)  # columns of a bar, at least and at most
_BESIDE_A_BAR = 90  # about what else a line holds


def lines(record: CallRecord, told: Mapping[str, Timeline], width: int) -> list[str]:
    """The story, as lines of rich markup.

    Args:
        record: the call.
        told: the timelines of its outputs.
        width: columns of the screen; bars are cut to it.
    """
    call = record.call
    story = [*_title(call), *_decision(call)]
    scale = _Scale([step for timeline in told.values() for step in timeline.steps], width)
    for slot, identifier in call.outputs.items():
        if slot not in told:
            story += ["", f"[bold]{escape(slot)}[/] [dim]{escape(identifier)} is no longer there[/]"]
    for slot, timeline in told.items():
        variable = record.variables[call.outputs[slot]]
        story += ["", f"[bold]{escape(slot)}[/] {coloured(variable.state)}{_summary(timeline)}", *_placement(call, variable)]
        story += [_row(step, scale) for step in timeline.steps]
        story += [f"  [dim]-[/] {escape(words)}" for words in timeline.waits_for]
    return story


class _Scale:
    """Draws the steps of a call to one scale, so that those of several outputs compare."""

    def __init__(self, steps: list[Step], width: int) -> None:
        moments = [datetime.fromisoformat(step.at) for step in steps]
        self._begin = min(moments, default=None)
        self._seconds = (max(moments) - min(moments)).total_seconds() if moments else 0.0
        self._columns = max(_BAR[0], min(_BAR[1], width - _BESIDE_A_BAR))

    def bar(self, step: Step) -> str:
        """The time since the step before it, where it lies in the life of the call."""
        if not step.seconds or step.seconds < 0 or not self._seconds or self._begin is None:
            return " " * self._columns
        end = (datetime.fromisoformat(step.at) - self._begin).total_seconds()
        first, last = (round(at / self._seconds * self._columns) for at in (end - step.seconds, end))
        first = min(first, self._columns - 1)
        return (" " * first + ("█" * (last - first) or "▏")).ljust(self._columns)


def _title(call: CallEntry) -> list[str]:
    parts = [call.id]
    if call.session:
        parts.append(f"session {call.session}")
    if call.submitted:
        parts.append(f"{call.submitted.partition('T')[0]} (UTC)")
    title = f"[bold]{escape(call.function)}[/] {coloured(call.state)} · [dim]{escape(' · '.join(parts))}[/]"
    return [title, f"  [red]{escape(call.error)}[/]"] if call.error else [title]


def _decision(call: CallEntry) -> list[str]:
    made = call.decision
    facts = {"objective": _objective(made.objective), "group": made.group and f"its group makes the inputs of {made.group}"}
    if call.state not in _UNPLACED:  # else what stands there is of an earlier attempt
        facts |= {
            "way": "" if made.way is None else f"{duration(made.way)} from its start to the end of what it is for, by the longest way",
            "slack": _slack(made.slack),
            "prefix": _prefix(made),
            "engine": made.engine + (f"; the next best was {made.runner_up}" if made.runner_up else ""),
            "why": made.why,
        }
    return [f"  [dim]{name:<9}[/] {escape(words)}" for name, words in facts.items() if words]


def _objective(objective: str) -> str:
    return f"{objective}: {_OBJECTIVES[objective]}" if objective in _OBJECTIVES else objective


def _slack(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{spare(seconds)} when that was decided"


def _prefix(made: DecisionEntry) -> str:
    parts = [] if made.prefix_expected is None else [f"{made.prefix_expected:,} tokens of its prompt expected in the cache there"]
    if made.prefix_found is not None:
        parts.append(f"{made.prefix_found:,} found" if parts else f"{made.prefix_found:,} tokens of its prompt found in the cache there")
    return ", ".join(parts)


def _placement(call: CallEntry, variable: VariableEntry) -> list[str]:
    """Why an output went where it went, where the call itself does not say it: it says so of the one that was placed last."""
    told = call.state not in _UNPLACED and (variable.engine, variable.why) == (call.decision.engine, call.decision.why)
    if told or not variable.engine or not variable.why:
        return []
    return [f"  [dim]{escape(variable.engine)}: {escape(variable.why)}[/]"]


def _summary(timeline: Timeline) -> str:
    """How long it took, and what most of that went into."""
    spent = [(step.seconds, step.spent) for step in timeline.steps if step.seconds is not None]
    total = sum(seconds for seconds, _ in spent)
    if total <= 0:
        return ""
    most, what = max(spent)
    so_far = " so far" if timeline.steps[-1].name == "now" else ""
    return f" · {duration(total)}{so_far}" + (f", {most / total:.0%} of it {escape(what)}" if what else "")


def _row(step: Step, scale: _Scale) -> str:
    clock = f"  [dim]{step.at.partition('T')[2].rstrip('Z')}[/]"
    if step.seconds is None:
        return f"{clock} {step.name}"
    name = f"{step.name:<11}"
    if step.name in _ENDS:
        name = f"[{COLOURS[step.name]}]{name}[/]"
    since = f"{'+' if step.seconds >= 0 else ''}{duration(step.seconds)}"
    words = " · ".join(part for part in (step.spent, _note(step)) if part)
    return f"{clock} {name} {since:>9} [cyan]{scale.bar(step)}[/] {escape(words)}"


def _note(step: Step) -> str:
    apart = "the clocks of two machines differ" if step.seconds and step.seconds < 0 else ""
    return "; ".join(part for part in (step.note, apart) if part)
