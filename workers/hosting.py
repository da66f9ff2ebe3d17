"""An engine and its runner, on an event loop in a thread of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any, Literal

import structlog
import uvloop

from parrot.broker.engine_link import EngineLink
from parrot.collector import spare_the_collector
from parrot.config import Settings
from parrot.engine.observer import Observer
from parrot.engine.protocol import Engine
from parrot.engine.runner import LeaseError, Runner, new_engine_id
from parrot.engine.simulated import SimulatedEngine
from parrot.errors import EngineError, ParrotError
from parrot.wire.keys import Keys

log = structlog.get_logger("workers.engine")

State = Literal["loading", "running", "draining", "ended"]
REVOKE_SECONDS = 0.5  # in which Redis should take a revoke; who asked waits for one second
LEAVE_SECONDS = 20.0  # beyond the drain: last words to the broker, and the end of the engine's processes


class EngineThread:
    """Runs one engine until it is stopped or dies.

    Args:
        settings: which engine, and where the broker is.
        name: the engine's name for people.
        observer: is told about every job.
        died: called in the thread if the engine ended by itself.
    """

    def __init__(self, settings: Settings, name: str, observer: Observer, died: Callable[[], None]) -> None:
        self.name = name
        self.state: State = "loading"
        self.failed = False
        self._settings = settings
        self._observer = observer
        self._died = died
        self._engine = _engine(settings)
        self._runner: Runner | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._work: asyncio.Task[None] | None = None
        # A daemon: a process that is told to end does so even if the engine cannot be stopped.
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Begin to load; returns at once."""
        self._thread.start()

    def stop(self, drain_seconds: float) -> None:
        """Drain and end the engine; returns when that is done, or cannot be done in time. Safe to call twice.

        Args:
            drain_seconds: how long running generations may take to finish.
        """
        patience = drain_seconds + LEAVE_SECONDS if self.state != "loading" else 1.0  # loading cannot be interrupted
        loop = self._loop
        if self.state != "ended" and loop is not None:
            loop.call_soon_threadsafe(self._ask_to_stop, drain_seconds)
        self._thread.join(timeout=patience)

    @property
    def ended(self) -> bool:
        """Whether the thread is gone, with the engine's processes."""
        return not self._thread.is_alive()

    def load(self) -> dict[str, Any]:
        """The load at this moment, for people; may be called from any thread."""
        about = {"name": self.name, "kind": self._engine.kind, "model": self._settings.model, "state": self.state}
        runner = self._runner
        if runner is None:
            return about
        totals = runner.totals
        return (
            about
            | runner.beat().model_dump(exclude_unset=True)
            | {
                "generations": totals.generations,
                "tokens_in": totals.tokens_in,
                "tokens_cached": totals.tokens_cached,
                "tokens_out": totals.tokens_out,
            }
        )

    def running(self) -> list[dict[str, Any]]:
        """What the engine works on, for people; may be called from any thread."""
        return [
            {
                "variable": job.variable,
                "attempt": job.attempt,
                "function": job.function,
                "session": job.session,
                "seconds": round(seconds, 3),
            }
            for job, seconds in (self._runner.running() if self._runner else [])
        ]

    def revoke(self, variables: Sequence[str]) -> str:
        """Have ServeCore cancel variables, whichever engine works on them; may be called from any thread but the engine's own.

        Returns:
            What was passed on, in words.

        Raises:
            EngineError: this engine has no word with ServeCore.
        """
        named, loop, runner = ", ".join(variables), self._loop, self._runner
        if loop is None or runner is None or self.state == "ended":
            raise EngineError(f"The engine {self.name} is {self.state} and passed nothing on. `parrot cancel` cancels without it: {named}.")
        log.info("passing a revoke on", engine=runner.id, variables=named)
        passing = asyncio.run_coroutine_threadsafe(runner.revoke(variables), loop)
        try:
            passing.result(REVOKE_SECONDS)
        except TimeoutError:  # it goes on trying for as long as the engine lives
            return f"Redis does not answer; once it does, ServeCore will be told to cancel {named}"
        return f"ServeCore was told to cancel {named}"

    def _run(self) -> None:
        try:
            uvloop.run(self._main())
        except asyncio.CancelledError:
            log.info("stopped while the engine was loading")
        except ParrotError as error:
            self.failed = True
            log.error("the engine ended", error=str(error), code=error.code)
        except Exception:
            self.failed = True
            log.exception("the engine ended")
        finally:
            self.state = "ended"
            if self.failed:
                self._died()

    async def _main(self) -> None:
        self._work = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        try:
            await self._engine.start()
            spare_the_collector()
            while self.state != "draining":
                await self._serve()
        finally:
            await self._engine.stop()

    async def _serve(self) -> None:
        """One incarnation of the engine. When it was given up while it was out of reach, the next one goes on with the loaded model."""
        settings = self._settings
        link = EngineLink(settings.redis_url, Keys(settings.cell), new_engine_id(self.name))
        try:
            self._runner = Runner(
                self._engine,
                link,
                self._observer,
                name=self.name,
                beat_seconds=settings.beat_seconds,
                checkpoint_seconds=settings.checkpoint_seconds,
                drain_seconds=settings.drain_seconds,
                previous=self._runner.id if self._runner is not None else None,
            )
            self.state = "running"
            await self._runner.run()
        except LeaseError as error:
            log.warning("the engine comes back under a new id", reason=str(error))
        finally:
            await link.aclose()

    def _ask_to_stop(self, drain_seconds: float) -> None:
        loading, self.state = self.state == "loading", "draining"
        if self._runner is not None:
            self._runner.stop(drain_seconds)
        elif loading and self._work is not None:
            self._work.cancel()


def _engine(settings: Settings) -> Engine:
    if settings.engine == "simulated":
        return SimulatedEngine(settings)
    from parrot.engine.vllm import VllmEngine  # here, so that a simulated engine starts without what vLLM needs

    return VllmEngine(settings)
