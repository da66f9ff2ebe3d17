"""Celery's `revoke`: what goes to ServeCore, what stays with Celery, and what is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from celery.worker import control
from celery.worker.control import Panel

from parrot.config import load
from parrot.errors import EngineError
from workers import hosting
from workers.engine import revoke, terminate
from workers.hosting import EngineThread
from workers.task_events import TaskEvents

CELERYS = "1480b55c-b8b2-462c-985e-24af3e9158f9"


class Engine:
    """Keeps what it is to pass on."""

    def __init__(self, refuses: str = "") -> None:
        self.passed: list[str] = []
        self._refuses = refuses

    def revoke(self, variables: Sequence[str]) -> str:
        if self._refuses:
            raise EngineError(self._refuses)
        self.passed += variables
        return f"told of {len(variables)}"


def state_of(engine: Engine) -> Any:
    return SimpleNamespace(consumer=SimpleNamespace(controller=SimpleNamespace(engine_host=SimpleNamespace(engine=engine))))


@pytest.fixture
def celerys(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What came to Celery's own command."""
    heard: list[tuple[Any, ...]] = []

    def command(_: Any, task_id: list[str], terminate: bool, signal: str | None, **__: Any) -> dict[str, str]:
        heard.append((task_id, terminate, signal))
        return {"ok": "flagged"}

    monkeypatch.setattr(control, "revoke", command)
    return heard


@pytest.mark.parametrize("given", ["c.x:1", ["c.x:1"]])
def test_a_generation_goes_to_servecore_and_not_to_celery(given: Any, celerys: list[tuple[Any, ...]]) -> None:
    engine = Engine()
    assert revoke(state_of(engine), given) == {"ok": "told of 1"}
    assert (engine.passed, celerys) == (["c.x"], [])


def test_what_is_no_generation_is_revoked_as_ever(celerys: list[tuple[Any, ...]]) -> None:
    engine = Engine()
    assert revoke(state_of(engine), CELERYS, terminate=True, signal="KILL") == {"ok": "flagged"}
    assert (engine.passed, celerys) == ([], [([CELERYS], True, "KILL")])


def test_a_list_is_parted_and_attempts_of_one_generation_are_one(celerys: list[tuple[Any, ...]]) -> None:
    engine = Engine()
    assert revoke(state_of(engine), ["a.x:1", CELERYS, "b.x:3", "a.x:2"]) == {"ok": "told of 2; flagged"}
    assert (engine.passed, celerys) == (["a.x", "b.x"], [([CELERYS], False, None)])


def test_terminate_cancels_a_generation_as_well() -> None:
    engine = Engine()
    assert terminate(state_of(engine), "SIGTERM", ["a.x:1"]) == {"ok": "told of 1"}
    assert engine.passed == ["a.x"]


def test_an_engine_that_has_no_word_with_servecore_says_so_and_celery_has_its_part(celerys: list[tuple[Any, ...]]) -> None:
    assert revoke(state_of(Engine("It loads.")), ["a.x:1", CELERYS]) == {"error": "It loads.; flagged"}
    assert len(celerys) == 1


def test_an_engine_that_is_loading_names_another_way() -> None:
    engine = EngineThread(load(engine="simulated"), "sim-0", TaskEvents(lambda: None), lambda: None)
    with pytest.raises(EngineError, match=r"sim-0 is loading and passed nothing on. `parrot cancel` cancels without it: a.x, b.x."):
        engine.revoke(["a.x", "b.x"])


@pytest.mark.parametrize(("answers", "words"), [(True, "ServeCore was told to cancel a.x"), (False, "Redis does not answer; once it does")])
def test_the_answer_says_whether_redis_has_taken_it(answers: bool, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosting, "REVOKE_SECONDS", 0.05)
    engine = EngineThread(load(engine="simulated"), "sim-0", TaskEvents(lambda: None), lambda: None)
    told: list[str] = []

    async def tell(variables: Sequence[str]) -> None:
        await asyncio.sleep(0 if answers else 0.2)
        told.extend(variables)

    async def main() -> str:
        """The engine's loop; Celery asks from another thread."""
        engine._loop, engine._runner = asyncio.get_running_loop(), cast(Any, SimpleNamespace(id="sim-0-1", revoke=tell))
        said = await asyncio.to_thread(engine.revoke, ["a.x"])
        await asyncio.sleep(0.2)
        return said

    assert asyncio.run(main()).startswith(words)
    assert told == ["a.x"], "it goes on trying"


def test_workers_answer_to_these_commands() -> None:
    assert (Panel.data["revoke"], Panel.data["terminate"]) == (revoke, terminate)
    assert Panel.meta["revoke"].variadic == "task_id"
