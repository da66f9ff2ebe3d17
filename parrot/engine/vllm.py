"""The real engine: vLLM's `AsyncLLM`, on CPUs and GPUs alike."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from hashlib import blake2b
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

from parrot.config import Settings
from parrot.engine.contexts import ContextTable
from parrot.engine.model import prepare
from parrot.engine.protocol import CacheNews, Chunk, Load, Turn
from parrot.engine.vllm_blocks import VllmBlocks
from parrot.engine.vllm_events import VllmEvents
from parrot.errors import BadSampling, ConfigurationError, ContextTooLong, EngineError
from parrot.sampling import SamplingConfig
from parrot.wire.to_core import Capacity


class HuggingFaceTokenizer:
    """A Hugging Face tokenizer behind the engine protocol.

    Args:
        tokenizer: what `AutoTokenizer` gave; nobody else may use it, since encoding changes its state.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        vocabulary = sorted(tokenizer.get_vocab().items())
        self._name = f"{len(vocabulary)}-{blake2b(repr(vocabulary).encode(), digest_size=6).hexdigest()}"

    @property
    def name(self) -> str:
        return self._name

    @property
    def has_chat_template(self) -> bool:
        return self._tokenizer.chat_template is not None

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=not special))

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def ends(self, text: str) -> list[int]:
        if not self._tokenizer.is_fast:
            return []
        encoded = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True)
        return [end for _, end in encoded["offset_mapping"]]

    def start(self, empty: bool) -> list[int]:
        begin = self._tokenizer.bos_token_id
        if begin is not None and self._tokenizer.encode("a")[0] == begin:
            return [begin]
        return [begin if begin is not None else self._tokenizer.eos_token_id or 0] if empty else []

    def render(self, turns: Sequence[Turn], open_assistant: bool) -> str:
        messages = [turn._asdict() for turn in turns]
        if open_assistant and not turns[-1].content:
            return str(self._tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True))
        return str(self._tokenizer.apply_chat_template(messages, tokenize=False, continue_final_message=open_assistant))


class VllmEngine:
    """One vLLM engine, in processes of its own that die with this one.

    Args:
        settings: the model, and how much of the machine it may use.
    """

    kind = "vllm"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._contexts = ContextTable()
        self._ids = count()
        self._generated: dict[str, int] = {}  # tokens so far, of each generation in flight
        # Loads and stops the engine. Its processes die with the thread that started them, so that one is kept.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vllm")
        self._llm: Any = None
        self._events: VllmEvents | None = None

    @property
    def model(self) -> str:
        return self._settings.model

    @property
    def tokenizer(self) -> HuggingFaceTokenizer:
        return self._tokenizer

    @property
    def capacity(self) -> Capacity:
        return self._capacity

    async def start(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._load)

    async def stop(self) -> None:
        llm = await asyncio.get_running_loop().run_in_executor(self._thread, self._shut_down)
        if self._events is not None:
            self._events.close()  # here, where it is read
        if llm is not None:
            from vllm.v1.engine.exceptions import EngineDeadError

            llm.output_processor.propagate_error(EngineDeadError())  # to generations that are still in flight

    async def fill(self, context: str, parent: str | None, tokens: Sequence[int]) -> None:
        self._contexts.fill(context, parent, tokens)  # vLLM computes it with the first generation, and then has it cached

    async def release(self, context: str) -> None:
        self._contexts.release(context)

    def load(self) -> Load:
        """Raises `EngineError` when the engine is dead."""
        self._living()
        used = self._contexts.size + sum(self._generated.values())
        return Load(running=len(self._generated), kv_used=min(1.0, used / self._capacity.kv_tokens))

    def cache_news(self) -> CacheNews:
        for number, events in self._events.batches() if self._events is not None else ():
            self._blocks.hear(number, events)
        return self._blocks.changes.take()

    def holds(self, block: int) -> bool:
        return block in self._blocks

    async def generate(self, context: str, sampling: SamplingConfig, priority: int, salt: str = "") -> AsyncIterator[Chunk]:
        from vllm.exceptions import VLLMClientError, VLLMError
        from vllm.inputs.engine import tokens_input

        llm = self._living()
        prompt = self._contexts.tokens(context)
        self._check_room(len(prompt), sampling.max_gen_length)
        output = _Output(self._tokenizer, prompt[-1], whole=bool(sampling.stop))
        request = str(next(self._ids))
        self._generated[request] = 0
        try:
            asked = llm.generate(tokens_input(prompt, cache_salt=salt or None), _parameters(sampling), request, priority=priority)
            async with aclosing(asked) as answers:
                async for answer in answers:
                    self._generated[request] += len(answer.outputs[0].token_ids)
                    if chunk := output.chunk(answer):
                        yield chunk
        except VLLMClientError as error:
            raise BadSampling(f"vLLM does not accept this call: {error}") from error
        except VLLMError as error:
            self._living()  # if it is dead, that is the news
            raise EngineError(f"vLLM failed on this generation: {error.__cause__ or error}") from error
        finally:
            del self._generated[request]

    def _living(self) -> Any:
        if self._llm is None or self._llm.errored:
            raise EngineError("The vLLM engine is not running (any more); its log says why. Start the worker again.")
        return self._llm

    def _check_room(self, prompt: int, output: int) -> None:
        limit = self._capacity.context_tokens
        if prompt + output > limit:
            raise ContextTooLong(
                f"The prompt has {prompt} tokens and max_gen_length allows {output} more, but {self.model} here takes {limit} together. "
                "Shorten the prompt, lower max_gen_length, or set PARROT_CONTEXT_TOKENS higher if the model allows it."
            )

    def _load(self) -> None:
        if find_spec("vllm") is None:
            raise ConfigurationError(
                "vLLM is not installed. Run `make install` (CPU), install parrot-serve[gpu], or set PARROT_ENGINE=simulated."
            )
        model = prepare(self._settings)
        os.environ.update(_REQUIRED)
        for name, value in {**_QUIET, **({"HF_HUB_OFFLINE": "1"} if Path(model).is_dir() else {})}.items():
            os.environ.setdefault(name, value)

        from transformers import AutoTokenizer
        from vllm.v1.engine.async_llm import AsyncLLM

        self._events = VllmEvents()
        try:
            arguments = replace(_arguments(self._settings, model), kv_events_config=self._events.config())
            self._tokenizer = HuggingFaceTokenizer(AutoTokenizer.from_pretrained(model))
            self._llm = AsyncLLM.from_engine_args(arguments)
            self._events.connect()
        except Exception as error:
            self._events.close()
            raise ConfigurationError(f"vLLM cannot serve the model {self.model}: {error}") from error
        cache = self._llm.vllm_config.cache_config
        self._capacity = Capacity(
            running=self._settings.max_running,
            kv_tokens=cache.num_gpu_blocks * cache.block_size,
            context_tokens=self._llm.vllm_config.model_config.max_model_len,
            block_tokens=cache.block_size,
        )
        self._blocks = VllmBlocks(cache.block_size)

    def _shut_down(self) -> Any:
        llm, self._llm = self._llm, None
        if llm is not None:
            if (listener := llm.output_handler) is not None:
                listener.get_loop().call_soon_threadsafe(listener.cancel)  # to it, what comes now would look like a failure
            llm.shutdown()
            multiprocessing.active_children()  # buries those that had to be killed
        return llm


