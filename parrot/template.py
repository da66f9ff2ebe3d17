"""The prompt template: a text with `{{slots}}`, taken apart into segments and checked. Pure; shared by app and core.

A segment is one stretch of a prompt that is tokenised by itself, so its token ids do not depend on its
neighbours. A slot is where a Semantic Variable (or a Python value) goes; which slots are outputs is said
by the function, not by the text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Literal, NamedTuple

from parrot.errors import DefinitionError

SegmentKind = Literal["text", "hash", "slot", "role"]
ROLES = ("system", "user", "assistant")
MAX_SEGMENTS = 4096  # of a template
MAX_OUTPUTS = 64  # of a template; each is a generation whose prompt holds everything before it

_SLOT = re.compile(r"\{\{([^{}]*)\}\}")  # no braces inside: linear in the text, whoever wrote it
_BRACES = re.compile(r"\}\}|[{}]")
_CHANGE = {"{": 1, "}": -1, "}}": -2}  # of the number of open single braces
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class Segment(NamedTuple):
    """One piece of a template.

    Attributes:
        kind: `text` (constant text), `hash` (constant text stored once under its content hash),
            `slot` (a name to be filled or generated) or `role` (a chat turn begins here).
        value: the text, the hash, the name or the role.
    """

    kind: SegmentKind
    value: str


def parse(text: str) -> list[Segment]:
    """Take a prompt text apart at its `{{name}}` slots.

    Single braces are text, and so is a `}}` that closes two of them, as in JSON: `{"a": {"b": 1}}`.

    Args:
        text: the prompt as the author wrote it, already dedented.

    Raises:
        DefinitionError: a slot is not a Python identifier, or double braces do not pair.
    """
    segments: list[Segment] = []
    end = depth = 0
    for match in _SLOT.finditer(text):
        depth = _append_text(segments, text[end : match.start()], depth)
        name = match.group(1).strip()
        if not _NAME.match(name):
            raise DefinitionError(
                f"The placeholder {match.group(0)!r} is not a name. Write a parameter's name between the braces: {{{{name}}}}."
            )
        segments.append(Segment("slot", name))
        end = match.end()
    _append_text(segments, text[end:], depth)
    return segments


def _append_text(segments: list[Segment], text: str, depth: int) -> int:
    """Append a stretch without slots; `depth` single braces are open before it, the answer after it."""
    if "{{" in text:
        raise _unpaired("{{", text, text.index("{{"))
    for match in _BRACES.finditer(text):
        if match.group() == "}}" and depth < 2:
            raise _unpaired("}}", text, match.start())
        depth = max(0, depth + _CHANGE[match.group()])
    if text:
        segments.append(Segment("text", text))
    return depth


def _unpaired(braces: str, text: str, at: int) -> DefinitionError:
    near = text[max(0, at - 20) : at + 22]
    return DefinitionError(
        f"The prompt has {braces!r} without its partner near {near!r}. A placeholder is {{{{name}}}}; braces that are none go into "
        "a Python value, which is taken as it is."
    )


def slots(segments: Iterable[Segment]) -> list[str]:
    """The names of all slots, in order, with repetitions."""
    return [segment.value for segment in segments if segment.kind == "slot"]


def check(segments: Sequence[Segment], inputs: Collection[str], outputs: Collection[str], where: str) -> None:
    """Refuse a template that cannot be run.

    Args:
        segments: the parsed template.
        inputs: names that are given at the call.
        outputs: names that are generated.
        where: how to call the function in an error, e.g. ``"summarize"``.

    Raises:
        DefinitionError: undeclared or unused names, no output, an output used twice or before it is generated,
            outputs that touch, a chat turn that no model can take, or more of anything than allowed.
    """
    if len(segments) > MAX_SEGMENTS or len(outputs) > MAX_OUTPUTS:
        raise DefinitionError(
            f"{where} has {len(segments):,} segments and {len(outputs):,} outputs; {MAX_SEGMENTS:,} and {MAX_OUTPUTS} are allowed."
        )
    used = Counter(slots(segments))
    declared = {*inputs, *outputs}
    if unknown := [name for name in used if name not in declared]:
        raise DefinitionError(
            f"The prompt of {where} uses {{{{{unknown[0]}}}}}, which is not a parameter. "
            "Add it to the parameters, or remove it from the prompt."
        )
    if unused := [name for name in (*inputs, *outputs) if name not in used]:
        raise DefinitionError(
            f"The parameter {unused[0]!r} of {where} does not occur in its prompt. "
            f"Write {{{{{unused[0]}}}}} where it belongs, or remove the parameter."
        )
    if not outputs:
        raise DefinitionError(f"{where} generates nothing. Give it at least one parameter annotated with P.Output.")
    for name in outputs:
        if used[name] > 1:
            raise DefinitionError(
                f"The output {name!r} occurs {used[name]} times in the prompt of {where}. "
                "An output is generated once, where it stands; to use it again, pass it to another function."
            )
    _check_neighbours(segments, outputs, where)
    _check_roles(segments, outputs, where)


def _check_neighbours(segments: Sequence[Segment], outputs: Collection[str], where: str) -> None:
    before: str | None = None
    for segment in segments:
        is_output = segment.kind == "slot" and segment.value in outputs
        if is_output and before is not None:
            raise DefinitionError(
                f"The outputs {before!r} and {segment.value!r} of {where} touch. "
                "Put text between them, or the model cannot know where one ends."
            )
        if is_output:
            before = segment.value
        elif segment.kind != "text" or segment.value.strip():
            before = None


def _check_roles(segments: Sequence[Segment], outputs: Collection[str], where: str) -> None:
    if not any(segment.kind == "role" for segment in segments):
        return
    role: str | None = None
    for segment in segments:
        if segment.kind == "role":
            if segment.value not in ROLES:
                raise DefinitionError(f"{where} has a turn of {segment.value!r}; a turn is of {', '.join(ROLES)}.")
            role = segment.value
        elif role is None:
            raise DefinitionError(f"The conversation {where} must begin with P.system, P.user or P.assistant.")
        elif segment.kind == "slot" and segment.value in outputs and role != "assistant":
            raise DefinitionError(
                f"The output {segment.value!r} of {where} stands in a turn of the {role}. "
                "A model speaks as the assistant: put it in P.assistant."
            )


def trim(segments: Sequence[Segment], outputs: Collection[str]) -> list[Segment]:
    """Drop what no model should see: all after the last output, and blanks right before an output.

    A blank before an output would end the prompt in a lone space token, after which models write badly: their
    vocabularies carry the blank at the head of the next word.
    """
    last = max(i for i, segment in enumerate(segments) if segment.kind == "slot" and segment.value in outputs)
    kept: list[Segment] = []
    for segment in segments[: last + 1]:
        if segment.kind == "slot" and segment.value in outputs:
            _strip_end(kept)
        kept.append(segment)
    return kept


def _strip_end(segments: list[Segment]) -> None:
    while segments and segments[-1].kind == "text":
        text = segments.pop().value.rstrip(" \t")
        if text:
            segments.append(Segment("text", text))
            return
