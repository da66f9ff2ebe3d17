"""The command `parrot` on real processes: the embedded broker, ServeCore, a simulated engine in a Celery worker, Flower."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PARROT = [sys.executable, "-m", "parrot.cli"]
PROGRAM = """
import sys
import parrot as P

@P.semantic_function()
def explain(thing: P.Input, explanation: P.Output(P.SamplingConfig(temperature=0, max_gen_length=8))):
    "Explain {{thing}}: {{explanation}}"

@P.semantic_function()
def title(text: P.Input, title: P.Output(P.SamplingConfig(temperature=0, max_gen_length=4))):
    "A title for {{text}}: {{title}}"

with P.Session(name="cli test") as session:
    print(title(explain(sys.argv[1])).get(timeout=30))
"""

pytestmark = pytest.mark.timeout(180)


class Process(NamedTuple):
    """A living process; with the time of its start, since process ids come again."""

    pid: int
    start: str
    parent: int
    name: str


def processes() -> Iterator[Process]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            head, _, rest = (folder / "stat").read_text().rpartition(")")
        except OSError:
            continue  # it has ended meanwhile
        fields = rest.split()
        if fields[0] != "Z":
            yield Process(int(folder.name), fields[19], int(fields[1]), head.partition("(")[2])


def alive(family: set[Process]) -> list[str]:
    """The names of those of a family that still live, whoever is their parent now."""
    living = {(process.pid, process.start) for process in processes()}
    return [process.name for process in family if (process.pid, process.start) in living]


class Dev:
    """A running `parrot dev`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ready_file = folder / "ready.json"
        inherited = {key: given for key, given in os.environ.items() if not key.startswith("PARROT_")}
        self.environment = {**inherited, "PARROT_SIMULATED_SPEED": "0"}
        argv = [*PARROT, "dev", "--engine", "simulated", "--port", "0", "--flower-port", "0"]
        self.output = (folder / "dev.out").open("w+")
        self.process = subprocess.Popen(
            [*argv, "--data", str(folder / "data"), "--ready-file", str(self.ready_file)],
            env=self.environment,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def wait_until_ready(self) -> dict:
        until(lambda: self.ready_file.exists() or self.process.poll() is not None, 90, self.said)
        assert self.process.poll() is None, self.said()
        ready = json.loads(self.ready_file.read_text())
        self.environment["PARROT_REDIS_URL"] = ready["redis_url"]
        return ready

    def said(self) -> str:
        self.output.seek(0)
        return self.output.read()

    def family(self) -> set[Process]:
        """It and all that it started, and these started."""
        found = {process for process in processes() if process.pid == self.process.pid}
        while more := {process for process in processes() if process.parent in {known.pid for known in found}} - found:
            found |= more
        return found

    def parrot(self, *words: str) -> subprocess.CompletedProcess:
        return subprocess.run([*PARROT, *words], env=self.environment, capture_output=True, text=True, timeout=60)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.output.close()


def until(true: Callable[[], bool], seconds: float, said: Callable[[], str] = str) -> None:
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up, said()
        time.sleep(0.1)


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Dev]:
    started = Dev(tmp_path)
    yield started
    started.end()


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")
def test_a_developer_starts_everything_runs_a_program_looks_at_it_and_ends_it_all(dev, tmp_path):
    ready = dev.wait_until_ready()
    assert [engine["kind"] for engine in ready["engines"]] == ["simulated"]
    with urllib.request.urlopen(f"{ready['flower_url']}/healthcheck", timeout=10) as answer:
        assert answer.status == 200
    assert {"core", "engine-0", "flower", "dev"} <= set(ready["pids"])

    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    ran = dev.parrot("run", str(program), "a parrot")
    assert ran.returncode == 0, ran.stderr
    value = ran.stdout.strip()
    assert value

    listed = json.loads(dev.parrot("ls", "--json").stdout)
    (session,) = listed["sessions"]
    assert (session["name"], session["state"], session["calls"], session["done"], session["failed"]) == ("cli test", "closed", 2, 2, 0)
    assert [engine["id"] for engine in listed["engines"]] == [engine["id"] for engine in ready["engines"]]
    assert "cli test" in dev.parrot("ls").stdout

    for wanted in (session["id"], "cli test"):
        shown = json.loads(dev.parrot("show", wanted, "--json").stdout)
        assert [call["function"] for call in shown["calls"]] == ["explain", "title"]
        assert [variable["state"] for variable in shown["variables"]] == ["ready", "ready"]
        assert shown["variables"][1]["value"].strip() == value
        assert shown["calls"][1]["arguments"]["text"]["variable"] == shown["variables"][0]["id"]
    tree = dev.parrot("show").stdout
    assert "explain#1 done" in tree
    assert "text ← explain#1.explanation" in tree

    told = dev.parrot("show", "--why", "title").stdout
    assert told.startswith("title done · title-"), told
    assert all(step in told for step in ("submitted", "placed", "started", "first token", "done")), told
    call = shown["calls"][1]["id"]
    life = json.loads(dev.parrot("show", "--why", call[:-3], "--json").stdout)
    assert life["call"]["id"] == call
    assert life["timelines"]["title"]["steps"][-1]["name"] == "done"
    assert life["timelines"]["title"]["waits_for"] == []
    nobody = dev.parrot("show", "--why", "nobody")
    assert (nobody.returncode, nobody.stderr.count("\n")) == (2, 1)
    assert "No call has the id 'nobody'" in nobody.stderr

    command = ("redis", "HMGET", f"parrot:{{main}}:session:{session['id']}", "name", "nothing")
    dev.environment["PATH"] = ""  # no redis-cli
    assert dev.parrot(*command).stdout == '1) "cli test"\n2) (nil)\n'
    refused = dev.parrot("redis", "HGET", "one", "two", "too many")
    assert (refused.returncode, refused.stdout) == (1, "(error) wrong number of arguments for 'hget' command\n")

    family = dev.family()
    dev.process.send_signal(signal.SIGINT)
    assert dev.process.wait(40) == 0, dev.said()
    assert alive(family) == []
    assert not dev.ready_file.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_a_killed_dev_leaves_no_process_behind(dev):
    dev.wait_until_ready()
    family = dev.family()
    assert len(family) >= 5, family  # dev, broker, ServeCore, engine worker, Flower
    dev.process.kill()
    dev.process.wait()
    until(lambda: alive(family) == [], 10, lambda: str(alive(family)))


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")
def test_what_dies_is_started_again_and_that_is_said(dev):
    ready = dev.wait_until_ready()
    os.kill(ready["pids"]["core"], signal.SIGKILL)
    until(lambda: "core was killed by SIGKILL; it is started again" in dev.said(), 10, dev.said)
    program = dev.folder / "program.py"
    program.write_text(PROGRAM)
    ran = dev.parrot("run", str(program), "a parrot")
    assert ran.returncode == 0, ran.stderr
    family = dev.family()
    dev.process.terminate()
    assert dev.process.wait(40) == 0, dev.said()
    assert alive(family) == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")
