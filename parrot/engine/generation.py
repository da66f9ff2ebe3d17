"""One generation: from a job's pieces to the publication of its value."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from parrot.broker.tokens import Part
from parrot.broker.variables import Publication, Value
from parrot.engine.batch import Batch, Running
from parrot.engine.contexts import context_name
from parrot.engine.marks import Marks
from parrot.engine.moments import now
from parrot.engine.progress import Progress
from parrot.engine.prompt import PromptBuilder, ResolvedPiece, Segment
from parrot.engine.protocol import Chunk, Engine
from parrot.engine.residency import Residency
from parrot.engine.resume import Checkpoint, checkpoint
from parrot.errors import EngineError
from parrot.sampling import SamplingConfig
from parrot.wire.to_core import GenerationDone, Usage
from parrot.wire.to_engine import Job


class Generator:
    """Generates on one incarnation of an engine.

    Args:
        engine: started.
        name: the id of the incarnation.
        batch: the generations that it runs.
        residency: learns which beginnings of prompts can lie in the engine's KV cache.
        append: takes a part of a token stream.
    """

    def __init__(self, engine: Engine, name: str, batch: Batch, residency: Residency, append: Callable[[Job, Part], None]) -> None:
        self._engine = engine
        self._name = name
        self._batch = batch
        self._append = append
        self._made_by = f"{engine.model} {engine.tokenizer.name}"
        self._prompts = PromptBuilder(engine.tokenizer)
        self._marks = Marks(engine.tokenizer, engine.capacity.block_tokens, residency)

    async def produce(self, running: Running, pieces: Sequence[ResolvedPiece], earlier: Sequence[Part]) -> Publication:
        """Generate the value of a job.

        Args:
            running: the generation.
            pieces: the job's prompt.
            earlier: what earlier attempts have written down.

        Raises:
            ParrotError: it cannot be made; the engine may be dead.
        """
        job = running.job
        contexts: list[str] = []
        try:
            segments = self._prompts.build(pieces, job.chat)
            if job.marks:
                self._marks.prompt(job, pieces, segments)
            for segment in segments:
                await self._fill(segment.tokens, contexts)
            start = checkpoint(job.sampling, earlier, self._made_by) if earlier else Checkpoint()
            running.progress = progress = Progress(start, self._made_by, segments[-1].tokens[-1], self._engine.tokenizer.decode)
            if start.void:
                self._append(job, progress.reset())
            if start.tokens:
                await self._fill(start.tokens, contexts)
            last = await self._rest(running, progress, contexts[-1])
            if job.marks and last.exact:
                self._marks.output(job, segments, progress.tokens)
            running.progress = None  # all that it produced is in the publication
            return self._publication(running, progress, last, segments)
        finally:
            for context in reversed(contexts):
                await self._engine.release(context)

    async def _fill(self, tokens: Sequence[int], contexts: list[str]) -> None:
        """Fill one context more on top of `contexts`, which receives its name."""
        parent = contexts[-1] if contexts else None
        name = context_name(parent, tokens)
        await self._engine.fill(name, parent, tokens)
        contexts.append(name)

    async def _rest(self, running: Running, progress: Progress, context: str) -> Chunk:
        """Generate what is left of the output; gives the last chunk."""
        sampling = running.job.sampling
        if progress.tokens:
            left = sampling.max_gen_length - len(progress.tokens)
            if left < 1:
                return Chunk((), "", "length")
            sampling = sampling.model_copy(update={"max_gen_length": left})
        last = None
        while last is None:
            try:
                running.asked = True
                last = await self._ask(running, progress, context, sampling)
            except asyncio.CancelledError:
                if not running.goes_on():
                    raise
        return last

    async def _ask(self, running: Running, progress: Progress, context: str, sampling: SamplingConfig) -> Chunk:
        last = None
        async for last in self._engine.generate(context, sampling, running.priority, running.job.salt):
            running.first = running.first or running.seconds
            progress.tokens += last.tokens
            progress.texts.append(last.text)
        if last is None:
            raise EngineError(f"The engine ended the output {running.job.output} of {running.job.function} before it began.")
        return last

    def _publication(self, running: Running, progress: Progress, last: Chunk, segments: Sequence[Segment]) -> Publication:
        job, tokens_in = running.job, sum(len(segment.tokens) for segment in segments)
        usage = Usage(
            tokens_in=tokens_in,
            tokens_cached=min(last.cached_tokens, tokens_in),
            tokens_out=len(progress.tokens),
            first_token_seconds=running.first,
            seconds=running.seconds,
            running=self._batch.mean(running),
        )
        value = Value("".join(progress.texts), tuple(progress.tokens) if last.exact else None, self._engine.tokenizer.name, job.call)
        event = GenerationDone(engine=self._name, variable=job.variable, attempt=job.attempt, usage=usage)
        return Publication(job, value, last.finish_reason or "", event, now(), progress.streamed, progress.rest())
