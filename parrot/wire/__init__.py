"""The arrows: messages, their codec, and the names of the keys. See README.md."""
