"""Box 1: what an application's author writes with. See README.md."""
