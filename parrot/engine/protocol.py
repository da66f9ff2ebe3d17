"""What an engine can do. The runner knows engines only through this."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from parrot.sampling import SamplingConfig
from parrot.wire.to_core import Capacity


class Turn(NamedTuple):
    """One chat turn, as far as a chat template cares.

    Attributes:
        role: `system`, `user` or `assistant`.
        content: the turn's text.
    """

    role: str
    content: str


class Tokenizer(Protocol):
    """Text to token ids and back, for one model.

    Attributes:
        name: identifies the vocabulary; token ids may pass between engines whose tokenizers have the same name.
        has_chat_template: the model was trained on chat turns.
    """

    @property
    def name(self) -> str: ...
    @property
    def has_chat_template(self) -> bool: ...

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Token ids of a text by itself, with nothing added. With `special`, marks such as `<|im_start|>` become their own
        token; without, they are plain text."""
        ...

    def decode(self, tokens: Sequence[int]) -> str: ...

    def ends(self, text: str) -> list[int]:
        """For each token of `encode(text)`, how many characters of the text are begun when it ends. Empty if the tokenizer cannot say."""
        ...

    def start(self, empty: bool) -> list[int]:
        """What a raw prompt begins with: the model's begin mark or nothing; for an `empty` prompt always something to go on from."""
        ...

    def render(self, turns: Sequence[Turn], open_assistant: bool) -> str:
        """The chat template applied to turns; with `open_assistant` the last turn is an assistant's that goes on."""
        ...


class Chunk(NamedTuple):
    """Newly generated tokens of one generation.

    Attributes:
        tokens: their ids; concatenated over all chunks they are the whole output, without the end mark.
        text: their text; concatenated over all chunks it is the whole output.
        finish_reason: `stop` or `length` in the last chunk, else None.
        cached_tokens: prompt tokens that were found in the KV cache; meaningful in the last chunk.
        exact: whether all tokens together stand for all text; meaningful in the last chunk. False where a stop text or the
            end cut a token in two: then the text is the value, and the tokens only say how many were generated.
    """

    tokens: tuple[int, ...]
    text: str
    finish_reason: str | None = None
    cached_tokens: int = 0
    exact: bool = True


class CacheNews(NamedTuple):
    """What has changed in an engine's KV cache, in names of blocks (`parrot.engine.blocks.block_names`).

    Attributes:
        stored: blocks that it holds now and did not before.
        removed: blocks that it held before and does not now.
    """

    stored: AbstractSet[int]
    removed: AbstractSet[int]


@dataclass(frozen=True, slots=True)
class Load:
    """An engine's load at this moment.

    Attributes:
        running: generations in flight.
        kv_used: fraction of the KV cache in use, 0 to 1.
    """

    running: int
    kv_used: float


class Engine(Protocol):
    """A paged-attention engine with contextual filling and generation (Parrot, OSDI'24, section 4.3; its universal engine interface).

    A context is a named stretch of tokens on top of a parent context; generating on a context continues the chain. All
    methods are called from one asyncio loop. Many `generate` iterators run at once: that is the batch.

    Attributes:
        kind: `vllm` or `simulated`.
        model: the served model's name, as calls ask for it.
        tokenizer: the model's tokenizer; usable after `start`.
        capacity: what it can hold; valid after `start`.
    """

    @property
    def kind(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def capacity(self) -> Capacity: ...

    async def start(self) -> None:
        """Load the model. Raises `ConfigurationError` where something is missing."""
        ...

    async def stop(self) -> None:
        """End it, with all processes that it started. Safe to call twice."""
        ...

    async def fill(self, context: str, parent: str | None, tokens: Sequence[int]) -> None:
        """Make `context` = `parent` + `tokens`. Filling a context that is there already changes nothing."""
        ...

    def generate(self, context: str, sampling: SamplingConfig, priority: int, salt: str = "") -> AsyncIterator[Chunk]:
        """Decode on top of a filled context. Closing the iterator aborts it.

        Args:
            context: what the prompt is.
            sampling: how to sample.
            priority: lower first.
            salt: what is cached is used for those with the same one only.

        Raises:
            ContextTooLong: prompt and output do not fit.
            BadSampling: a parameter is out of what the engine supports.
            EngineError: anything else; the engine may be dead.
        """
        ...

    async def release(self, context: str) -> None:
        """The caller needs `context` no more. Its KV may stay cached until the room is needed."""
        ...

    def load(self) -> Load: ...

    def cache_news(self) -> CacheNews:
        """What has changed in the KV cache since this was asked the last time."""
        ...

    def holds(self, block: int) -> bool:
        """Whether the KV cache has the block of this name, as of the last `cache_news`."""
        ...
