"""A .pt file -> its ids or windows, with nothing taken on trust."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from llmprep.documents import are_gaps
from llmprep.errors import DataError, EmptyError, FileFormatError, UsageError, list_names, shorten
from llmprep.ptfile import PtFile
from llmprep.vocabulary import Vocabulary, load_vocabulary, resolve_encoding
from llmprep.windows import stream_of

Array = npt.NDArray[Any]

FORMAT = "llmprep/1"
IDS_PER_BLOCK = 1 << 18
MAX_VOCAB = 1 << 24
MAX_ID = (1 << 63) - 1
"""The largest id that an int64 holds."""
META: dict[str, type] = {
    "format": str,
    "kind": str,
    "encoding": str,
    "vocab_sha256": str,
    "n_vocab": int,
    "n_tokens": int,
    "content_sha256": str,
    "options": dict,
    "sources": list,
}
SOURCE: dict[str, type] = {"name": str, "bytes": int, "sha256": str, "tokens": int, "documents": int}
WINDOW_OPTIONS: dict[str, type] = {"max_length": int, "stride": int, "dense": bool}
WEIGHT_KEYS = (
    ("token_embedding.weight", "pos_embedding.weight"),
    ("tok_emb.weight", "pos_emb.weight"),
    ("token_embedding_layer.weight", "pos_embedding_layer.weight"),
)
"""Names of the token and the positional table: llmprep's own, and the course's, of its model and of its notebook."""


def id_blocks(ids: Array) -> Iterator[npt.NDArray[np.uint32]]:
    """Yield ids in blocks of uint32."""
    return (ids[k : k + IDS_PER_BLOCK].astype(np.uint32) for k in range(0, len(ids), IDS_PER_BLOCK))


def checked_meta(file: PtFile) -> dict[str, Any]:
    """Return a file's meta. Raises `FileFormatError` with what it lacks of all that llmprep counts on."""
    meta, name = file.meta, file.name
    if not meta:
        keys = list_names([*file.values, *file.tensors])
        raise FileFormatError(f"{name}: has no meta: llmprep did not write it; its keys: {keys}")
    if "format" in meta and meta["format"] != FORMAT:
        raise FileFormatError(f"{name}: format is {meta['format']!r:.40}, this llmprep reads {FORMAT!r}")
    wrong = _missing(meta, META) or [
        f"sources: {each}" for source in meta["sources"] for each in _missing(source, SOURCE)
    ]
    if not wrong and not all(are_gaps(source.get("gaps", [])) for source in meta["sources"]):
        wrong.append("sources: gaps are no runs [number, count] in order")
    if not wrong and not 1 <= meta["n_vocab"] <= MAX_VOCAB:
        wrong.append(f"n_vocab {shorten(str(meta['n_vocab']))} is out of range")
    if not wrong and meta["n_tokens"] < 0:
        wrong.append(f"n_tokens {shorten(str(meta['n_tokens']))} is out of range")
    if "input_ids" in file.tensors and not wrong:
        wrong = _missing(meta["options"], WINDOW_OPTIONS)
        wrong = wrong or [f"{key} is less than 1" for key in ("max_length", "stride") if meta["options"][key] < 1]
    if wrong:
        raise FileFormatError(f"{name}: meta: {'; '.join(wrong[:8])}")
    return meta


def _missing(values: object, wanted: Mapping[str, type]) -> list[str]:
    held = values if isinstance(values, dict) else {}
    return [
        f"{key} is missing or no {kind.__name__}" for key, kind in wanted.items() if type(held.get(key)) is not kind
    ]


def encoding_of(file: PtFile, encoding: str | None = None) -> str:
    """Return the encoding a file was made with; one that is asked for must be the same.

    Raises `UsageError` for a file of another program, which does not tell, where none is asked for.
    """
    own = file.meta.get("encoding")
    if isinstance(own, str):
        return check_encoding(file.name, own, encoding)
    if not encoding:
        raise UsageError(f"{file.name}: does not tell which vocabulary its ids are of; name it with --encoding")
    return resolve_encoding(encoding)


