"""Windows -> torch Dataset and DataLoader. Imports torch.

The Dataset holds one array, mapped from the file where there is one, and no tokenizer. Batches are gathered at
once and widened to int64 per batch, so a uint16 file stays uint16 in memory.
"""

from __future__ import annotations

import functools
import operator
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from llmprep.choices import Reading
from llmprep.errors import DataError, EmptyError, UsageError
from llmprep.formats.ids import to_ids
from llmprep.formats.tokens import read_tokens
from llmprep.formats.windows import read_windows
from llmprep.inputs import Texts, check_encoding, check_file_ids, open_input, stream_input
from llmprep.ptfile.reading import FileState, PtFile
from llmprep.pytorch.batches import WindowBatch
from llmprep.pytorch.mapped import Mapped, changed_error, find_map
from llmprep.pytorch.rows import Array, Batch, FileRows, Places, Rows, StreamRows
from llmprep.store.reading import TokenStore, absolute
from llmprep.tokens.spooling import spool
from llmprep.vocabulary.loading import Vocabulary, announce_by_warning, load_vocabulary, resolve_vocab_dir
from llmprep.windows.counts import check_size, require_windows

NO_IDS: Array = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class _Origin:
    """What a data set is made of, and all that another process needs to make it again.

    ``source`` is an absolute path or ids (n,). ``made_of`` is the kind of a path's source and a hash of what was read
    of it, once it was opened, and ``state`` that of a .pt file: while it stays, the file need not be checked again.
    """

    source: Path | Array
    max_length: int | None
    stride: int | None
    split: str | None
    encoding: str | None
    check: bool
    vocab_dir: str | None
    made_of: str = ""
    state: FileState | None = None

    def load(self, encoding: str) -> Vocabulary:
        """Load a vocabulary, wherever this was told to look for one."""
        return load_vocabulary(encoding, self.vocab_dir, announce_by_warning)


