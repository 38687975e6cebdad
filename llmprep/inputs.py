"""Paths -> texts, a .pt file or a token store, told apart here and nowhere else; then a stream of ids, or windows.

Commands, data sets and `inspect` call `open_input`, and ``match`` on what it returns.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from typing import Any, Literal, TypeAlias

from llmprep.choices import BLOCK_BYTES, MAX_LENGTH, Reading, TextOptions, TokenizerFile
from llmprep.documents.cuts import TIKTOKEN_CUTS, Cuts
from llmprep.documents.finding import PathName, path_names
from llmprep.documents.leaving_out import find_readable
from llmprep.documents.opening import ByteStream, open_pipe, peek
from llmprep.documents.recognising import refuse_archive
from llmprep.documents.source import Counts, LeftOut, OpenFile, Source
from llmprep.errors import UsageError
from llmprep.formats.ids import Array, id_blocks
from llmprep.formats.meta import checked_meta, is_chained
from llmprep.formats.tokens import read_starts, read_tokens
from llmprep.formats.vocabularies import check_vocabulary, vocabulary_of
from llmprep.formats.windows import check_window_ids, read_stream, read_windows
from llmprep.output.temporary import temporary_file
from llmprep.ptfile.reading import FileState, PtFile, is_zip, read_pt
from llmprep.store.folder import is_store
from llmprep.store.reading import TokenStore
from llmprep.tokens.backends import Encoder
from llmprep.tokens.cutting import cuts_of
from llmprep.tokens.figures import Figures, left_out_of
from llmprep.tokens.spooling import spool
from llmprep.tokens.starts import ListedStarts
from llmprep.tokens.stream import Origin, TokenStream, count_tokens, create_encoder, stream_text
from llmprep.vocabulary.loading import load_vocabulary
from llmprep.windows.counts import require_windows
from llmprep.windows.views import view_windows

READ_BYTES = 1 << 18
GIVEN = "--text"
"""What messages call a text that is given itself; in ``meta`` its name is ``text``."""


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts that are still to be encoded: one source a file, in order."""

    sources: Sequence[Source]
    left_out: Sequence[LeftOut] = ()


Input: TypeAlias = Texts | PtFile | TokenStore
Pipes: TypeAlias = Literal["any", "texts", "unread"]
"""What may come through a pipe: texts or a .pt file, which goes into a temporary file; texts only; nothing yet."""


def open_input(
    paths: PathName | Sequence[PathName],
    reading: Reading | None = None,
    *,
    split: str | None = None,
    check: bool = True,
    known: FileState | None = None,
    pipes: Pipes = "any",
) -> Input:
    """Open what ``paths`` name: texts, one .pt file (its first bytes tell), or one token store.

    ``split`` names a part of a store. Without ``check``, the checksums of a .pt file or a store are not verified, nor
    are those of a .pt file whose state is ``known``. With ``pipes`` "texts", a .pt file that comes through a pipe is a
    `UsageError`; with "unread", it is taken for text, and nothing of it is read. A text that the reading itself gives
    is the only input. Raises `UsageError` for a store beside other inputs, and as `find_readable`, `read_pt` and
    `TokenStore` do.
    """
    reading, names = reading or Reading(), path_names(paths)
    if reading.text is not None:
        return Texts([_given_source(names, reading)])
    stores = [name for name in names if is_store(name)]
    if stores:
        if len(names) > 1:
            raise UsageError(f"{stores[0]}: is a token store, which cannot be combined with other inputs")
        return TokenStore(Path(stores[0]), split, check=check)
    sources = find_readable(names, reading, _cuts_for(reading))
    if split is not None:
        raise UsageError(f"split {split}: only a token store has splits")
    unread = pipes == "unread" and any(source.size is None for source in sources)
    if unread or len(sources) > 1 or sources.left_out:
        return Texts(sources, sources.left_out)
    return _recognise(sources[0], check=check, known=known, spooled=pipes == "any")


