"""Compiles ServeCore's decisions with mypyc if PARROT_COMPILE is set; all else about the package is in pyproject.toml.

    PARROT_COMPILE=1 python setup.py build_ext --inplace      as `make compile` does
    PARROT_COMPILE=1 pip install --no-build-isolation .       as the image of ServeCore does

It needs a C compiler, mypy, and what Parrot depends on, since types are looked up there.
"""

from __future__ import annotations

import os
import runpy
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_ext import build_ext

CORE = Path("parrot/core")
INTERPRETED = {"__init__", "check", "learned", "loop"}  # what is awaited, validates by pydantic's ways, or is not done often


class Compiled(Distribution):
    """Has extension modules, though which they are is found out only when they are built: mypyc takes its time."""

    def has_ext_modules(self) -> bool:
        return True


class Compile(build_ext):
    """Makes C of the modules, and a note of what it was made of."""

    def finalize_options(self) -> None:
        from mypyc.build import mypycify

        compiled = runpy.run_path("parrot/compiled.py")  # by its path, since this folder need not be where Python looks
        for old in (*CORE.glob("*.so"), CORE / compiled["MADE_OF"]):
            old.unlink(missing_ok=True)
        modules = sorted(str(module) for module in CORE.glob("*.py") if module.stem not in INTERPRETED)
        self.distribution.ext_modules = mypycify(["--strict", *modules], opt_level="2", debug_level="0", group_name="parrot.core.compiled")
        (CORE / compiled["MADE_OF"]).write_text(compiled["digest"](CORE.glob("*.py")))
        super().finalize_options()


if os.environ.get("PARROT_COMPILE"):
    setup(distclass=Compiled, cmdclass={"build_ext": Compile})
else:
    setup()
