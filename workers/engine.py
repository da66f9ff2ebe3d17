"""The engine worker: a Celery worker process that hosts one engine.

    python -m celery -A workers.engine worker -P solo
    celery -A workers.engine inspect parrot_load
    celery -A workers.engine control revoke <task id, as Flower shows it>

The engine's jobs come from Parrot's streams, not from Celery's queues: Celery runs the process, shows it (Flower), and asks it things.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from celery import Celery, bootsteps, signals
from celery.platforms import EX_FAILURE
from celery.utils.functional import maybe_list
from celery.worker import control
from celery.worker import state as celery_state
from celery.worker.control import control_command, inspect_command

from parrot import log
from parrot.config import Settings, load
from parrot.errors import EngineError
from workers.hosting import EngineThread
from workers.task_events import TaskEvents, variable_of

app = Celery("parrot.engine")
app.config_from_object("broker_configs.celeryconfig")


def engine_name(settings: Settings) -> str:
    """The engine's name for people: the one that was set, or host and process number."""
    return settings.engine_name or f"{socket.gethostname()}-{os.getpid()}"


class EngineHost(bootsteps.StartStopStep):  # type: ignore[misc]
    """Loads the engine when the worker starts, and drains it before the worker says goodbye.

    A step of the worker, not of its consumer: those stop and start whenever Celery's broker was away, and would reload the model.
    """

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._settings = load()
        self._worker = worker
        self._events = TaskEvents(lambda: getattr(getattr(worker, "consumer", None), "event_dispatcher", None))
        self.engine = EngineThread(self._settings, worker.hostname.partition("@")[0], self._events, self._engine_died)
        worker.engine_host = self

    def create(self, worker: Any) -> EngineHost:
        if "solo" not in worker.pool_cls.__module__:
            raise SystemExit("An engine worker must run with `-P solo`: an engine does not survive being forked.")
        return self

    def start(self, worker: Any) -> None:
        self._events.start()
        self.engine.start()

    def close(self, worker: Any) -> None:
        """The first that happens when the worker stops; Celery's event dispatcher still lives."""
        cold = celery_state.should_terminate is not None and celery_state.should_terminate is not False
        self.engine.stop(0.0 if cold else self._settings.drain_seconds)
        self._events.close()

    def stop(self, worker: Any) -> None:
        """The last: Celery has said goodbye."""
        if self.engine.failed:
            worker.exitcode = EX_FAILURE
        if not self.engine.ended:
            # It was still loading, or does not let go. Its processes die with this one.
            os._exit(worker.exitcode or 0)

    terminate = stop

    def _engine_died(self) -> None:
        """The worker ends, and whoever supervises the process sees that it failed."""
        celery_state.should_stop = EX_FAILURE
        self._worker.hub.call_soon(lambda: None)  # wakes its loop, which then looks


app.steps["worker"].add(EngineHost)


@signals.setup_logging.connect  # type: ignore[untyped-decorator]
def _log_as_parrot_does(**_: Any) -> None:
    settings = load()
    log.setup(settings.log_level, settings.log_json)


@signals.celeryd_init.connect  # type: ignore[untyped-decorator]
def _own_name_and_queue(instance: Any, conf: Any, **_: Any) -> None:
    """Workers that were not named with `-n` get the engine's name. No stranger's task reaches an engine worker: its queue is its own."""
    name, _, host = instance.hostname.partition("@")
    if name == "celery":
        name = engine_name(load())
        instance.hostname = f"{name}@{host}"
    conf.task_default_queue = f"parrot.engine.{name}"


@inspect_command()  # type: ignore[untyped-decorator]
def parrot_load(state: Any) -> dict[str, Any]:
    """The engine's load: running, waiting, KV cache in use, tokens so far."""
    return _engine(state).load()


@inspect_command()  # type: ignore[untyped-decorator]
def parrot_running(state: Any) -> list[dict[str, Any]]:
    """The generations that the engine works on, with session, function and seconds."""
    return _engine(state).running()


@control_command(variadic="task_id", signature="[id1 [id2 [... [idN]]]]")  # type: ignore[untyped-decorator]
def revoke(state: Any, task_id: str | list[str], terminate: bool = False, signal: str | None = None, **options: Any) -> dict[str, Any]:
    """Revoke task by task id (or list of ids); a generation is cancelled, whichever engine works on it.

    Celery knows only tasks of its own. The ids of generations go to ServeCore, which ignores that it hears of them from every worker; all
    others go to Celery's own command.
    """
    ids = [str(one) for one in maybe_list(task_id) or []]
    ours = {variable: None for one in ids if (variable := variable_of(one)) is not None}
    others = [one for one in ids if variable_of(one) is None]
    if not ours:
        answer: dict[str, Any] = control.revoke(state, others, terminate, signal, **options)
        return answer
    also = f"; {control.revoke(state, others, terminate, signal, **options)['ok']}" if others else ""
    try:
        return {"ok": _engine(state).revoke([*ours]) + also}
    except EngineError as error:
        return {"error": f"{error}{also}"}


@control_command(  # type: ignore[untyped-decorator]
    variadic="task_id", args=[("signal", str)], signature="<signal> [id1 [id2 [... [idN]]]]"
)
def terminate(state: Any, signal: str, task_id: str | list[str], **_: Any) -> dict[str, Any]:
    """Terminate task by task id (or list of ids); a generation is cancelled, as by `revoke`."""
    return revoke(state, task_id, terminate=True, signal=signal)  # type: ignore[no-any-return]


def _engine(state: Any) -> EngineThread:
    host: EngineHost = state.consumer.controller.engine_host
    return host.engine
