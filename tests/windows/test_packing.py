"""Promises of packing: best-fit decreasing as it is written, each token once or lost, the same whoever packs."""

import tracemalloc
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import strategies
from support.rows import starts_of, walk

from llmprep.errors import FileFormatError, UsageError
from llmprep.windows.fitting import Numbers, fit_best
from llmprep.windows.packed import DividedStream, KnownSpans, PackedRows, pack_all, pack_blocks
from llmprep.windows.packing import Rule, count_chunks, list_chunks

WIDTH = 2049
BELONGS, SEPARATORS = st.sampled_from(["old", "new"]), st.sampled_from(["eot", "none"])


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    """Rules for rows of a few tokens."""
    width, truncate = draw(st.integers(2, 12)), draw(st.booleans())
    overlap = 0 if truncate else draw(st.integers(0, width - 1))
    return Rule(width, draw(st.integers(0, 3)), draw(st.integers(1, 150)), overlap, truncate)


def fit_slowly(lengths: list[int], width: int) -> list[int]:
    """The room that is left in each row, by the rule's words: longest first, where it leaves the least room."""
    rooms: list[int] = []
    for length in sorted(lengths, reverse=True):
        fits = [room for room in rooms if room >= length]
        if fits:
            rooms.remove(min(fits))
        rooms.append((min(fits) if fits else width) - length)
    return sorted(rooms)


@given(st.integers(1, 30).flatmap(lambda width: st.tuples(st.just(width), st.lists(st.integers(1, width)))))
def test_rows_are_filled_by_best_fit_decreasing(drawn: tuple[int, list[int]]) -> None:
    """For any lengths the rows have the room that one after the other, each where it fits best, leaves."""
    width, lengths = drawn
    rows, count = fit_best(np.array(lengths, np.int64), width)
    taken = np.bincount(rows, lengths, count)
    assert sorted((width - taken).tolist()) == fit_slowly(lengths, width)


@given(strategies.documents, SEPARATORS, BELONGS, rules())
def test_each_token_is_in_one_row_or_lost(documents: list[list[int]], separator: str, belongs: Any, rule: Rule) -> None:
    """Each token stands in one row, or again after a cut as often as is said, or is listed; what fits is whole."""
    gap = int(separator == "eot")
    owners = np.array([owner for _, owner in walk(documents, separator, belongs)], np.int64)
    starts = np.array(starts_of(documents, separator), np.int64)
    corpus = DividedStream(KnownSpans(starts, len(owners), gap), len(owners), belongs == "new")
    packed, fill = pack_all(corpus, rule), pack_all(corpus, rule).fill
    counts, part_starts, lengths = packed.take(np.arange(len(packed)))
    assert sum(counts.tolist()) == len(part_starts) == fill.n_parts
    seen, lost = np.zeros(len(owners), int), np.zeros(len(owners), int)
    for start, length in zip(part_starts.tolist(), lengths.tolist(), strict=True):
        seen[start : start + length] += 1
        assert len(set(owners[start : start + length].tolist())) == 1
    for start, length in zip(packed.lost_starts.tolist(), packed.lost_lengths.tolist(), strict=True):
        lost[start : start + length] += 1
    assert ((seen > 0) + lost == 1).all()
    sizes = np.bincount(owners, minlength=len(documents))
    long = sizes > rule.width
    assert (fill.n_documents, fill.n_tokens, fill.n_rows) == (len(documents), len(owners), len(packed))
    assert (fill.n_split, fill.n_lost, fill.n_stored) == (long.sum(), lost.sum(), seen.sum())
    n_parts = np.bincount(owners[part_starts], minlength=len(documents))
    assert (n_parts[~long] == np.minimum(sizes[~long], 1)).all()
    assert fill.n_cuts == (0 if rule.truncate else (n_parts[long] - 1).sum())
    assert fill.n_repeated == rule.overlap * fill.n_cuts
    assert not fill.n_lost or (rule.truncate and fill.n_lost == (sizes[long] - rule.width).sum())


@given(st.integers(1, 300), st.integers(1, 99), st.integers(0, 9))
def test_blocks_have_each_document_once(n_documents: int, buffer: int, seed: int) -> None:
    """All blocks together have each document once, and none has more than the buffer holds."""
    rule = Rule(8, seed, buffer)
    blocks = [list_chunks(n_documents, number, rule) for number in range(count_chunks(n_documents, buffer)[2])]
    assert max(sum(end - first for first, end in block) for block in blocks) <= buffer
    assert sorted(number for block in blocks for chunk in block for number in range(*chunk)) == [*range(n_documents)]


def corpus_of(lengths: Any) -> DividedStream:
    """Documents of these lengths, one after the other."""
    ends = np.cumsum(lengths)
    return DividedStream(KnownSpans(ends - lengths, int(ends[-1])), int(ends[-1]))


def runs_of(packed: PackedRows) -> list[list[tuple[int, int]]]:
    """The parts of each row."""
    counts, starts, lengths = packed.take(np.arange(len(packed)))
    parts = [*zip(starts.tolist(), lengths.tolist(), strict=True)]
    return [parts[end - count : end] for count, end in zip(counts.tolist(), np.cumsum(counts).tolist(), strict=True)]


