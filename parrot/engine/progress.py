"""What a generation has produced so far, and how much of it has gone into its token stream. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from parrot.broker.tokens import Part
from parrot.engine.resume import Checkpoint

_HELD = 3  # tokens at the end whose text may still be to come: the first bytes of a character


class Progress:
    """The output of one variable, over all attempts that count.

    Attributes:
        tokens: their ids.
        texts: concatenated they are what the tokens say, as far as that is whole characters.

    Args:
        start: where this attempt begins.
        by: the model and tokenizer that go on.
        before: the prompt's last token: what the first generated one looks like can depend on it.
        decode: from token ids to text.
    """

    __slots__ = ("_before", "_by", "_decode", "_given_texts", "_given_tokens", "_known", "_number", "_opens", "texts", "tokens")

    def __init__(self, start: Checkpoint, by: str, before: int, decode: Callable[[Sequence[int]], str]) -> None:
        self.tokens = [*start.tokens]
        self.texts = [start.text] if start.text else []
        self._number = start.number
        self._given_tokens, self._given_texts = len(self.tokens), len(self.texts)
        self._opens = not self.texts
        self._known = True
        self._by, self._before, self._decode = by, before, decode

    def reset(self) -> Part:
        """The part that makes all before it void."""
        self._number += 1
        return Part(self._number, "", (), "reset")

    def part(self) -> Part | None:
        """The next part: what is new since the last one; None if there is no new text."""
        text = "".join(self.texts[self._given_texts :])
        if not text:
            return None
        tokens = self._tokens_of(text)
        by = self._by if self._opens else ""
        self._number += 1
        self._opens = False
        self._given_texts = len(self.texts)
        self._given_tokens += len(tokens)
        return Part(self._number, text, tokens, by=by)

    @property
    def streamed(self) -> int:
        """The number of the last part that was given, by this attempt or before; 0 if nothing is in the stream."""
        return self._number

    def rest(self) -> Part | None:
        """The last part, to be published with the value; None if nothing is in the stream, which then need not be there at all."""
        return self.part() if self._number else None

    def _tokens_of(self, text: str) -> tuple[int, ...]:
        """The new tokens that say this text; none, from here on, if they do not agree."""
        if not self._known:
            return ()
        new = self.tokens[self._given_tokens :]
        before = self.tokens[self._given_tokens - 1] if self._given_tokens else self._before
        skipped = len(self._decode([before]))
        for end in range(len(new), max(0, len(new) - _HELD - 1), -1):
            if self._decode([before, *new[:end]])[skipped:] == text:
                return tuple(new[:end])
        self._known = False
        return ()
