"""A rank file: its names, its hash, its format."""

from __future__ import annotations

import binascii
import hashlib
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlsplit

Ranks: TypeAlias = dict[bytes, int]
"""Token -> rank, which is its id."""


@dataclass(frozen=True, slots=True)
class RankFile:
    """A file of ranks as tiktoken knows it: the address that it downloads it from, and the hash of its content."""

    address: str
    sha256: str

    @property
    def name(self) -> str:
        """Its plain name, as ``cl100k_base.tiktoken``."""
        return urlsplit(self.address).path.rpartition("/")[2]

    @property
    def cache_name(self) -> str:
        """What tiktoken's cache calls it."""
        return hashlib.sha1(self.address.encode(), usedforsecurity=False).hexdigest()

    @property
    def host(self) -> str:
        """The host that it is downloaded from."""
        return urlsplit(self.address).netloc

    def holds(self, data: bytes) -> bool:
        """Tell whether this is its content, by the hash."""
        return hashlib.sha256(data).hexdigest() == self.sha256


def parse_ranks(data: bytes) -> Ranks:
    r"""Parse tiktoken's format: one ``base64(token) rank`` a line.

    >>> parse_ranks(b"IQ== 0\nIg== 1\n")
    {b'!': 0, b'"': 1}
    """
    words = data.split()
    return dict(zip(map(binascii.a2b_base64, words[::2]), map(int, words[1::2]), strict=True))


def write_ranks(ranks: Ranks) -> bytes:
    r"""Return ranks in tiktoken's format, in order: of equal ranks, whatever file they are from, the same bytes.

    >>> write_ranks({b'"': 1, b"!": 0})
    b'IQ== 0\nIg== 1\n'
    """
    ordered = sorted(ranks.items(), key=lambda item: item[1])
    return b"".join(b"%s %d\n" % (binascii.b2a_base64(token, newline=False), rank) for token, rank in ordered)
