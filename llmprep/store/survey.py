"""A corpus -> all that its checks need to know of it, counted in one pass over its ids, in bounded memory.

That is a number for each id of the vocabulary, and what `duplicates` takes; so that a corpus of 10^12 tokens and 10^9
documents needs no more than one of a millionth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO

import numpy as np

from llmprep.formats.ids import check_ids
from llmprep.output.temporary import temporary_file
from llmprep.store.document_hashes import Hashes, add_up, finish, hash_of_ids
from llmprep.store.duplicates import Copies, find_copies
from llmprep.store.portions import PORTION, Corpus, Numbers, Portion, portions
from llmprep.tokens.cores import default_jobs
from llmprep.tokens.threads import map_in_order

HELD_BYTES = 4 << 20
"""How many bytes of hashes stay in memory, without a file."""
MOST_COPIED = 64
"""Documents of each batch of copies that are thought of when the one with the most is looked for: a batch is nearly
always all that have the same hashes, and where it is not, one document alone has filled it."""

Splits = tuple[tuple[int, int], tuple[int, int]]
"""The first token and the end of train, and of val."""
Tell = Callable[[str, int, int], None]
"""What is being done, how many tokens or documents of it are done, and of how many."""


@dataclass(slots=True)
class Copied:
    """What is counted of copies: in the whole, and of val's documents those that train has too.

    ``most`` is the number of the document that has the most copies, and how many these are.
    """

    n_documents: int = 0
    n_tokens: int = 0
    n_leaked: int = 0
    n_leaked_tokens: int = 0
    times: Counter[int] = field(default_factory=Counter)

    @property
    def most(self) -> tuple[int, int]:
        """The document with the most copies, the first of several; (0, 0) where there are none."""
        return min(self.times.items(), key=lambda item: (-item[1], item[0]), default=(0, 0))

    def add(self, copies: Copies, splits: Splits | None) -> None:
        """Count some more."""
        lengths = copies.ends - copies.starts
        self.n_documents += len(lengths)
        self.n_tokens += int(lengths.sum())
        originals, counts = np.unique(copies.originals, return_counts=True)
        for at in np.argsort(-counts, kind="stable")[:MOST_COPIED].tolist():
            self.times[int(originals[at])] += int(counts[at])
        if splits is not None:
            train, val = splits
            leaked = _lie_in(val, copies.starts, copies.ends) & (copies.original_ends <= train[1])
            self.n_leaked += int(leaked.sum())
            self.n_leaked_tokens += int(lengths[leaked].sum())


@dataclass(frozen=True, slots=True)
class Survey:
    """What was counted. ``counts`` (n_vocab,) int64 are of each id; ``n_in_val`` are documents that lie whole in val.

    ``n_documents`` is None where it is not known where documents begin: nothing is then counted of them.
    """

    n_tokens: int
    counts: Numbers
    n_documents: int | None
    n_empty: int
    n_single: int
    n_in_val: int
    copied: Copied
    val: tuple[int, int] | None

    @property
    def most_bits(self) -> float:
        """The entropy in bits if all ids were equally frequent."""
        return float(np.log2(max(1, len(self.counts))))

    def n_separators(self, *, separated: bool) -> int | None:
        """Return how many ids stand between documents, None where that is not known."""
        if not separated:
            return 0
        return None if self.n_documents is None else max(0, self.n_documents - 1)


def survey_corpus(
    corpus: Corpus, splits: Splits | None = None, tell: Tell = lambda *_: None, *, size: int = PORTION
) -> Survey:
    """Count a corpus, ``size`` tokens at a time. ``splits`` are train and val, in this order in the stream.

    Raises `FileFormatError` for an id that is not in the vocabulary, `OutputError` where there is no room for a
    temporary file.
    """
    counts = np.zeros(corpus.n_vocab, np.int64)
    passing = _Documents(None if splits is None else splits[1])
    copied = Copied()
    with temporary_file(held=HELD_BYTES) as hashes:
        work = partial(_count, corpus, None if corpus.n_documents is None else hash_of_ids(corpus.n_vocab))
        for portion, some, sums in map_in_order(work, portions(corpus, size), default_jobs()):
            counts[: len(some)] += some
            passing.pass_on(portion, sums, hashes)
            tell("counting", portion.end, corpus.n_tokens)
        tell("looking for copies", corpus.n_tokens, corpus.n_tokens)
        for copies in find_copies(hashes, corpus) if corpus.n_documents else ():
            copied.add(copies, splits)
    n_documents, val = corpus.n_documents, None if splits is None else splits[1]
    return Survey(
        corpus.n_tokens, counts, n_documents, passing.n_empty, passing.n_single, passing.n_in_val, copied, val
    )


def _count(corpus: Corpus, table: Hashes | None, portion: Portion) -> tuple[Portion, Any, Hashes]:
    check_ids(portion.ids, corpus.n_vocab, corpus.name)
    counts = np.bincount(portion.ids)
    return portion, counts, np.empty(0, np.uint64) if table is None else add_up(portion, table)


@dataclass(slots=True)
class _Documents:
    """What is counted of documents while portions pass, and the sum of one that goes on in the next."""

    val: tuple[int, int] | None
    n_empty: int = 0
    n_single: int = 0
    n_in_val: int = 0
    begun: Hashes = field(default_factory=lambda: np.zeros(1, np.uint64))

    def pass_on(self, portion: Portion, sums: Hashes, hashes: BinaryIO) -> None:
        """Count the documents that end in a portion, and write their hashes."""
        n_done = portion.n_done
        if portion.is_continued:
            sums[:1] += self.begun
        self.begun = sums[n_done : n_done + 1]
        starts, ends = portion.starts[:n_done], portion.ends[:n_done]
        lengths = ends - starts
        hashes.write(finish(sums[:n_done], lengths).astype("<u8").data)
        self.n_empty += int((lengths == 0).sum())
        self.n_single += int((lengths == 1).sum())
        if self.val is not None:
            self.n_in_val += int(_lie_in(self.val, starts, ends).sum())


def _lie_in(span: tuple[int, int], starts: Numbers, ends: Numbers) -> Any:
    """Return which documents, of those with tokens, lie whole in a part of the stream: (k,) bool."""
    return (starts >= span[0]) & (ends <= span[1]) & (starts < ends)
