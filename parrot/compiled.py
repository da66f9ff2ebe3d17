"""A package may be compiled: then its modules lie beside their sources as machine code, which is imported instead of them.

`setup.py` says which are. Nobody shall run other code than what he reads: with the compiled form lies the digest of all sources that it
was made of, and if one of them was edited since, or `PARROT_INTERPRETED` is set, the sources are run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from hashlib import sha256
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from pathlib import Path

MADE_OF = "compiled.sha256"  # the file that holds the digest


def digest(sources: Iterable[Path]) -> str:
    """Of some files with their names, in whatever order."""
    whole = sha256()
    for source in sorted(sources):
        whole.update(source.name.encode() + b"\0" + sha256(source.read_bytes()).digest())
    return whole.hexdigest()


def choose(package: Path) -> bool:
    """Decide what is imported from a package from now on; called before any of its modules is.

    Args:
        package: its folder.

    Returns:
        True if compiled modules are.
    """
    if not os.environ.get("PARROT_INTERPRETED") and _is_compiled(package):
        return True
    sys.path_importer_cache[str(package)] = FileFinder(str(package), (SourceFileLoader, SOURCE_SUFFIXES))
    return False


def _is_compiled(package: Path) -> bool:
    """Whether there is machine code for this Python, made of what the sources say now."""
    made_of = package / MADE_OF
    there = any(module.name.endswith(EXTENSION_SUFFIXES[0]) for module in package.iterdir())
    return there and made_of.exists() and made_of.read_text() == digest(package.glob("*.py"))
