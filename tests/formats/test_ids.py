"""Promises of arrays of ids: hashed and cut into blocks whole, and the first wrong one is named with its place."""

from __future__ import annotations

import numpy as np
import pytest
from support.streams import ids_sha256

from llmprep.errors import FileFormatError
from llmprep.formats.ids import check_ids, hash_ids, id_blocks


@pytest.mark.parametrize(
    ("shape", "place", "wrong", "message"),
    [
        ((4, 15), (3, 12), 50300, "id 50300 at [3, 12] >= vocabulary 50257"),
        ((4, 15), (3, 12), -1, "id -1 at [3, 12] is negative"),
        ((1_000_000,), (987_654,), 50257, "id 50257 at [987654] >= vocabulary 50257"),
    ],
)
def test_the_first_wrong_id_is_named_with_its_place(
    shape: tuple[int, ...], place: tuple[int, ...], wrong: int, message: str
) -> None:
    """`check_ids` names the id, its index and the size of the vocabulary, in windows and far into a long stream."""
    ids = np.full(shape, 50256, np.int32)
    check_ids(ids, 50257, "x.pt")
    check_ids(ids.astype(np.uint16), 1 << 16, "x.pt")
    ids.reshape(-1)[np.ravel_multi_index(place, shape) :] = wrong

    with pytest.raises(FileFormatError) as raised:
        check_ids(ids, 50257, "x.pt")

    assert str(raised.value) == f"x.pt: {message}"


@pytest.mark.parametrize("n", [0, 1, 1 << 18, (1 << 20) + 1])
def test_blocks_and_hash_are_of_every_id(n: int) -> None:
    """Ids of any dtype, in blocks, are the same as uint32, and have one hash."""
    ids = np.arange(n) % 50_000

    blocks = list(id_blocks(ids))

    assert {block.dtype for block in blocks} <= {np.dtype(np.uint32)}
    assert np.array_equal(np.concatenate([*blocks, np.empty(0, np.uint32)]), ids)
    assert hash_ids(ids) == hash_ids(ids.astype(np.uint16)) == ids_sha256(ids.tolist())
