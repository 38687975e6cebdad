"""Documents -> ids, in blocks, exactly as tiktoken encodes the whole text.

A `TokenStream` is read once, from front to back. Its figures (tokens, hash, special tokens found) are complete when it
has been read to the end. Between documents, never after the last, stands the end-of-text id.

With ``jobs`` > 1, blocks are encoded by that many threads and hashed by one more, while the caller writes; the order of
blocks, and so every byte, stays the same.
"""

from __future__ import annotations

import functools
import hashlib
import os
import queue
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias, TypeVar, get_args

import numpy as np
import numpy.typing as npt

from llmprep.backends import BackendName, Encoder
from llmprep.documents import BLOCK_BYTES, Block, Newlines, Source, read_blocks
from llmprep.errors import DataError, EmptyError, LlmprepError, UsageError
from llmprep.ptfile import map_file, temporary_file
from llmprep.vocabulary import (
    END_OF_TEXT,
    Announce,
    Vocabulary,
    chosen_folder,
    load_vocabulary,
    resolve_encoding,
    warn_of,
)

if TYPE_CHECKING:
    from concurrent.futures import Future

Ids = npt.NDArray[np.uint32]
Separator: TypeAlias = Literal["eot", "none"]
Special: TypeAlias = Literal["allow", "text", "error"]
T = TypeVar("T")
R = TypeVar("R")

PART_BYTES = 1 << 14
"""Small blocks go to a thread together until there is so much text."""

MAX_SOURCES = 1024
"""Up to so many inputs are listed one by one in ``meta``; more are summed up in one record."""


@dataclass(frozen=True, slots=True)
class TextOptions:
    """The options that decide which ids a text becomes."""

    newlines: Newlines = "universal"
    separator: Separator = "eot"
    special: Special = "allow"

    def content(self) -> dict[str, str]:
        """Return them for ``meta``."""
        return {"newlines": self.newlines, "separator": self.separator, "special": self.special}


@dataclass(frozen=True, slots=True)
class Effort:
    """How to encode: nothing here changes a byte. ``jobs`` threads encode; 1 means no threads at all."""

    backend: BackendName = "auto"
    jobs: int = 1
    block_bytes: int = BLOCK_BYTES


@dataclass(slots=True)
class TokenStream:
    """Ids in blocks of uint32, to be read once; the figures fill up on the way.

    ``sources`` are records of name, bytes, sha256, tokens and documents (separators belong to no source), and where
    there are such, of the number of empty records and the gaps that they leave (as `Source` has them).
    ``n_special`` counts the end-of-text strings that stood in the texts themselves. ``head`` keeps the first
    ``head_size`` ids, for a preview. ``used`` says which backend encoded how many blocks.
    """

    name: str
    encoding: str
    vocab_sha256: str
    n_vocab: int
    options: Mapping[str, Any]
    blocks: Iterator[Ids] = field(repr=False)
    vocabulary: Vocabulary | None = field(default=None, repr=False)
    vocab_dir: str | None = None
    documents: list[Source] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    n_tokens: int = 0
    n_special: int = 0
    content_sha256: str = ""
    head_size: int = 0
    head: list[int] = field(default_factory=list, repr=False)
    used: Mapping[str, int] = field(default_factory=dict)
    hashing: Hashing = field(default_factory=lambda: Hashing(threaded=False), repr=False)

    def __iter__(self) -> Iterator[Ids]:
        """Yield the blocks; afterwards every figure is final."""
        digest = hashlib.sha256()
        self.n_tokens = 0
        with self.hashing as run:
            for block in self.blocks:
                self.n_tokens += len(block)
                if len(self.head) < self.head_size:
                    self.head += block[: self.head_size - len(self.head)].tolist()
                run(digest.update, np.ascontiguousarray(block, "<u4").data)
                yield block
        self.content_sha256 = digest.hexdigest()

    def require_vocabulary(self, announce: Announce | None = None, *, download: bool = True) -> Vocabulary:
        """Return the vocabulary of the ids; a stream from a file loads it when first asked."""
        if self.vocabulary is None:
            self.vocabulary = load_vocabulary(self.encoding, self.vocab_dir, announce, download=download)
        return self.vocabulary

    @property
    def sources(self) -> list[dict[str, Any]]:
        """One record per input, in order, for ``meta``; of more than `MAX_SOURCES`, one for all."""
        return self.records or sum_or_list(self.documents)


def sum_or_list(sources: Sequence[Source]) -> list[dict[str, Any]]:
    """Return one record per input, in order; of more than `MAX_SOURCES`, one for all."""
    return [sum_sources(sources)] if len(sources) > MAX_SOURCES else [source_record(source) for source in sources]


def source_record(source: Source) -> dict[str, Any]:
    """Return what ``meta`` says of one input."""
    record: dict[str, Any] = {
        "name": source.name,
        "bytes": source.n_bytes,
        "sha256": source.sha256,
        "tokens": source.n_tokens,
        "documents": source.n_documents,
    }
    return (
        record
        | ({"empty": source.n_empty} if source.n_empty else {})
        | ({} if source.gaps == [] else {"gaps": source.gaps})
    )


