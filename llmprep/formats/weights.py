"""A weights file: a token table (V, D) and a positional table (C, D), float, without ``meta``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from llmprep.errors import FileFormatError, list_names
from llmprep.formats.arrays import write_arrays
from llmprep.formats.ids import Array
from llmprep.output.writing import Sink
from llmprep.ptfile.reading import PtFile

WEIGHT_KEYS = (
    ("token_embedding.weight", "pos_embedding.weight"),
    ("tok_emb.weight", "pos_emb.weight"),
    ("token_embedding_layer.weight", "pos_embedding_layer.weight"),
)
"""Names of the token and the positional table: llmprep's own, and the course's, of its model and of its notebook."""


def has_weights(file: PtFile) -> bool:
    """Tell whether a file without ``meta`` holds both tables for ``embed --weights``."""
    return not file.meta and any(file.tensors.keys() >= {*pair} for pair in WEIGHT_KEYS)


def weight_keys(file: PtFile) -> tuple[str, str]:
    """Return the names that a file has for the token table and the positional table.

    Raises `FileFormatError` with the file's keys where both tables stand under no name of `WEIGHT_KEYS`, or under
    several.
    """
    found = [pair for pair in WEIGHT_KEYS if file.tensors.keys() >= {*pair}]
    if len(found) > 1:
        raise FileFormatError(
            f"{file.name}: holds {' and '.join(token for token, _ in found)}; leave one pair of tables"
        )
    if not found:
        own, *others = (" and ".join(pair) for pair in WEIGHT_KEYS)
        wanted = own.replace(" and", " (V, D) and")
        keys = list_names([*file.tensors, *file.values])
        raise FileFormatError(
            f"{file.name}: a weights file has {wanted} (C, D), or {', or '.join(others)}; this file's keys: {keys}"
        )
    return found[0]


def read_weights(file: PtFile) -> tuple[Array, Array]:
    """Return the token table (V, D) and the positional table (C, D) of a weights file.

    Raises `FileFormatError` for other shapes and dtypes, and as `weight_keys` does.
    """
    keys = weight_keys(file)
    token, position = (file.tensors[key] for key in keys)
    shapes = f"{keys[0]} {token.shape} and {keys[1]} {position.shape}"
    if not (token.ndim == position.ndim == 2 and token.shape[1] == position.shape[1] and token.size and position.size):
        raise FileFormatError(f"{file.name}: {shapes}: need (V, D) and (C, D), of one width D and not empty")
    for key in keys:
        if file.dtypes[key] not in ("float32", "float16", "float64"):
            raise FileFormatError(f"{file.name}: needs {key} as float32, float16 or float64")
    return token, position


def write_weights(sink: Sink, weights: Mapping[str, Array]) -> int:
    """Write named tables as float32, for ``embed --weights``; return the file's size in bytes."""
    return write_arrays(sink, weights, "float32")


def verify_weights(file: PtFile) -> Iterator[str]:
    """Yield a line for what holds of a weights file. Raises as `read_weights` does."""
    token, position = read_weights(file)
    yield f"token table {list(token.shape)}, positional table {list(position.shape)}"
