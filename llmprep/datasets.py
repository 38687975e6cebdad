"""Windows -> torch Dataset and DataLoader. Imports torch.

The Dataset holds one array, mapped from the file where there is one, and no tokenizer. Batches are gathered at
once and widened to int64 per batch, so a uint16 file stays uint16 in memory.
"""

from __future__ import annotations

import functools
import hashlib
import operator
import os
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeGuard

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from llmprep.documents import Source, close_source, find_sources, peek
from llmprep.errors import DataError, EmptyError, InputError, UsageError
from llmprep.kinds import check_encoding, check_file_ids, file_tokens, file_windows, hash_ids, to_ids
from llmprep.ptfile import PtFile, is_zip, read_pt
from llmprep.sampler import WindowSampler
from llmprep.store.reading import FileState, TokenStore, absolute, file_state
from llmprep.tokens import encode_text, spool, stream_text
from llmprep.vocabulary import Vocabulary, chosen_folder, load_vocabulary, warn_of
from llmprep.windows import check_size, require_windows

Array = npt.NDArray[Any]
Places = npt.NDArray[np.int64]
Batch = tuple[Tensor, Tensor]

ROWS = 1024
NO_IDS: Array = np.empty(0, np.int64)
MAX_NAME = 4096
NAME_ENDINGS = (
    ".txt", ".md", ".pt", ".json", ".jsonl", ".ndjson", ".parquet", ".gz", ".bz2", ".xz", ".zst", ".py", ".csv", "/",
)  # fmt: skip
"""What a text that is no word of its own ends with, if it was meant as a path."""


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
        return load_vocabulary(encoding, self.vocab_dir, warn_of)


@dataclass(frozen=True, slots=True)
class _Mapped:
    """Ids that lie in a file which is not llmprep's: ``count`` of a numpy ``dtype`` from byte ``offset`` on.

    ``sha256`` is of their bytes; while the file's ``state`` stays, it need not be worked out again.
    """

    path: str
    dtype: str
    offset: int
    count: int
    sha256: str
    state: FileState

    def is_untouched(self) -> bool:
        """Whether the file is the very one that was read, and was not written to since."""
        try:
            return file_state(Path(self.path).stat()) == self.state
        except OSError:
            return False

    def open(self, *, known: bool) -> Array:
        """Map the ids, and hash them unless they are ``known``. Raises `InputError` if they are not what they were."""
        try:
            ids = np.memmap(self.path, self.dtype, "r", self.offset, (self.count,))
        except OSError as error:
            raise InputError(f"{self.path}: {error.strerror or error}") from error
        except ValueError as error:  # too short, or empty
            raise _changed(self.path) from error
        if not known and _bytes_sha256(ids) != self.sha256:
            raise _changed(self.path)
        return ids


def _find_map(ids: Array) -> _Mapped | None:
    """Say where ids lie, if they are a run of a numpy memmap of a file that still holds them, which is read for it."""
    held: Any = ids
    while isinstance(held, np.ndarray) and isinstance(held.base, np.ndarray):
        held = held.base
    if not isinstance(held, np.memmap) or held.filename is None or held.mode == "c" or not ids.flags.c_contiguous:
        return None  # what is written to a copy-on-write map is in no file
    path, offset = os.fsdecode(held.filename), held.offset + ids.ctypes.data - held.ctypes.data
    try:
        if held.flags.writeable:
            held.flush()  # another machine reads the file, not the map
        state = file_state(Path(path).stat())
        mapped = _Mapped(path, ids.dtype.str, offset, len(ids), _bytes_sha256(ids), state)
        mapped.open(known=False)
    except (OSError, InputError):  # renamed, removed, replaced or cut since it was mapped
        return None
    return mapped


