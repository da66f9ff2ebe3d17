"""Contexts: stretches of tokens on top of each other, named by the hash of the whole chain, counted by who needs them. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from parrot.errors import EngineError


def context_name(parent: str | None, tokens: Sequence[int]) -> str:
    """The name of `parent` + `tokens`. Equal chains of segments have equal names, on every engine.

    Args:
        parent: the name of the context below, or None at the start of a prompt.
        tokens: the ids that this context adds.
    """
    return blake2b(array("q", tokens).tobytes(), key=(parent or "").encode(), digest_size=16).hexdigest()


@dataclass(slots=True)
class _Context:
    parent: str | None
    tokens: tuple[int, ...]
    users: int = 0  # fills without their release
    children: int = 0  # contexts that stand on this one


class ContextTable:
    """The contexts that somebody needs. One lives while it has a user or a child; what stands below a living one lives."""

    def __init__(self) -> None:
        self._contexts: dict[str, _Context] = {}
        self._size = 0

    def __len__(self) -> int:
        return len(self._contexts)

    @property
    def size(self) -> int:
        """Tokens of all contexts, shared ones counted once."""
        return self._size

    def fill(self, context: str, parent: str | None, tokens: Sequence[int]) -> None:
        """Add one user to `context`, which is made if it is not there.

        Args:
            context: its name, `context_name(parent, tokens)`.
            parent: the context below, or None.
            tokens: the ids that it adds to its parent.

        Raises:
            EngineError: the parent is not there, or the name already stands for something else.
        """
        found = self._contexts.get(context)
        if found is None:
            if parent is not None:
                self._get(parent).children += 1
            found = self._contexts[context] = _Context(parent, tuple(tokens))
            self._size += len(found.tokens)
        elif (found.parent, found.tokens) != (parent, tuple(tokens)):
            raise EngineError(f"The context {context} already stands for other tokens. Name contexts with context_name().")
        found.users += 1

    def tokens(self, context: str) -> list[int]:
        """All token ids of the prompt that `context` ends, in a fresh list.

        Raises:
            EngineError: it is not there.
        """
        chain = [self._get(context)]
        while (parent := chain[-1].parent) is not None:
            chain.append(self._get(parent))
        return [token for link in reversed(chain) for token in link.tokens]

    def release(self, context: str) -> None:
        """Take one user away; contexts that nobody needs any more are forgotten.

        Raises:
            EngineError: it is not there, or has no user left.
        """
        found = self._get(context)
        if not found.users:
            raise EngineError(f"The context {context} was released more often than it was filled.")
        found.users -= 1
        self._forget_unneeded(context)

    def check(self) -> None:
        """Recount: every context is needed and stands on one that is there.

        Raises:
            EngineError: the books do not agree; the message names the context.
        """
        children = dict.fromkeys(self._contexts, 0)
        for context, link in self._contexts.items():
            if link.parent is not None:
                if link.parent not in children:
                    raise EngineError(f"The context {context} stands on {link.parent}, which is gone.")
                children[link.parent] += 1
        for context, link in self._contexts.items():
            if link.children != children[context]:
                raise EngineError(f"The context {context} counts {link.children} children and has {children[context]}.")
            if not link.users and not link.children:
                raise EngineError(f"The context {context} is kept, and nobody needs it.")
        if self._size != (size := sum(len(link.tokens) for link in self._contexts.values())):
            raise EngineError(f"{self._size} tokens are counted, and {size} are there.")

    def _get(self, context: str) -> _Context:
        try:
            return self._contexts[context]
        except KeyError:
            raise EngineError(f"The context {context} is not filled. Fill it, and its parents before it.") from None

    def _forget_unneeded(self, context: str | None) -> None:
        while context is not None:
            link = self._contexts[context]
            if link.users or link.children:
                return
            del self._contexts[context]
            self._size -= len(link.tokens)
            context = link.parent
            if context is not None:
                self._contexts[context].children -= 1