def sum_sources(sources: Sequence[Source]) -> dict[str, Any]:
    """Return one record for many inputs; its sha256 is of the list that ``sha256sum`` prints for them."""
    listing = hashlib.sha256()
    for source in sources:
        listing.update(f"{source.sha256}  {source.name}\n".encode())
    return {
        "name": f"{len(sources)} inputs",
        "bytes": sum(source.n_bytes for source in sources),
        "sha256": listing.hexdigest(),
        "tokens": sum(source.n_tokens for source in sources),
        "documents": sum(source.n_documents for source in sources),
    } | ({"empty": n_empty} if (n_empty := sum(source.n_empty for source in sources)) else {})


def stream_text(
    sources: list[Source],
    vocabulary: Vocabulary,
    options: TextOptions | None = None,
    effort: Effort | None = None,
    encoder: Encoder | None = None,
    *,
    follows: bool = False,
) -> TokenStream:
    """Encode documents in order into one stream.

    ``encoder`` is one made before with the same options. With ``follows``, the stream continues another: a document
    that begins in it has its separator in front, and it may be empty.
    """
    options, effort = options or TextOptions(), effort or Effort()
    encoder = encoder or create_encoder(sources, vocabulary, options, effort)
    stream = TokenStream(
        name=sources[0].path if len(sources) == 1 else f"{len(sources)} inputs",
        encoding=vocabulary.name,
        vocab_sha256=vocabulary.sha256,
        n_vocab=vocabulary.n_vocab,
        options=options.content(),
        blocks=iter(()),
        vocabulary=vocabulary,
        documents=sources,
        used=encoder.used,
        hashing=Hashing(threaded=effort.jobs > 1),
    )
    stream.blocks = _encode_all(stream, encoder, options, effort, follows=follows)
    return stream


def create_encoder(
    sources: Sequence[Source], vocabulary: Vocabulary, options: TextOptions | None = None, effort: Effort | None = None
) -> Encoder:
    """Return what encodes these sources."""
    options, effort = options or TextOptions(), effort or Effort()
    expected = sum(source.size or 0 for source in sources)
    return Encoder(vocabulary, options.special, effort.backend, expected, effort.jobs)


def _encode_all(
    stream: TokenStream, encoder: Encoder, options: TextOptions, effort: Effort, *, follows: bool
) -> Iterator[Ids]:
    """Yield ids in order, a separator before each document but the stream's first."""
    eot_id = encoder.vocabulary.eot_id
    separator = np.array([eot_id], np.uint32)
    specials = special_pattern(encoder.vocabulary)

    def encode(block: Block) -> tuple[Block, Ids, int]:
        found = count_special(block, specials, options.special)
        return block, encoder.encode(block), found

    def encode_part(part: list[Block]) -> list[tuple[Block, Ids, int]]:
        return [encode(block) for block in part]

    blocks = (
        block
        for source in stream.documents
        for block in read_blocks(source, options.newlines, effort.block_bytes, stream.hashing.run)
    )
    begun = follows
    with closing(blocks):  # an error leaves no input open
        parts = map_in_order(
            encode_part, _in_parts(blocks, min(PART_BYTES, effort.block_bytes) if effort.jobs > 1 else 0), effort.jobs
        )
        for block, ids, n_special in chain.from_iterable(parts):
            if begun and block.first and options.separator == "eot":
                yield separator
            begun = True
            stream.n_special += n_special
            block.source.n_tokens += len(ids) - block.seams
            yield ids[ids != eot_id] if block.seams and options.separator == "none" else ids
    if not begun:
        raise EmptyError(f"{stream.name}: empty: 0 tokens")


def _in_parts(blocks: Iterator[Block], n_bytes: int) -> Iterator[list[Block]]:
    """Gather small blocks up to a size: to hand one to a thread costs more than to encode it. Large ones go alone."""
    part: list[Block] = []
    size = 0
    try:
        for block in blocks:
            if part and size + len(block.data) > n_bytes:
                yield part
                part, size = [], 0
            part.append(block)
            size += len(block.data)
            if size >= n_bytes:
                yield part
                part, size = [], 0
    except LlmprepError:
        if part:
            yield part  # an error in it comes first
        raise
    if part:
        yield part


def map_in_order(function: Callable[[T], R], items: Iterable[T], jobs: int) -> Iterator[R]:
    """Yield ``function(item)`` in order, computed by ``jobs`` threads a few items ahead; with 1, by this thread.

    The first error in order is the one that is raised, whichever thread was faster.
    """
    if jobs == 1:
        yield from map(function, items)
        return
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(jobs)
    ahead: deque[Future[R]] = deque()
    failure: LlmprepError | None = None
    coming = iter(items)
    try:
        while failure is None:
            try:
                ahead.append(pool.submit(function, next(coming)))
            except StopIteration:
                break
            except LlmprepError as error:
                failure = error
            if len(ahead) > 2 * jobs or (ahead and ahead[0].done()):
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
        if failure is not None:
            raise failure
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


Task: TypeAlias = tuple[Callable[..., object], tuple[Any, ...]]


