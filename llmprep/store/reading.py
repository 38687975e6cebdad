"""A finished store -> one token stream, mapped from its shards, read across their boundaries."""

from __future__ import annotations

import bisect
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from llmprep.errors import FileFormatError, InputError, plural
from llmprep.formats.ids import check_ids
from llmprep.formats.tokens import check_starts
from llmprep.ptfile.reading import FileState, PtFile, file_state, read_pt
from llmprep.store.beginnings import derive_starts, stated_starts
from llmprep.vocabulary.references import Reference

if TYPE_CHECKING:
    from llmprep.store.documents import Document, Documents
    from llmprep.store.schema import Manifest

Array = npt.NDArray[Any]
Places = npt.NDArray[np.int64]
NONE: Places = np.empty(0, np.int64)

MAX_MAPS = 16_384
"""Shards mapped at the same time: a system allows a process some 65,000 maps."""


def shard_ids(path: Path, n_tokens: int) -> Array:
    """Return the ids of one shard, mapped. Raises `FileFormatError` if they are not as many as stated."""
    return stated_ids(read_pt(path, check_crc=False), n_tokens)


def stated_ids(file: PtFile, n_tokens: int) -> Array:
    """Return the ids of a shard that is open. Raises as `shard_ids` does."""
    ids = file.tensors.get("token_ids")
    if ids is None or ids.shape != (n_tokens,):
        raise FileFormatError(f"{file.name}: does not hold the {n_tokens} token_ids that are stated")
    return ids


def absolute(path: str | os.PathLike[str]) -> Path:
    """Return where a path leads now: the current folder may be another when it is opened again.

    A ``..`` stays: after a link to a folder it does not lead back. Raises `InputError` where no folder is current.
    """
    name = os.fsdecode(path)
    try:
        return Path(name).absolute()
    except OSError as error:
        raise InputError(f"{name}: the current folder is gone; give the whole path") from error