def _bytes_sha256(ids: Array) -> str:
    return hashlib.sha256(ids.view(np.uint8).data).hexdigest()


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
        folder = chosen_folder(vocab_dir)
        of = _Origin(NO_IDS, max_length, stride, split, encoding, check, folder and str(absolute(folder)))
        self._origin = replace(of, source=absolute(source) if _is_path(source) else _as_ids(source, of))
        self._mapped: _Mapped | None = None
        self._rows = self._open()

    def _open(self) -> _Rows:
        """Open the rows; of a source that was open before, in another process, only if they are still the same."""
        source, split = self._origin.source, self._origin.split
        if split is not None and not (isinstance(source, Path) and source.is_dir()):
            raise UsageError(f"split {split}: only a token store has splits")
        if not isinstance(source, Path):
            return self._cut(source)
        if source.is_dir():
            self._require("store")
            store = _open_store(source, self._origin)
            self._require("store", store.contents)
            return self._cut(store, store.content_sha256)
        found = _find(source)
        is_pt = is_zip(peek(found, 4))
        self._require("pt" if is_pt else "text")
        return self._open_pt(found) if is_pt else self._cut(*self._encode(found))

    def _require(self, kind: str, contents: str = "") -> None:
        """Note what was read. Raises `InputError` if it was another kind before, or other contents of that kind."""
        told, before = f"{kind} {contents}", self._origin.made_of
        if before and not (before == told if contents else before.startswith(told)):
            raise _changed(self._origin.source)
        if contents:
            self._origin = replace(self._origin, made_of=told)

    def _cut(self, ids: TokenStore | Array, stated: str = "") -> _StreamRows:
        origin = self._origin
        if origin.max_length is None:
            raise UsageError("max_length: needed, as the source is not a windows file")
        stride = origin.max_length if origin.stride is None else origin.stride
        name = str(origin.source) if isinstance(origin.source, Path) else "ids"
        count = require_windows(len(ids), origin.max_length, stride, name)
        return _StreamRows(ids, origin.max_length, stride, count, stated)

    def _open_pt(self, source: Source) -> _Rows:
        """Map a tokens or windows file; it is checked, unless it is the very file that was checked before."""
        close_source(source)
        if source.size is None:
            raise UsageError(f"{source.path}: a .pt file is mapped, which a pipe cannot be; save it first")
        origin = self._origin
        try:
            with Path(source.path).open("rb") as opened:
                state = file_state(os.fstat(opened.fileno()))
                check = origin.check and state != origin.state
                file = read_pt(opened, source.path, check_crc=check)
                self._require("pt", _records_sha256(opened))
        except OSError as error:
            raise InputError(f"{source.path}: {error.strerror or error}") from error
        if check and ("input_ids" in file.tensors or "token_ids" in file.tensors):
            check_file_ids(file, origin.encoding, origin.load)
        self._origin = replace(self._origin, state=state)
        if "input_ids" in file.tensors:
            rows = file_windows(file, origin.max_length, origin.stride)
            return _FileRows(*rows, _stated(file), _own_stride(file))
        return self._cut(file_tokens(file), _stated(file))

    def _encode(self, source: Source) -> tuple[Array, str]:
        """Encode a text into a temporary file; return the ids, which must be those of before, and their hash.

        What comes through a pipe comes once: its ids take the place of its path.
        """
        origin = self._origin
        stream = stream_text([source], origin.load("gpt2" if origin.encoding is None else origin.encoding))
        try:
            ids = spool(iter(stream))
        except (DataError, EmptyError) as error:
            if not origin.made_of:
                raise
            raise _changed(source.path) from error
        if source.size is None:
            self._origin = replace(origin, source=ids)
        else:
            self._require("text", stream.content_sha256)
        return ids, stream.content_sha256

    def __getstate__(self) -> dict[str, Any]:
        source = self._origin.source
        if not isinstance(source, Path) and (self._mapped is None or not self._mapped.is_untouched()):
            self._mapped = _find_map(source)
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


def _open_store(folder: Path, origin: _Origin) -> TokenStore:
    store = TokenStore(folder, origin.split, check=origin.check)
    check_encoding(str(folder), store.manifest.values["encoding"], origin.encoding)
    return store


def _changed(path: object) -> InputError:
    return InputError(f"{path}: has changed since the data set was made of it")


def _find(path: Path) -> Source:
    """The one input of that name, which here is never a pattern."""
    if not os.path.lexists(path):
        raise InputError(f"{path}: no such file or directory")
    (source,) = find_sources([str(path)])
    return source


