"""The beginnings of a prompt, named so that equal beginnings have equal names, wherever they end.

A prompt is a chain of pieces, and each piece is tokenised by itself, so two prompts share tokens exactly as far as they share pieces;
inside a long text, about as far as they share blocks of it. Each name is made of the one before it and of what comes next
(the prefix hashes of Parrot, OSDI'24, section 5.3, carried into texts). ServeCore knows texts and variables, not tokens:
what a beginning has in tokens is an estimate until an engine has counted them.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

from parrot.wire.digests import BLOCK_CHARACTERS, block_digests, digest
from parrot.wire.keys import content_hash
from parrot.wire.to_engine import Mark, Piece

CHARACTERS_PER_TOKEN = 4  # of ordinary English, for most vocabularies
LEAST = 32  # tokens: a shorter beginning is not worth to be known
APART = 16  # tokens that one beginning must have more than the one before it
HASHED_TOKENS = 256  # of a constant text of which only the hash is known

_MASK = (1 << 53) - 1  # numbers that JSON keeps
_CHARACTERS = 24  # bits for characters of a piece: no text is longer


class Stretch(NamedTuple):
    """What a piece of kind `variable` or `hash` says, as far as ServeCore knows.

    Attributes:
        content: names it.
        blocks: `block_digests` of a long text.
        tokens: about how many it has.
    """

    content: int
    blocks: Sequence[int]
    tokens: int


class Beginnings:
    """The beginnings of one prompt, the shortest first; the last one of a whole prompt is that with its output.

    Args:
        names: of each.
        tokens: about how many each has.
        ends: where each ends: whole pieces, and characters of the next one.
        prompt_tokens: about how many the whole prompt has.
    """

    __slots__ = ("_numbers", "prompt_tokens")

    def __init__(self, names: array[int], tokens: array[int], ends: array[int], prompt_tokens: int) -> None:
        self._numbers = names + tokens + ends  # in one, as each call that waits keeps them
        self.prompt_tokens = prompt_tokens

    @property
    def names(self) -> array[int]:
        return self._numbers[: len(self._numbers) // 3]

    @property
    def others(self) -> array[int]:
        """Names of those that other prompts may have too, of a whole prompt: of all but that with its output."""
        return self.names[:-1]

    @property
    def tokens(self) -> array[int]:
        return self._numbers[len(self._numbers) // 3 : 2 * len(self._numbers) // 3]

    @property
    def ends(self) -> array[int]:
        return self._numbers[2 * len(self._numbers) // 3 :]

    def marks(self) -> tuple[Mark, ...]:
        """The same for an engine."""
        inside = (1 << _CHARACTERS) - 1
        return tuple(Mark(end >> _CHARACTERS, end & inside, name) for end, name in zip(self.ends, self.names, strict=True))


def stretch_of(text: str) -> Stretch:
    """What a text says, however it was given."""
    return Stretch(content_of(text), block_digests(text), tokens_of(len(text)))


def tokens_of(length: int) -> int:
    """About how many tokens a text of so many characters has."""
    return 1 + length // CHARACTERS_PER_TOKEN


def content_of(text: str) -> int:
    """Names a text: the same number that `hashed` gives for its hash."""
    return hashed(content_hash(text))


def hashed(content: str) -> int:
    """Names a text that is known by its hash."""
    try:
        return int(content[:13], 16)
    except ValueError:
        return digest(content)  # not a hash of ours: it names something all the same


def beginnings(root: int, prompt: Sequence[Piece], output: str, look_up: Callable[[Piece], Stretch]) -> Beginnings:
    """Name the beginnings of a prompt.

    Args:
        root: `root_of` what its tokens depend on beside its pieces.
        prompt: its pieces.
        output: the variable that continues it; empty for a part of a prompt, which others continue too.
        look_up: what a piece of kind `variable` or `hash` stands for.
    """
    names, tokens, ends = array("q"), array("q"), array("q")

    def note(name: int, many: int, pieces: int, characters: int = 0) -> None:
        names.append(name)
        tokens.append(many)
        ends.append(pieces << _CHARACTERS | characters)

    name, total, last = root, 0, LEAST - APART
    for number, piece in enumerate(prompt):
        stretch = look_up(piece) if piece.kind in ("variable", "hash") else _constant(piece.kind, piece.value)
        for place in _kept(len(stretch.blocks)):
            characters = (place + 1) * BLOCK_CHARACTERS
            at = total + characters // CHARACTERS_PER_TOKEN
            if at >= last + APART:
                last = at
                note(_mix(name, stretch.blocks[place]), at, number, characters)
        name, total = _mix(name, stretch.content), total + stretch.tokens
        if total >= last + APART:
            last = total
            note(name, total, number + 1)
    if output and total >= LEAST:
        note(_mix(name, digest(output)), total, len(prompt) + 1)
    return Beginnings(names, tokens, ends, total)


UNREAD = Beginnings(array("q"), array("q"), array("q"), 0)
"""Of a prompt whose inputs are not all there."""


@lru_cache(1024)
def root_of(chat: str, tenant: str) -> int:
    """What every beginning starts from.

    Args:
        chat: how the prompt is shown to the model.
        tenant: whose caches are kept apart from those of others; empty where all may share.
    """
    return digest(f"{chat}\n{tenant}")


@lru_cache(256)
def _kept(blocks: int) -> tuple[int, ...]:
    """Which blocks of a long text are worth a name: all of the first 8, then 8 for each doubling; the same for all texts."""
    return tuple(place for place in range(blocks) if (place + 1) % max(1, 1 << max(0, (place + 1).bit_length() - 4)) == 0)


@lru_cache(1_024)
def _constant(kind: str, value: str) -> Stretch:
    if kind == "role":
        return Stretch(digest(value, before=1), (), tokens_of(len(value)))  # no text is named so
    return stretch_of(value)


def _mix(before: int, content: int) -> int:
    """A number that depends on both, in their order. Not random, so that leaders after us find the same names."""
    mixed = (before * 0x9E3779B97F4A7C15 + content) & 0xFFFFFFFFFFFFFFFF
    mixed ^= mixed >> 29
    return ((mixed * 0xBF58476D1CE4E5B9) >> 8) & _MASK