def check_encoding(name: str, own: str, encoding: str | None) -> str:
    """Return ``own``, or raise `UsageError` if another encoding is asked for."""
    if encoding and resolve_encoding(encoding) != own:
        raise UsageError(f"--encoding {encoding}: {name} was made with {shorten(own)}")
    return own


def checked_stream(file: PtFile, n_vocab: int) -> Array:
    """Return the ids of a tokens file, or the stream that a windows file was cut from, (n,), each in the vocabulary."""
    if "input_ids" not in file.tensors:
        ids = file_tokens(file)
        check_ids(ids, n_vocab, file.name)
        return ids
    inputs, targets = file_windows(file)
    options = file.meta.get("options")
    stride = options.get("stride") if isinstance(options, dict) else None
    if type(stride) is not int or not 1 <= stride <= inputs.shape[1] or not len(inputs):
        raise DataError(
            f"{file.name}: its windows leave gaps (stride {stride}, max_length {inputs.shape[1]}), so they are no "
            f"continuous text; give the text or a tokens file"
        )
    ids = stream_of(inputs, targets, stride)
    check_ids(ids, n_vocab, file.name)
    return ids


def file_tokens(file: PtFile) -> Array:
    """Return ``token_ids`` (n,) of a tokens file, or raise `FileFormatError`."""
    ids = file.tensors.get("token_ids")
    if ids is None:
        held = list_names([*file.tensors]) if file.tensors else "no tensor"
        raise FileFormatError(f"{file.name}: holds {held}; a tokens file has token_ids (n,), a windows file input_ids")
    if ids.ndim != 1 or file.dtypes["token_ids"] not in ("int64", "int32", "uint16"):
        raise FileFormatError(
            f"{file.name}: token_ids has shape {ids.shape} and dtype {file.dtypes['token_ids']}; need (n,) integers"
        )
    if not len(ids):
        raise EmptyError(f"{file.name}: empty: 0 tokens")
    return ids


def file_windows(file: PtFile, max_length: int | None = None, stride: int | None = None) -> tuple[Array, Array]:
    """Return ``input_ids`` and ``target_ids`` (N, L) of a windows file.

    Raises `FileFormatError` for wrong keys, shapes or dtypes, `UsageError` if max_length or stride is given and is
    not the file's, `EmptyError` if there is no token in it. The ids themselves are for `check_ids`.
    """
    pair = []
    for key in ("input_ids", "target_ids"):
        array = file.tensors.get(key)
        if array is None or array.ndim != 2 or file.dtypes[key] not in ("int64", "int32", "uint16"):
            held = "missing" if array is None else f"shape {array.shape}, dtype {file.dtypes[key]}"
            raise FileFormatError(f"{file.name}: {key}: {held}; a windows file has (N, L) integers")
        pair.append(array)
    inputs, targets = pair
    if inputs.shape != targets.shape:
        raise FileFormatError(f"{file.name}: input_ids {inputs.shape} and target_ids {targets.shape} differ in shape")
    if not inputs.size:
        raise EmptyError(f"{file.name}: empty: {len(inputs)} windows of {inputs.shape[1]} tokens")
    options = file.meta.get("options")
    own_stride = options.get("stride") if isinstance(options, dict) else None
    for name, wanted, own in (("max_length", max_length, inputs.shape[1]), ("stride", stride, own_stride)):
        if wanted is not None and own is not None and wanted != own:
            raise UsageError(f"{name} {wanted}: {file.name} was made with {name} {own}")
    return inputs, targets


def check_window_ids(file: PtFile, n_vocab: int) -> None:
    """Check the ids of a windows file; a storage that is sound spares looking at its overlapping rows one by one."""
    for key in ("input_ids", "target_ids"):
        storage = file.storages[key]
        try:
            check_ids(storage, n_vocab, file.name)
        except FileFormatError:
            check_ids(file.tensors[key], n_vocab, file.name)