def _records_sha256(file: BinaryIO) -> str:
    """The hash of a .pt file's list of records: their names, sizes and checksums, which tell what is in them."""
    with zipfile.ZipFile(file) as archive:
        entries = [(entry.filename, entry.file_size, entry.CRC) for entry in archive.infolist()]
    return hashlib.sha256(repr(entries).encode()).hexdigest()


def _stated(file: PtFile) -> str:
    """The content_sha256 that a file states of itself, if it does."""
    stated = file.meta.get("content_sha256")
    return stated if isinstance(stated, str) else ""


def _own_stride(file: PtFile) -> int | None:
    options = file.meta.get("options")
    stride = options.get("stride") if isinstance(options, dict) else None
    return stride if isinstance(stride, int) else None


class _Rows(Protocol):
    @property
    def stated(self) -> str:
        """The hash of the ids that their source states; empty where it states none."""

    @property
    def first(self) -> int:
        """The place of the first token in what is hashed."""

    @property
    def max_length(self) -> int:
        """Tokens of an input."""

    @property
    def stride(self) -> int | None:
        """Tokens from a window to the next, where that is known."""

    def __len__(self) -> int: ...
    def gather(self, places: Places) -> Batch: ...
    def content_sha256(self) -> str: ...


@dataclass(frozen=True, slots=True)
class _FileRows:
    """Rows of a windows file, (N, L) each."""

    inputs: Array
    targets: Array
    stated: str
    stride: int | None

    @property
    def first(self) -> int:
        return 0

    @property
    def max_length(self) -> int:
        return int(self.inputs.shape[1])

    def content_sha256(self) -> str:
        """The hash of all inputs, then all targets: what stream they were cut from is not known."""
        digest = hashlib.sha256()
        for rows in (self.inputs, self.targets):
            for start in range(0, len(rows), ROWS):
                hash_ids(rows[start : start + ROWS].reshape(-1), digest)
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.inputs)

    def gather(self, places: Places) -> Batch:
        return _long(self.inputs[places]), _long(self.targets[places])


@dataclass(frozen=True, slots=True)
class _StreamRows:
    """Rows cut from a stream when asked for: each is read once, one token longer than an input."""

    ids: TokenStore | Array
    max_length: int
    stride: int
    count: int
    stated: str

    @property
    def first(self) -> int:
        return self.ids.first if isinstance(self.ids, TokenStore) else 0

    def content_sha256(self) -> str:
        return self.ids.content_sha256 if isinstance(self.ids, TokenStore) else hash_ids(self.ids)

    def __len__(self) -> int:
        return self.count

    def gather(self, places: Places) -> Batch:
        starts = places * self.stride
        if isinstance(self.ids, TokenStore):
            rows = self.ids.gather(starts, self.max_length + 1)
        else:
            rows = np.empty((len(starts), self.max_length + 1), np.int64)
            for row, start in zip(rows, starts.tolist(), strict=True):
                row[:] = self.ids[start : start + self.max_length + 1]
        both = torch.from_numpy(rows)
        return both[:, :-1].contiguous(), both[:, 1:].contiguous()


def _long(ids: Array) -> Tensor:
    return torch.from_numpy(ids.astype(np.int64))


class WindowBatch(Sequence[Batch]):
    """A gathered batch that looks like the list of its items, for code that collates lists."""

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self.inputs = inputs
        self.targets = targets

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: Any) -> Any:
        return self.inputs[index], self.targets[index]

    def __iter__(self) -> Iterator[Batch]:
        return zip(self.inputs, self.targets, strict=True)


def collate_windows(batch: Any) -> Any:
    """Collate items as torch does, but take a `WindowBatch` as it is: [inputs, targets], each (B, max_length)."""
    return [batch.inputs, batch.targets] if isinstance(batch, WindowBatch) else default_collate(batch)


