"""Box 2: ServeCore. See README.md."""

from pathlib import Path

from parrot.compiled import choose

COMPILED = choose(Path(__file__).parent)
"""Whether its decisions run as machine code."""
