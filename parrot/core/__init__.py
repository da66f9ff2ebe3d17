"""Box 2: ServeCore. See README.md."""
