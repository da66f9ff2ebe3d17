"""The demo's two programs, as an application's author writes them: summaries of one text, by map-reduce and as a chain."""

from collections.abc import Sequence
from typing import Annotated

import parrot as P

PARTS = 6  # into which the text is cut; `combine` takes so many

_BRIEF = P.SamplingConfig(temperature=0, max_gen_length=48)

Text = Annotated[str, P.Input]
Summary = Annotated[str, P.Output(_BRIEF)]


@P.semantic_function()
def summarize(text: Text, summary: Summary) -> None:
    """{{text}}

    Summarize this text in one sentence: {{summary}}
    """


@P.semantic_function()
def combine(one: Text, two: Text, three: Text, four: Text, five: Text, six: Text, summary: Summary) -> None:
    """{{one}} {{two}} {{three}} {{four}} {{five}} {{six}}

    Summarize this text in two sentences: {{summary}}
    """


@P.semantic_function()
def refine(text: Text, so_far: Text, summary: Summary) -> None:
    """{{text}}

    Summary of what came before: {{so_far}} Summarize everything in two sentences: {{summary}}
    """


def map_reduce(parts: Sequence[str]) -> dict[str, P.Variable]:
    """Summarize all parts at once, and then their summaries."""
    summaries = [summarize(text=part) for part in parts]
    named = {f"part {number}": summary for number, summary in enumerate(summaries, 1)}
    return named | {"map-reduce summary": combine(*summaries)}


def chain(parts: Sequence[str]) -> dict[str, P.Variable]:
    """Summarize part after part, each time with the summary so far."""
    so_far: P.Variable | str = "nothing yet."
    named: dict[str, P.Variable] = {}
    for number, part in enumerate(parts, 1):
        so_far = named[f"chain {number}"] = refine(text=part, so_far=so_far)
    named["chain summary"] = named.pop(f"chain {len(parts)}")
    return named


async def submit(url: str, parts: Sequence[str]) -> tuple[list[str], dict[str, P.Variable]]:
    """Start both programs; they run at the same time.

    Args:
        url: the broker.
        parts: of the text.

    Returns:
        The ids of their sessions, and their variables by name.
    """
    async with P.AsyncSession(url, name="map-reduce summary") as first:
        variables = map_reduce(parts)
    async with P.AsyncSession(url, name="chain summary") as second:
        variables |= chain(parts)
    return [first.id, second.id], variables
