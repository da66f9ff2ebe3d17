"""Map and reduce, in async code, in chat turns, and with annotations that type checkers understand.

All parts are summarised at once (they run as one batch), then the summaries are merged in pairs.
"""

import asyncio
from pydoc_data.topics import topics
from typing import Annotated

import parrot as P

Text = Annotated[str, P.Input]
Summary = Annotated[str, P.Output(P.SamplingConfig(temperature=0, max_gen_length=50))]
EDITOR = P.system("You are an editor. You answer with one short sentence.")


@P.semantic_function(conversation=[EDITOR, P.user("What does this text say?\n{{text}}"), P.assistant("{{summary}}")])
def summarise(text: Text, summary: Summary) -> None:
    """Map: one part of the text."""


@P.semantic_function(conversation=[EDITOR, P.user("Merge:\n{{left}}\n{{right}}"), P.assistant("{{summary}}")])
def merge(left: Text, right: Text, summary: Summary) -> None:
    """Reduce: two summaries into one."""


async def main() -> None:
    """Four summaries, two merges, one merge of these."""
    async with P.AsyncSession(name="map-reduce"):
        level = [summarise(topics[topic][:2000]) for topic in ("for", "while", "try", "with")]
        while len(level) > 1:
            level = [merge(left, right) for left, right in zip(level[::2], level[1::2], strict=True)]
        print(await level[0])


if __name__ == "__main__":
    asyncio.run(main())
