"""Documents of a few ids, as the corpus whose checks are tested."""

import numpy as np
from hypothesis import strategies as st

from llmprep.store.portions import Corpus, Numbers

N_VOCAB = 3
Texts = list[tuple[int, ...]]

documents = st.lists(st.lists(st.integers(0, N_VOCAB - 1), max_size=5).map(tuple), max_size=40)
"""Short and of few ids, so that many are alike."""


def corpus_of(texts: Texts, separator: tuple[int, ...] = (0,), n_vocab: int = N_VOCAB) -> Corpus:
    """These documents as a stream, with or without ids between them."""
    starts, ids = [], list[int]()
    for number, text in enumerate(texts):
        ids += [*separator] * (number > 0)
        starts.append(len(ids))
        ids += text
    stream, begins = np.array(ids, np.uint16), np.array(starts, np.int64)
    ends = begins + np.array([len(text) for text in texts], np.int64)

    def spans(first: int, count: int) -> tuple[Numbers, Numbers]:
        assert 0 <= first <= first + count <= len(texts)
        return begins[first : first + count], ends[first : first + count]

    return Corpus("a", len(ids), n_vocab, lambda first, count: stream[first : first + count], len(texts), spans)