def load_windows(path: str | os.PathLike[str], *, dense: bool = False) -> Batch:
    """Return (input_ids, target_ids) of a windows file, each (N, L), as ``torch.load`` with ``mmap=True`` would.

    Unlike it, the file's checksums, sizes and ids are checked first. The tensors are views of one storage, mapped from
    the file: a token stands there once, however many windows hold it, as input and as target. To write into one changes
    it in all of them, in this process's memory, and never in the file. With ``dense=True`` the tensors are copies, each
    with numbers of its own, to be written into freely.
    """
    file = read_pt(absolute(path), private=not dense)
    inputs, targets = file_windows(file)
    check_file_ids(file)
    if dense:
        inputs, targets = inputs.copy(), targets.copy()
    return torch.from_numpy(inputs), torch.from_numpy(targets)


def create_dataloader(  # noqa: PLR0913 - the reference's parameters
    txt: str | os.PathLike[str] | Array | Tensor | Sequence[int],
    batch_size: int = 4,
    max_length: int = 256,
    stride: int = 128,
    shuffle: bool = True,
    drop_last: bool = True,
    num_workers: int = 0,
    *,
    encoding: str | None = None,
    split: str | None = None,
    vocab_dir: str | os.PathLike[str] | None = None,
) -> DataLoader[Batch]:
    """Return a DataLoader of [inputs, targets], each (batch_size, max_length) int64.

    Parameters, defaults and batches are those of ``create_dataloader_v1`` in rasbt/LLMs-from-scratch: under the
    same ``torch.manual_seed`` it yields the same batches, and, but for a store, draws from torch's generator what that
    loader draws, so tables made before or after it begins are the same too. A str is the text itself; a `Path` names
    a file (text, tokens .pt or windows .pt, or a token store); an array, Tensor or list holds ids. The windows of a
    store are shuffled by a `WindowSampler`, which needs no memory for them, under a seed drawn from torch's generator.

    Raises `UsageError` for a str that is a path rather than a text. Warns if there is no batch at all.
    """
    if isinstance(txt, str):
        _refuse_path(txt)
    source = encode_text(txt, encoding or "gpt2", vocab_dir=vocab_dir) if isinstance(txt, str) else txt
    dataset = WindowDataset(source, max_length, stride, split=split, encoding=encoding, vocab_dir=vocab_dir)
    own_order = shuffle and isinstance(source, os.PathLike) and Path(source).is_dir()
    seed = int(torch.empty((), dtype=torch.int64).random_()) if own_order else 0
    loader = DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=shuffle and not own_order,
        sampler=WindowSampler(dataset, seed=seed) if own_order else None,
        drop_last=drop_last,
        num_workers=num_workers,
        collate_fn=collate_windows,
    )
    if not len(loader):
        n_windows = f"{len(dataset)} window{'s' * (len(dataset) != 1)}"
        warnings.warn(
            f"no batch: {n_windows} of {max_length}, batch_size {batch_size}, and drop_last leaves out what fills no "
            f"batch; lower batch_size or stride, or give drop_last=False",
            stacklevel=2,
        )
    return loader


def _refuse_path(text: str) -> None:
    """Raise `UsageError` for a text that is one line and the name of a file, as it is there or by its ending."""
    if "\n" in text or len(text) > MAX_NAME:
        return
    named = text.lower().endswith(NAME_ENDINGS) and not any(map(str.isspace, text))
    if named or os.path.exists(text):  # noqa: PTH110 - a text need not be a path
        raise UsageError(
            f"{text!r:.80}: a str is the text itself, as in the reference; did you mean Path({text!r:.80})?"
        )


class RowDataset(Dataset[Tensor]):
    """The rows of one array (N, L), as int64, gathered a batch at a time."""

    def __init__(self, rows: Array) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Tensor:
        return _long(self._rows[index])

    def __getitems__(self, indices: list[int]) -> Tensor:
        return _long(self._rows[indices])


def create_row_loader(rows: Array, *, batch_size: int, shuffle: bool, drop_last: bool) -> DataLoader[Tensor]:
    """Return a DataLoader of (B, L) int64 batches of rows, in the order that `create_dataloader` would take."""
    return DataLoader(RowDataset(rows), batch_size=batch_size, shuffle=shuffle, drop_last=drop_last, collate_fn=_as_is)


def _as_is(batch: Any) -> Any:
    return batch