def _recognise(source: Source, *, check: bool = True, known: FileState | None = None, spooled: bool = True) -> Input:
    """Tell a .pt file from a text; one that comes through a pipe goes into a temporary file first."""
    source = open_pipe(source)
    if not is_zip(peek(source, 4)):
        return Texts([source])
    refuse_archive(source.path, peek(source))
    if source.size is not None:
        return read_pt(Path(source.path), check_crc=check, known=known)
    if not spooled:
        if source.pipe is not None:
            source.pipe.file.close()
        raise UsageError(f"{source.path}: a .pt file is mapped, which a pipe cannot be; save it first")
    with temporary_file() as file, closing(ByteStream(Counts(source))) as stream:
        file.writelines(iter(functools.partial(stream.read, READ_BYTES), b""))
        file.flush()
        file.seek(0)
        return read_pt(file, source.path, check_crc=check)


def _given_source(names: Sequence[str], reading: Reading) -> Source:
    """Return a text that is given itself as a source; it lies in an unnamed file, and is read as from a pipe.

    A word of the command line, where bytes that are not UTF-8 become surrogates, is again those bytes.
    """
    if names:
        raise UsageError(f"{GIVEN}: is the text itself; leave out {names[0]}, or give its text in a file")
    data = (reading.text or "").encode("utf-8", "surrogateescape")
    with temporary_file() as file:
        file.write(data)
        file.seek(0)
        opened = OpenFile(FileIO(os.dup(file.fileno())))
    source = Source(GIVEN, "text", len(data), format="jsonl" if reading.text_field else "text", pipe=opened)
    return replace(source, text_field=reading.text_field or source.text_field)


def _cuts_for(reading: Reading) -> Cuts:
    """Return the cuts of a vocabulary, where they decide what is left out: an encoding allows them all."""
    if reading.on_bad != "skip" or not isinstance(reading.encoding, TokenizerFile):
        return TIKTOKEN_CUTS
    return cuts_of(load_vocabulary(reading.encoding, reading.vocab_dir, reading.announce))


# --- a stream of ids ------------------------------------------------------------------------------


def open_tokens(paths: PathName | Sequence[PathName], reading: Reading | None = None) -> TokenStream:
    """Open texts, one tokens or windows file, or one token store, as one stream of ids.

    ``paths`` are one or several, as on the command line: folders are walked, patterns expanded, ``-`` is standard
    input. The vocabulary of texts is gpt2's unless chosen; a file or store states its own, and another is a
    `UsageError`. The stream is read once, in blocks of uint32, each (n,).
    """
    reading = reading or Reading()
    return stream_input(open_input(paths, reading), reading)


def open_each(paths: Sequence[str], reading: Reading) -> Iterator[TokenStream]:
    """Open each input as its own stream, as `open_tokens` does, small ones without threads; all are found first."""
    if reading.text is not None or any(map(is_store, paths)):
        yield open_tokens(paths, reading)
        return
    sources = find_readable(paths, reading, _cuts_for(reading))
    chosen = reading.for_text()

    @functools.cache
    def encoder() -> Encoder:
        vocabulary = load_vocabulary(chosen.encoding, reading.vocab_dir, reading.announce)
        return create_encoder(sources, vocabulary, chosen.options, chosen.effort)

    for source in sources:
        match _recognise(source):
            case Texts() as texts:
                effort = replace(chosen.effort, jobs=1) if 0 < (source.size or 0) < BLOCK_BYTES else chosen.effort
                shared = encoder()
                yield stream_text(texts.sources, shared.vocabulary, chosen.options, effort, shared, sources.left_out)
            case PtFile() as file:
                yield stream_file(file, reading)


def stream_input(found: Input, reading: Reading) -> TokenStream:
    """Stream the ids of what `open_input` has opened."""
    match found:
        case TokenStore():
            return stream_store(found, reading)
        case PtFile():
            return stream_file(found, reading)
        case Texts():
            chosen = reading.for_text()
            vocabulary = load_vocabulary(chosen.encoding, reading.vocab_dir, reading.announce)
            return stream_text(found.sources, vocabulary, chosen.options, chosen.effort, left_out=found.left_out)


