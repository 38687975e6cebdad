"""A .pt file -> every hash and every invariant checked again."""

from __future__ import annotations

from collections.abc import Iterator

from llmprep.formats.meta import checked_meta
from llmprep.formats.tokens import verify_tokens
from llmprep.formats.weights import has_weights, weights_shape
from llmprep.formats.windows import verify_windows
from llmprep.ptfile.reading import PtFile


def verify_file(file: PtFile) -> Iterator[str]:
    """Yield what was checked of a file whose checksums hold, line by line.

    Raises `FileFormatError` that names the first thing that does not hold.
    """
    yield f"checksums of {len(file.tensors)} tensors hold"
    if has_weights(file):
        n_vocab, context_length, dim = weights_shape(file)
        yield f"token table [{n_vocab}, {dim}], positional table [{context_length}, {dim}]"
        return
    meta = checked_meta(file)
    if "token_ids" in file.tensors:
        yield from verify_tokens(file, meta)
    if "input_ids" in file.tensors:
        yield from verify_windows(file, meta)
