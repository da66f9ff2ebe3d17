"""The demo's two programs, as an application's author writes them: summaries of one text, by map-reduce and as a chain."""

from collections.abc import Sequence
from typing import Annotated

import parrot as P

PARTS = 6  # into which the text is cut; `combine` takes so many

Text = Annotated[str, P.Input]
Sentence = Annotated[str, P.Output(P.SamplingConfig(temperature=0, max_gen_length=60, stop=(". ", "\n")))]

# All prompts begin alike, so that an engine computes that part once. The model is small: it does best where its answer is begun for it.
WRITER = P.system("You are a technical writer. You summarize texts in short and plain sentences.")


@P.semantic_function(
    conversation=[
        WRITER,
        P.user("{{text}}\n\nSummarize this text in one sentence."),
        P.assistant("This text explains {{summary}}"),
    ]
)
def summarize(text: Text, summary: Sentence) -> None:
    """Map: one part of the text."""


@P.semantic_function(
    conversation=[
        WRITER,
        P.user(
            """- {{one}}
            - {{two}}
            - {{three}}
            - {{four}}
            - {{five}}
            - {{six}}

            These are the main points of an article. Summarize the article in one sentence."""
        ),
        P.assistant("The article explains {{summary}}"),
    ]
)
def combine(one: Text, two: Text, three: Text, four: Text, five: Text, six: Text, summary: Sentence) -> None:
    """Reduce: the summaries of all parts into one."""


@P.semantic_function(
    conversation=[
        WRITER,
        P.user("Summarize the first part of the article in one sentence."),
        P.assistant("{{so_far}}"),
        P.user("{{text}}\n\nSummarize this next part of the article in one sentence."),
        P.assistant("It then explains {{summary}}"),
    ]
)
def refine(so_far: Text, text: Text, summary: Sentence) -> None:
    """A link of the chain: the next part, read with the summary of what came before."""


def map_reduce(parts: Sequence[str]) -> dict[str, P.Variable]:
    """Summarize all parts at once, and then their summaries."""
    summaries = [summarize(text=part) for part in parts]
    named = {f"part {number}": summary for number, summary in enumerate(summaries, 1)}
    return named | {"map-reduce summary": combine(*summaries)}


def chain(parts: Sequence[str]) -> dict[str, P.Variable]:
    """Summarize part after part, each one with the summary of what came before."""
    so_far: P.Variable | str = "It is an introduction."
    named: dict[str, P.Variable] = {}
    for number, part in enumerate(parts, 1):
        so_far = named[f"chain {number}"] = refine(so_far=so_far, text=part)
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