class Hashing:
    """Runs hash updates in order: at once, or in a thread of their own that keeps a bounded distance."""

    def __init__(self, *, threaded: bool) -> None:
        self._queue: queue.Queue[list[Task]] | None = queue.Queue(64) if threaded else None
        self._thread: threading.Thread | None = None
        self._part: list[Task] = []
        self._size = 0

    def __enter__(self) -> Callable[..., None]:
        if self._queue is not None:
            self._thread = threading.Thread(target=self._work, args=(self._queue,), daemon=True)
            self._thread.start()
        return self.run

    def __exit__(self, *_: object) -> None:
        if self._queue is not None and self._thread is not None:
            if self._part:
                self._queue.put(self._part)
            self._queue.put([])
            self._thread.join()

    def run(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call ``function(*arguments)`` after all calls given before; small ones go to the thread together."""
        if self._queue is None:
            function(*arguments)
            return
        self._part.append((function, arguments))
        self._size += sum(map(len, arguments))
        if self._size >= PART_BYTES:
            self._queue.put(self._part)
            self._part, self._size = [], 0

    @staticmethod
    def _work(parts: queue.Queue[list[Task]]) -> None:
        while part := parts.get():
            for function, arguments in part:
                function(*arguments)


def special_pattern(vocabulary: Vocabulary) -> re.Pattern[bytes]:
    """Match any special token of a vocabulary in UTF-8 bytes."""
    return re.compile(b"|".join(re.escape(token.encode()) for token in vocabulary.special_tokens))


def count_special(block: Block, specials: re.Pattern[bytes], special: str) -> int:
    """Count end-of-text strings in the text; with ``error``, refuse any special token and say where it stands."""
    if b"|" not in block.data:
        return 0
    if special == "error":
        joints = block.seams and END_OF_TEXT.encode()
        found = next((f for f in specials.finditer(block.raw or block.data) if f.group() != joints), None)
        if found:
            where = block.place or f"byte {block.offset + found.start()}"
            raise DataError(
                f"{block.source.path}: special token {found.group().decode()} in the text at {where}; "
                f"--special allow takes it as its id, --special text as plain text"
            )
    return block.data.count(END_OF_TEXT.encode()) - block.seams


def encode_text(
    text: str,
    encoding: str = "gpt2",
    *,
    special: Special = "allow",
    vocab_dir: str | os.PathLike[str] | None = None,
) -> npt.NDArray[np.int64]:
    """Encode a text; returns ids (n,) int64, equal to tiktoken's. Encoders are kept, so later calls are quick.

    A vocabulary that is not part of the package is looked for in ``vocab_dir`` first, or else in the folder that
    LLMPREP_VOCAB_DIR names; a download is announced by a warning.

    Raises `UsageError` for what is no text and no choice, `VocabularyError` for an unknown encoding.

    >>> encode_text("I HAD always").tolist()
    [40, 367, 2885, 1464]
    """
    if not isinstance(text, str):
        raise UsageError(f"text: must be a str, not {type(text).__name__}")
    if str(special) not in get_args(Special):
        raise UsageError(f"special {special!r:.40}: must be {', '.join(get_args(Special))}")
    encoder, specials = _text_encoder(resolve_encoding(encoding), special, chosen_folder(vocab_dir))
    if not text.isascii():
        # Halves of surrogate pairs, which no UTF-8 file can hold: joined or replaced, as tiktoken's ``encode`` does.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    data = text.encode()
    block = Block(Source("text", "text"), data, data, 0)
    count_special(block, specials, special)
    return encoder.encode(block).astype(np.int64)


@functools.lru_cache(maxsize=8)
def _text_encoder(encoding: str, special: Special, vocab_dir: str | None) -> tuple[Encoder, re.Pattern[bytes]]:
    vocabulary = load_vocabulary(encoding, vocab_dir, warn_of)
    return Encoder(vocabulary, special, "tiktoken"), special_pattern(vocabulary)


def token_table(vocabulary: Vocabulary) -> dict[int, bytes]:
    """Return the bytes of every id, special tokens included."""
    table = {rank: token for token, rank in vocabulary.ranks.items()}
    table.update({rank: token.encode() for token, rank in vocabulary.special_tokens.items()})
    return table


def decode_ids(ids: Sequence[int], table: Mapping[int, bytes]) -> str:
    """Decode ids to text; a part of a character becomes U+FFFD, as in tiktoken's ``decode``.

    An id that the vocabulary leaves unused has no text: it becomes U+FFFD too.
    """
    return b"".join(table.get(i, b"\xff") for i in ids).decode("utf-8", "replace")


def spool(blocks: Iterator[Ids], folder: Path | None = None) -> Ids:
    """Put a stream into an unnamed temporary file and map it: (n,) uint32, for what must be read twice."""
    with temporary_file(folder) as file:
        return _spool_into(file, blocks)


def _spool_into(file: BinaryIO, blocks: Iterator[Ids]) -> Ids:
    size = 0
    for block in blocks:
        size += file.write(np.ascontiguousarray(block, "<u4").data)
    file.flush()
    return np.frombuffer(map_file(file), "<u4") if size else np.empty(0, np.uint32)
