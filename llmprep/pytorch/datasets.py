"""Windows -> a torch Dataset.

It holds one array, mapped from the file where there is one, and no tokenizer. A batch is gathered at once and widened
to int64, so a uint16 file stays uint16 in memory.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from llmprep.choices import BestFit, Packing, SeparatorBelongs, TokenizerFile
from llmprep.errors import UsageError, plural, visible_name
from llmprep.formats.ids import Array, to_ids
from llmprep.formats.vocabularies import check_vocabulary
from llmprep.pytorch.batches import WindowBatch
from llmprep.pytorch.documents import DocumentBatch, Marking
from llmprep.pytorch.mapped import Mapped, find_map
from llmprep.pytorch.packed import PackedStream
from llmprep.pytorch.recipe import Opened, Recipe, open_rows
from llmprep.pytorch.rows import Batch, Places, Rows, find_places
from llmprep.showing import Tokens, draw_windows
from llmprep.store.reading import absolute
from llmprep.vocabulary.loading import name_vocabulary, resolve_vocab_dir
from llmprep.vocabulary.references import Reference
from llmprep.windows.counts import DefaultSize, check_size

NO_IDS: Array = np.empty(0, np.int64)


class WindowDataset(Dataset[Batch]):
    """Windows of one token stream; item k is (input, target), each (max_length,) int64.

    A slice, such as ``dataset[2:5]`` or ``dataset[-3:]``, is (inputs, targets), each (n, max_length) int64: copies, as
    a batch is.

    ``source`` is a path (str or `Path`) or ids: a 1-d array, Tensor, list or `Tokens`. A path names a text, a folder of
    texts, a tokens .pt, a windows .pt or a token store, and is never a pattern; what is left out of a folder, as hidden
    files are, is said by a warning. ``split`` chooses a part of a store that has them. A windows file has its own
    max_length and stride; for all others they are chosen here, so nothing is rebuilt to try another. ``encoding`` is
    that of texts (gpt2 unless given); ids are checked against it where it is given, and those of a file against the
    file's own. ``tokenizer`` names a vocabulary file in its place: a path, or a `TokenizerFile`. The vocabulary of an
    encoding is looked for in ``vocab_dir`` first, or else in the folder that LLMPREP_VOCAB_DIR names; a download is
    announced by a warning.

    With ``documents=True`` item k is a dict instead, which `DocumentBatch` describes: inputs and targets, and where
    documents begin in them; a slice is one dict of its items stacked. ``separator_belongs`` says whether the
    end-of-text id between two documents is the last token of the "old" or the first of the "new" one; with
    ``mask_boundaries`` the target is -100 where it is of another document than its input. Windows are cut where they
    are without. Raises `UsageError` for ids and windows files, which do not tell where documents begin.

    ``packing`` "bestfit", or a `BestFit` with choices of its own, makes rows of whole documents instead of windows of
    the stream. What fills the rest of a row is the end-of-text id, or 0 where there is none: no target, and of no
    document. Of a token store, the rows are in an index beside it, which is built here unless ``llmprep pack`` has.

    The ids of texts go into a temporary file. Checksums and ids are checked: of a file at once, of a store's shards
    when first touched, in each process. That reads every byte once; ``check=False`` leaves it out. Pickles by path,
    where it has one (ids that are a numpy memmap of a file have), and by what was read there: texts are encoded again,
    and what holds something else by then is refused with `InputError`. A store that is rebuilt while it is open is
    refused where a new shard would be touched (`FileFormatError`). Raises `DataError` if there is no window.

    >>> dataset = WindowDataset(np.arange(6), max_length=4, stride=1)
    >>> dataset
    WindowDataset(6 ids, 2 windows of 4, stride 1)
    >>> dataset[1][1].tolist()
    [2, 3, 4, 5]
    """

    def __init__(  # noqa: PLR0913 - as the course's Dataset, whose callers name them
        self,
        source: str | os.PathLike[str] | Array | Tensor | Tokens | Sequence[int],
        max_length: int | None = None,
        stride: int | None = None,
        *,
        split: str | None = None,
        encoding: str | None = None,
        tokenizer: str | os.PathLike[str] | TokenizerFile | None = None,
        check: bool = True,
        vocab_dir: str | os.PathLike[str] | None = None,
        documents: bool = False,
        separator_belongs: SeparatorBelongs = "old",
        mask_boundaries: bool = False,
        packing: Packing = "stream",
    ) -> None:
        max_length = None if max_length is None else check_size("max_length", max_length)
        stride = None if stride is None else check_size("stride", stride)
        which = None if encoding is None and tokenizer is None else name_vocabulary(encoding, tokenizer)
        if isinstance(source, Tokens):
            which = check_vocabulary("source", source.refers, which).which
        chosen = resolve_vocab_dir(vocab_dir)
        folder = None if chosen is None else str(absolute(chosen))
        marking = Marking.chosen(documents, separator_belongs, mask_boundaries)
        packed = _check_packing(BestFit.chosen(packing), stride, documents=documents)
        recipe = Recipe(NO_IDS, "", max_length, stride, split, which, check, folder, marking=marking, packing=packed)
        if _is_path(source):
            recipe = replace(recipe, source=absolute(source), name=_named(source))
        else:
            recipe = replace(recipe, source=_as_ids(source, recipe))
        self._mapped: Mapped | None = None
        self._open(recipe)

    def _open(self, recipe: Recipe) -> None:
        self._opened: Opened = open_rows(recipe)
        self._rows = self._opened.rows

    @property
    def kind(self) -> str:  # of `Kind`; jedi, which completes names in notebooks, fails on a Literal here
        """What the windows are cut from: ``ids``, ``texts``, ``tokens`` or ``windows`` (.pt files), or a ``store``."""
        return self._opened.kind

    @property
    def max_length(self) -> int:
        """Tokens of an input, and of a target."""
        return self._rows.max_length

    @property
    def stride(self) -> int | None:
        """Tokens from a window to the next; None for a windows file that does not tell."""
        return self._rows.stride

    @property
    def n_windows(self) -> int:
        """How many windows there are: the length."""
        return len(self._rows)

    @property
    def n_tokens(self) -> int | None:
        """Tokens of the stream that the windows are cut from; None for a windows file that does not tell."""
        return self._rows.n_tokens

    @property
    def encoding(self) -> str | None:
        """What the vocabulary of the ids is called; None where neither the source nor the caller names it."""
        return None if self._opened.refers is None else self._opened.refers.name

    @property
    def refers(self) -> Reference | None:
        """The vocabulary of the ids; None where neither the source nor the caller names it."""
        return self._opened.refers

    @property
    def marking(self) -> Marking | None:
        """How documents are told; None for windows that do not know them."""
        return self._opened.recipe.marking

    @property
    def rows(self) -> Rows:
        """The windows by number, for what gathers them together with others."""
        return self._rows

    @property
    def split(self) -> str | None:
        """The part of a store that the windows are of; None for all of it, and for what has no parts."""
        return self._opened.recipe.split

    def __repr__(self) -> str:
        recipe, rows = self._opened.recipe, self._rows
        parts = [
            repr(recipe.name) if isinstance(recipe.source, Path) or recipe.name else f"{len(recipe.source):,} ids",
            f"split {self.split}" if self.split is not None else "",
            f"{plural(len(rows), 'window')} of {rows.max_length}",
            f"stride {rows.stride}" if rows.stride is not None else "",
            "bestfit" if recipe.packing is not None else "",
            "documents" if recipe.marking is not None else "",
            visible_name(self.encoding or ""),
        ]
        return f"{type(self).__name__}({', '.join(filter(None, parts))})"

    def _repr_html_(self) -> str:
        shape, folder = (len(self), self.max_length), self._opened.recipe.vocab_dir
        return draw_windows(repr(self), self._rows.peek, shape, self._opened.refers, folder)

    def __getstate__(self) -> dict[str, Any]:
        recipe = self._opened.recipe
        if not isinstance(recipe.source, Path) and (self._mapped is None or not self._mapped.is_untouched()):
            self._mapped = find_map(recipe.source)
        return {
            "recipe": recipe if self._mapped is None else replace(recipe, source=NO_IDS),
            "mapped": self._mapped,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        recipe: Recipe = state["recipe"]
        self._mapped = state["mapped"]
        if self._mapped is not None:
            recipe = replace(recipe, source=self._mapped.open(known=self._mapped.is_untouched()))
        self._open(recipe)

    def identity(self) -> dict[str, Any]:
        """Return what these windows are, in plain values: those of two data sets are equal only where this is.

        ``content_sha256`` is of the ids as little-endian uint32: as the file or store states it, else worked out when
        first asked for. A split of a store is told by its name and its first token in the store, and
        packed rows by checksums too, as equal ids may be divided into other documents.
        """
        identity: dict[str, Any] = {
            "content_sha256": self._content_sha256,
            "split": self._opened.recipe.split,
            "first_token": self._rows.first,
            "max_length": self._rows.max_length,
            "stride": self._rows.stride,
        }
        packing, marking = self._opened.recipe.packing, self._opened.recipe.marking
        if packing is not None and marking is not None and isinstance(self._rows, PackedStream):
            chosen = {**packing.content(), "separator_belongs": marking.separator_belongs}
            identity["packing"] = {**chosen, "rows_crc32": list(self._rows.packed.checksums)}
        return identity

    @functools.cached_property
    def _content_sha256(self) -> str:
        return self._rows.stated or self._rows.content_sha256()

    def __len__(self) -> int:
        return len(self._rows)

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not name.startswith("_")]  # torch's classes add noise

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            batch = self._gather(np.arange(*index.indices(len(self)), dtype=np.int64))
            return batch.collated() if isinstance(batch, DocumentBatch) else (batch.inputs, batch.targets)
        return self._gather(find_places([index], len(self)))[0]

    def __getitems__(self, indices: list[int]) -> Any:
        """Gather a whole batch, a `WindowBatch` or a `DocumentBatch`; torch's fetcher calls this where it exists."""
        return self._gather(find_places(indices, len(self)))

    def _gather(self, places: Places) -> WindowBatch | DocumentBatch:
        marking = self._opened.recipe.marking
        if marking is None:
            return WindowBatch(*self._rows.gather(places))
        return DocumentBatch.gathered(self._rows.document_rows(places), marking)


