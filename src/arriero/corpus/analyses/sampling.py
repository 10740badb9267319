"""A random sample by the hash of a name: the same whatever the order and whoever draws."""

from __future__ import annotations

import hashlib


def is_drawn(name: str, rate: float, seed: int | str) -> bool:
    """Whether something is in the sample.

    Args:
        name: such as a document's id.
        rate: the share drawn; a larger one draws the same and more.

    >>> sum(is_drawn(str(number), 0.1, 0) for number in range(10_000)) in range(900, 1_100)
    True
    """
    return drawn_number(name, seed) < rate * 2**64


def drawn_number(name: str, seed: int | str) -> int:
    """A number in 0..2^64 - 1 that follows from the name and the seed alone."""
    digest = hashlib.blake2b(f"{seed}\0{name}".encode(errors="surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "big")
