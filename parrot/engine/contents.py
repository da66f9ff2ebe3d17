"""What stands behind the pieces of a job: values and long texts. Neither ever changes, so each is fetched once while it is in use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from parrot.broker.engine_link import Content
from parrot.broker.variables import Value
from parrot.engine.prompt import ResolvedPiece
from parrot.errors import VariableError
from parrot.wire.to_engine import Job, Piece

ROOM = 64_000_000  # characters


class Contents:
    """The contents that were used lately; those that were not used for the longest time are forgotten.

    Args:
        room: how many characters to keep; a token counts as eight.
    """

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._held = 0
        self._kept: dict[Piece, Content] = {}  # the least recently used first

    def missing(self, jobs: Iterable[Job]) -> list[Piece]:
        """The pieces of jobs that must be fetched, each once."""
        pieces = {piece: None for job in jobs for piece in job.prompt if piece.kind in ("variable", "hash")}
        return [piece for piece in pieces if piece not in self._kept]

    def put(self, piece: Piece, content: Content) -> None:
        """Keep a content, which takes the place of older ones."""
        self.drop(piece)
        self._kept[piece] = content
        self._held += _size(content)
        while self._held > self._room:
            self.drop(next(iter(self._kept)))

    def drop(self, piece: Piece) -> None:
        """Forget a content, if it is here."""
        content = self._kept.pop(piece, None)
        if content is not None:
            self._held -= _size(content)

    def resolve(self, job: Job, fetched: Mapping[Piece, Content]) -> list[ResolvedPiece]:
        """The prompt of a job with everything that is needed to tokenise it.

        Args:
            job: the job.
            fetched: contents that were read for it; the others must be at hand.

        Raises:
            VariableError: a value or text is not there.
        """
        return [self._resolve(job, piece, number, fetched) for number, piece in enumerate(job.prompt)]

    def _resolve(self, job: Job, piece: Piece, number: int, fetched: Mapping[Piece, Content]) -> ResolvedPiece:
        if piece.kind == "text":
            return ResolvedPiece("constant", piece.value, number=number)
        if piece.kind == "role":
            return ResolvedPiece("role", piece.value, number=number)
        content = fetched.get(piece)
        if content is None:
            content = self._use(piece)
        if isinstance(content, Value):
            return ResolvedPiece("value", content.text, content.tokens, content.tokenizer, content.call == job.call, number)
        if content is None:
            what = "variable" if piece.kind == "variable" else "text"
            raise VariableError(
                f"The {what} {piece.value} in the prompt of {job.function} has no content (any more). Submit the call again."
            )
        return ResolvedPiece("constant", content, number=number)

    def _use(self, piece: Piece) -> Content | None:
        content = self._kept.pop(piece, None)
        if content is not None:
            self._kept[piece] = content  # now the most recently used
        return content


def _size(content: Content) -> int:
    return len(content) if isinstance(content, str) else len(content.text) + 8 * len(content.tokens or ())