class WindowDataset(Dataset[Batch]):
    """Windows of one token stream; item k is (input, target), each (max_length,) int64.

    ``source`` is the path (str or `Path`) of a text, a tokens .pt, a windows .pt or a token store, or ids: a 1-d array,
    Tensor or list. ``split`` chooses a part of a store that has them. A windows file knows its max_length and stride;
    of all others, they are chosen here, so nothing is rebuilt to try another. ``encoding`` is that of a text (gpt2
    unless given); ids are checked against it where it is given, and those of a file against the file's own. Its
    vocabulary is looked for in ``vocab_dir`` first, or else in the folder that LLMPREP_VOCAB_DIR names; a download is
    announced by a warning.

    Checksums and ids are checked: of a file at once, of a store's shards when first touched, in each process. That
    reads every byte once; ``check=False`` leaves it out. Pickles by path, where it has one (ids that are a numpy memmap
    of a file have), and by what was read there: a text is encoded again, and what holds something else by then is
    refused with `InputError`. A store that is rebuilt while it is open is refused where a new shard would be touched
    (`FileFormatError`). Raises `DataError` if there is no window.

    >>> dataset = WindowDataset(np.arange(6), max_length=4, stride=1)
    >>> len(dataset), dataset[1][1].tolist()
    (2, [2, 3, 4, 5])
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Array | Tensor | Sequence[int],
        max_length: int | None = None,
        stride: int | None = None,
        *,
        split: str | None = None,
        encoding: str | None = None,
        check: bool = True,
        vocab_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        max_length = None if max_length is None else check_size("max_length", max_length)
        stride = None if stride is None else check_size("stride", stride)
        folder = resolve_vocab_dir(vocab_dir)
        of = _Origin(NO_IDS, max_length, stride, split, encoding, check, folder and str(absolute(folder)))
        self._origin = replace(of, source=absolute(source) if _is_path(source) else _as_ids(source, of))
        self._mapped: Mapped | None = None
        self._rows = self._open()

    def _open(self) -> Rows:
        """Open the rows; of a source that was open before, in another process, only if they are still the same."""
        origin = self._origin
        if not isinstance(origin.source, Path):
            if origin.split is not None:
                raise UsageError(f"split {origin.split}: only a token store has splits")
            return self._cut(origin.source)
        reading = Reading(origin.encoding, vocab_dir=origin.vocab_dir, announce=announce_by_warning)
        found = open_input([str(origin.source)], reading, split=origin.split, check=origin.check, known=origin.state)
        match found:
            case TokenStore():
                self._require("store", found.contents)
                check_encoding(str(origin.source), found.manifest.encoding, origin.encoding)
                return self._cut(found, found.content_sha256)
            case PtFile():
                return self._open_pt(found)
            case Texts():
                return self._cut(*self._encode(found, reading))

    def _require(self, kind: str, contents: str = "") -> None:
        """Note what was read. Raises `InputError` if it was another kind before, or other contents of that kind."""
        told, before = f"{kind} {contents}", self._origin.made_of
        if before and not (before == told if contents else before.startswith(told)):
            raise changed_error(self._origin.source)
        if contents:
            self._origin = replace(self._origin, made_of=told)

    def _cut(self, ids: TokenStore | Array, stated: str = "") -> StreamRows:
        origin = self._origin
        if origin.max_length is None:
            raise UsageError("max_length: needed, as the source is not a windows file")
        stride = origin.max_length if origin.stride is None else origin.stride
        name = str(origin.source) if isinstance(origin.source, Path) else "ids"
        count = require_windows(len(ids), origin.max_length, stride, name)
        return StreamRows(ids, origin.max_length, stride, count, stated)

    def _open_pt(self, file: PtFile) -> Rows:
        """Map a tokens or windows file; its ids are checked, unless it is the very file that was checked before."""
        origin = self._origin
        if not Path(file.name).is_file():
            raise UsageError(f"{file.name}: a .pt file is mapped, which a pipe cannot be; save it first")
        self._require("pt", file.records_sha256)
        if file.checked and ("input_ids" in file.tensors or "token_ids" in file.tensors):
            check_file_ids(file, origin.encoding, origin.load)
        self._origin = replace(self._origin, state=file.state)
        if "input_ids" in file.tensors:
            rows = read_windows(file, origin.max_length, origin.stride)
            return FileRows(*rows, _stated(file), _own_stride(file))
        return self._cut(read_tokens(file), _stated(file))

    def _encode(self, texts: Texts, reading: Reading) -> tuple[Array, str]:
        """Encode texts into a temporary file; return the ids, which must be those of before, and their hash.

        What comes through a pipe comes once: its ids take the place of its path.
        """
        self._require("text")
        stream = stream_input(texts, reading)
        try:
            ids = spool(iter(stream))
        except (DataError, EmptyError) as error:
            if not self._origin.made_of:
                raise
            raise changed_error(self._origin.source) from error
        if any(source.size is None for source in texts.sources):
            self._origin = replace(self._origin, source=ids)
        else:
            self._require("text", stream.figures.content_sha256)
        return ids, stream.figures.content_sha256

    def __getstate__(self) -> dict[str, Any]:
        source = self._origin.source
        if not isinstance(source, Path) and (self._mapped is None or not self._mapped.is_untouched()):
            self._mapped = find_map(source)
        origin = self._origin if self._mapped is None else replace(self._origin, source=NO_IDS)
        return {"origin": origin, "mapped": self._mapped}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._origin, self._mapped = state["origin"], state["mapped"]
        if self._mapped is not None:
            ids = self._mapped.open(known=self._mapped.is_untouched())
            self._origin = replace(self._origin, source=ids)
        self._rows = self._open()

    def identity(self) -> dict[str, Any]:
        """Return what these windows are, in plain values: those of two data sets are equal only where this is.

        ``content_sha256`` is of the ids as little-endian uint32: as the file or store states it, else worked out when
        first asked for. A split of a store is told by its name and its first token in the store.
        """
        return {
            "content_sha256": self._content_sha256,
            "split": self._origin.split,
            "first_token": self._rows.first,
            "max_length": self._rows.max_length,
            "stride": self._rows.stride,
        }

    @functools.cached_property
    def _content_sha256(self) -> str:
        return self._rows.stated or self._rows.content_sha256()

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Batch:
        inputs, targets = self._rows.gather(self._checked([index]))
        return inputs[0], targets[0]

    def __getitems__(self, indices: list[int]) -> WindowBatch:
        """Gather a whole batch; torch's fetcher calls this where it exists."""
        return WindowBatch(*self._rows.gather(self._checked(indices)))

    def _checked(self, indices: Iterable[Any]) -> Places:
        """Window numbers, those from the end counted from the start.

        Raises IndexError for one that is not there, and TypeError for what is no whole number, as a list does.
        """
        numbers = [index if type(index) is int else _whole(index) for index in indices]
        try:
            places = np.array(numbers, np.int64)
        except OverflowError as error:
            raise IndexError(f"window {max(numbers, key=abs)} of {len(self)}") from error
        outside = (places < -len(self)) | (places >= len(self))
        if outside.any():
            raise IndexError(f"window {places[outside][0]} of {len(self)}")
        return places % len(self)


def _whole(index: Any) -> int:
    try:
        number = operator.index(index)
    except TypeError as error:
        raise TypeError(f"a window's number is a whole number, not a {type(index).__name__}") from error
    if isinstance(index, bool | np.bool_):
        raise TypeError(f"a window's number is a whole number, not a {type(index).__name__}")
    return number


def _is_path(source: object) -> TypeGuard[str | os.PathLike[str]]:
    return isinstance(source, str | os.PathLike)


def _as_ids(source: object, origin: _Origin) -> Array:
    """Return ids (n,) as an array. Raises `UsageError` that names the first thing that is no token id."""
    held = _array_of(source) if isinstance(source, Tensor) else source
    n_vocab = None if origin.encoding is None else origin.load(origin.encoding).n_vocab
    return to_ids(held, n_vocab, check=origin.check)


def _array_of(tensor: Tensor) -> Array:
    try:
        array: Array = tensor.detach().cpu().numpy()
    except (TypeError, RuntimeError) as error:  # bfloat16, sparse, without data, ...
        raise UsageError(f"ids: a tensor of {tensor.dtype} is no array: {str(error).splitlines()[0]:.80}") from error
    return array


def _stated(file: PtFile) -> str:
    """The content_sha256 that a file states of itself, if it does."""
    stated = file.meta.get("content_sha256")
    return stated if isinstance(stated, str) else ""


def _own_stride(file: PtFile) -> int | None:
    options = file.meta.get("options")
    stride = options.get("stride") if isinstance(options, dict) else None
    return stride if isinstance(stride, int) else None
