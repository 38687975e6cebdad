"""Promises of hashing documents and of finding those that are alike: exact, whatever the hashes, whatever is held."""

import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.corpora import N_VOCAB, corpus_of, documents

from llmprep.store import duplicates
from llmprep.store import portions as portions_of_a_stream
from llmprep.store.document_hashes import Hashes, add_up, finish, hash_of_ids
from llmprep.store.portions import Corpus, Numbers, portions


def hashes_of(corpus: Corpus, size: int) -> Hashes:
    """The hash of each document, worked out in portions of so many tokens."""
    table, sums = hash_of_ids(N_VOCAB), np.zeros(corpus.n_documents or 0, np.uint64)
    first = 0
    for portion in portions(corpus, size):
        sums[first : first + len(portion.starts)] += add_up(portion, table)
        first += portion.n_done
    starts, ends = corpus.spans(0, corpus.n_documents or 0)
    return finish(sums, ends - starts)


@settings(max_examples=30)
@given(documents, st.integers(1, 30), st.sampled_from([(), (0,), (1, 2)]))
def test_a_hash_depends_on_the_ids_alone(texts: list[tuple[int, ...]], size: int, separator: tuple[int, ...]) -> None:
    """Equal documents have equal hashes and others have others, wherever they lie and however the stream is cut."""
    hashes = hashes_of(corpus_of(texts, separator), size).tolist()
    alone = {text: int(hashes_of(corpus_of([text], ()), 100)[0]) for text in set(texts)}
    assert hashes == [alone[text] for text in texts]
    assert len(set(alone.values())) == len(alone)
    assert alone.get((), 0) == 0


WEAK: dict[str, Callable[[Hashes], Hashes]] = {
    "good": lambda hashes: hashes,
    "two values": lambda hashes: hashes % np.uint64(2) + np.uint64(1),
    "all one": lambda hashes: np.full(len(hashes), 2**64 - 1, np.uint64),
}


@pytest.mark.parametrize("weak", WEAK)
@settings(max_examples=30)
@given(texts=documents, held=st.integers(1, 50))
def test_copies_are_those_of_a_dictionary(weak: str, texts: list[tuple[int, ...]], held: int) -> None:
    """Each copy is found once, with the first document of its ids, whatever hashes collide and however few are held."""
    corpus = corpus_of(texts)
    hashes = hashes_of(corpus, 7)
    file = io.BytesIO(np.where(hashes == 0, hashes, WEAK[weak](hashes)).astype("<u8").tobytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "READ", 3)
        copies = list(duplicates.find_copies(file, corpus, held))
    found = [pair for some in copies for pair in zip(some.numbers.tolist(), some.originals.tolist(), strict=True)]
    first = {text: number for number, text in reversed([*enumerate(texts)])}
    assert sorted(found) == [(k, first[text]) for k, text in enumerate(texts) if text and first[text] != k]
    for some in copies:
        starts, ends = corpus.spans(0, len(texts))
        assert some.starts.tolist() == starts[some.numbers].tolist()
        assert (some.ends.tolist(), some.original_ends.tolist()) == (
            ends[some.numbers].tolist(),
            ends[some.originals].tolist(),
        )


@pytest.mark.parametrize("n_distinct", [1, 15_000])
def test_memory_is_that_of_the_documents_held(n_distinct: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many documents there are, and be they all the same, few are in memory at once."""
    monkeypatch.setattr(duplicates, "READ", 512)
    n_documents, ids = 15_000, np.arange(15_000, dtype=np.uint16) % n_distinct

    def spans(first: int, count: int) -> tuple[Numbers, Numbers]:
        assert count <= 512
        return np.arange(first, first + count), np.arange(first, first + count) + 1

    monkeypatch.setattr(portions_of_a_stream, "FETCHED", 512)
    corpus = Corpus("a", n_documents, n_distinct, lambda first, count: ids[first : first + count], n_documents, spans)
    with Path("hashes").open("w+b") as file:
        file.write(finish(hash_of_ids(n_distinct)[ids], np.ones(n_documents, np.int64)).astype("<u8").data)
        tracemalloc.start()
        n_copies = sum(len(some.numbers) for some in duplicates.find_copies(file, corpus, held=512))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert (n_copies, peak < 350_000) == (n_documents - n_distinct, True), peak
