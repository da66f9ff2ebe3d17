"""The embedded server: its data, its sentences, and its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from parrot.broker.connection import connect
from parrot.broker.embedded import EmbeddedServer
from parrot.errors import ConfigurationError


async def write(server: EmbeddedServer, value: str) -> None:
    async with connect(server.url) as client:
        await client.set("kept", value)


async def read(server: EmbeddedServer) -> object:
    async with connect(server.url) as client:
        return await client.get("kept")


async def test_it_answers_once_it_is_started(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server:
        assert server.running
        assert await read(server) is None
    assert not server.running


async def test_its_data_survives_a_restart(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server:
        await write(server, "a value")
    with EmbeddedServer(tmp_path) as server:
        assert await read(server) == b"a value"


async def test_what_it_acknowledged_survives_its_sudden_death(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server:
        await write(server, "a value")
        server.stop(timeout=0)
    with EmbeddedServer(tmp_path) as server:
        assert await read(server) == b"a value"


async def test_it_can_be_stopped_twice_and_started_again(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    server.start()
    server.stop()
    server.stop()
    with server:
        assert await read(server) is None


def test_a_folder_has_one_server(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path), pytest.raises(ConfigurationError, match="already runs on the folder") as refused:
        EmbeddedServer(tmp_path).start()
    assert str(tmp_path) in str(refused.value)


def test_a_port_that_is_in_use_is_named(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "first") as first:
        second = EmbeddedServer(tmp_path / "second", first.port)
        with pytest.raises(ConfigurationError, match=f"Port {first.port} cannot be used"):
            second.start()
        assert not second.running


def test_why_it_did_not_start_is_said(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path, options={"appendfsync": "sometimes"})
    with pytest.raises(ConfigurationError, match="must be one of"):
        server.start()
    assert not server.running


async def test_a_password_does_not_keep_it_from_being_ready(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path, options={"requirepass": "secret"}) as server:
        assert server.running


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    """Even if that is killed, and so can stop nothing."""
    program = (
        "import sys; from pathlib import Path; from parrot.broker.embedded import EmbeddedServer\n"
        "server = EmbeddedServer(Path(sys.argv[1])).start(); print(server.url, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline().startswith(b"redis://")
        os.kill(parent.pid, signal.SIGKILL)
    started_again(tmp_path, within=5.0).stop()


def started_again(data: Path, within: float) -> EmbeddedServer:
    deadline = time.monotonic() + within
    while True:
        try:
            return EmbeddedServer(data).start()
        except ConfigurationError:  # the folder is locked as long as the first server lives
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
