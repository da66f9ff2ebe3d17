import asyncio
import sys
from pathlib import Path

import pytest

from parrot.cli.supervisor import Child, Spec
from parrot.errors import ConfigurationError


def child(tmp_path: Path, code: str, said: list[str], patience: float = 5.0) -> Child:
    return Child(Spec("child", [sys.executable, "-c", code], {}, tmp_path / "logs" / "child.log", patience), said.append)


async def until(true) -> None:
    while not true():
        await asyncio.sleep(0.02)


async def test_a_child_that_ends_while_it_starts_shows_the_end_of_its_log(tmp_path):
    it = child(tmp_path, "import sys; sys.exit('no such model')", [])
    await it.start()
    await until(it.lines)
    await it._process.wait()
    with pytest.raises(ConfigurationError, match=r"ended with status 1 while it started.*\n  no such model"):
        it.check()


async def test_a_child_that_dies_is_started_again_and_that_is_said(tmp_path):
    said: list[str] = []
    it = child(tmp_path, "import time; print('up', flush=True); time.sleep(60)", said)
    await it.start()
    first = it.pid
    keeper = asyncio.create_task(it.keep())
    await until(lambda: it.lines() == ["up"])
    assert it._process is not None
    it._process.kill()
    await until(lambda: it.lines() == ["up", "up"])
    keeper.cancel()
    await asyncio.wait({keeper})
    assert it.pid != first
    assert said[0].startswith("child was killed by SIGKILL; it is started again in 0.5 s.")
    await it.stop()
    assert it.pid == 0


async def test_a_child_that_ignores_sigterm_is_killed_with_what_it_started(tmp_path):
    code = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(subprocess.Popen(['sleep', '60']).pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    said: list[str] = []
    it = child(tmp_path, code, said, patience=0.2)
    await it.start()
    await until(it.lines)
    grandchild = int(it.lines()[0])
    await it.stop()
    await until(lambda: not _runs(grandchild))
    assert said == ["child did not end within 0.2 s and is killed."]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
