"""Promises of embeddings in blocks: whatever the sizes, their bytes are those of the course's lines, batch by batch."""

import time
from typing import Any

import pytest
import torch
from torch.nn import Embedding

from llmprep.errors import FileFormatError
from llmprep.pytorch import embedded

CPU = torch.device("cpu")


@pytest.mark.parametrize("compute", [embedded.embed_on_cpu, embedded.embed_on_device])
def test_a_block_holds_until_the_next_is_asked_for(compute: Any) -> None:
    """However long a block takes to compute and to write, those that are computed meanwhile do not change it."""
    tables = embedded.Tables(Embedding(50, 512), Embedding(512, 512))
    batches = [torch.full((1, 3 if k % 9 else 512), k) for k in range(30)]  # many are ready before a large one is
    for batch, part in zip(batches, compute(embedded.cut_batches(batches, 512), tables, torch.float32), strict=True):
        time.sleep(0.005)
        assert bytes(part) == tables.embed(batch).detach().numpy().tobytes()


@pytest.mark.parametrize("wrong", [-1, 50])
def test_an_id_without_a_row_is_an_error(wrong: int) -> None:
    """An id that the token table has no row for is named, not taken for another."""
    tables = embedded.Tables(Embedding(50, 2), Embedding(3, 2))
    with pytest.raises(FileFormatError, match=f"id {wrong} at"):
        list(embedded.embed_batches([torch.tensor([[0, wrong, 1]])], tables, device=CPU))
