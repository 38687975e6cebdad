"""What a data set is made of -> its rows: opened once, and again in each process that needs them."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from llmprep.choices import ENCODING, BestFit, Reading, TokenizerFile, WhichVocabulary
from llmprep.errors import DataError, EmptyError, FileFormatError, InputError, UsageError
from llmprep.formats.ids import Array
from llmprep.formats.tokens import check_starts, read_starts, read_tokens
from llmprep.formats.vocabularies import check_file_ids, check_vocabulary, vocabulary_of
from llmprep.formats.windows import read_windows
from llmprep.inputs import Texts, open_input, stream_input
from llmprep.missing import advise_missing
from llmprep.ptfile.reading import FileState, PtFile
from llmprep.pytorch.documents import Marking
from llmprep.pytorch.mapped import changed_error
from llmprep.pytorch.packed import NO_EOT, pack_rows
from llmprep.pytorch.rows import FileRows, Rows, StreamRows, unknown_documents
from llmprep.pytorch.starts import StoreStarts
from llmprep.store.packing import shards_sha256
from llmprep.store.reading import TokenStore
from llmprep.tokens.spooling import spool, spool_places
from llmprep.tokens.stream import TokenStream
from llmprep.vocabulary.loading import announce_by_warning, load_vocabulary, refer_to
from llmprep.vocabulary.references import Reference
from llmprep.vocabulary.vocabulary import Vocabulary
from llmprep.windows.counts import DefaultSize, require_windows
from llmprep.windows.documents import KnownStarts

Kind: TypeAlias = Literal["ids", "texts", "tokens", "windows", "store"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that is needed to make a data set, also in another process.

    ``source`` is an absolute path or ids (n,), ``name`` the path as it was given. A max_length or stride that is a
    `DefaultSize` gives way to a windows file's own. ``contents`` says, once a path was opened, what was found there:
    the kind of source and a hash, of where documents begin too where they are to be known. ``state`` is that of a .pt
    file: while it stays, the file need not be checked again.
    ``marking`` is how documents are told, where they are to be known; ``piped`` are the documents of texts that came
    through a pipe, as `StreamRows` takes them. ``packing`` is how whole documents are packed, if they are.
    """

    source: Path | Array
    name: str
    max_length: int | None
    stride: int | None
    split: str | None
    encoding: WhichVocabulary | None
    check: bool
    vocab_dir: str | None
    contents: str = ""
    state: FileState | None = None
    marking: Marking | None = None
    piped: tuple[KnownStarts, int] | None = None
    packing: BestFit | None = None

    def load_vocabulary(self, which: WhichVocabulary) -> Vocabulary:
        """Load a vocabulary, from the folder that is looked in first if it is there."""
        return load_vocabulary(which, self.vocab_dir, announce_by_warning)


@dataclass(frozen=True, slots=True)
class Opened:
    """The rows that a recipe gives, and the recipe with what was found; ``refers`` is to the vocabulary, if known."""

    recipe: Recipe
    rows: Rows
    kind: Kind
    refers: Reference | None


def open_rows(recipe: Recipe) -> Opened:
    """Open what a recipe names; documents are packed if that is asked for. Raises as `_open` and `pack_rows` do."""
    opened = _open(recipe)
    if recipe.packing is None or recipe.marking is None or not isinstance(opened.rows, StreamRows):
        return opened
    rows = pack_rows(opened.rows, recipe.packing, recipe.marking, recipe.name or "ids")
    if rows.packed.fill.n_filler and opened.refers is not None:
        eot_id = load_vocabulary(opened.refers, recipe.vocab_dir, announce_by_warning).eot_id
        rows = replace(rows, fill_id=NO_EOT if eot_id is None else eot_id)
    return replace(opened, rows=rows)


def _open(recipe: Recipe) -> Opened:
    """Open what a recipe names, as windows of the stream.

    Raises as `open_input` does, `DataError` if there is no window, `UsageError` for a choice that does not apply, and
    `InputError` for a path at which something else was found before.
    """
    source = recipe.source
    if not isinstance(source, Path):
        if recipe.split is not None:
            raise UsageError(f"split {recipe.split}: only a token store has splits")
        if recipe.marking is not None and recipe.piped is None:
            raise unknown_documents("an array of ids")
        documents, opens = recipe.piped or (None, 0)
        rows = replace(_cut(source, recipe), documents=documents, opens=opens)
        return Opened(recipe, rows, "ids", _resolved(recipe))
    was_text = recipe.contents.startswith("texts ")
    try:
        return _open_path(source, recipe)
    except (DataError, EmptyError, UsageError, FileFormatError) as error:
        if not recipe.contents or (isinstance(error, FileFormatError) and not was_text):
            raise
        raise changed_error(source) from error


def _open_path(path: Path, recipe: Recipe) -> Opened:
    """Open a path, which is a name and never a pattern; what is left out of a folder is said the first time only."""
    if glob.has_magic(str(path)) and not os.path.lexists(path):
        raise InputError(f"{path}: no such file or directory{advise_missing(str(path))}")
    reading = Reading(
        recipe.encoding, vocab_dir=recipe.vocab_dir, announce=None if recipe.contents else announce_by_warning
    )
    found = open_input(path, reading, split=recipe.split, check=recipe.check, known=recipe.state, pipes="texts")
    match found:
        case TokenStore():
            return _open_store(found, recipe)
        case PtFile():
            return _open_file(found, recipe)
        case Texts():
            return _open_texts(found, recipe, replace(reading, announce=announce_by_warning))


