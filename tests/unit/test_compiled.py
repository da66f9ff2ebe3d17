"""What was compiled is run only if it is what the sources say."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from parrot.compiled import MADE_OF, digest

PACKAGE = """
from pathlib import Path
from parrot.compiled import choose
COMPILED = choose(Path(__file__).parent)
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with a module whose compiled form, when it is run, is found to be none."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text(PACKAGE)
    (package / "module.py").write_text("print('the source')")
    (package / f"module{EXTENSION_SUFFIXES[0]}").write_text("no machine code")
    (package / MADE_OF).write_text(digest(package.glob("*.py")))
    return package


def run(package: Path, **environment: str) -> str:
    command = [sys.executable, "-c", "import package; print(package.COMPILED); import package.module"]
    inherited = {name: value for name, value in os.environ.items() if name != "PARROT_INTERPRETED"}
    paths = os.pathsep.join([str(package.parent), str(Path(__file__).parents[2])])
    done = subprocess.run(command, env=inherited | {"PYTHONPATH": paths} | environment, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_what_was_compiled_from_these_sources_is_run(package: Path) -> None:
    said = run(package)
    assert said.startswith("True\n")
    assert "the source" not in said
    assert "ImportError" in said  # it was taken for machine code


def test_sources_that_were_edited_since_are_run_themselves(package: Path) -> None:
    (package / "module.py").write_text("print('the new source')")
    assert run(package) == "False\nthe new source\n"


def test_a_source_that_has_come_since_counts_as_an_edit(package: Path) -> None:
    (package / "another.py").touch()
    assert run(package) == "False\nthe source\n"


def test_sources_are_run_if_asked_for(package: Path) -> None:
    assert run(package, PARROT_INTERPRETED="1") == "False\nthe source\n"


def test_sources_are_run_if_nothing_was_compiled(package: Path) -> None:
    (package / MADE_OF).unlink()
    assert run(package) == "False\nthe source\n"


def test_machine_code_for_another_python_is_none(package: Path) -> None:
    (package / f"module{EXTENSION_SUFFIXES[0]}").rename(package / "module.cpython-27-vax.so")
    assert run(package) == "False\nthe source\n"


def test_the_digest_does_not_depend_on_the_order_of_files_but_on_their_names(tmp_path: Path) -> None:
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    one.write_text("1")
    two.write_text("2")
    first = digest([one, two])
    assert digest([two, one]) == first
    one.write_text("2")
    two.write_text("1")
    assert digest([one, two]) != first