def stream_store(store: TokenStore, reading: Reading) -> TokenStream:
    """Stream the ids of a token store."""
    name, manifest = str(store.folder), store.manifest
    _refuse_text_choices(name, reading)
    origin = Origin(
        name=name,
        refers=check_vocabulary(name, store.refers, reading.encoding),
        vocab_sha256=manifest.vocab_sha256,
        n_vocab=manifest.n_vocab,
        options=_text_options(manifest.options),
        vocab_dir=reading.vocab_dir,
    )
    record = {
        "name": f"{len(manifest.names)} inputs",
        "tokens": manifest.n_tokens,
        "documents": manifest.n_documents,
        "bytes": manifest.n_bytes,
        "sha256": manifest.plan_sha256,
    }
    figures = Figures(records=[record], left_out=manifest.left_out, starts=store.documents())
    return TokenStream(origin, count_tokens(store.blocks(), figures), figures)


def stream_file(file: PtFile, reading: Reading) -> TokenStream:
    """Stream the ids of a tokens file, or of the stream that a windows file was cut from."""
    (read_windows if "input_ids" in file.tensors else read_tokens)(file)  # before a vocabulary is looked for
    origin, figures = _stated_by(file, reading)
    origin = replace(origin, options=_text_options(origin.options))
    if "token_ids" in file.tensors:
        starts = read_starts(file)
        figures.starts = None if starts is None else ListedStarts(starts)
    return TokenStream(origin, count_tokens(id_blocks(read_stream(file, origin.n_vocab)), figures), figures)


def _text_options(stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return those options of a file or store that decided the ids of its texts, and where documents begin."""
    decided = TextOptions(boundaries="text").content()
    return {key: value for key, value in stated.items() if key in decided}


def _stated_by(file: PtFile, reading: Reading) -> tuple[Origin, Figures]:
    """Return what a file states of the stream that it was made from."""
    _refuse_text_choices(file.name, reading)
    meta = checked_meta(file) if file.meta else {}
    refers = vocabulary_of(file, reading.encoding)
    vocabulary = None if meta else load_vocabulary(refers, reading.vocab_dir, reading.announce)
    origin = Origin(
        name=file.name,
        refers=refers,
        vocab_sha256=vocabulary.sha256 if vocabulary else meta["vocab_sha256"],
        n_vocab=vocabulary.n_vocab if vocabulary else meta["n_vocab"],
        options=meta.get("options", {}),
        vocabulary=vocabulary,
        vocab_dir=reading.vocab_dir,
    )
    return origin, Figures(
        records=meta.get("sources", []),
        left_out=left_out_of(meta),
        n_tokens=meta.get("n_tokens", 0),
        content_sha256=meta.get("content_sha256", ""),
        chained=is_chained(meta),
    )


def _refuse_text_choices(name: str, reading: Reading) -> None:
    if (reading.options, reading.text_field, reading.on_bad, reading.skip_binary) != (None, None, None, False):
        raise UsageError(f"{name}: already holds tokens, so options for text do not apply")


# --- windows --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WindowSource:
    """Input windows ``rows`` (N, L), to be read in any order, and what is known of the stream they were cut from."""

    rows: Array
    origin: Origin
    figures: Figures


def open_windows(
    paths: PathName | Sequence[PathName],
    max_length: int | None = None,
    stride: int | None = None,
    reading: Reading | None = None,
    watch: Callable[[Sequence[Counts]], None] = lambda _: None,
) -> WindowSource:
    """Open a windows file, or cut windows from texts, a tokens file or a store.

    max_length is 256, and stride is max_length, unless given; a windows file has its own, and another is a
    `UsageError`. ``watch`` is given the counts of texts before these are read. Raises `DataError` if there is no
    window.
    """
    reading = reading or Reading()
    found = open_input(paths, reading)
    if isinstance(found, PtFile) and "input_ids" in found.tensors:
        rows, _ = read_windows(found, max_length, stride)
        origin, figures = _stated_by(found, reading)
        check_window_ids(found, origin.n_vocab)
        return WindowSource(rows, origin, figures)
    stream = stream_input(found, reading)
    watch(stream.figures.counts)
    max_length = MAX_LENGTH if max_length is None else max_length
    stride = stride or max_length
    ids = spool(iter(stream))
    require_windows(len(ids), max_length, stride, stream.origin.name)
    options = {**stream.origin.options, "max_length": max_length, "stride": stride}
    return WindowSource(
        view_windows(ids, max_length, stride)[0], replace(stream.origin, options=options), stream.figures
    )
