"""Promises of `tokens/content`: one hash for the same ids, whatever holds them and however many threads hash them."""

import numpy as np
import pytest
from support.streams import ids_sha256, sha256

from llmprep.tokens.content import LEAF_IDS, ChainHash, hash_ids


@pytest.mark.parametrize("n", [0, 1, LEAF_IDS - 1, LEAF_IDS, LEAF_IDS + 1, 3 * LEAF_IDS])
def test_leaves_have_their_size(n: int) -> None:
    """The hash is that of leaves of 2^20 ids: by threads, by one, and of any dtype."""
    ids = np.arange(n, dtype=np.int32) % 50_257
    assert hash_ids(ids) == hash_ids(ids.astype(np.uint16), n_threads=3) == ids_sha256(ids.tolist())


def test_the_hash_of_the_format_before_is_a_chain() -> None:
    """One sha256 over all ids as little-endian uint32, also of rows and in parts."""
    ids = np.arange(3 * LEAF_IDS // 2) % 65_536
    expected, chain = sha256(ids.astype("<u4").tobytes()), ChainHash()
    for part in (ids[:10], ids[10:]):
        chain.update(part.astype(np.uint16).reshape(-1, 2))
    assert hash_ids(ids, chained=True) == chain.hexdigest() == expected