def check_file_ids(
    file: PtFile, encoding: str | None = None, load: Callable[[str], Vocabulary] = load_vocabulary
) -> None:
    """Check the ids of a tokens or windows file: they are in the vocabulary that the file, or else ``encoding``, names.

    Where neither does, none may be negative. Raises `FileFormatError`, and `UsageError` for another encoding.
    """
    if file.meta:
        n_vocab = checked_meta(file)["n_vocab"]
        encoding_of(file, encoding)
    else:
        n_vocab = MAX_ID + 1 if encoding is None else load(encoding).n_vocab
    if "input_ids" in file.tensors:
        file_windows(file)
        check_window_ids(file, n_vocab)
    else:
        check_ids(file_tokens(file), n_vocab, file.name)


def to_ids(source: object, n_vocab: int | None = None, *, check: bool = True) -> Array:
    """Return ids (n,) of any integer dtype: an array as it is, what becomes an array, or a sequence of whole numbers.

    Raises `UsageError` for anything else, and, unless ``check`` is false, for an id that is negative or not in a
    vocabulary of ``n_vocab``.
    """
    ids = _as_array(source)
    if ids.ndim != 1 or (ids.dtype.kind not in "iu" and ids.size):
        raise UsageError(f"ids: shape {ids.shape}, dtype {ids.dtype}; need (n,) whole numbers")
    if check and ids.size:
        try:
            check_ids(ids, n_vocab or MAX_ID + 1, "ids")
        except FileFormatError as error:
            raise UsageError(str(error)) from error
    return ids


def _as_array(source: object) -> Array:
    if isinstance(source, np.ndarray):
        return source
    if hasattr(source, "__array__") and not isinstance(source, np.generic):
        return np.asarray(source)
    if isinstance(source, bytes | bytearray | memoryview | str) or not isinstance(source, Sequence):
        raise UsageError(f"ids: a {type(source).__name__} holds no token ids; give a path, an array or a list of ids")
    kinds = set(map(type, source))
    wrong = {kind for kind in kinds if issubclass(kind, bool) or not issubclass(kind, int | np.integer)}
    if wrong:
        place, kind = next((place, type(item)) for place, item in enumerate(source) if type(item) in wrong)
        raise UsageError(f"ids: item {place} is a {kind.__name__}; need whole numbers")
    try:
        return np.fromiter(source, np.int64, len(source))
    except OverflowError as error:
        raise UsageError(f"ids: one of them is larger than any vocabulary: {max(source)}") from error


def check_ids(ids: Array, n_vocab: int, name: str) -> None:
    """Raise `FileFormatError` that names the first id outside 0..n_vocab-1 and where it stands."""
    if ids.dtype.kind == "u" and np.iinfo(ids.dtype).max < n_vocab:
        return  # no such number can be wrong: bytes of any amount need not be read
    rows = max(1, IDS_PER_BLOCK // max(1, ids[0].size if len(ids) else 1))
    for start in range(0, len(ids), rows):
        part = ids[start : start + rows]
        if part.min() >= 0 and part.max() < n_vocab:
            continue
        place = np.argwhere((part < 0) | (part >= n_vocab))[0].tolist()
        value, where = int(part[tuple(place)]), [start + place[0], *place[1:]]
        reason = "is negative" if value < 0 else f">= vocabulary {n_vocab}"
        raise FileFormatError(f"{name}: id {value} at {where} {reason}")


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


def weights_shape(file: PtFile) -> tuple[int, int, int]:
    """Return (n_vocab, context_length, dim) of a weights file, or raise `FileFormatError`."""
    keys = weight_keys(file)
    token, position = (file.tensors[key] for key in keys)
    shapes = f"{keys[0]} {token.shape} and {keys[1]} {position.shape}"
    if not (token.ndim == position.ndim == 2 and token.shape[1] == position.shape[1] and token.size and position.size):
        raise FileFormatError(f"{file.name}: {shapes}: need (V, D) and (C, D), of one width D and not empty")
    for key in keys:
        if file.dtypes[key] not in ("float32", "float16", "float64"):
            raise FileFormatError(f"{file.name}: needs {key} as float32, float16 or float64")
    return token.shape[0], position.shape[0], token.shape[1]
