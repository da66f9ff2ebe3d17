"""The medium: Redis streams, variables and scripts. See README.md."""
