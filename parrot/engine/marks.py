"""Which blocks of the KV cache the beginnings of prompts need that ServeCore named. Pure but for the tokenizer."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence

from parrot.engine.blocks import block_names, root_name
from parrot.engine.prompt import ResolvedPiece, Segment
from parrot.engine.protocol import Tokenizer
from parrot.engine.residency import Residency
from parrot.engine.text_cache import TextCache
from parrot.wire.to_engine import Job, Mark

_CACHED_CHARACTERS = 16_000_000  # some 16 MB


class Marks:
    """Finds the marks of jobs in the prompts of one engine, and tells its residency which blocks they need.

    Args:
        tokenizer: the engine's.
        block_tokens: tokens of one block of its KV cache.
        residency: of its blocks.
    """

    def __init__(self, tokenizer: Tokenizer, block_tokens: int, residency: Residency) -> None:
        self._tokenizer = tokenizer
        self._block_tokens = block_tokens
        self._residency = residency
        self._ends = TextCache(lambda text: array("I", tokenizer.ends(text)), _CACHED_CHARACTERS)

    def prompt(self, job: Job, pieces: Sequence[ResolvedPiece], segments: Sequence[Segment]) -> None:
        """A prompt is there.

        Args:
            job: what it is for.
            pieces: the job's.
            segments: what `PromptBuilder.build` made of them.
        """
        inner = [mark for mark in job.marks if mark.piece <= len(job.prompt)]
        self._know([(mark.name, self._length(mark, pieces, segments)) for mark in inner], _flat(segments), job.salt)

    def output(self, job: Job, segments: Sequence[Segment], made: Sequence[int]) -> None:
        """What was generated is there too. Its last token is not in the cache: nothing has followed from it yet.

        Args:
            job: what it was made for.
            segments: the prompt.
            made: the tokens of the output.
        """
        tokens = [*_flat(segments), *made]
        self._know([(mark.name, len(tokens) - 1) for mark in job.marks if mark.piece > len(job.prompt)], tokens, job.salt)

    def _know(self, lengths: Sequence[tuple[int, int]], tokens: list[int], salt: str) -> None:
        size = self._block_tokens
        longest = max((length for _, length in lengths), default=0)
        blocks = block_names(tokens[:longest], size, root_name(salt))
        for name, length in lengths:
            if length >= size:
                self._residency.know(name, length - length % size, blocks[length // size - 1])

    def _length(self, mark: Mark, pieces: Sequence[ResolvedPiece], segments: Sequence[Segment]) -> int:
        """How many tokens of a prompt stand for a beginning of it. What a chat template adds before a piece counts with that piece."""
        total = end = 0
        for tokens, piece in segments:
            if piece is not None and piece.number >= mark.piece:
                inside = self._inside(piece, pieces[mark.piece].text, mark.characters) if piece.number == mark.piece else 0
                return total + inside if inside else end
            total += len(tokens)
            if piece is not None:
                end = total
        return end

    def _inside(self, piece: ResolvedPiece, text: str, characters: int) -> int:
        """The tokens of a piece that any text has that begins with the same characters.

        Args:
            piece: without the blanks that its turn sheds.
            text: with them.
            characters: of `text`.
        """
        if piece.tokens is not None and piece.tokenizer == self._tokenizer.name:
            return 0  # generated: another text with this beginning would have come about in other tokens
        shed = 0 if text.startswith(piece.text) else len(text) - len(text.lstrip())
        ended = bisect_right(self._ends(piece.text), characters - shed)
        if characters >= len(text):
            return ended
        return max(0, ended - 1)  # in another text, the last one may go on


def _flat(segments: Sequence[Segment]) -> list[int]:
    return [token for segment in segments for token in segment.tokens]
