"""Builds the images, brings docker-compose.yml up with the simulated engine, and uses it from outside. Run by `make compose-test`.

The environment names the commands: CONTAINER_BUILD (default `docker build`) and CONTAINER_COMPOSE (default `docker compose`).
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import shlex
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import parrot as P
from parrot.broker.connection import connect, in_sentences
from parrot.broker.directory import Directory
from parrot.errors import BrokerUnavailable
from parrot.wire.keys import Keys

ROOT = Path(__file__).parents[2]
BUILD = shlex.split(os.environ.get("CONTAINER_BUILD", "docker build"))
COMPOSE = [*shlex.split(os.environ.get("CONTAINER_COMPOSE", "docker compose")), "-p", "parrot-acceptance"]
IMAGES = ("core", "flower", "worker-cpu")
KEYS = Keys()


@P.semantic_function()
def outline(topic: P.Input, points: P.Output(P.SamplingConfig(max_gen_length=24))):  # type: ignore[no-untyped-def, valid-type]
    """Three points about {{topic}}: {{points}}"""


@P.semantic_function()
def essay(points: P.Input, text: P.Output(P.SamplingConfig(max_gen_length=40))):  # type: ignore[no-untyped-def, valid-type]
    """An essay that makes these points: {{points}} Essay: {{text}}"""


def main() -> None:
    say("Building the images")
    for image in IMAGES:
        run(*BUILD, "-t", f"parrot-{image}", "-f", f"docker/{image}.Dockerfile", ".")
    os.environ.update(settings())
    try:
        say("Starting")
        run(*COMPOSE, "up", "-d")
        show_that_it_works()
    except BaseException:
        subprocess.run([*COMPOSE, "logs", "--tail", "30"], cwd=ROOT, check=False)
        raise
    finally:
        say("Removing all of it")
        run(*COMPOSE, "down", "-v")
    say("Done: the containers served a program from outside.")


def settings() -> dict[str, str]:
    """Own passwords and ports, and a worker without a model from the small image."""
    passwords = {f"PARROT_{role}_PASSWORD": secrets.token_hex(16) for role in ("APP", "CORE", "ENGINE", "FLOWER", "ADMIN")}
    return passwords | {
        "PARROT_ENGINE": "simulated",
        "PARROT_WORKER_IMAGE": "parrot-core",
        "PARROT_REDIS_PORT": str(free_port()),
        "PARROT_FLOWER_PORT": str(free_port()),
        "FLOWER_BASIC_AUTH": f"parrot:{secrets.token_hex(16)}",
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def show_that_it_works() -> None:
    url = f"redis://app:{os.environ['PARROT_APP_PASSWORD']}@127.0.0.1:{os.environ['PARROT_REDIS_PORT']}/0"
    until("Redis lets the app in, and an engine is registered", lambda: asyncio.run(engines(url)))
    until("Flower is healthy", lambda: flower("/healthcheck"))

    say("A program of two calls, from outside the containers")
    with P.Session(url, name="acceptance") as session:
        points = outline(topic="containers")
        text = essay(points=points)
        value = text.get(timeout=60)
    print(f"  points = {points.get(timeout=10)!r}\n  essay  = {value!r}")

    say(f"redis-cli HGETALL {KEYS.variable(text.id)}")
    stored = redis_cli("HGETALL", KEYS.variable(text.id))
    print(stored)
    expect(value in stored, "The value that the program got is in Redis.")

    until("Flower shows both generations as succeeded", lambda: generations(session.id))

    say("ServeCore's decisions are compiled")
    expect(inside("core", "python", "-c", "import parrot.core; print(parrot.core.COMPILED)") == "True\n", "They are.")

    say("Strangers stay out")
    expect(refused_by_redis(), "Redis refuses a client without a name.")
    expect(flower_refuses("/api/tasks"), "Flower refuses a client without a password.")


async def engines(url: str) -> list[str]:
    async with connect(url) as redis:
        with in_sentences(url):
            return [f"{engine.name} ({engine.kind}, {engine.state})" for engine in await Directory(redis, KEYS).engines()]


def generations(session: str) -> list[tuple[object, ...]]:
    tasks = [task for task in json.loads(flower("/api/tasks")).values() if task["name"] == "parrot.generate"]
    done = [task for task in tasks if task["state"] == "SUCCESS" and session in json.dumps(task)]
    return [(task["name"], task["state"], task["runtime"], task["kwargs"]) for task in done] if len(done) == 2 else []


def flower(path: str) -> str:
    secret = base64.b64encode(os.environ["FLOWER_BASIC_AUTH"].encode()).decode()
    request = Request(f"http://127.0.0.1:{os.environ['PARROT_FLOWER_PORT']}{path}", headers={"Authorization": f"Basic {secret}"})
    with urlopen(request, timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def flower_refuses(path: str) -> bool:
    try:
        urlopen(f"http://127.0.0.1:{os.environ['PARROT_FLOWER_PORT']}{path}", timeout=10)
    except HTTPError as error:
        with error:
            return error.code == 401
    return False


def refused_by_redis() -> bool:
    try:
        asyncio.run(engines(f"redis://127.0.0.1:{os.environ['PARROT_REDIS_PORT']}/0"))
    except BrokerUnavailable as error:
        print(f"  {error}")
        return True
    return False


def redis_cli(*command: str) -> str:
    line = f'REDISCLI_AUTH="$PARROT_APP_PASSWORD" redis-cli --no-raw --user app {shlex.join(command)}'
    return inside("redis", "sh", "-c", line)


def inside(service: str, *command: str) -> str:
    done = subprocess.run([*COMPOSE, "exec", "-T", service, *command], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def until(what: str, attempt: Callable[[], object], seconds: float = 90) -> None:
    """Ask again until there is an answer that is not empty."""
    say(f"Waiting: {what}")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(BrokerUnavailable, OSError):  # not there yet
            if answer := attempt():
                print(f"  {answer}")
                return
        time.sleep(0.5)
    raise SystemExit(f"After {seconds:g} s it is still not so: {what}.")


def expect(truth: bool, what: str) -> None:
    if not truth:
        raise SystemExit(f"This is not so: {what}")
    print(f"  {what}")


def run(*command: str) -> None:
    print("$", shlex.join(command), flush=True)
    subprocess.run(command, cwd=ROOT, check=True)


def say(what: str) -> None:
    print(f"\n== {what}", flush=True)


if __name__ == "__main__":
    main()
