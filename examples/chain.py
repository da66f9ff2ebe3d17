"""A chain: each call continues the summary of the one before. The whole chain is submitted before the first call has ended."""

from pydoc_data.topics import topics  # 700 KB of English prose that come with Python

import parrot as P

PART = 1200  # characters


@P.semantic_function()
def continue_summary(text: P.Input, so_far: P.Input, words: int, summary: P.Output(P.SamplingConfig(temperature=0, max_gen_length=60))):
    """You summarise a long text part by part, in at most {{words}} words.
    The summary so far: {{so_far}}
    The next part: {{text}}
    The new summary: {{summary}}"""


def parts(text: str) -> list[str]:
    """The text in stretches of PART characters."""
    return [text[start : start + PART] for start in range(0, len(text), PART)]


if __name__ == "__main__":
    with P.Session(name="chain") as session:
        summary = session.variable("none yet", name="start")
        for part in parts(topics["with"]):
            summary = continue_summary(part, summary, words=40)
        print(summary.get(criteria=P.LATENCY, timeout=300))
