"""A session as a tree for people: calls, their outputs, and where their inputs come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.markup import escape
from rich.tree import Tree

from parrot.broker.entries import ArgumentEntry, CallEntry, Program, SessionEntry, VariableEntry
from parrot.cli.words import age, coloured, duration, preview, spare
from parrot.wire.states import CallState, VariableState

_NARROWEST = 40  # characters of a text that are shown on any screen
_INDENT = 44  # about what else stands on the line of a text


def tree(program: Program, width: int) -> Tree:
    """The tree of a session.

    Args:
        program: the session.
        width: columns of the screen; long texts are cut to it.
    """
    room = max(_NARROWEST, width - _INDENT)
    variables = {variable.id: variable for variable in program.variables}
    names = {call.id: f"{call.function}#{number}" for number, call in enumerate(program.calls, 1)}
    root = Tree(" · ".join([_session_line(program.session), *_ahead(program.calls)]))
    given = [variable for variable in program.variables if not variable.call]
    if given:
        node = root.add("given by the app")
        for variable in given:
            node.add(f"[bold]{escape(variable.name or variable.id)}[/] {coloured(variable.state)}{_text(variable, room)}")
    for call in program.calls:
        _add_call(root, call, names, variables, room)
    return root


def _session_line(session: SessionEntry) -> str:
    parts = [f"[bold]{escape(session.name or session.id)}[/]", coloured(session.state), f"{session.done}/{session.calls} calls done"]
    if session.failed:
        parts.append(f"[bold red]{session.failed} failed[/]")
    if session.tenant not in ("", "default"):
        parts.append(f"tenant {escape(session.tenant)}")
    parts += [f"{escape(name)}={escape(value)}" for name, value in session.labels.items()]
    if session.opened:
        parts.append(f"opened {age(session.opened)} ago")
    return " · ".join([*parts, f"[dim]{escape(session.id)}[/]"])


def _ahead(calls: Sequence[CallEntry]) -> list[str]:
    """What was ahead of a program when its calls were decided on last: the longest way, and how much time it can lose."""
    decisions = [call.decision for call in calls if call.state in (CallState.QUEUED, CallState.PLACED)]
    ways = [decision.way for decision in decisions if decision.way is not None]
    slacks = [decision.slack for decision in decisions if decision.slack is not None]
    parts = [f"{duration(max(ways))} to go by its longest way"] if ways else []
    if slacks:
        parts.append(spare(min(slacks)))
    return parts


def _add_call(root: Tree, call: CallEntry, names: Mapping[str, str], variables: Mapping[str, VariableEntry], room: int) -> None:
    objective = f" [dim]· {escape(call.decision.objective)}[/]" if call.decision.objective else ""
    node = root.add(f"[bold]{escape(names[call.id])}[/] {coloured(call.state)}{objective}")
    for slot, argument in call.arguments.items():
        node.add(f"[dim]{escape(slot)} ←[/] {_source(argument, names, variables, room)}")
    failed = False
    for slot, identifier in call.outputs.items():
        variable = variables.get(identifier)
        if variable is None:
            node.add(f"{escape(slot)} → [dim]{escape(identifier)} (no longer there)[/]")
            continue
        failed = failed or variable.state == VariableState.FAILED
        node.add(f"[bold]{escape(slot)}[/] → {_cost(variable)}{_text(variable, room)}")
    if call.error and not failed:
        node.add(f"[red]{escape(call.error)}[/]")


def _source(argument: ArgumentEntry, names: Mapping[str, str], variables: Mapping[str, VariableEntry], room: int) -> str:
    if argument.text is not None:
        return f"[dim]“{escape(preview(argument.text, room))}” ({len(argument.text):,} characters)[/]"
    if argument.hash is not None:
        return f"[dim]a long text, kept once under {escape(argument.hash)}[/]"
    variable = variables.get(argument.variable or "")
    if variable is None:
        return f"[dim]{escape(argument.variable or 'nothing')}[/]"
    if variable.call in names:
        return f"{escape(names[variable.call])}.{escape(variable.output)}"
    return f"{escape(variable.name or variable.id)}, given by the app"


def _cost(variable: VariableEntry) -> str:
    parts = [coloured(variable.state)]
    if variable.engine:
        parts.append(escape(variable.engine))
    if variable.seconds is not None:
        parts.append(f"{variable.seconds:.2f} s")
    if variable.tokens_out:
        cached = f", {variable.tokens_cached:,} cached" if variable.tokens_cached else ""
        parts.append(f"{variable.tokens_in:,} tokens in{cached}, {variable.tokens_out:,} out")
    if variable.attempt > 1:
        parts.append(f"attempt {variable.attempt}")
    return " · ".join(parts)


def _text(variable: VariableEntry, room: int) -> str:
    if variable.state == VariableState.FAILED:
        return f"\n[red]{escape(variable.error or variable.error_code or 'no reason was given')}[/]"
    if variable.state == VariableState.CANCELLED:
        return f"\n[dim]{escape(variable.error)}[/]" if variable.error else ""
    if variable.value is None:
        return f"\n[dim]{escape(variable.why)}[/]" if variable.why else ""
    return f"\n“{escape(preview(variable.value, room))}”"
