"""A .pt file -> every hash and every invariant worked out again."""

from __future__ import annotations

from collections.abc import Iterator

from llmprep.formats.meta import checked_meta
from llmprep.formats.packing import is_packing, verify_packing
from llmprep.formats.tokens import verify_tokens
from llmprep.formats.weights import has_weights, verify_weights
from llmprep.formats.windows import verify_windows
from llmprep.ptfile.reading import PtFile


def verify_file(file: PtFile) -> Iterator[str]:
    """Yield a line for each thing that holds of a file whose checksums hold; raise `FileFormatError` for what does not.

    Of pairs and embeddings, the checksums and ``meta`` are all that is verified.
    """
    yield f"checksums of {len(file.tensors)} tensors hold"
    if has_weights(file):
        yield from verify_weights(file)
        return
    meta = checked_meta(file)
    if "token_ids" in file.tensors:
        yield from verify_tokens(file, meta)
    if "input_ids" in file.tensors:
        yield from verify_windows(file, meta)
    if is_packing(file):
        yield from verify_packing(file)