class TokenStore:
    """The ids of a store, or of a split of it, as one sequence of length n: ``store[7]``, ``store[10:20]``.

    Shards are mapped when first touched, and never copied. Each is then read through once, to see that its sha256 is
    the one in the manifest *as it was opened*, and its ids are in the vocabulary. ``check=False`` leaves that out for a
    shard whose file is still the one that was there at opening (device, inode, size, times); another is read through
    all the same, so a store that is rebuilt meanwhile is never read as this one.

    Pickles as its path and what it is: another process checks what it touches itself, and refuses a store of other ids
    with `InputError`. Raises `FileFormatError` for a store that is not whole and sound.
    """

    def __init__(self, folder: str | os.PathLike[str], split: str | None = None, *, check: bool = True) -> None:
        from llmprep.store.manifest import check_files, read_manifest  # of which texts need nothing

        self.folder = folder = Path(folder)
        """As it was named, for messages; files are opened where it was then, whatever folder is current."""
        self._place = absolute(folder)
        self.split = split
        self._check = check
        self.manifest: Manifest = read_manifest(folder)
        check_files(folder, self.manifest)
        self.first, self._end = self.manifest.span(split)
        ends = np.cumsum([0, *(shard.tokens for shard in self.manifest.shards)])
        self._starts: list[int] = ends.tolist()
        self._mapped: dict[int, Array] = {}
        self._begun: dict[int, Places | None] = {}
        self._known: dict[int, FileState] = {} if check else self._states()
        """The files that need not be read through: they were, or the caller vouches for what is there now."""

    def _states(self) -> dict[int, FileState]:
        known = {}
        for number, shard in enumerate(self.manifest.shards):
            with suppress(OSError):  # gone since: said when it is touched
                known[number] = file_state((self._place / shard.file).stat())
        return known

    @property
    def contents(self) -> str:
        """What is read here, in a line: the hash of the store's ids, and the part of them."""
        return f"{self.content_sha256} {self.first}:{self._end}"

    def __reduce__(self) -> tuple[Callable[..., TokenStore], tuple[Path, str | None, bool, str]]:
        return _open_again, (self._place, self.split, self._check, self.contents)

    @property
    def content_sha256(self) -> str:
        """The hash of the whole store's ids, as its manifest states it."""
        return self.manifest.content_sha256

    def __repr__(self) -> str:
        whole = plural(len(self.manifest.shards), "shard")
        part = f", split {self.split}" if self.split is not None else ""
        return f"TokenStore({str(self.folder)!r}, {len(self):,} tokens in {whole}, {self.manifest.encoding}{part})"

    def _repr_html_(self) -> str:
        from llmprep.showing import draw_ids

        return draw_ids(repr(self), lambda count: self.peek(0, count), len(self), self.refers)

    def __len__(self) -> int:
        return self._end - self.first

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not name.startswith("_")]

    @property
    def n_tokens(self) -> int:
        """How many tokens there are: the length."""
        return len(self)

    @property
    def encoding(self) -> str:
        """What the vocabulary of the ids is called."""
        return self.manifest.encoding

    @property
    def refers(self) -> Reference:
        """The vocabulary of the ids, which the folder carries unless every installation has it."""
        return Reference(self.encoding, self.manifest.fingerprint, folder=str(self._place))

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> npt.NDArray[np.int64]: ...
    def __getitem__(self, index: int | slice) -> int | npt.NDArray[np.int64]:
        """Return an id, or those of a slice, (n,) int64: a copy. A slice with a step reads one id at a time."""
        places = range(len(self))[index]
        if isinstance(places, int):
            return int(self.read(places, 1)[0])
        if places.step == 1:
            return self.read(places.start, len(places)).astype(np.int64)
        return np.fromiter((self.read(place, 1)[0] for place in places), np.int64, len(places))

    def __iter__(self) -> Iterator[int]:
        """Yield the ids, one by one; `blocks` is the quick way."""
        return (token_id for block in self.blocks() for token_id in block.tolist())

    def shard(self, number: int) -> Array:
        """Return the ids of one shard, mapped. Raises `FileFormatError` if it is damaged."""
        held = self._mapped.get(number)
        return self._map(number) if held is None else held

    def _map(self, number: int) -> Array:
        """Map a shard, and read it through if its file is not one that is known."""
        shard = self.manifest.shards[number]
        name = str(self.folder / shard.file)
        try:
            with (self._place / shard.file).open("rb") as file:
                state = file_state(os.fstat(file.fileno()))
                known = self._known.get(number) == state
                if not known:
                    _check_sha256(file, shard.sha256, name)
                opened = read_pt(file, name, check_crc=False)
                ids, starts = stated_ids(opened, shard.tokens), stated_starts(opened, shard.documents)
        except OSError as error:
            raise InputError(f"{name}: {error.strerror or error}") from error
        if self._check and not known:
            check_ids(ids, self.manifest.n_vocab, name)
            check_starts(NONE if starts is None else starts, ids, name)
        self._known[number] = state
        if len(self._mapped) >= MAX_MAPS:
            oldest = next(iter(self._mapped))
            del self._mapped[oldest], self._begun[oldest]
        self._mapped[number], self._begun[number] = ids, starts
        return ids

    def shard_starts(self, number: int) -> Places:
        """Return where documents begin in one shard, separators left out: (documents,) int64, mapped.

        Raises `FileFormatError` where neither its file nor its ids tell, as in some stores of older versions.
        """
        ids = self.shard(number)
        held = self._begun[number]
        if held is None:
            name = str(self.folder / self.manifest.shards[number].file)
            held = self._begun[number] = derive_starts(ids, number, self.manifest, self.refers, name)
        return held

    def documents(self) -> Documents:
        """Return the documents of the store, or of its split, as a sequence."""
        from llmprep.store.documents import Documents

        return Documents(self)

    def document(self, number: int) -> Document:
        """Return one document. Raises IndexError for one that is not there; `documents` is the quick way to many."""
        return self.documents()[number]

    def locate(self, position: int) -> tuple[int, int]:
        """Return (shard, place in it) of a token of this sequence."""
        at = position + self.first
        number = bisect.bisect_right(self._starts, at) - 1
        return number, at - self._starts[number]

    def read(self, position: int, count: int) -> Array:
        """Return ``count`` ids from ``position`` on: a view if one shard holds them all, else a copy.

        Raises IndexError if they are not all in this sequence: what comes after a split is another's.
        """
        if not 0 <= position <= position + count <= len(self):
            raise IndexError(f"tokens {position} to {position + count} of {len(self)}")
        return self._take(position, count, self.shard)

    def peek(self, position: int, count: int) -> Array:
        """Return the ids that `read` would, up to ``count``, as their files hold them now: to be shown, not used.

        Only what is returned is read: nothing is checked.
        """
        return self._take(position, min(count, len(self) - position), self._unchecked)

    def _unchecked(self, number: int) -> Array:
        held, shard = self._mapped.get(number), self.manifest.shards[number]
        return shard_ids(self._place / shard.file, shard.tokens) if held is None else held

    def _take(self, position: int, count: int, shard: Callable[[int], Array]) -> Array:
        if not count:
            return np.empty(0, self.manifest.dtype)
        number, place = self.locate(position)
        held = shard(number)[place : place + count]
        if len(held) == count:
            return held
        parts = [held]
        missing = count - len(held)
        while missing:
            number += 1
            parts.append(shard(number)[:missing])
            missing -= len(parts[-1])
        return np.concatenate(parts)

    def gather(self, starts: npt.NDArray[np.int64], length: int) -> npt.NDArray[np.int64]:
        """Return rows of ``length`` ids from each start: (B, length) int64, each row read as one slice."""
        rows = np.empty((len(starts), length), np.int64)
        for row, start in zip(rows, starts.tolist(), strict=True):
            row[:] = self.read(start, length)
        return rows

    def blocks(self, size: int = 1 << 18, first: int = 0) -> Iterator[npt.NDArray[np.uint32]]:
        """Yield all ids in order, from the one numbered ``first`` on, in blocks of uint32."""
        for position in range(first, len(self), size):
            yield self.read(position, min(size, len(self) - position)).astype(np.uint32)


def _open_again(folder: Path, split: str | None, check: bool, contents: str) -> TokenStore:
    """Open a store in another process. Raises `InputError` if it is no longer the one that was sent."""
    store = TokenStore(folder, split, check=check)
    if store.contents != contents:
        raise InputError(f"{folder}: has changed since it was opened: it holds other ids; open it anew")
    return store


def _check_sha256(file: BufferedReader, sha256: str, name: str) -> None:
    """Raise `FileFormatError` for a shard that is not the one of the manifest."""
    if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
        file.seek(0)
        read_pt(file, name)  # names the damaged record, if it is one
        raise FileFormatError(
            f"{name}: its sha256 is not the one in the manifest: it was changed or replaced since; "
            f"if the store was built anew, open it anew"
        )
    file.seek(0)
