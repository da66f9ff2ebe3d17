"""`python -m parrot.cli` is the command `parrot`: how it starts its own children, whatever is on the PATH."""

from parrot.cli.main import main

main()
