"""Box 3: engines and what drives them. See README.md."""
