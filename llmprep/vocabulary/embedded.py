"""The rank file that travels in the package, GPT-2's, and p50k's, which is derived from it."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from llmprep.errors import VocabularyError

EMBEDDED = Path(__file__).parent / "data" / "r50k_base.tiktoken"
R50K_SHA256 = "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"
P50K_SHA256 = "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069"


def is_embedded(sha256: str) -> bool:
    """Tell by its hash whether every installation of llmprep has a rank file."""
    return sha256 in (R50K_SHA256, P50K_SHA256)


def read_embedded(sha256: str) -> bytes:
    """Return an embedded rank file. Raises `VocabularyError` where the package is damaged."""
    try:
        data = EMBEDDED.read_bytes()
    except OSError as error:
        raise VocabularyError(f"{EMBEDDED}: {error.strerror}; reinstall llmprep") from error
    if sha256 == P50K_SHA256:
        # p50k_base is r50k_base and runs of 2 to 25 spaces; id 50256 between them is the end-of-text token.
        runs = (base64.b64encode(b" " * (rank - 50255)) + b" %d\n" % rank for rank in range(50257, 50281))
        data += b"".join(runs)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise VocabularyError(f"{EMBEDDED}: damaged (its sha256 is not {sha256}); reinstall llmprep")
    return data