def _check_packing(chosen: BestFit | None, stride: int | None, *, documents: bool) -> BestFit | None:
    """Return a packing with its folder absolute. Raises `UsageError` beside what does not go with it."""
    if chosen is None:
        return None
    if not documents:
        raise UsageError("packing: rows of whole documents are dicts; give documents=True too")
    if stride is not None and not isinstance(stride, DefaultSize):
        raise UsageError("stride: packed rows have none; leave it out")
    return chosen if chosen.index_dir is None else replace(chosen, index_dir=str(absolute(chosen.index_dir)))


def _is_path(source: object) -> TypeGuard[str | os.PathLike[str]]:
    return isinstance(source, str | os.PathLike)


def _named(path: str | os.PathLike[str]) -> str:
    """Return a path as it was given. Raises `UsageError` for an empty one, which would be the current folder."""
    name = os.fsdecode(path)
    if not name:
        raise UsageError("source: is empty; name a path")
    return name


def _as_ids(source: object, recipe: Recipe) -> Array:
    """Return ids (n,) as an array. Raises `UsageError` that names the first thing that is no token id."""
    held = _array_of(source) if isinstance(source, Tensor) else source
    n_vocab = None if recipe.encoding is None else recipe.load_vocabulary(recipe.encoding).n_vocab
    return to_ids(held, n_vocab, check=recipe.check)


def _array_of(tensor: Tensor) -> Array:
    try:
        array: Array = tensor.detach().cpu().numpy()
    except (TypeError, RuntimeError) as error:  # bfloat16, sparse, without data, ...
        raise UsageError(
            f"ids: a tensor of {tensor.dtype} is not an array: {str(error).splitlines()[0]:.80}"
        ) from error
    return array
