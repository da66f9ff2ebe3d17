"""Which blocks vLLM's KV cache holds, by our names, as its events tell. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from parrot.engine.blocks import block_name, root_name
from parrot.engine.changes import Changes

_FIRST_GROUP = (None, 0)  # a model with several kinds of attention has a group of blocks for each; the first stands for all


class VllmBlocks:
    """Follows vLLM's events. It may compute the same block twice at once, and then reports two stored and, later, two removed.

    Args:
        block_tokens: tokens of one block.

    Attributes:
        changes: of the blocks that are there.
    """

    def __init__(self, block_tokens: int) -> None:
        self.changes = Changes()
        self._block_tokens = block_tokens
        self._next = 0
        self._names: dict[Any, int] = {}  # by vLLM's hash
        self._copies: dict[int, int] = {}  # by name

    def __contains__(self, block: int) -> bool:
        return block in self._copies

    def hear(self, number: int, events: Sequence[Any]) -> None:
        """Take in one batch of events. If one is missing, what the cache holds is not known any more, and counts as nothing.

        Args:
            number: of the batch, from 0.
            events: vLLM's `BlockStored`, `BlockRemoved` and `AllBlocksCleared`.
        """
        if number != self._next:
            self._clear()
        self._next = number + 1
        for event in events:
            kind = type(event).__name__
            if kind == "AllBlocksCleared":
                self._clear()
            elif event.group_idx not in _FIRST_GROUP or event.medium not in (None, "GPU"):
                pass  # of another group, or not in the cache that prompts are computed from (which is "GPU" on CPUs as well)
            elif kind == "BlockStored":
                self._store(event)
            elif kind == "BlockRemoved":
                for block in event.block_hashes:
                    self._remove(block)

    def _store(self, event: Any) -> None:
        size, tokens = self._block_tokens, event.token_ids
        extra = [keys for keys in event.extra_keys or () if keys]  # of requests that must have more in common than tokens
        if event.parent_block_hash is not None:
            name = self._names.get(event.parent_block_hash)
        else:
            salt = extra.pop(0) if extra and event.extra_keys[0] else ()  # stands in the first block alone, and so in all that follow
            name = root_name(salt[0] if salt else "") if all(isinstance(key, str) for key in salt) and len(salt) < 2 else None
        if name is None or extra or event.block_size != size or len(tokens) != size * len(event.block_hashes):
            return  # what it is cannot be told, nor what follows it
        for place, block in enumerate(event.block_hashes):
            name = block_name(name, tokens[place * size : (place + 1) * size])
            self._names[block] = name
            copies = self._copies.get(name, 0)
            self._copies[name] = copies + 1
            if not copies:
                self.changes.store(name)

    def _remove(self, block: Any) -> None:
        name = self._names.get(block)
        if name is None:
            return
        self._copies[name] -= 1
        if not self._copies[name]:
            del self._copies[name], self._names[block]
            self.changes.remove(name)

    def _clear(self) -> None:
        for name in self._copies:
            self.changes.remove(name)
        self._names, self._copies = {}, {}
