"""Promises of arrays of ids: taken from what holds whole numbers, and the first wrong one is named with its place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.streams import ids_sha256

from llmprep.errors import FileFormatError, UsageError
from llmprep.formats.ids import check_ids, hash_ids, id_blocks, to_ids


def test_the_first_wrong_id_is_named_with_its_place() -> None:
    """`check_ids` names the id, its index and the size of the vocabulary, for streams and for windows."""
    good = np.arange(60).reshape(4, 15)
    check_ids(good, 60, "x.pt")
    check_ids(good[0], 15, "x.pt")
    check_ids(np.empty(0, np.int64), 1, "x.pt")
    for wrong, message in ((50300, "id 50300 at [3, 12] >= vocabulary 50257"), (-1, "id -1 at [3, 12] is negative")):
        bad = good.copy()
        bad[3, 12:] = wrong
        with pytest.raises(FileFormatError) as raised:
            check_ids(bad, 50257, "x.pt")
        assert str(raised.value) == f"x.pt: {message}"


def test_an_id_is_found_in_any_block() -> None:
    """A wrong id far into a long stream is found at its place in the whole."""
    ids = np.zeros(1_000_000, np.uint16)
    ids[987_654] = 60_000

    with pytest.raises(FileFormatError, match=r"id 60000 at \[987654\] >= vocabulary 50257"):
        check_ids(ids, 50257, "x.pt")
    check_ids(ids, 1 << 16, "x.pt")


@pytest.mark.parametrize("n", [0, 1, 1 << 18, (1 << 20) + 1])
def test_blocks_and_hash_are_of_every_id(n: int) -> None:
    """Ids of any dtype, in blocks, are the same as uint32, and have one hash."""
    ids = np.arange(n) % 50_000

    blocks = list(id_blocks(ids))

    assert {block.dtype for block in blocks} <= {np.dtype(np.uint32)}
    assert sum(map(len, blocks)) == n
    assert np.array_equal(np.concatenate([*blocks, np.empty(0, np.uint32)]), ids)
    assert hash_ids(ids) == hash_ids(ids.astype(np.uint16)) == ids_sha256(ids.tolist())


@pytest.mark.parametrize(
    "source",
    [
        [5, 0, 7],
        (5, np.int16(0), 7),
        np.array([5, 0, 7], np.uint16),
        torch.tensor([5, 0, 7]),
    ],
    ids=lambda source: type(source).__name__,
)
def test_whole_numbers_are_ids(source: Any) -> None:
    """A sequence, an array or a tensor of whole numbers becomes ids (n,); an array is not copied."""
    ids = to_ids(source, 8)

    assert ids.tolist() == [5, 0, 7]
    assert not isinstance(source, np.ndarray) or ids is source


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("text", "a str holds no token ids; give a path, an array or a list of ids"),
        (b"\x01", "a bytes holds no token ids"),
        (None, "a NoneType holds no token ids"),
        ({1, 2}, "a set holds no token ids"),
        (np.int64(5), "a int64 holds no token ids"),
        ([1, True], "item 1 is a bool; need whole numbers"),
        ([1, 2.0, "a"], "item 1 is a float; need whole numbers"),
        ([1, 1 << 64], "one of them is larger than any vocabulary: 18446744073709551616"),
        (np.ones((2, 2), int), r"shape \(2, 2\), dtype int64; need \(n,\) whole numbers"),
        (np.ones(2), r"shape \(2,\), dtype float64; need \(n,\) whole numbers"),
        ([3, -1], r"id -1 at \[1\] is negative"),
        ([3, 8], r"id 8 at \[1\] >= vocabulary 8"),
    ],
)
def test_anything_else_is_refused(source: Any, message: str) -> None:
    """What holds no ids, or an id that is not in the vocabulary, is a usage error that says what and where."""
    with pytest.raises(UsageError, match=f"^ids: {message}"):
        to_ids(source, 8)


def test_ids_may_be_taken_unchecked() -> None:
    """Without ``check``, ids that were checked before are not looked at again."""
    assert to_ids([9, -1], 8, check=False).tolist() == [9, -1]
    assert to_ids([]).tolist() == []