def test_ending_it_while_it_starts_ends_what_was_started(dev):
    until(lambda: "Starting ServeCore" in dev.said(), 60, dev.said)
    family = dev.family()
    dev.process.send_signal(signal.SIGINT)
    assert dev.process.wait(40) == 0, dev.said()
    assert alive(family) == []


def test_the_demo_brings_every_variable_and_leaves_its_figures(tmp_path):
    file = tmp_path / "demo.json"
    ran = subprocess.run(
        [*PARROT, "demo", "--engine", "simulated", "--data", str(tmp_path), "--json", str(file)],
        env={**os.environ, "PARROT_SIMULATED_SPEED": "20"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    figures = json.loads(file.read_text())
    assert figures["engine"] == "simulated"
    assert figures["calls"] >= 12
    assert len(figures["variables"]) == figures["calls"]
    assert all(figures["variables"].values())
    assert figures["tokens_in"] > figures["tokens_out"] > 0
    assert "map-reduce summary" in ran.stdout
    assert "parrot show" in ran.stdout


def test_a_program_runs_with_everything_started_around_it(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM + "sys.exit(7)\n")
    environment = {**os.environ, "PARROT_DATA": str(tmp_path / "data"), "PARROT_SIMULATED_SPEED": "0"}
    ran = subprocess.run(
        [*PARROT, "run", "--dev", "--engine", "simulated", str(program), "a parrot"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 7, ran.stderr
    assert ran.stdout.strip()
