"""Documents -> ids, in blocks, exactly as tiktoken encodes the whole text.

A `TokenStream` is read once, from front to back. Its figures (tokens, hash, special tokens found) are complete when
it has been read to the end. Between documents, never after the last, stands the end-of-text id.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from llmprep.documents import BLOCK_BYTES, Block, Newlines, Source, read_blocks
from llmprep.errors import DataError, OutputError
from llmprep.vocabulary import END_OF_TEXT, Announce, Vocabulary, load_vocabulary

Ids = npt.NDArray[np.uint32]
Encode: TypeAlias = Callable[[Block], Ids]
Separator: TypeAlias = Literal["eot", "none"]
Special: TypeAlias = Literal["allow", "text", "error"]


@dataclass(frozen=True, slots=True)
class TextOptions:
    """The options that decide which ids a text becomes."""

    newlines: Newlines = "universal"
    separator: Separator = "eot"
    special: Special = "allow"


@dataclass(slots=True)
class TokenStream:
    """Ids in blocks of uint32, to be read once; the figures fill up on the way.

    ``sources`` are records of name, bytes, sha256 and tokens (separators belong to no source).
    ``n_special`` counts the end-of-text strings that stood in the texts themselves. ``head`` keeps the first
    ``head_size`` ids, for a preview.
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

    def __iter__(self) -> Iterator[Ids]:
        """Yield the blocks; afterwards every figure is final."""
        digest = hashlib.sha256()
        self.n_tokens = 0
        for block in self.blocks:
            self.n_tokens += len(block)
            if len(self.head) < self.head_size:
                self.head += block[: self.head_size - len(self.head)].tolist()
            digest.update(np.ascontiguousarray(block, "<u4").data)
            yield block
        self.content_sha256 = digest.hexdigest()

    def require_vocabulary(self, announce: Announce | None = None, *, download: bool = True) -> Vocabulary:
        """Return the vocabulary of the ids; a stream from a file loads it when first asked."""
        if self.vocabulary is None:
            self.vocabulary = load_vocabulary(self.encoding, self.vocab_dir, announce, download=download)
        return self.vocabulary

    @property
    def sources(self) -> list[dict[str, Any]]:
        """One record per input, in order, for ``meta``."""
        return self.records or [
            {"name": s.name, "bytes": s.n_bytes, "sha256": s.sha256, "tokens": s.n_tokens} for s in self.documents
        ]


def stream_text(
    sources: list[Source], vocabulary: Vocabulary, options: TextOptions, block_bytes: int = BLOCK_BYTES
) -> TokenStream:
    """Encode documents in order into one stream."""
    stream = TokenStream(
        name=sources[0].path if len(sources) == 1 else f"{len(sources)} inputs",
        encoding=vocabulary.name,
        vocab_sha256=vocabulary.sha256,
        n_vocab=vocabulary.n_vocab,
        options=asdict(options),
        blocks=iter(()),
        vocabulary=vocabulary,
        documents=sources,
    )
    encode = tiktoken_encoder(vocabulary, options.special)
    stream.blocks = _encode_all(stream, vocabulary, encode, block_bytes)
    return stream


def _encode_all(stream: TokenStream, vocabulary: Vocabulary, encode: Encode, block_bytes: int) -> Iterator[Ids]:
    separator = np.array([vocabulary.eot_id], np.uint32)
    specials = special_pattern(vocabulary)
    begun = False
    for source in stream.documents:
        for block in read_blocks(source, stream.options["newlines"], block_bytes):
            if begun and not source.n_tokens and stream.options["separator"] == "eot":
                yield separator
            begun = True
            stream.n_special += _count_special(block, specials, stream.options["special"])
            ids = encode(block)
            source.n_tokens += len(ids)
            yield ids
    if not begun:
        raise DataError(f"{stream.name}: empty: 0 tokens")


def special_pattern(vocabulary: Vocabulary) -> re.Pattern[bytes]:
    """Match any special token of a vocabulary in UTF-8 bytes."""
    return re.compile(b"|".join(re.escape(token.encode()) for token in vocabulary.special_tokens))


def _count_special(block: Block, specials: re.Pattern[bytes], special: str) -> int:
    """Count end-of-text strings; with ``error``, refuse any special token and say where it stands."""
    if b"<|" not in block.raw:
        return 0
    found = specials.search(block.raw)
    if special == "error" and found:
        raise DataError(
            f"{block.source.path}: special token {found.group().decode()} in the text at byte "
            f"{block.offset + found.start()}; --special allow takes it as its id, --special text as plain text"
        )
    return block.raw.count(END_OF_TEXT.encode())


def tiktoken_encoder(vocabulary: Vocabulary, special: Special) -> Encode:
    """Return the function that encodes one block with tiktoken.

    Only the end-of-text string can become a special id, and only with ``special="allow"``; all others stay text,
    which is what the reference's ``allowed_special={"<|endoftext|>"}`` does.
    """
    from tiktoken import Encoding

    encoding = Encoding(
        vocabulary.name,
        pat_str=vocabulary.pattern,
        mergeable_ranks=vocabulary.ranks,
        special_tokens=vocabulary.special_tokens,
    )
    allowed = {END_OF_TEXT} if special == "allow" else set()

    def encode(block: Block) -> Ids:
        try:
            return encoding.encode_to_numpy(block.text, allowed_special=allowed, disallowed_special=())
        except ValueError as error:
            raise DataError(
                f"{block.source.path}: tiktoken cannot encode the text from byte {block.offset} to byte "
                f"{block.offset + len(block.raw)}: {str(error)[:80]}; a run of about 1,000,000 white-space "
                f"characters is too long for it, shorten it"
            ) from error

    return encode


def encode_text(text: str, encoding: str = "gpt2", *, special: Special = "allow") -> npt.NDArray[np.int64]:
    """Encode a text; returns ids (n,) int64, equal to tiktoken's.

    >>> encode_text("I HAD always").tolist()
    [40, 367, 2885, 1464]
    """
    vocabulary = load_vocabulary(encoding)
    if not text.isascii():
        # Halves of surrogate pairs, which no UTF-8 file can hold: joined or replaced, as tiktoken's ``encode`` does.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    data = text.encode()
    block = Block(Source("text", "text"), text, data, 0)
    _count_special(block, special_pattern(vocabulary), special)
    return tiktoken_encoder(vocabulary, special)(block).astype(np.int64)


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


@contextmanager
def temporary_file(folder: Path | None = None) -> Iterator[BinaryIO]:
    """Open an unnamed temporary file; `OutputError` says where there is no room for one."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            yield file
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        place = folder or tempfile.tempdir or "any temporary folder"
        raise OutputError(f"temporary file in {place}: {reason}; TMPDIR names another folder") from error


def _spool_into(file: BinaryIO, blocks: Iterator[Ids]) -> Ids:
    size = 0
    for block in blocks:
        size += file.write(np.ascontiguousarray(block, "<u4").data)
    file.flush()
    return np.memmap(file, "<u4", mode="r", shape=(size // 4,)) if size else np.empty(0, np.uint32)