def _open_store(store: TokenStore, recipe: Recipe) -> Opened:
    divided = "" if recipe.marking is None else shards_sha256(store)
    recipe = _with_contents(recipe, f"store {store.contents} {divided}")
    refers = check_vocabulary(str(store.folder), store.refers, recipe.encoding)
    rows = _cut(store, recipe, store.content_sha256)
    return Opened(recipe, _told(rows, recipe, lambda: StoreStarts.of(store), store.manifest.options), "store", refers)


def _open_file(file: PtFile, recipe: Recipe) -> Opened:
    """Map a tokens or windows file; its ids are checked, unless it is the very file that was checked before."""
    recipe = _with_contents(recipe, f"pt {file.records_sha256}")
    if file.checked and ("input_ids" in file.tensors or "token_ids" in file.tensors):
        check_file_ids(file, recipe.encoding, recipe.load_vocabulary)
    recipe = replace(recipe, state=file.state)
    stated = _stated(file, "content_sha256") or ""
    tells = _stated(file, "encoding") is not None or recipe.encoding is not None
    refers = vocabulary_of(file, recipe.encoding) if tells else None
    if "input_ids" not in file.tensors:
        cut = _cut(read_tokens(file), recipe, stated)
        return Opened(
            recipe, _told(cut, recipe, lambda: _file_starts(file), file.meta.get("options")), "tokens", refers
        )
    if recipe.marking is not None:
        raise unknown_documents("a windows file")
    rows = read_windows(file, _given(recipe.max_length), _given(recipe.stride))
    n_tokens = _whole(file.meta.get("n_tokens"))
    return Opened(recipe, FileRows(*rows, stated, _own_stride(file), n_tokens), "windows", refers)


def _open_texts(texts: Texts, recipe: Recipe, reading: Reading) -> Opened:
    """Encode texts into a temporary file.

    What comes through a pipe comes once: its ids take the place of its path.
    """
    if recipe.contents and not recipe.contents.startswith("texts "):
        raise changed_error(recipe.source)
    _require_length(recipe)
    stream = stream_input(texts, reading)
    ids = spool(iter(stream))
    refers, stated = replace(stream.origin.refers, file=_file(recipe)), stream.figures.content_sha256
    rows = _told(_cut(ids, recipe, stated), recipe, lambda: _stream_starts(stream), stream.origin.options)
    divided = hashlib.sha256(rows.documents.starts.data).hexdigest() if isinstance(rows.documents, KnownStarts) else ""
    recipe = _with_contents(recipe, f"texts {stated} {divided}")
    if any(source.size is None for source in texts.sources):
        piped = (rows.documents, rows.opens) if isinstance(rows.documents, KnownStarts) else None
        recipe = replace(recipe, source=ids, encoding=recipe.encoding or ENCODING, piped=piped)
    return Opened(recipe, rows, "texts", refers)


def _with_contents(recipe: Recipe, contents: str) -> Recipe:
    """Note what was found. Raises `InputError` if it was something else before."""
    if recipe.contents not in ("", contents):
        raise changed_error(recipe.source)
    return replace(recipe, contents=contents)


def _require_length(recipe: Recipe) -> int:
    if recipe.max_length is None:
        raise UsageError("max_length: needed, as the source is not a windows file")
    return int(recipe.max_length)


def _cut(ids: TokenStore | Array, recipe: Recipe, stated: str = "") -> StreamRows:
    max_length = _require_length(recipe)
    stride = max_length if recipe.stride is None else int(recipe.stride)
    name = str(recipe.source) if isinstance(recipe.source, Path) else "ids"
    count = require_windows(len(ids), max_length, stride, name) if recipe.packing is None else 0
    return StreamRows(ids, max_length, stride, count, stated)


def _told(
    rows: StreamRows, recipe: Recipe, find: Callable[[], KnownStarts | StoreStarts], options: object
) -> StreamRows:
    """Return rows that know their documents, where that is asked for; ``options`` are those that made the ids."""
    if recipe.marking is None:
        return rows
    separated = isinstance(options, Mapping) and options.get("separator") == "eot"
    return replace(rows, documents=find(), opens=int(separated and recipe.marking.separator_belongs == "new"))


def _stream_starts(stream: TokenStream) -> KnownStarts:
    """Return where the documents of a stream, which has ended, begin. Raises `UsageError` where it is not known."""
    if stream.figures.starts is None:
        raise unknown_documents(stream.origin.name)
    return KnownStarts(spool_places(stream.figures.starts.blocks()))


def _file_starts(file: PtFile) -> KnownStarts:
    """Return where documents begin in a tokens file. Raises `UsageError` where it does not tell."""
    starts = read_starts(file)
    if starts is None:
        raise unknown_documents(f"{file.name}: a file without document_starts")
    if file.checked:
        check_starts(starts, read_tokens(file), file.name)
    return KnownStarts(starts)


def _given(size: int | None) -> int | None:
    """Return a size that the caller chose, or None for a default."""
    return None if isinstance(size, DefaultSize) else size


def _resolved(recipe: Recipe) -> Reference | None:
    return None if recipe.encoding is None else refer_to(recipe.encoding)


def _file(recipe: Recipe) -> TokenizerFile | None:
    return recipe.encoding if isinstance(recipe.encoding, TokenizerFile) else None


def _stated(file: PtFile, key: str) -> str | None:
    """Return what a file states of itself, if it does."""
    stated = file.meta.get(key)
    return stated if isinstance(stated, str) else None


def _own_stride(file: PtFile) -> int | None:
    options = file.meta.get("options")
    return _whole(options.get("stride")) if isinstance(options, dict) else None


def _whole(stated: object) -> int | None:
    return stated if isinstance(stated, int) else None
