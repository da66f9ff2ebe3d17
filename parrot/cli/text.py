"""Text for the demo: found, and cut into pieces."""

from __future__ import annotations

from pathlib import Path
from pydoc_data.topics import topics

from parrot.errors import ConfigurationError

ARTICLES = ("objects", "exceptions", "context-managers")  # prose of CPython's own language reference, which comes with every Python
_LONGEST_FILE = 1_000_000  # bytes; more is no text to be summarised in a demo
_SHORTEST_PIECE = 80  # characters that are worth a summary


def builtin() -> str:
    """Technical prose that every CPython brings."""
    return "\n\n".join(topics[name] for name in ARTICLES)


def read(path: Path) -> str:
    """The text of a file, or of all text files of a folder, by name.

    Raises:
        ConfigurationError: there is no text.
    """
    if not path.exists():
        raise ConfigurationError(f"{path} is not there. Name a text file or a folder, or nothing for CPython's own documentation.")
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    texts = [text for file in files if (text := _text_of(file))]
    if not texts:
        raise ConfigurationError(f"{path} holds no text in UTF-8. Name a text file or a folder with some.")
    return "\n\n".join(texts)


def _text_of(file: Path) -> str:
    if file.stat().st_size > _LONGEST_FILE:
        return ""
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""  # a picture or the like
    return "" if "\0" in text else text.strip()


def pieces(text: str, count: int, longest: int) -> list[str]:
    """Cut the beginning of a text into pieces of about equal length, at the end of sentences where it can be.

    Args:
        text: white space in it becomes single blanks.
        count: number of pieces.
        longest: characters of a piece; what does not fit into `count` such pieces is left out.

    Raises:
        ConfigurationError: the text is too short to be cut so often.
    """
    rest = " ".join(text.split())
    if len(rest) < count * _SHORTEST_PIECE:
        raise ConfigurationError(
            f"The text is too short: {count} pieces of at least {_SHORTEST_PIECE} characters are needed. Name a longer one."
        )
    found: list[str] = []
    for left in range(count, 0, -1):
        end = _end(rest, min(longest, -(-len(rest) // left)))
        found.append(rest[:end].strip())
        rest = rest[end:].strip()
    return found


def _end(text: str, limit: int) -> int:
    """Where to cut: after the last sentence in the second half of the limit, else between words, else at the limit."""
    if len(text) <= limit:
        return len(text)
    for mark in (". ", " "):
        found = text.rfind(mark, limit // 2, limit)
        if found >= 0:
            return found + 1
    return limit
