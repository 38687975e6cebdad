"""Sources and effort -> the memory that a run takes at most, before anything is read; the effort that a limit allows.

Each figure is a peak of resident memory that was measured, with a little to spare. What a library holds of a vocabulary
goes with its size; each thread that encodes has a tokenizer of its own, and each holds some blocks of text and ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from llmprep.choices import Effort
from llmprep.documents.blocks import MAX_UNCUT_BYTES
from llmprep.documents.json_lines import MAX_LINE_BYTES
from llmprep.documents.opening import peek
from llmprep.documents.recognising import MAGIC_BYTES, compression, is_packed
from llmprep.documents.source import Source
from llmprep.documents.zstandard import window_bytes
from llmprep.errors import UsageError
from llmprep.tokens.backends import DEFINED_BYTES, LARGE_BYTES, SAMPLE_BYTES, has_others, may_use_fastokens
from llmprep.tokens.cutting import cuts_of
from llmprep.tokens.gigatoken import CACHE_BYTES, count_tokenizers
from llmprep.tokens.tokenizers import ENCODE_PER_BYTE
from llmprep.vocabulary.vocabulary import Vocabulary

MEGABYTE = 10**6
PROCESS_BYTES, PROCESS_PER_ID = 46 * MEGABYTE, 420
"""The interpreter with numpy and tiktoken, and what these hold for each id of a vocabulary."""
TOKENIZER_BYTES, TOKENIZER_PER_ID = 25 * MEGABYTE, 250
"""A tokenizer that has seen no word, and what it holds for each id."""
FASTOKENS_BYTES, FASTOKENS_PER_ID, FASTOKENS_PER_THREAD = 30 * MEGABYTE, 480, 45 * MEGABYTE
"""The tokenizer that all threads share, and what each of them remembers of words."""
FILE_PER_BYTE = 48
"""What reading a tokenizer.json, proving it and loading its library take at most, for each byte of its one spelling."""
BLOCKS_AHEAD = 3
"""Blocks of text, with their ids, that wait before and after each thread."""
PER_BLOCK_BYTE = 6
PER_LINE_BYTE = 10
"""What a line of JSON takes while it is parsed, at most."""
PARQUET_BYTES = 100 * MEGABYTE
"""pyarrow, and a page of a column."""
XZ_BYTES = 66 * MEGABYTE
"""The dictionary of xz at its highest preset."""
SMALLER_BLOCKS = (1 << 18, 1 << 16)


@dataclass(frozen=True, slots=True)
class Projection:
    """How much memory a run takes at most, in bytes, with ``jobs``; and the input that needs most."""

    n_bytes: int
    jobs: int
    needs_most: str


def project_memory(
    sources: Sequence[Source], vocabulary: Vocabulary, effort: Effort, *, processes: bool = False
) -> Projection:
    """Return what encoding these sources takes: ``effort.jobs`` threads in one process, or as many ``processes``.

    A text of which a long stretch cannot be cut takes more: see `MAX_UNCUT_BYTES`.
    """
    return _Needs.of(sources, vocabulary).project(effort, processes=processes)


def fit_effort(sources: Sequence[Source], vocabulary: Vocabulary, effort: Effort, *, processes: bool = False) -> Effort:
    """Return the effort with as many jobs, and blocks as large, as ``effort.memory`` allows; the bytes stay the same.

    Raises `UsageError` that names the input that needs most where one job with small blocks does not fit.
    """
    if effort.memory is None:
        return effort
    needs = _Needs.of(sources, vocabulary)
    for jobs in range(effort.jobs, 0, -1):
        for block_bytes in (effort.block_bytes, *SMALLER_BLOCKS):
            chosen = replace(effort, jobs=jobs, block_bytes=block_bytes)
            if needs.project(chosen, processes=processes).n_bytes <= effort.memory:
                return chosen
    least = -(-needs.project(chosen, processes=processes).n_bytes // MEGABYTE)
    raise UsageError(
        f"--memory {effort.memory}: too little: {needs.needs_most} takes up to {least} MB with one job; give at least "
        f"{least}MB"
    )


@dataclass(frozen=True, slots=True)
class _Needs:
    """What decides the memory of a run, beside its effort: ``largest`` is of the input that needs most."""

    largest: int
    needs_most: str
    vocabulary: Vocabulary
    n_bytes: int
    is_small: bool
    only_texts: bool
    longest_text: int

    @classmethod
    def of(cls, sources: Sequence[Source], vocabulary: Vocabulary) -> Self:
        largest, needs_most, n_bytes, packed, only_texts, longest = -1, "", 0, False, True, 0
        for source in sources:
            needed = _of_source(source)
            if needed > largest:
                largest, needs_most = needed, source.path
            only_texts = only_texts and source.format == "text"
            n_bytes += LARGE_BYTES if source.size is None else source.size
            if source.format == "text":
                longest = max(longest, MAX_UNCUT_BYTES if source.size is None or is_packed(source) else source.size)
            packed = packed or (n_bytes < LARGE_BYTES and is_packed(source))
        is_small = n_bytes < LARGE_BYTES and not packed
        return cls(max(0, largest), needs_most, vocabulary, n_bytes, is_small, only_texts, longest)

    def project(self, effort: Effort, *, processes: bool) -> Projection:
        threads = 1 if processes else effort.jobs
        n_vocab = self.vocabulary.n_vocab
        n_tokenizers = count_tokenizers(threads, n_vocab, only_texts=self.only_texts)
        alone = PROCESS_BYTES + PROCESS_PER_ID * n_vocab + effort.beside
        if self.vocabulary.hf is not None:
            alone += FILE_PER_BYTE * len(self.vocabulary.hf.canonical)
        blocks = (1 + BLOCKS_AHEAD * threads) * effort.block_bytes
        one = alone + self.largest + PER_BLOCK_BYTE * (min(blocks, self.n_bytes) if self.is_small else blocks)
        one += ENCODE_PER_BYTE * min(self.n_bytes, threads * self.largest_defined(effort))
        if effort.backend == "gigatoken" or (effort.backend == "auto" and not self.is_small):
            one += n_tokenizers * (TOKENIZER_BYTES + TOKENIZER_PER_ID * n_vocab + CACHE_BYTES)
        if may_use_fastokens(self.vocabulary, effort.backend, self.n_bytes):
            one += FASTOKENS_BYTES + FASTOKENS_PER_ID * n_vocab + n_tokenizers * FASTOKENS_PER_THREAD
        total = one if threads == effort.jobs else alone + effort.jobs * one
        return Projection(total, effort.jobs, self.needs_most)

    def largest_defined(self, effort: Effort) -> int:
        """Return how many bytes of text a thread gives the tokenizers library at once, at most.

        A record is taken for no longer than a block, as its length is not known. A block that cannot be normalised
        otherwise goes to that library too.
        """
        hf = self.vocabulary.hf
        if hf is None:
            return 0
        if self.n_bytes >= DEFINED_BYTES and not hf.normalizer and has_others(self.vocabulary, effort.backend):
            return SAMPLE_BYTES
        whole = 0 if cuts_of(self.vocabulary).allowed else min(self.longest_text, MAX_UNCUT_BYTES)
        return min(self.n_bytes, max(whole, effort.block_bytes))


def _of_source(source: Source) -> int:
    """Return what a source takes beside the blocks that are read of it: of a pipe, as far as its format tells."""
    if source.format == "parquet":
        return PARQUET_BYTES
    head = peek(source, MAGIC_BYTES) if source.size else b""
    kind = compression(head)
    window = window_bytes(head) if kind == "zstandard" else XZ_BYTES if kind in ("xz", "lzma") else 0
    if source.format != "jsonl":
        return window
    longest = source.size if source.size is not None and kind is None else MAX_LINE_BYTES
    return window + PER_LINE_BYTE * min(longest, MAX_LINE_BYTES)
