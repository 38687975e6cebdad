"""What a user names -> texts, a .pt file or a token store: the one recogniser; then a stream of ids, or windows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from llmprep.choices import MAX_LENGTH, Reading
from llmprep.documents.finding import PathName, find_sources, path_names
from llmprep.documents.opening import ByteStream, hold, peek
from llmprep.documents.source import Counts, Source
from llmprep.errors import UsageError, shorten
from llmprep.formats.ids import MAX_ID, Array, check_ids, id_blocks
from llmprep.formats.meta import checked_meta
from llmprep.formats.tokens import read_tokens
from llmprep.formats.windows import check_window_ids, read_stream, read_windows
from llmprep.output.temporary import temporary_file
from llmprep.ptfile.reading import FileState, PtFile, is_zip, read_pt
from llmprep.store.manifest import is_store
from llmprep.store.reading import TokenStore
from llmprep.tokens.backends import Encoder
from llmprep.tokens.figures import Figures
from llmprep.tokens.spooling import spool
from llmprep.tokens.stream import Origin, TokenStream, count_tokens, create_encoder, stream_text
from llmprep.vocabulary.loading import Vocabulary, load_vocabulary
from llmprep.vocabulary.names import resolve_encoding
from llmprep.windows.counts import require_windows
from llmprep.windows.views import view_windows

TEXT_OPTIONS = ("newlines", "separator", "special")
READ_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Texts:
    """Inputs whose tokens are still to be made: one source a file, in order."""

    sources: list[Source]


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
    """Tell what ``paths`` name: texts, one .pt file (its first bytes tell), or one token store.

    ``split`` names a part of a store. Without ``check``, checksums of a .pt file or a store are not worked out, nor
    those of a .pt file whose state is ``known``. With ``pipes`` "texts", a .pt file that comes through a pipe is a
    `UsageError`; with "unread", what comes through one is taken for text, and nothing is read of it. Raises
    `UsageError` for several inputs of which one is a store, and as `find_sources` does.
    """
    reading, names = reading or Reading(), path_names(paths)
    stores = [name for name in names if is_store(name)]
    if stores and len(names) > 1:
        raise UsageError(f"{stores[0]}: is a token store; give it alone")
    if stores:
        return TokenStore(Path(stores[0]), split, check=check)
    if split is not None:
        raise UsageError(f"split {split}: only a token store has splits")
    sources = find_sources(names, reading.text_field, reading.announce)
    if pipes == "unread" and any(source.size is None for source in sources):
        return Texts(sources)
    return _recognise(sources, check=check, known=known, spooled=pipes == "any")


def _recognise(
    sources: list[Source], *, check: bool = True, known: FileState | None = None, spooled: bool = True
) -> Texts | PtFile:
    """Tell texts from the one .pt file; one that comes through a pipe goes into a temporary file first."""
    if len(sources) != 1:
        return Texts(sources)
    source = hold(sources[0])
    if not is_zip(peek(source, 4)):
        return Texts([source])
    if source.size is not None:
        return read_pt(Path(source.path), check_crc=check, known=known)
    if not spooled:
        if source.held is not None:
            source.held.file.close()
        raise UsageError(f"{source.path}: a .pt file is mapped, which a pipe cannot be; save it first")
    with temporary_file() as file, closing(ByteStream(Counts(source))) as stream:
        while data := stream.read(READ_BYTES):
            file.write(data)
        file.flush()
        file.seek(0)
        return read_pt(file, source.path, check_crc=check)


# --- a stream of ids ------------------------------------------------------------------------------


def open_tokens(paths: PathName | Sequence[PathName], reading: Reading | None = None) -> TokenStream:
    """Open texts, one tokens or windows file, or one token store, as one stream of ids.

    ``paths`` are one or several, as on the command line: folders are walked, patterns expanded, ``-`` is standard
    input. The encoding is gpt2 for texts unless chosen; a file or store states its own, and another is a `UsageError`.
    The stream is read once, in blocks of uint32, each (n,).

    >>> stream = open_tokens("story.txt")  # doctest: +SKIP
    >>> [len(ids) for ids in stream], stream.figures.n_tokens  # doctest: +SKIP
    ([6259], 6259)
    """
    reading = reading or Reading()
    return stream_input(open_input(paths, reading), reading)


def open_each(paths: Sequence[str], reading: Reading) -> Iterator[TokenStream]:
    """Open each input as a stream of its own, as `open_tokens` does; all are found before any is read."""
    if any(map(is_store, paths)):
        yield open_tokens(paths, reading)
        return
    sources = find_sources(paths, reading.text_field, reading.announce)
    chosen = reading.for_text()

    @functools.cache
    def encoder() -> Encoder:
        vocabulary = load_vocabulary(chosen.encoding, reading.vocab_dir, reading.announce)
        return create_encoder(sources, vocabulary, chosen.options, chosen.effort)

    for source in sources:
        match _recognise([source]):
            case Texts() as texts:
                yield stream_text(texts.sources, encoder().vocabulary, chosen.options, chosen.effort, encoder())
            case PtFile() as file:
                yield stream_file(file, reading)


def stream_input(found: Input, reading: Reading) -> TokenStream:
    """Stream the ids of what `open_input` has found."""
    match found:
        case TokenStore():
            return stream_store(found, reading)
        case PtFile():
            return stream_file(found, reading)
        case Texts():
            chosen = reading.for_text()
            vocabulary = load_vocabulary(chosen.encoding, reading.vocab_dir, reading.announce)
            return stream_text(found.sources, vocabulary, chosen.options, chosen.effort)


def stream_store(store: TokenStore, reading: Reading) -> TokenStream:
    """Stream the ids of a token store, whose tokens are made already."""
    name = str(store.folder)
    _refuse_text_choices(name, reading)
    values = store.manifest.values
    origin = Origin(
        name=name,
        encoding=check_encoding(name, values["encoding"], reading.encoding),
        vocab_sha256=values["vocab_sha256"],
        n_vocab=values["n_vocab"],
        options={key: values["options"][key] for key in TEXT_OPTIONS if key in values["options"]},
        vocab_dir=reading.vocab_dir,
    )
    record = {
        "name": f"{len(values['sources'])} inputs",
        "tokens": values["n_tokens"],
        "documents": values["n_documents"],
        "bytes": sum(size for _, size in values["sources"]),
        "sha256": values["plan_sha256"],
    }
    figures = Figures(records=[record])
    return TokenStream(origin, count_tokens(store.blocks(), figures), figures)


def stream_file(file: PtFile, reading: Reading) -> TokenStream:
    """Stream the ids of a tokens file, or the token stream that a windows file was cut from."""
    (read_windows if "input_ids" in file.tensors else read_tokens)(file)  # what holds no ids needs no vocabulary
    origin, figures = _stated_by(file, reading)
    origin = replace(origin, options={key: value for key, value in origin.options.items() if key in TEXT_OPTIONS})
    ids = read_stream(file, origin.n_vocab)
    return TokenStream(origin, count_tokens(id_blocks(ids), figures), figures)


def _stated_by(file: PtFile, reading: Reading) -> tuple[Origin, Figures]:
    """Return what a file states of the stream that it was made from."""
    _refuse_text_choices(file.name, reading)
    meta = checked_meta(file) if file.meta else {}
    encoding = encoding_of(file, reading.encoding)
    vocabulary = None if meta else load_vocabulary(encoding, reading.vocab_dir, reading.announce)
    origin = Origin(
        name=file.name,
        encoding=encoding,
        vocab_sha256=vocabulary.sha256 if vocabulary else meta["vocab_sha256"],
        n_vocab=vocabulary.n_vocab if vocabulary else meta["n_vocab"],
        options=meta.get("options", {}),
        vocabulary=vocabulary,
        vocab_dir=reading.vocab_dir,
    )
    figures = Figures(
        records=meta.get("sources", []),
        n_tokens=meta.get("n_tokens", 0),
        content_sha256=meta.get("content_sha256", ""),
    )
    return origin, figures


def _refuse_text_choices(name: str, reading: Reading) -> None:
    if reading.options is not None or reading.text_field is not None:
        raise UsageError(f"{name}: its tokens are made already; options for text do not apply")


# --- windows --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WindowSource:
    """Input windows (N, L), to be read in any order, and what is known of the stream they were cut from."""

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
    """Open a windows file, or cut windows from texts, a tokens file or a store (max_length is then 256 unless given).

    ``watch`` is given the counts of texts before these are read.
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


# --- what a file or store says of its vocabulary --------------------------------------------------


def encoding_of(file: PtFile, encoding: str | None = None) -> str:
    """Return the encoding a file was made with; one that is asked for must be the same.

    Raises `UsageError` for another one, and for a file of another program, which states none, if none is asked for.
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


def check_file_ids(
    file: PtFile, encoding: str | None = None, load: Callable[[str], Vocabulary] = load_vocabulary
) -> None:
    """Check the ids of a tokens or windows file against the vocabulary that the file, or else ``encoding``, names.

    Where neither names one, no id may be negative. Raises `FileFormatError`, and `UsageError` for another encoding.
    """
    if file.meta:
        n_vocab = checked_meta(file)["n_vocab"]
        encoding_of(file, encoding)
    else:
        n_vocab = MAX_ID + 1 if encoding is None else load(encoding).n_vocab
    if "input_ids" in file.tensors:
        read_windows(file)
        check_window_ids(file, n_vocab)
    else:
        check_ids(read_tokens(file), n_vocab, file.name)
