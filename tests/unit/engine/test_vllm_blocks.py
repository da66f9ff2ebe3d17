"""vLLM's events, as its version 0.32 makes them, without vLLM."""

from __future__ import annotations

from dataclasses import dataclass, field

from parrot.engine.blocks import block_names
from parrot.engine.vllm_blocks import VllmBlocks

SIZE = 2
TOKENS = [1, 2, 3, 4, 5, 6]
ONE, TWO, THREE = block_names(TOKENS, SIZE)


@dataclass
class BlockStored:
    block_hashes: list[object]
    token_ids: list[int]
    parent_block_hash: object = None
    block_size: int = SIZE
    medium: str | None = "GPU"
    group_idx: int | None = 0
    extra_keys: list[object] | None = None


@dataclass
class BlockRemoved:
    block_hashes: list[object]
    medium: str | None = "GPU"
    group_idx: int | None = 0


@dataclass
class AllBlocksCleared:
    pass


@dataclass
class Listener:
    """Gives batches their numbers."""

    blocks: VllmBlocks = field(default_factory=lambda: VllmBlocks(SIZE))
    number: int = 0

    def hear(self, *events: object) -> None:
        self.blocks.hear(self.number, events)
        self.number += 1

    def held(self) -> list[int]:
        return [name for name in (ONE, TWO, THREE) if name in self.blocks]


def test_blocks_are_named_by_all_tokens_up_to_their_end() -> None:
    listener = Listener()
    listener.hear(BlockStored(["h1", "h2"], TOKENS[:4]))
    assert listener.held() == [ONE, TWO]
    listener.hear(BlockStored(["h3"], TOKENS[4:], parent_block_hash="h2"))
    assert listener.blocks.changes.take() == ({ONE, TWO, THREE}, set())


def test_a_removed_block_is_there_no_more() -> None:
    listener = Listener()
    listener.hear(BlockStored(["h1", "h2"], TOKENS[:4]))
    listener.blocks.changes.take()
    listener.hear(BlockRemoved(["h2"]), BlockRemoved(["never heard of"]))
    assert listener.held() == [ONE]
    assert listener.blocks.changes.take() == (set(), {TWO})


def test_a_block_that_was_computed_twice_is_there_until_both_copies_went() -> None:
    listener = Listener()
    for _ in range(2):
        listener.hear(BlockStored(["h1"], TOKENS[:2]))
    listener.hear(BlockRemoved(["h1"]))
    assert listener.held() == [ONE]
    listener.hear(BlockRemoved(["h1"]))
    assert listener.held() == []


def test_a_block_whose_beginning_is_not_known_has_no_name() -> None:
    listener = Listener()
    listener.hear(BlockStored(["h2"], TOKENS[2:4], parent_block_hash="h1"))
    listener.hear(BlockRemoved(["h2"]))
    assert listener.held() == []
    assert listener.blocks.changes.take() == (set(), set())


def test_when_all_is_cleared_nothing_is_held() -> None:
    listener = Listener()
    listener.hear(BlockStored(["h1", "h2"], TOKENS[:4]))
    listener.blocks.changes.take()
    listener.hear(AllBlocksCleared(), BlockStored(["h1"], TOKENS[:2]))
    assert listener.held() == [ONE]
    assert listener.blocks.changes.take() == (set(), {TWO})


def test_when_a_batch_is_missing_nothing_is_known_any_more() -> None:
    listener = Listener()
    listener.hear(BlockStored(["h1", "h2"], TOKENS[:4]))
    listener.number += 1
    listener.hear(BlockStored(["h3"], TOKENS[4:], parent_block_hash="h2"))
    assert listener.held() == []
    listener.hear(BlockStored(["h1"], TOKENS[:2]))
    assert listener.held() == [ONE]


def test_blocks_elsewhere_of_other_kinds_and_for_some_only_do_not_count() -> None:
    listener = Listener()
    listener.hear(
        BlockStored(["h1"], TOKENS[:2], medium="CPU"),
        BlockStored(["h1"], TOKENS[:2], group_idx=1),
        BlockStored(["h1"], TOKENS[:2], extra_keys=[("salt",)]),
        BlockStored(["h1"], TOKENS[:4], block_size=4),
        BlockStored(["h2"], TOKENS[:4]),  # some blocks were left out, as those outside a sliding window are
    )
    assert listener.held() == []
    listener.hear(BlockStored(["h1"], TOKENS[:2], extra_keys=[None]), BlockRemoved(["h1"], medium="CPU"), BlockRemoved(["h1"], group_idx=1))
    assert listener.held() == [ONE]