# What vLLM reads when it is imported and in each of its processes. Names with CPU in them are read by its CPU build only.
_REQUIRED = {"VLLM_WORKER_MULTIPROC_METHOD": "spawn"}  # a forked process would not load the plugin that ends it with its parent
_QUIET = {
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}


def _arguments(settings: Settings, model: str) -> Any:
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.platforms import current_platform

    cpu = current_platform.is_cpu()
    memory = {"kv_cache_memory_bytes": int(settings.kv_gib * 2**30)} if cpu else {"gpu_memory_utilization": settings.gpu_memory}
    arguments = AsyncEngineArgs(
        model=model,
        dtype=settings.dtype,
        block_size=settings.block_tokens,
        max_num_seqs=settings.max_running,
        tensor_parallel_size=settings.tensor_parallel,
        enforce_eager=cpu if settings.eager is None else settings.eager,
        enable_prefix_caching=True,
        scheduling_policy="priority",
        disable_log_stats=True,
        use_tqdm_on_load=False,
        **memory,
    )
    longest = arguments.create_model_config().max_model_len
    return replace(arguments, max_model_len=min(settings.context_tokens, longest))


def _parameters(sampling: SamplingConfig) -> Any:
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=sampling.max_gen_length,
        stop=list(sampling.stop),
        stop_token_ids=list(sampling.stop_token_ids),
        ignore_eos=sampling.ignore_tokenizer_eos,
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        seed=sampling.seed,
        output_kind=RequestOutputKind.DELTA,
    )


class _Output:
    """Turns what vLLM says of one generation into chunks whose tokens and texts agree.

    Args:
        tokenizer: of the engine.
        before: the prompt's last token; what the first generated one looks like can depend on it.
        whole: keep the tokens for the last chunk, since a stop text can take back some of them.
    """

    def __init__(self, tokenizer: HuggingFaceTokenizer, before: int, whole: bool) -> None:
        self._tokenizer = tokenizer
        self._before = before
        self._whole = whole
        self._tokens: list[int] = []
        self._text = ""

    def chunk(self, answer: Any) -> Chunk | None:
        """None where there is nothing to tell yet."""
        new = answer.outputs[0]
        tokens = list(new.token_ids)
        if new.finish_reason == "stop" and not isinstance(new.stop_reason, str):
            tokens.pop()  # the end mark
        self._tokens += tokens
        self._text += new.text
        if new.finish_reason is None:
            tokens = [] if self._whole else tokens
            return Chunk(tuple(tokens), new.text) if tokens or new.text else None
        if new.finish_reason not in ("stop", "length"):
            raise EngineError(f"vLLM gave the generation up ({new.finish_reason}); its log says why.")
        if self._whole:
            tokens = self._without_stop()
        return Chunk(tuple(tokens), new.text, new.finish_reason, answer.num_cached_tokens or 0, self._decode(self._tokens) == self._text)

    def _without_stop(self) -> list[int]:
        while self._tokens and len(self._decode(self._tokens[:-1])) >= len(self._text):
            self._tokens.pop()
        return self._tokens

    def _decode(self, tokens: list[int]) -> str:
        return self._tokenizer.decode([self._before, *tokens])[len(self._tokenizer.decode([self._before])) :]
