"""From a job's pieces to token ids: chat turns, segment by segment.

Canonical tokens: a segment (a constant text, a value, the glue between two chat turns) is tokenised by itself, so its ids
do not depend on its neighbours, and calls that share a prefix share its contexts on every engine. Only glue may hold
special tokens: no text of an author or a user can forge a turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from typing import Literal, NamedTuple

from parrot.engine.protocol import Tokenizer, Turn
from parrot.engine.text_cache import TextCache
from parrot.errors import DefinitionError, ParrotError
from parrot.wire.to_core import Chat

_CACHED_CHARACTERS = 4_000_000  # some 40 MB of ids
_CACHED_CONVERSATIONS = 256


class ResolvedPiece(NamedTuple):
    """One segment of a prompt with all that is needed to tokenise it.

    Attributes:
        kind: `constant` (the author's text), `value` (of a variable) or `role` (a chat turn begins).
        text: the text, or the role.
        tokens: of a value: the ids that a model generated, if known.
        tokenizer: of a value: the name of the tokenizer that `tokens` belong to.
        generated: of a value: an earlier output of this same call.
        number: its place among the job's pieces, from 0.
    """

    kind: Literal["constant", "value", "role"]
    text: str
    tokens: tuple[int, ...] | None = None
    tokenizer: str = ""
    generated: bool = False
    number: int = 0


class Segment(NamedTuple):
    """A stretch of a prompt that is tokenised by itself.

    Attributes:
        tokens: its ids.
        piece: what they say, without the blanks that a turn sheds; None for what the chat template adds.
    """

    tokens: list[int]
    piece: ResolvedPiece | None = None


class _Turn(NamedTuple):
    role: str
    pieces: list[ResolvedPiece]


class PromptBuilder:
    """Builds the prompts of one engine.

    Args:
        tokenizer: the engine's.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        special = tokenizer.has_chat_template
        self._text_tokens = TextCache(tokenizer.encode, _CACHED_CHARACTERS)
        self._glue_tokens = TextCache(partial(tokenizer.encode, special=special), _CACHED_CHARACTERS) if special else self._text_tokens
        self._glue = lru_cache(_CACHED_CONVERSATIONS)(self._find_glue)

    def build(self, pieces: Sequence[ResolvedPiece], chat: Chat) -> list[Segment]:
        """The segments of a prompt; at least one, and none is empty.

        Args:
            pieces: everything before the output that is to be generated.
            chat: `auto` shows a prompt without roles as a conversation to models that have a chat template: what stands
                before an output is the user's, an output is the assistant's. `off` leaves it as it is.

        Raises:
            DefinitionError: the model's chat template does not take this conversation.
        """
        if any(piece.kind == "role" for piece in pieces):
            segments = self._conversation(_turns_by_role(pieces))
        elif chat == "auto" and self._tokenizer.has_chat_template:
            segments = self._conversation(_turns_by_output(pieces))
        else:
            said = [self._segment(piece) for piece in pieces]
            segments = [Segment(self._tokenizer.start(empty=not any(segment.tokens for segment in said))), *said]
        return [segment for segment in segments if segment.tokens]

    def _conversation(self, turns: list[_Turn]) -> list[Segment]:
        """The last turn is the assistant's and goes on."""
        # With nothing to say yet and something to answer to, the template itself opens the turn: some open it with a mark.
        template_opens = len(turns) > 1 and not turns[-1].pieces
        before = self._glue(tuple(turn.role for turn in turns), template_opens)
        segments = [] if self._tokenizer.has_chat_template else [Segment(self._tokenizer.start(empty=False))]
        for glue, turn in zip(before, turns, strict=True):
            segments.append(Segment([*self._glue_tokens(glue)]))
            segments.extend(map(self._segment, turn.pieces))
        return segments

    def _segment(self, piece: ResolvedPiece) -> Segment:
        if piece.tokens is not None and piece.tokenizer == self._tokenizer.name:
            return Segment([*piece.tokens], piece)
        return Segment([*self._text_tokens(piece.text)], piece)

    def _find_glue(self, roles: tuple[str, ...], template_opens: bool) -> list[str]:
        """What stands before each turn's content: the conversation is rendered with marks as contents and split at them."""
        marks = [f"parrotTurn{i}Content" for i in range(len(roles))]
        if template_opens:
            marks[-1] = ""
        rest = self._render([Turn(role, mark) for role, mark in zip(roles, marks, strict=True)])
        glue = []
        for mark in marks:
            before, found, rest = rest.partition(mark) if mark else (rest, "", "")
            if found != mark:
                raise DefinitionError(
                    f"The chat template of this model leaves out a turn of the conversation {', '.join(roles)}. "
                    "Write it with roles that the model knows."
                )
            glue.append(before)
        return glue

    def _render(self, turns: list[Turn]) -> str:
        if not self._tokenizer.has_chat_template:
            return "\n\n".join(f"{turn.role.capitalize()}:\n{turn.content}" for turn in turns)
        try:
            return self._tokenizer.render(turns, open_assistant=True)
        except ParrotError:
            raise
        except Exception as error:  # templates are programs of the model's makers and may raise anything
            raise DefinitionError(
                f"The chat template of this model does not take the conversation {', '.join(turn.role for turn in turns)}: {error}"
            ) from error


def _turns_by_role(pieces: Iterable[ResolvedPiece]) -> list[_Turn]:
    turns = [_Turn("user", [])]  # of what stands before the first role
    for piece in pieces:
        if piece.kind == "role":
            turns.append(_Turn(piece.text, []))
        else:
            turns[-1].pieces.append(piece)
    return _open(turns)


def _turns_by_output(pieces: Iterable[ResolvedPiece]) -> list[_Turn]:
    turns = [_Turn("user", [])]
    for piece in pieces:
        role = "assistant" if piece.generated else "user"
        if role != turns[-1].role:
            turns.append(_Turn(role, []))
        turns[-1].pieces.append(piece)
    return _open([*turns, _Turn("assistant", [])])


def _open(turns: list[_Turn]) -> list[_Turn]:
    """Drop turns without content and blanks at the ends of turns; the last turn is made the assistant's and keeps its end."""
    if turns[-1].role != "assistant":
        turns.append(_Turn("assistant", []))
    last = turns.pop()
    stripped = [_Turn(turn.role, _strip_end(_strip_start(turn.pieces))) for turn in turns]
    return [*(turn for turn in stripped if turn.pieces), _Turn(last.role, _strip_start(last.pieces))]


def _strip_start(pieces: Sequence[ResolvedPiece]) -> list[ResolvedPiece]:
    for i, piece in enumerate(pieces):
        text = piece.text.lstrip() if piece.kind == "constant" else piece.text
        if text or piece.kind == "value":
            return [piece._replace(text=text), *pieces[i + 1 :]]
    return []


def _strip_end(pieces: Sequence[ResolvedPiece]) -> list[ResolvedPiece]:
    for i, piece in reversed(list(enumerate(pieces))):
        text = piece.text.rstrip() if piece.kind == "constant" else piece.text
        if text or piece.kind == "value":
            return [*pieces[:i], piece._replace(text=text)]
    return []
