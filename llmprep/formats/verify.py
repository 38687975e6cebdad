"""A .pt file -> every hash and every invariant checked again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from llmprep.errors import FileFormatError, shorten
from llmprep.formats.ids import Array, check_ids, hash_ids
from llmprep.formats.meta import checked_meta
from llmprep.formats.tokens import file_tokens
from llmprep.formats.weights import has_weights, weights_shape
from llmprep.formats.windows import file_windows
from llmprep.ptfile.reading import PtFile, read_pt
from llmprep.windows.counts import count_windows

ROWS = 1 << 10


def verify_file(path: Path) -> Iterator[str]:
    """Yield what was checked, line by line. Raises `FileFormatError` that names the first thing that does not hold."""
    file = read_pt(path)
    yield f"checksums of {len(file.tensors)} tensors hold"
    if has_weights(file):
        n_vocab, context_length, dim = weights_shape(file)
        yield f"token table [{n_vocab}, {dim}], positional table [{context_length}, {dim}]"
        return
    meta = checked_meta(file)
    if "token_ids" in file.tensors:
        yield from _verify_tokens(file, meta)
    if "input_ids" in file.tensors:
        yield from _verify_windows(file, meta)


def _verify_tokens(file: PtFile, meta: dict[str, Any]) -> Iterator[str]:
    ids = file_tokens(file)
    check_ids(ids, meta["n_vocab"], file.name)
    yield f"{len(ids)} ids, each in the vocabulary of {meta['n_vocab']}"
    _compare(file.name, "n_tokens", len(ids), meta["n_tokens"])
    _compare(file.name, "content_sha256", hash_ids(ids), meta["content_sha256"])
    yield f"content_sha256 {meta['content_sha256']}"


def _verify_windows(file: PtFile, meta: dict[str, Any]) -> Iterator[str]:
    inputs, targets = file_windows(file)
    options = meta["options"]
    max_length, stride = options["max_length"], options["stride"]
    _compare(file.name, "max_length", inputs.shape[1], max_length)
    _compare(file.name, "windows", len(inputs), count_windows(meta["n_tokens"], max_length, stride))
    overlap = max(0, max_length - stride)
    for start in range(0, len(inputs), ROWS):
        x, y = inputs[start : start + ROWS], targets[start : start + ROWS]
        check_ids(x, meta["n_vocab"], file.name)
        check_ids(y, meta["n_vocab"], file.name)
        _all(file.name, start, (x[:, 1:] == y[:, :-1]).all(1), "its targets are not its inputs moved by one")
        if overlap:
            _all(file.name, start, (x[:-1, stride:] == x[1:, :overlap]).all(1), "it does not overlap with the next one")
    yield f"{len(inputs)} windows of {max_length}, stride {stride}: targets are inputs moved by one"
    yield f"every id is in the vocabulary of {meta['n_vocab']}"
    storage = file.storages["input_ids"]
    if not options["dense"] and stride <= max_length:
        _compare(file.name, "content_sha256", hash_ids(storage), meta["content_sha256"])
        yield f"content_sha256 {meta['content_sha256']}"


def _compare(name: str, what: str, found: object, stated: object) -> None:
    if found != stated:
        raise FileFormatError(f"{name}: {what} is {found}, meta says {shorten(str(stated), 80)}")


def _all(name: str, start: int, holds: Array, what: str) -> None:
    if not holds.all():
        raise FileFormatError(f"{name}: window {start + int(np.argmin(holds))}: {what}")
