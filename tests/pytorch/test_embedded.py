"""Promises of embeddings in blocks: whatever the sizes, their bytes are those of the course's lines, batch by batch."""

import itertools
import time
from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import Embedding
from torch.utils.data import DataLoader, TensorDataset

from llmprep.choices import DrawOrder, FloatDtype
from llmprep.errors import FileFormatError
from llmprep.formats.ids import Array
from llmprep.pytorch import embedded
from llmprep.pytorch.embedding import Drawing, EmbeddingOptions, create_tables, find_sizes
from llmprep.pytorch.loaders import create_row_loader

CPU = torch.device("cpu")
SPECIAL = torch.tensor([0.0, -0.0, 1e-45, -1e-40, 65519.0, 65520.0, 3.4e38, -3.4e38, float("inf"), float("nan"), 1 / 3])
OPTIONS = st.fixed_dictionaries(
    {
        "dim": st.integers(1, 70),
        "context_length": st.integers(9, 12),
        "batch_size": st.integers(1, 7),
        "batches": st.none() | st.integers(1, 9),
        "drop_last": st.booleans(),
        "dtype": st.sampled_from(get_args(FloatDtype)),
    }
)


def make_special(table: Embedding) -> None:
    """Put numbers that are hard to add or to round into a table, the same for the same sizes."""
    flat = table.weight.data.view(-1)
    flat[::3] = SPECIAL.repeat(len(flat))[: len(flat[::3])]


def by_the_course(rows: Array, n_vocab: int, options: dict[str, Any], drawing: Drawing) -> Iterator[Tensor]:
    """Each batch by the notebooks' lines, in either order, with torch's own loader of single rows."""
    torch.manual_seed(drawing.seed)
    dim, context_length, dtype = options["dim"], options["context_length"], getattr(torch, options["dtype"])
    if drawing.order == "ch02":
        Embedding(6, 3)
    token, position = Embedding(n_vocab, dim), None
    if drawing.order == "dataloader":
        position = Embedding(context_length, dim)
    loader = DataLoader(
        TensorDataset(torch.from_numpy(rows)),
        options["batch_size"],
        shuffle=drawing.shuffle,
        drop_last=options["drop_last"],
    )
    for (batch,) in itertools.islice(loader, options["batches"]):
        position = position or Embedding(context_length, dim)
        make_special(token)
        make_special(position)
        yield (token(batch) + position(torch.arange(batch.shape[1]))).to(dtype).detach()


@pytest.mark.parametrize("compute", [embedded.embed_on_cpu, embedded.embed_on_device])
@settings(max_examples=30)
@given(
    shape=st.tuples(st.integers(7, 40), st.integers(1, 9)),
    options=OPTIONS,
    drawing=st.builds(Drawing, st.integers(0, 9), st.sampled_from(get_args(DrawOrder)), st.booleans()),
    block=st.tuples(st.integers(1, 9000), st.integers(3, 99)),
)
def test_blocks_are_the_courses_batches(
    compute: Any, shape: tuple[int, int], options: dict[str, Any], drawing: Drawing, block: tuple[int, int]
) -> None:
    """For random sizes, dtypes, orders and blocks all bits are as torch's, zeros' signs, NaN and overflow included."""
    rows = np.random.default_rng(drawing.seed).integers(0, 50, shape)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(embedded, "BLOCK_BYTES", block[0])
        patched.setattr(embedded, "IDS_AT_ONCE", block[1])
        patched.setattr(embedded, "SERIAL", 64)
        sizes = find_sizes(shape, 50, options=EmbeddingOptions(**options))
        at_once = embedded.windows_at_once(shape[1])
        loader = create_row_loader(rows, batch_size=at_once, shuffle=drawing.shuffle)
        tables, batches = create_tables(sizes, loader, drawing)
        make_special(tables.token)
        make_special(tables.position)
        pieces = embedded.cut_batches(batches, options["dim"])
        ours = [bytes(part) for part in compute(pieces, tables, getattr(torch, options["dtype"]))]
    theirs = torch.cat(list(by_the_course(rows, 50, options, drawing)))
    assert b"".join(ours) == theirs.view(torch.uint8).numpy().tobytes()
    assert max(map(len, ours)) <= max(block[0], 4 * options["dim"])
    assert sizes.shape == theirs.shape


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
