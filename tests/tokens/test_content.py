"""Promises of `tokens/content`: one hash for the same ids, whatever holds them and however many threads hash them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.streams import ids_sha256, sha256

from llmprep.tokens import content
from llmprep.tokens.content import LEAF_IDS, ChainHash, ContentHash, hash_ids, open_pool


@given(st.data(), st.lists(st.integers(0, 12), max_size=12), st.sampled_from([1, 3]))
def test_the_hash_is_of_the_ids_alone(data: st.DataObject, lengths: list[int], n_threads: int) -> None:
    """Blocks of any sizes and dtypes, hashed by any number of threads, have the hash of the leaves one by one."""
    ids = np.arange(sum(lengths), dtype=np.int64) * 7 % 65_536
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "LEAF_IDS", 5)
        with open_pool(n_threads) as pool:
            hashed = ContentHash(pool)
            for end, length in zip(np.cumsum(lengths).tolist(), lengths, strict=True):
                hashed.update(ids[end - length : end].astype(data.draw(st.sampled_from(["u2", "<u4", "i4", "i8"]))))
            found = hashed.hexdigest()
    leaves = [sha256(ids[k : k + 5].astype("<u4").tobytes()) for k in range(0, len(ids), 5)]
    assert found == sha256(b"".join(map(bytes.fromhex, leaves)))


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
