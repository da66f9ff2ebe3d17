"""What all texts of a run are in tokens, and the names of their KV blocks: equal beginnings have equal blocks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from zlib import crc32

from parrot.broker.texts import LONG
from parrot.wire.keys import content_hash
from parrot.wire.to_engine import Piece

ROLE_TOKENS = 4  # that a chat template puts around a turn


class Part(NamedTuple):
    """A stretch of tokens: the first `tokens` of some content.

    Attributes:
        content: its number.
        tokens: how many.
        characters: of the text that they stand for; 0 for an output, whose text nobody makes.
    """

    content: int
    tokens: int
    characters: int = 0


class Chain(NamedTuple):
    """The end of a prompt, to be gone on from.

    Attributes:
        name: of the last full block.
        open: of the block after that, what is there: content, where in it, and how many tokens.
        filled: tokens of that.
    """

    name: int = 0
    open: tuple[tuple[int, int, int], ...] = ()
    filled: int = 0


class Contents:
    """The texts and values of one run.

    Args:
        block_tokens: of one KV block.
    """

    def __init__(self, block_tokens: int) -> None:
        self.block_tokens = block_tokens
        self._ids: dict[str, int] = {}
        self._parts: dict[tuple[str, str], tuple[Part, ...]] = {}
        self._extended: dict[tuple[Chain, Part], tuple[tuple[int, ...], Chain]] = {}

    # What is there ----------------------------------------------------------------------------------

    def write(self, name: str, tokens: int) -> str:
        """Make a text of so many tokens; two of the same name begin alike. Between 3.6 and 4.4 characters are a token, as in real texts."""
        characters = round(tokens * (3.6 + crc32(name.encode()) % 81 / 100))
        word = name + " "
        text = (word * (characters // len(word) + 1))[:characters]
        self._know(text, (Part(self._id(name), tokens, characters),))
        return text

    def join(self, *texts: str) -> str:
        """One text made of several that `write` or `join` gave."""
        text = "".join(texts)
        self._know(text, tuple(part for one in texts for part in self._parts["text", one]))
        return text

    def _know(self, text: str, parts: tuple[Part, ...]) -> None:
        self._parts["text", text] = parts
        if len(text) >= LONG:
            self._parts["hash", content_hash(text)] = parts

    def declare(self, variable: str, text: str) -> None:
        """A variable has a text that `write` or `join` gave."""
        self._parts["variable", variable] = self._parts["text", text]

    def promise(self, variable: str, tokens: int) -> None:
        """A variable will be generated, and will have so many tokens."""
        self._parts["variable", variable] = (Part(self._id(variable), tokens),)

    def forget(self, variables: Iterable[str]) -> None:
        """Nobody will ask for these variables again."""
        for variable in variables:
            self._parts.pop(("variable", variable), None)

    # What it is in tokens ---------------------------------------------------------------------------

    def parts(self, piece: Piece) -> tuple[Part, ...]:
        """The tokens of a piece of a prompt; of a text that nobody wrote here, a token for every four characters."""
        key = (piece.kind, piece.value)
        known = self._parts.get(key)
        if known is None:
            tokens = ROLE_TOKENS if piece.kind == "role" else max(1, len(piece.value) // 4)
            known = self._parts[key] = (Part(self._id(f"{piece.kind} {piece.value}"), tokens, len(piece.value)),)
        return known

    def tokens(self, pieces: Iterable[Piece]) -> int:
        """How many tokens some pieces have."""
        return sum(part.tokens for piece in pieces for part in self.parts(piece))

    def output(self, variable: str) -> Part:
        """What is or will be generated."""
        (part,) = self._parts["variable", variable]
        return part

    def within(self, piece: Piece, characters: int) -> int:
        """How many tokens the first characters of a piece have."""
        tokens = 0
        for part in self.parts(piece):
            if characters < part.characters:
                return tokens + part.tokens * characters // part.characters
            tokens, characters = tokens + part.tokens, characters - part.characters
        return tokens

    # Blocks -----------------------------------------------------------------------------------------

    def blocks(self, pieces: Sequence[Piece]) -> tuple[list[int], Chain]:
        """The names of the full blocks of a prompt, and its end."""
        names: list[int] = []
        chain = Chain()
        for piece in pieces:
            for part in self.parts(piece):
                more, chain = self.extend(chain, part)
                names += more
        return names, chain

    def extend(self, chain: Chain, part: Part) -> tuple[tuple[int, ...], Chain]:
        """The names of the blocks that a part fills after a chain, and the new end."""
        known = self._extended.get((chain, part))
        if known is None:
            known = self._extended[chain, part] = self._extend(chain, part)
        return known

    def _extend(self, chain: Chain, part: Part) -> tuple[tuple[int, ...], Chain]:
        name, here, filled = chain
        names: list[int] = []
        done = 0
        while done < part.tokens:
            taken = min(self.block_tokens - filled, part.tokens - done)
            here, filled, done = (*here, (part.content, done, taken)), filled + taken, done + taken
            if filled == self.block_tokens:
                name = hash((name, here))
                names.append(name)
                here, filled = (), 0
        return tuple(names), Chain(name, here, filled)

    def _id(self, name: str) -> int:
        return self._ids.setdefault(name, len(self._ids) + 1)
