"""Rank files: parsed, embedded, verified by their sha256."""

from __future__ import annotations

import base64
import binascii
import hashlib
from pathlib import Path

from llmprep.choices import Announce
from llmprep.errors import VocabularyError
from llmprep.vocabulary.downloading import fetch_ranks
from llmprep.vocabulary.folders import Tried, not_found_error, rank_folders, read_from_folder

EMBEDDED = Path(__file__).parent / "data" / "r50k_base.tiktoken"
R50K_SHA256 = "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"
P50K_SHA256 = "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069"
Ranks = dict[bytes, int]


def parse_ranks(data: bytes) -> Ranks:
    r"""Parse tiktoken's format: one ``base64(token) rank`` a line.

    >>> parse_ranks(b"IQ== 0\nIg== 1\n")
    {b'!': 0, b'"': 1}
    """
    words = data.split()
    return dict(zip(map(binascii.a2b_base64, words[::2]), map(int, words[1::2]), strict=True))


def find_rank_file(
    address: str, sha256: str, folder: str | None, announce: Announce | None, *, download: bool = True
) -> bytes:
    """Return a verified rank file."""
    if sha256 in (R50K_SHA256, P50K_SHA256):
        return _embedded(sha256)
    tried: Tried = {}
    found = next(
        filter(None, (read_from_folder(place, address, sha256, tried) for place in rank_folders(folder))), None
    )
    if found is None and not download:
        raise not_found_error(address, tried)
    for unusable in (what for what, was_there in tried.items() if was_there):
        if announce is not None:
            announce(f"not used: {unusable}")
    return found or fetch_ranks(address, sha256, tried, announce)


def _embedded(sha256: str) -> bytes:
    path = EMBEDDED
    try:
        data = path.read_bytes()
    except OSError as error:
        raise VocabularyError(f"{path}: {error.strerror}; reinstall llmprep") from error
    if sha256 == P50K_SHA256:
        # p50k_base is r50k_base and runs of 2 to 25 spaces; id 50256 between them is the end-of-text token.
        runs = (base64.b64encode(b" " * (rank - 50255)) + b" %d\n" % rank for rank in range(50257, 50281))
        data += b"".join(runs)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise VocabularyError(f"{path}: damaged (its sha256 is not {sha256}); reinstall llmprep")
    return data
