"""Documents -> ids, in blocks, exactly as tiktoken encodes the whole text.

A `TokenStream` is read once, from front to back. Its figures (tokens, hash, special tokens found) are complete when it
has been read to the end. Between documents, never after the last, stands the end-of-text id.

With ``jobs`` > 1, blocks are encoded by that many threads and hashed by one more, while the caller writes; the order of
blocks, and so every byte, stays the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from llmprep.choices import Announce, Effort, TextOptions
from llmprep.documents.blocks import Block
from llmprep.documents.reading import read_blocks
from llmprep.documents.source import Source
from llmprep.errors import EmptyError
from llmprep.tokens.backends import Encoder
from llmprep.tokens.figures import sum_or_list
from llmprep.tokens.special import count_special, special_pattern
from llmprep.tokens.threads import PART_BYTES, Hashing, in_parts, map_in_order
from llmprep.vocabulary.loading import Vocabulary, load_vocabulary

Ids = npt.NDArray[np.uint32]


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
            encode_part, in_parts(blocks, min(PART_BYTES, effort.block_bytes) if effort.jobs > 1 else 0), effort.jobs
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
