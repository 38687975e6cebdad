"""Promises of batches that a worker process sends: the same tensors arrive, and few bytes travel."""

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from support.loading import assert_same_batches, numbered, sent
from torch.utils.data import DataLoader

from llmprep.pytorch.batches import collate_windows
from llmprep.pytorch.transfer import SentBatch

ROWS = np.random.default_rng(1).integers(0, 2**16, (32, 65))
EDGES = {(0, 2**16 - 1): 2, (0, 2**16): 4, (-1, 1): 4, (-(2**31), 2**31 - 1): 4, (0, 2**31): 8, (-(2**31) - 1, 0): 8}


def equal(ours: Any, theirs: list[torch.Tensor]) -> bool:
    """A plain list of the same contiguous tensors of int64."""
    kinds = [(tensor.dtype, tensor.is_contiguous()) for tensor in ours]
    return (type(ours), kinds) == (list, [(torch.int64, True)] * 2) and all(map(torch.equal, ours, theirs))


@pytest.mark.parametrize("least_and_most", EDGES, ids=str)
def test_what_arrives_is_what_was_sent(least_and_most: tuple[int, int]) -> None:
    """Ids of any size arrive as they were, in the fewest bytes: each once, or twice where targets are other ids."""
    rows, width = torch.from_numpy(ROWS.copy()), EDGES[least_and_most]
    rows[3, 3:5] = torch.tensor(least_and_most)
    moved, apart = [rows[:, :-1].contiguous(), rows[:, 1:].contiguous()], [rows, rows.flip(0)]
    for pair, count in ((moved, 1), (apart, 2)):
        batch = SentBatch(pair)
        assert equal(sent(batch), pair)
        assert 0 <= len(pickle.dumps(batch)) - count * width * ROWS.size < 500


@pytest.mark.parametrize(
    "batch", [[], ["a"], [torch.zeros(2, 3)] * 2, [torch.zeros(2, 3).long(), torch.zeros(1).long()]]
)
def test_what_is_no_pair_is_sent_as_it_is(batch: list[Any]) -> None:
    """What a collate of one's own made of a batch arrives as a plain list of that."""
    received = sent(SentBatch(batch))
    assert (type(received), repr(received)) == (list, repr(batch))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_worker_changes_nothing() -> None:
    """The batches of a loader with a worker are those of one without."""
    loaders = [DataLoader(numbered(50), 8, num_workers=n, collate_fn=collate_windows) for n in (0, 1)]
    assert_same_batches(*loaders)
