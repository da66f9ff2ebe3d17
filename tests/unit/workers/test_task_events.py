from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from parrot.errors import Cancelled, EngineError
from parrot.wire.to_engine import Job
from workers.task_events import BACKLOG, TaskEvents, variable_of


class Monitor:
    """Celery's event dispatcher, with somebody who reads along."""

    def __init__(self) -> None:
        self.messages: list[list[dict[str, Any]]] = []
        self.away = False
        self.enabled, self.groups = True, {"task", "worker"}
        self.hostname, self.pid, self.serializer, self.delivery_mode = "sim-0@here", 7, "json", 1
        self.headers: dict[str, str] = {}
        self.mutex, self.producer = threading.Lock(), self
        self.exchange = SimpleNamespace(name="celeryev")
        self.clock = SimpleNamespace(forward=lambda: 1)
        self.connection = SimpleNamespace(connection_errors=(ConnectionError,))

    def publish(self, body: list[dict[str, Any]], routing_key: str, **_: Any) -> None:
        if self.away:
            raise ConnectionError("away")
        assert routing_key == "task.multi"
        self.messages.append(body)

    @property
    def kinds(self) -> list[str]:
        return [event["type"] for message in self.messages for event in message]


@contextmanager
def watching(monitor: Monitor | None) -> Iterator[TaskEvents]:
    """Task events that are all sent in the end."""
    events = TaskEvents(lambda: monitor)
    events.start()
    yield events
    events.close()


def job(variable: str = "v1") -> Job:
    return Job(variable=variable, attempt=2, session="s", call="c", function="f", output="o", prompt=[])


def test_a_generation_is_shown_from_its_coming_to_its_end_in_one_message() -> None:
    monitor = Monitor()
    with watching(monitor) as events:
        events.received(job())
        events.started(job())
        events.succeeded(job(), "x" * 1000, 0.5)
    (message,) = monitor.messages
    assert monitor.kinds == ["task-received", "task-started", "task-succeeded"]
    assert {event["uuid"] for event in message} == {"v1:2"}
    assert {(event["hostname"], event["pid"]) for event in message} == {("sim-0@here", 7)}
    assert message[0]["name"] == "parrot.generate"
    assert message[0]["kwargs"] == "{'session': 's', 'function': 'f', 'output': 'o', 'variable': 'v1'}"
    assert message[2]["runtime"] == 0.5
    assert len(message[2]["result"]) < 250


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (lambda events: events.failed(job(), EngineError("Broke."), 0.1), "task-failed"),
        (lambda events: events.failed(job(), Cancelled("Not wanted."), 0.1), "task-revoked"),
        (lambda events: events.returned(job()), "task-retried"),
    ],
)
def test_every_other_end_is_shown_as_well(end: Any, kind: str) -> None:
    monitor = Monitor()
    with watching(monitor) as events:
        events.received(job())
        end(events)
    assert monitor.kinds == ["task-received", kind]


def test_events_wait_in_order_while_celerys_broker_is_away() -> None:
    monitor = Monitor()
    monitor.away = True
    events = TaskEvents(lambda: monitor)
    events.received(job())
    assert not events._flush()
    events.started(job())
    monitor.away = False
    assert events._flush()
    assert monitor.kinds == ["task-received", "task-started"]


def test_events_wait_for_a_worker_that_is_not_connected_yet() -> None:
    events = TaskEvents(lambda: None)
    events.received(job())
    assert not events._flush()


@pytest.mark.parametrize("switch", [{"enabled": False}, {"groups": {"worker"}}])
def test_events_that_nobody_wants_are_dropped(switch: dict[str, Any]) -> None:
    monitor = Monitor()
    vars(monitor).update(switch)
    events = TaskEvents(lambda: monitor)
    events.received(job())
    assert events._flush()
    vars(monitor).update(enabled=True, groups=set())
    assert events._flush()
    assert monitor.messages == []


def test_when_too_many_wait_whole_generations_are_left_out() -> None:
    monitor = Monitor()
    events = TaskEvents(lambda: monitor)
    events.received(job("first"))
    for i in range(BACKLOG + 5):
        events.received(job(f"v{i}"))
    events.succeeded(job("first"), "", 0.1)
    events.succeeded(job(f"v{BACKLOG + 4}"), "", 0.1)
    assert events._flush()
    assert monitor.kinds.count("task-received") == BACKLOG + 1
    assert monitor.kinds.count("task-succeeded") == 1


def test_the_id_of_a_task_that_is_shown_tells_its_variable() -> None:
    monitor = Monitor()
    with watching(monitor) as events:
        events.received(job("summarize-4k2.text_1"))
    assert variable_of(monitor.messages[0][0]["uuid"]) == "summarize-4k2.text_1"


@pytest.mark.parametrize(
    "uuid", ["1480b55c-b8b2-462c-985e-24af3e9158f9", "v1", "v1:", "v1:x", ":1", "a b:1", "v:1:1", "v" * 129 + ":1", ""]
)
def test_other_ids_are_of_no_generation(uuid: str) -> None:
    assert variable_of(uuid) is None