@pytest.mark.parametrize("opens", [False, True])
def test_a_split_that_begins_with_a_separator_is_packed_whole(opens: bool) -> None:
    """What stands before the first document, and after the last, is packed with it."""
    for documents in (KnownSpans(np.array([1, 5]), 8, gap=1), KnownSpans(np.array([1]), 8)):
        rows = runs_of(pack_all(DividedStream(documents, 8, opens), Rule(5, 0, 64)))
        assert sorted(at for row in rows for start, n in row for at in range(start, start + n)) == [*range(8)]


def test_the_seed_decides_alone() -> None:
    """The same documents and seed give these very rows, on any machine; another seed brings others together."""
    corpus = corpus_of(np.arange(23) * 7 % 11 + 1)
    rule = Rule(10, 1, buffer=12)
    rows = runs_of(pack_all(corpus, rule))
    assert rows == runs_of(pack_all(corpus, rule)) != runs_of(pack_all(corpus, replace(rule, seed=2)))
    assert rows[1:4] == [[(90, 7), (31, 3)], [(100, 10)], [(61, 5), (23, 1), (75, 4)]]
    blocks = [len(lengths) for lengths, _ in pack_blocks(corpus, rule)]
    assert (blocks, [len(lengths) for lengths, _ in pack_blocks(corpus, rule, 1)]) == ([11, 12], [12])


def test_a_long_document_with_its_seams_is_the_streams_windows() -> None:
    """With an overlap of 1, the rows of one document are the windows of a stream: each token a target, once."""
    rows = runs_of(pack_all(corpus_of(np.array([103])), Rule(11, 5, 64, overlap=1)))
    assert sorted(rows) == [[(at, min(11, 103 - at))] for at in range(0, 102, 10)]


def test_rows_are_nearly_full() -> None:
    """Of texts whose lengths are as those of web pages, fewer than 2 rows in 1,000 are more than there must be."""
    lengths = np.exp(np.random.default_rng(3).normal(6, 1.2, 20_000)).astype(np.int64) + 1
    packed = pack_all(corpus_of(lengths), Rule(WIDTH, 1, 1 << 16))
    least = -(-int(lengths.sum()) // WIDTH)
    assert least <= len(packed) <= least * 1.002
    assert packed.fill.share == lengths.sum() / (len(packed) * WIDTH) > 0.998


@dataclass(frozen=True, slots=True)
class Endless:
    """So many documents of so many tokens, of which none is held."""

    count: int
    length: int

    def __len__(self) -> int:
        return self.count

    def spans(self, first: int, count: int) -> tuple[Numbers, Numbers]:
        """Return where they begin and end."""
        starts = np.arange(first, first + count, dtype=np.int64) * self.length
        return starts, starts + self.length


@pytest.mark.parametrize(("count", "length"), [(10**9, 1000), (1, 10**12)])
def test_memory_does_not_grow_with_the_corpus(count: int, length: int) -> None:
    """A part of a trillion tokens is packed in a few MiB, in 10^9 documents or in one."""
    corpus, rule = DividedStream(Endless(count, length), count * length), Rule(WIDTH, 1, 1 << 14)
    tracemalloc.start()
    n_rows = sum(len(packed.counts) for _, rows in islice(pack_blocks(corpus, rule), 4) for packed in islice(rows, 4))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_rows > 8192
    assert peak < 24 << 20


def test_an_index_of_something_else_is_refused() -> None:
    """Rows that reach past the stream, are too long, or are no rows, are refused when they are taken."""
    packed = pack_all(corpus_of(np.array([4, 3, 9])), Rule(9, 0, 64))
    wrong: list[dict[str, Any]] = [
        {"part_starts": packed.part_starts + 9},
        {"part_starts": packed.part_starts - 9},
        {"part_lengths": packed.part_lengths + 3},
        {"part_lengths": packed.part_lengths * 0},
        {"row_starts": packed.row_starts[::-1]},
        {"row_starts": packed.row_starts + 5},
    ]
    for columns in wrong:
        with pytest.raises(FileFormatError, match="rows that are none"):
            replace(packed, **columns).take(np.arange(len(packed)))
    assert [each.tolist() for each in packed.take(np.arange(0))] == [[], [], []]


@pytest.mark.parametrize(("width", "overlap"), [(9, 9), (2**31, 0)])
def test_sizes_that_do_not_go_together_are_refused(width: int, overlap: int) -> None:
    """An overlap of a whole row, and rows longer than an index can say, are refused."""
    with pytest.raises(UsageError, match="at most"):
        Rule(width, 0, 64, overlap)


@pytest.mark.slow
def test_as_full_as_trl() -> None:
    """Of the same documents, placed together in the same blocks, there are as many rows as TRL's bfd_split gives."""
    pa = pytest.importorskip("pyarrow", reason="compares with TRL, which is not installed")
    datasets = pytest.importorskip("datasets", reason="compares with TRL, which is not installed")
    trl = pytest.importorskip("trl", reason="compares with TRL, which is not installed")
    lengths = np.exp(np.random.default_rng(3).normal(4, 1.2, 1500)).astype(np.int64) + 1
    rule = Rule(257, 1, 1000)
    n_rows = 0
    for number in range(count_chunks(len(lengths), rule.buffer)[2]):
        block = np.concatenate([lengths[first:end] for first, end in list_chunks(len(lengths), number, rule)])
        table = pa.table({"input_ids": [[0] * length for length in block.tolist()]})
        n_rows += len(trl.pack_dataset(datasets.Dataset(table), rule.width, "bfd_split", {"batch_size": 1000}))
    assert len(pack_all(corpus_of(lengths), rule)) == n_rows
