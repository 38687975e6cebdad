"""Sources and effort -> the memory that a run takes at most, before anything is read; the effort that a limit allows.

Each figure is a peak of resident memory that was measured, with a little to spare. What a library holds of a vocabulary
goes with its size; each thread that encodes has a tokenizer of its own, and each holds some blocks of text and ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from llmprep.choices import Effort
from llmprep.documents.json_lines import MAX_LINE_BYTES
from llmprep.documents.opening import peek
from llmprep.documents.recognising import MAGIC_BYTES, compression, is_packed
from llmprep.documents.source import Source
from llmprep.documents.zstandard import window_bytes
from llmprep.errors import UsageError
from llmprep.tokens.backends import LARGE_BYTES
from llmprep.tokens.gigatoken import CACHE_BYTES
from llmprep.vocabulary.vocabulary import Vocabulary

MEGABYTE = 10**6
PROCESS_BYTES, PROCESS_PER_ID = 46 * MEGABYTE, 420
"""The interpreter with numpy and tiktoken, and what these hold for each id of a vocabulary."""
TOKENIZER_BYTES, TOKENIZER_PER_ID = 25 * MEGABYTE, 250
"""A tokenizer that has seen no word, and what it holds for each id."""
BLOCKS_AHEAD = 3
"""Blocks of text, with their ids, that wait before and after each thread."""
PER_BLOCK_BYTE = 6
PER_LINE_BYTE = 10
"""What a line of JSON takes while it is parsed, at most."""
PARQUET_BYTES = 100 * MEGABYTE
"""pyarrow, and a page of a column."""
XZ_BYTES = 66 * MEGABYTE
"""The dictionary of xz at its highest preset."""
SMALLEST_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class Projection:
    """How much memory a run takes at most, in bytes, with ``jobs``; and the input that needs most."""

    n_bytes: int
    jobs: int
    needs_most: str


def project_memory(
    sources: Sequence[Source], vocabulary: Vocabulary, effort: Effort, *, processes: bool = False
) -> Projection:
    """Return what encoding these sources takes: ``effort.jobs`` threads in one process, or as many ``processes``."""
    needed, number = max(((_of_source(source), -number) for number, source in enumerate(sources)), default=(0, 0))
    n_bytes = sum(LARGE_BYTES if source.size is None else source.size for source in sources)
    is_small = n_bytes < LARGE_BYTES and not any(map(is_packed, sources))
    threads = 1 if processes else effort.jobs
    tokenizer = TOKENIZER_BYTES + TOKENIZER_PER_ID * vocabulary.n_vocab + CACHE_BYTES
    tokenizers = 0 if is_small or effort.backend == "tiktoken" else max(1, threads - 1) * tokenizer
    ahead = (1 + BLOCKS_AHEAD * threads) * effort.block_bytes
    alone = PROCESS_BYTES + PROCESS_PER_ID * vocabulary.n_vocab
    one = alone + tokenizers + (min(ahead, n_bytes) if is_small else ahead) * PER_BLOCK_BYTE + needed
    total = one if not processes or effort.jobs == 1 else alone + effort.jobs * one
    return Projection(total, effort.jobs, sources[-number].path if sources else "")


def fit_effort(sources: Sequence[Source], vocabulary: Vocabulary, effort: Effort, *, processes: bool = False) -> Effort:
    """Return the effort with as many jobs, and blocks as large, as ``effort.memory`` allows; the bytes stay the same.

    Raises `UsageError` that names the input that needs most where one job with small blocks does not fit.
    """
    if effort.memory is None:
        return effort
    for jobs in range(effort.jobs, 0, -1):
        size = effort.block_bytes
        while size >= SMALLEST_BLOCK:
            chosen = replace(effort, jobs=jobs, block_bytes=size)
            projection = project_memory(sources, vocabulary, chosen, processes=processes)
            if projection.n_bytes <= effort.memory:
                return chosen
            size //= 4
    least = -(-projection.n_bytes // MEGABYTE)
    raise UsageError(
        f"--memory {effort.memory}: too little; with one job {projection.needs_most} may need {least} MB: "
        f"--memory {least}MB"
    )


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
