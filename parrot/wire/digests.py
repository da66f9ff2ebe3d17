"""Short names of texts and of their blocks, by which equal beginnings are found."""

from __future__ import annotations

from hashlib import blake2b

BLOCK_CHARACTERS = 2048  # some 500 tokens: finer would cost more messages than it saves prefill


def digest(text: str, before: int = 0) -> int:
    """53 bits of BLAKE2b over a text: a number that every JSON reader keeps.

    Args:
        text: what is named.
        before: the digest of what stands before it, if it is named as a continuation.
    """
    key = before.to_bytes(8, "big") if before else b""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), key=key, digest_size=8).digest(), "big") >> 11


def block_digests(text: str) -> list[int]:
    """The digests of a text's whole blocks of `BLOCK_CHARACTERS`, each as a continuation of those before it.

    Two texts that share their first n blocks share their first n digests, and (but for accidents) no more.
    """
    digests: list[int] = []
    for start in range(0, len(text) - BLOCK_CHARACTERS + 1, BLOCK_CHARACTERS):
        digests.append(digest(text[start : start + BLOCK_CHARACTERS], digests[-1] if digests else 0))
    return digests
