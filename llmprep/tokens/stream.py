"""Documents -> ids, in blocks, exactly as tiktoken encodes the whole text.

A `TokenStream` is read once, from front to end. Its origin is known before, its figures are final after. Whatever else
watches the ids is a stage put after it: ``stream.through(Head(48))``. The end-of-text id stands between documents, and
never after the last.

With ``jobs`` > 1, blocks are encoded by that many threads and hashed by one more, while the caller writes; the order of
blocks, and so every byte, stays the same.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, TypeAlias

import numpy as np

from llmprep.choices import Announce, Effort, TextOptions
from llmprep.documents.blocks import Block
from llmprep.documents.joining import read_sources
from llmprep.documents.source import Counts, LeftOut, Source
from llmprep.errors import EmptyError, visible_name
from llmprep.tokens.backends import Encoder
from llmprep.tokens.content import ContentHash, open_pool
from llmprep.tokens.cutting import cuts_of
from llmprep.tokens.figures import Figures
from llmprep.tokens.gigatoken import count_tokenizers
from llmprep.tokens.special import Specials, count_special
from llmprep.tokens.starts import StartFinder
from llmprep.tokens.threads import PART_BYTES, Hashing, in_parts, map_in_order
from llmprep.tokens.tiktoken import Ids
from llmprep.vocabulary.loading import load_vocabulary
from llmprep.vocabulary.references import Reference
from llmprep.vocabulary.vocabulary import Vocabulary

Stage: TypeAlias = Callable[[Iterator[Ids]], Iterator[Ids]]
"""Takes the blocks of a stream, and yields the same blocks or others."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What is known of a stream before it is read: its name, its vocabulary, and the options that decided its ids.

    A stream of texts carries its ``vocabulary``; one of a file or store refers to it, and it is then looked for in
    ``vocab_dir`` first.
    """

    name: str
    refers: Reference
    vocab_sha256: str
    n_vocab: int
    options: Mapping[str, Any]
    vocabulary: Vocabulary | None = field(default=None, repr=False)
    vocab_dir: str | None = None

    @property
    def encoding(self) -> str:
        """What the vocabulary is called."""
        return self.refers.name

    def load_vocabulary(self, announce: Announce | None = None, *, download: bool = True) -> Vocabulary:
        """Return the vocabulary of the ids. Raises `VocabularyError` where a file names one that cannot be found."""
        return self.vocabulary or load_vocabulary(self.refers, self.vocab_dir, announce, download=download)


@dataclass(frozen=True, slots=True, repr=False)
class TokenStream:
    """Ids in blocks of uint32, each (n,), to be read once. Showing one reads nothing."""

    origin: Origin
    blocks: Iterator[Ids]
    figures: Figures

    def __repr__(self) -> str:
        return (
            f"TokenStream({self.origin.name!r}, {visible_name(self.origin.encoding)}, blocks of ids, to be read once)"
        )

    def _repr_html_(self) -> str:
        from html import escape

        return f"<code>{escape(repr(self))}</code>"

    def __iter__(self) -> Iterator[Ids]:
        """Yield the blocks."""
        return self.blocks

    def through(self, stage: Stage) -> TokenStream:
        """Return the stream with a stage put after it."""
        return replace(self, blocks=stage(self.blocks))

    def close(self) -> None:
        """Stop reading before the end: inputs are closed, and what has been counted of them is stated."""
        if isinstance(self.blocks, Generator):
            self.blocks.close()


@dataclass(slots=True)
class Head:
    """A stage that keeps the first ``size`` ids in ``ids``, for a preview."""

    size: int
    ids: list[int] = field(default_factory=list)

    def __call__(self, blocks: Iterator[Ids]) -> Iterator[Ids]:
        """Yield the blocks as they are."""
        for block in blocks:
            if len(self.ids) < self.size:
                self.ids += block[: self.size - len(self.ids)].tolist()
            yield block


class Distinct:
    """A stage that counts how many different ids, below ``n_vocab``, have passed."""

    def __init__(self, n_vocab: int) -> None:
        self._seen = np.zeros(n_vocab, np.bool_)

    def __call__(self, blocks: Iterator[Ids]) -> Iterator[Ids]:
        """Yield the blocks as they are."""
        for block in blocks:
            self._seen[block] = True
            yield block

    @property
    def count(self) -> int:
        """How many different ids there are so far."""
        return int(self._seen.sum())


def count_tokens(blocks: Iterable[Ids], figures: Figures) -> Iterator[Ids]:
    """Yield the blocks, counting and hashing their ids into ``figures``, which are final after the last block."""
    return _hash(_count(blocks, figures, Hashing(threaded=False)), figures)


def _hash(blocks: Iterable[Ids], figures: Figures, jobs: int = 1) -> Iterator[Ids]:
    with open_pool(jobs) as pool:
        content = ContentHash(pool)
        for block in blocks:
            content.update(block)
            yield block
        figures.content_sha256, figures.chained = content.hexdigest(), False


def _count(blocks: Iterable[Ids], figures: Figures, hashing: Hashing) -> Iterator[Ids]:
    """Yield the blocks, counting their ids; after the last, all that ``hashing`` has to do is done."""
    figures.n_tokens = 0
    with hashing:
        for block in blocks:
            figures.n_tokens += len(block)
            yield block


def stream_text(
    sources: Sequence[Source],
    vocabulary: Vocabulary,
    options: TextOptions | None = None,
    effort: Effort | None = None,
    encoder: Encoder | None = None,
    left_out: Sequence[LeftOut] = (),
) -> TokenStream:
    """Encode documents in order into one stream; nothing is read before its first block is asked for.

    ``encoder``, if there is one already, was made with the same options; ``left_out`` are inputs that are no sources,
    for ``meta``. Reading the stream raises `EmptyError` at its end if it has no token, `InputError` and `DataError` as
    `read_blocks` and `Encoder.encode` do.
    """
    options, effort = options or TextOptions(), effort or Effort()
    require_separator(sources, vocabulary, options)
    if effort.memory is not None:
        from llmprep.tokens.projection import fit_effort

        effort = fit_effort(sources, vocabulary, effort)
    encoder = encoder or create_encoder(sources, vocabulary, options, effort)
    part = stream_part(sources, options, effort, encoder, continues=False, left_out=left_out)
    return part.through(lambda blocks: _hash(blocks, part.figures, effort.jobs))


def require_separator(sources: Sequence[Source], vocabulary: Vocabulary, options: TextOptions) -> None:
    """Raise `UsageError` where documents are to be separated, and the vocabulary has no token that does it."""
    if options.boundaries == "text":
        vocabulary.require_eot("without one, no text has boundaries; leave out --boundaries")
    if options.separator == "eot" and (len(sources) > 1 or sources[0].format != "text"):
        vocabulary.require_eot("give --separator none to put nothing between documents")


def stream_part(
    sources: Sequence[Source],
    options: TextOptions,
    effort: Effort,
    encoder: Encoder,
    *,
    continues: bool,
    left_out: Sequence[LeftOut] = (),
) -> TokenStream:
    """Encode documents as `stream_text` does, without a hash of their ids: that is for the whole stream to have.

    A stream that ``continues`` another has a separator before its first document too, and may be empty.
    """
    hashing, vocabulary = Hashing(threaded=effort.jobs > 1), encoder.vocabulary
    finding = StartFinder(options, vocabulary.eot_id)
    counted = [Counts(source) for source in sources]
    figures = Figures(counted, used=encoder.used, left_out=left_out, starts=finding.starts)
    name = sources[0].path if len(sources) == 1 else f"{len(sources)} inputs"
    refers = Reference.to(vocabulary)
    origin = Origin(name, refers, vocabulary.sha256, vocabulary.n_vocab, options.content(), vocabulary=vocabulary)
    blocks = read_sources(figures.counts, options.newlines, effort.block_bytes, hashing.run, cuts_of(vocabulary))
    encoded = _encode(blocks, encoder, options, effort)
    ids = _join(encoded, figures, vocabulary, finding, name=name, continues=continues)
    return TokenStream(origin, _count(ids, figures, hashing), figures)


def create_encoder(
    sources: Sequence[Source], vocabulary: Vocabulary, options: TextOptions | None = None, effort: Effort | None = None
) -> Encoder:
    """Return an encoder for these sources, whose sizes tell it how much is to come."""
    options, effort = options or TextOptions(), effort or Effort()
    expected = sum(source.size or 0 for source in sources)
    only_texts = all(source.format == "text" for source in sources)
    n_tokenizers = count_tokenizers(effort.jobs, vocabulary.n_vocab, only_texts=only_texts)
    return Encoder(vocabulary, options.special, effort.backend, expected, n_tokenizers)


def _encode(
    blocks: Generator[Block], encoder: Encoder, options: TextOptions, effort: Effort
) -> Iterator[tuple[Block, Ids, int]]:
    """Yield, in order, each block, its ids and the number of end-of-text strings in its text."""
    specials = Specials.of(encoder.vocabulary)

    def encode(part: list[Block]) -> list[tuple[Block, Ids, int]]:
        encoded = zip(part, encoder.encode_each(part), strict=True)
        return [(block, ids, count_special(block, specials, options.special, ids)) for block, ids in encoded]

    part_bytes = min(PART_BYTES, effort.block_bytes) if effort.jobs > 1 or encoder.is_by_definition() else 0
    with closing(blocks):  # so that an error leaves no input open
        yield from chain.from_iterable(map_in_order(encode, in_parts(blocks, part_bytes), effort.jobs))


def _join(
    encoded: Iterator[tuple[Block, Ids, int]],
    figures: Figures,
    vocabulary: Vocabulary,
    finding: StartFinder,
    *,
    name: str,
    continues: bool,
) -> Iterator[Ids]:
    """Yield the ids of the blocks, with a separator before each document but the stream's first, or without any.

    Without an end-of-text id there is none. Documents whose ids hold it are not joined: in a block that joins some, it
    is at the seams only. ``finding`` is shown each block's ids, and where they stand.
    """
    eot_id, unknown_id, separate = vocabulary.eot_id, vocabulary.unknown_id, finding.separate
    separator = np.array([] if eot_id is None else [eot_id], np.uint32)
    begun, position = continues, 0
    for block, ids, n_special in encoded:
        if begun and block.first and separate and len(separator):
            yield separator
            position += 1
        begun = True
        finding.look(block, ids, position)
        figures.n_special += n_special
        for counts, own in _by_source(block, ids, eot_id):
            counts.n_tokens += len(own) - (0 if block.joined else block.seams)
            if unknown_id is not None and (own == unknown_id).any():
                counts.remark(
                    f"holds text that {vocabulary.name} has no entry for, where its token {unknown_id} stands"
                )
        joined = ids if separate or not block.seams else ids[ids != eot_id]
        position += len(joined)
        yield joined
    if not begun:
        raise EmptyError(f"{name}: empty: 0 tokens")


def _by_source(block: Block, ids: Ids, eot_id: int | None) -> Iterator[tuple[Counts, Ids]]:
    """Yield each source of a block with its ids: where it joins several, those between its seams."""
    if not block.joined:
        yield block.counts, ids
        return
    ends = [*np.flatnonzero(ids == eot_id).tolist(), len(ids)]
    begin = 0
    for counts, end in zip(block.joined, ends, strict=True):
        yield counts, ids[begin:end]
        begin = end + 1
