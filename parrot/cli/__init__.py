"""The `parrot` command. See README.md."""
