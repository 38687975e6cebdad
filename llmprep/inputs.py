"""What a user names -> one stream of ids, or windows: texts, a .pt file (its first bytes tell) or a token store."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from llmprep.choices import Announce, Effort, TextOptions
from llmprep.documents.finding import find_sources
from llmprep.documents.opening import close_source, open_source, peek
from llmprep.documents.source import Source
from llmprep.errors import DataError, UsageError, shorten
from llmprep.formats.ids import MAX_ID, Array, check_ids, id_blocks
from llmprep.formats.meta import checked_meta
from llmprep.formats.tokens import file_tokens
from llmprep.formats.windows import check_window_ids, file_windows
from llmprep.output.temporary import temporary_file
from llmprep.ptfile.reading import PtFile, is_zip, read_pt
from llmprep.store.manifest import is_store
from llmprep.store.reading import TokenStore
from llmprep.tokens.backends import Encoder
from llmprep.tokens.spooling import spool
from llmprep.tokens.stream import TokenStream, create_encoder, stream_text
from llmprep.tokens.threads import Hashing
from llmprep.vocabulary.loading import Vocabulary, load_vocabulary
from llmprep.vocabulary.names import resolve_encoding
from llmprep.windows.counts import require_windows, split_place
from llmprep.windows.views import stream_of, view_windows


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


def split_stream(stream: TokenStream, val_fraction: float) -> list[TokenStream]:
    """Cut a stream once, before windowing, so that the two parts share no token: [train, val].

    The last ``floor(n * val_fraction)`` tokens are for validation.
    """
    ids = spool(iter(stream))
    cut = split_place(len(ids), val_fraction)
    return [
        replace(
            stream,
            name=f"{stream.name} ({part})",
            options={**stream.options, "val_fraction": val_fraction, "part": part},
            blocks=id_blocks(held),
            records=stream.sources,
            n_tokens=0,
            head=[],
            hashing=Hashing(threaded=False),
        )
        for part, held in (("train", ids[:cut]), ("val", ids[cut:]))
    ]


TEXT_OPTIONS = ("newlines", "separator", "special")
READ_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Reading:
    """How inputs are read. ``None`` stands for what was not chosen: a .pt file has made those choices already.

    ``announce`` is told what a person should know meanwhile; ``watch`` sees the sources before they are read.
    """

    encoding: str | None = None
    options: TextOptions | None = None
    vocab_dir: str | None = None
    text_field: str | None = None
    effort: Effort | None = None
    announce: Announce | None = None
    watch: Callable[[list[Source]], None] | None = None


def open_tokens(paths: Sequence[str], reading: Reading | None = None) -> TokenStream:
    """Open texts, or one tokens or windows .pt file (its first bytes tell), as one stream of ids.

    The encoding is gpt2 for texts unless chosen; a .pt file knows its own, and refuses another.
    """
    reading = reading or Reading()
    store = only_store(paths)
    if store:
        return stream_store(store, reading)
    sources = find_sources(paths, reading.text_field, reading.announce)
    file = open_pt(sources)
    return stream_file(file, reading) if file else _stream_sources(sources, reading)


def only_store(paths: Sequence[str]) -> TokenStore | None:
    """Open the token store that is the one input, None if there is none. Raises `UsageError` for one among several."""
    stores = [path for path in paths if is_store(path)]
    if stores and len(paths) > 1:
        raise UsageError(f"{stores[0]}: is a token store; give it alone")
    return TokenStore(Path(stores[0])) if stores else None


def is_text(paths: Sequence[str]) -> bool:
    """Tell texts from one .pt file or token store; what comes through a pipe counts as text."""
    if only_store(paths) is not None:
        return False
    sources = find_sources(paths)
    if len(sources) != 1 or sources[0].size is None:
        return True
    is_pt = is_zip(peek(sources[0], 4))
    close_source(sources[0])
    return not is_pt


def stream_store(store: TokenStore, reading: Reading) -> TokenStream:
    """Stream the ids of a token store, whose tokens are made already."""
    _refuse_text_choices(str(store.folder), reading)
    values = store.manifest.values
    return TokenStream(
        name=str(store.folder),
        encoding=check_encoding(str(store.folder), values["encoding"], reading.encoding),
        vocab_sha256=values["vocab_sha256"],
        n_vocab=values["n_vocab"],
        options={key: values["options"][key] for key in TEXT_OPTIONS if key in values["options"]},
        blocks=store.blocks(),
        records=[
            {
                "name": f"{len(values['sources'])} inputs",
                "tokens": values["n_tokens"],
                "documents": values["n_documents"],
                "bytes": sum(size for _, size in values["sources"]),
                "sha256": values["plan_sha256"],
            }
        ],
    )


def open_each(paths: Sequence[str], reading: Reading) -> Iterator[TokenStream]:
    """Open each input as a stream of its own, as `open_tokens` does; all are checked before any is read."""
    store = only_store(paths)
    if store:
        yield stream_store(store, reading)
        return
    sources = find_sources(paths, reading.text_field, reading.announce)

    @functools.cache
    def encoder() -> Encoder:
        vocabulary = load_vocabulary(reading.encoding or "gpt2", reading.vocab_dir, reading.announce)
        return create_encoder(sources, vocabulary, reading.options, reading.effort)

    for source in sources:
        file = open_pt([source])
        if file:
            yield stream_file(file, reading)
        else:
            yield stream_text([source], encoder().vocabulary, reading.options, reading.effort, encoder())


def _stream_sources(sources: list[Source], reading: Reading) -> TokenStream:
    if reading.watch is not None:
        reading.watch(sources)
    vocabulary = load_vocabulary(reading.encoding or "gpt2", reading.vocab_dir, reading.announce)
    return stream_text(sources, vocabulary, reading.options, reading.effort)


def open_pt(sources: Sequence[Source]) -> PtFile | None:
    """Read the one input if it is a .pt file; one that comes through a pipe goes into a temporary file first."""
    if len(sources) != 1:
        return None
    (source,) = sources
    is_pt = is_zip(peek(source, 4))
    if source.size is not None:
        close_source(source)
    if not is_pt:
        return None
    if source.size is not None:
        return read_pt(Path(source.path))
    with temporary_file() as spooled:
        stream = open_source(source)
        while data := stream.read(READ_BYTES):
            spooled.write(data)
        close_source(source)
        spooled.flush()
        spooled.seek(0)
        return read_pt(spooled, source.path)


def stream_file(file: PtFile, reading: Reading | None = None) -> TokenStream:
    """Stream the ids of a tokens file, or the token stream that a windows file was cut from."""
    (file_windows if "input_ids" in file.tensors else file_tokens)(file)  # what holds no ids needs no vocabulary
    stream = _stream_of_meta(file, reading or Reading())
    stream.blocks = id_blocks(checked_stream(file, stream.n_vocab))
    stream.options = {key: value for key, value in stream.options.items() if key in TEXT_OPTIONS}
    return stream


def _stream_of_meta(file: PtFile, reading: Reading) -> TokenStream:
    """A stream with the figures that a file states of itself, and no blocks."""
    _refuse_text_choices(file.name, reading)
    meta = file.meta
    if meta:
        checked_meta(file)
    name = encoding_of(file, reading.encoding)
    vocabulary = None if meta else load_vocabulary(name, reading.vocab_dir, reading.announce)
    return TokenStream(
        name=file.name,
        encoding=name,
        vocab_sha256=vocabulary.sha256 if vocabulary else meta["vocab_sha256"],
        n_vocab=vocabulary.n_vocab if vocabulary else meta["n_vocab"],
        options=meta.get("options", {}),
        blocks=iter(()),
        vocabulary=vocabulary,
        vocab_dir=reading.vocab_dir,
        records=meta.get("sources", []),
        n_tokens=meta.get("n_tokens", 0),
        content_sha256=meta.get("content_sha256", ""),
    )


def _refuse_text_choices(name: str, reading: Reading) -> None:
    if reading.options is not None or reading.text_field is not None:
        raise UsageError(f"{name}: its tokens are made already; options for text do not apply")


@dataclass(frozen=True, slots=True)
class WindowSource:
    """Input windows (N, L), to be read in any order, and the stream they were cut from, read to its end."""

    rows: Array
    stream: TokenStream


def open_windows(
    paths: Sequence[str], max_length: int | None, stride: int | None, reading: Reading | None = None
) -> WindowSource:
    """Open a windows file, or cut windows from texts or a tokens file (max_length is then 256 unless given)."""
    reading = reading or Reading()
    store = only_store(paths)
    sources = [] if store else find_sources(paths, reading.text_field, reading.announce)
    file = open_pt(sources)
    if file and "input_ids" in file.tensors:
        rows, _ = file_windows(file, max_length, stride)
        stream = _stream_of_meta(file, reading)
        check_window_ids(file, stream.n_vocab)
        return WindowSource(rows, stream)
    stream = (
        stream_store(store, reading)
        if store
        else stream_file(file, reading)
        if file
        else _stream_sources(sources, reading)
    )
    max_length = 256 if max_length is None else max_length
    stride = stride or max_length
    ids = spool(iter(stream))
    require_windows(len(ids), max_length, stride, stream.name)
    stream.options = {**stream.options, "max_length": max_length, "stride": stride}
    return WindowSource(view_windows(ids, max_length, stride)[0], stream)
