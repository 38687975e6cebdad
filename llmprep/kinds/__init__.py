"""The four kinds of .pt file: how each is written, read back and checked.

    tokens       token_ids (n,)
    pairs        contexts (n, context_size), lengths (n,), targets (n,)
    windows      input_ids (N, L), target_ids (N, L): two views of one token stream
    embeddings   input_embeddings (N, L, D)

Each also holds ``meta``: what it was made from and with which options, and nothing of when, where, by whom or how
fast. Reading takes nothing on trust: keys, shapes, dtypes and every id are checked.

writing.py   a stream of ids -> each kind of file
reading.py   a file -> its ids or windows
verify.py    a file -> every hash and every invariant checked again
"""

from llmprep.kinds.reading import (
    FORMAT,
    WEIGHT_KEYS,
    Array,
    check_encoding,
    check_file_ids,
    check_ids,
    check_window_ids,
    checked_meta,
    checked_stream,
    encoding_of,
    file_tokens,
    file_windows,
    has_weights,
    id_blocks,
    to_ids,
    weight_keys,
    weights_shape,
)
from llmprep.kinds.verify import hash_ids, verify_file
from llmprep.kinds.writing import (
    check_dtype,
    make_meta,
    split_stream,
    write_embeddings,
    write_pairs,
    write_tokens,
    write_weights,
    write_windows,
)

__all__ = [
    "FORMAT",
    "WEIGHT_KEYS",
    "Array",
    "check_dtype",
    "check_encoding",
    "check_file_ids",
    "check_ids",
    "check_window_ids",
    "checked_meta",
    "checked_stream",
    "encoding_of",
    "file_tokens",
    "file_windows",
    "has_weights",
    "hash_ids",
    "id_blocks",
    "make_meta",
    "split_stream",
    "to_ids",
    "verify_file",
    "weight_keys",
    "weights_shape",
    "write_embeddings",
    "write_pairs",
    "write_tokens",
    "write_weights",
    "write_windows",
]
