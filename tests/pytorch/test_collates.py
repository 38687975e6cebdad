"""Promises of the collates: what each trainer takes, as a walk tells it, and as the trainers' own code makes it."""

from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import strategies
from support.rows import Told, batch_of, plain
from torch import Tensor
from torch.nn.attention.flex_attention import create_mask

from llmprep import WindowDataset
from llmprep.errors import UsageError
from llmprep.pytorch.batches import (
    collate_megatron,
    collate_olmo,
    collate_padding_free,
    collate_torchtitan,
    collate_trl,
    collate_windows,
    document_mask,
)  # fmt: skip

COLLATES = [collate_padding_free, collate_trl, collate_torchtitan, collate_megatron, collate_olmo]


def joined(rows: list[list[Any]]) -> list[Any]:
    """The rows one after the other."""
    return [value for row in rows for value in row]


def unshifted(told: Told) -> list[int]:
    """The label of each token of a row: what the target before it is."""
    return [-100, *told.targets]


def filled(told: Told, width: int) -> list[int]:
    """The lengths of parts, and of what fills a row, if anything does."""
    lengths = told.lengths(width)
    return lengths + [width - sum(lengths)] * (sum(lengths) < width)


@given(strategies.packed_rows(), st.booleans(), st.booleans())
def test_trainers_get_what_a_walk_tells(rows: list[Any], mask: bool, as_items: bool) -> None:
    """Each collate gives its trainer's keys, shapes and dtypes with what a walk over each row tells."""
    gathered, told = batch_of(rows, mask=mask)
    batch, width = [*gathered] if as_items else gathered, len(told[0].tokens)
    parts = joined([each.parts() for each in told])
    ends = [0, *accumulate(map(len, parts))]
    flat = collate_padding_free(batch, return_seq_idx=True, position_ids_start=2)
    expected: dict[str, Any] = {
        "input_ids": [joined(parts)],
        "labels": [joined([[-100, *part[1:]] for part in parts])],
        "position_ids": [joined([[*range(2, len(part) + 2)] for part in parts])],
        "seq_idx": [joined([[k] * len(part) for k, part in enumerate(parts)])],
        "cu_seq_lens_q": ends, "cu_seq_lens_k": ends,
        "max_length_q": max(map(len, parts)), "max_length_k": max(map(len, parts)),
    }  # fmt: skip
    assert plain(flat) == expected

    n_real = [sum(each.lengths(width)) for each in told]
    assert collate_trl(batch) == [
        {"input_ids": each.tokens[:n], "labels": [each.tokens[0], *each.targets][:n], "seq_lengths": each.lengths(n)}
        for each, n in zip(told, n_real, strict=True)
    ]

    inputs, labels = collate_torchtitan(batch)
    assert plain(inputs) == {"input": [e.tokens[:-1] for e in told], "positions": [e.places[:-1] for e in told]}
    assert labels.tolist() == [each.targets for each in told]

    lengths = joined([filled(each, width - 1) for each in told])
    targets = joined([each.targets for each in told])
    assert plain(collate_megatron(batch)) == {
        "tokens": [joined([each.tokens[:-1] for each in told])],
        "labels": [targets],
        "loss_mask": [[float(target != -100) for target in targets]],
        "position_ids": [joined([each.places[:-1] for each in told])],
        "cu_seqlens": [[0, *accumulate(lengths)]],
        "max_seqlen": [max(lengths)],
    }

    all_lengths = [filled(each, width) for each in told]
    most = max(map(len, all_lengths))
    assert plain(collate_olmo(batch)) == {
        "input_ids": [each.tokens for each in told],
        "label_mask": [[label != -100 for label in unshifted(each)] for each in told],
        "doc_lens": [each + [0] * (most - len(each)) for each in all_lengths],
        "max_doc_lens": [max(each) for each in all_lengths],
    }
    for key in ("cu_seq_lens_q", "seq_idx"):
        assert flat[key].dtype == torch.int32  # type: ignore[union-attr]


def test_dtypes() -> None:
    """Ids, labels and positions are int64, lengths and their sums int32, masks what their trainers take."""
    batch, _ = batch_of([[(5, 0), (6, 0), (7, 1)]], mask=True)
    found: dict[torch.dtype, set[str]] = {}
    collated = [collate_windows(batch), collate_padding_free(batch), collate_megatron(batch), collate_olmo(batch)]
    for one in (*collated, collate_torchtitan(batch)[0]):
        for key, value in one.items():
            if isinstance(value, Tensor):
                found.setdefault(value.dtype, set()).add(key)
    assert found == {
        torch.int64: {"input_ids", "target_ids", "position_ids", "labels", "tokens", "input", "positions"},
        torch.int32: {"document_ids", "cu_seq_lens_q", "cu_seq_lens_k", "cu_seqlens", "max_seqlen", "doc_lens"},
        torch.float32: {"loss_mask"},
        torch.bool: {"label_mask"},
    }


@pytest.mark.parametrize("collate", COLLATES)
def test_windows_that_know_nothing_are_refused(collate: Callable[[Any], Any]) -> None:
    """A collate for a trainer says what to do where windows do not know their documents."""
    dataset = WindowDataset(np.arange(99), 8)
    for batch in (dataset.__getitems__([0, 1]), [dataset[0]], []):
        with pytest.raises(UsageError, match="make the data set with documents=True, and keep"):
            collate(batch)


# --- attention ------------------------------------------------------------------------------------

torch.manual_seed(0)
TABLE, PLACES, MIX = (torch.randn(*shape, dtype=torch.float64) / 8 for shape in ((101, 8), (48, 8), (3, 8, 8)))


def attend(ids: Tensor, positions: Tensor, allowed: Tensor) -> Tensor:
    """One head of attention over (T,) tokens, where ``allowed`` (T, T) says what each may see: (T, 8)."""
    x = TABLE[ids] + PLACES[positions]
    queries, keys, values = (x @ mix for mix in MIX)
    seen: Tensor = (queries @ keys.T).masked_fill(~allowed, float("-inf")).softmax(-1) @ values
    return seen


def blocks(ends: Any) -> Tensor:
    """What may be seen where each token sees its own block's before it: (T, T)."""
    number = torch.repeat_interleave(torch.arange(len(ends) - 1), torch.as_tensor(ends).diff())
    return (number[:, None] == number).tril()


def by_positions(positions: Tensor) -> Tensor:
    """What may be seen where a document begins at each position of 0: (T, T)."""
    number = (positions == 0).cumsum(0)
    return (number[:, None] == number).tril()


def views(batch: Any) -> Iterator[tuple[str, Tensor, Tensor, Tensor]]:
    """What each trainer attends to: a name, ids (T,), positions (T,) and what may be seen (T, T)."""
    ours = collate_windows(batch)
    length = ours["input_ids"].shape[1]
    places, may_see = torch.arange(length), document_mask(ours["document_ids"])
    for k in range(len(batch)):
        flex = may_see(torch.tensor(k), torch.tensor(0), places[:, None], places)
        yield "flex", ours["input_ids"][k], ours["position_ids"][k], flex
    flat: Any = collate_padding_free(batch)
    ids, positions = flat["input_ids"][0], flat["position_ids"][0]
    yield "padding_free, lengths", ids, positions, blocks(flat["cu_seq_lens_q"])
    yield "padding_free, positions", ids, positions, by_positions(positions)
    for row in collate_trl(batch):
        ends = [0, *accumulate(row["seq_lengths"])]
        yield "trl", torch.tensor(row["input_ids"]), torch.arange(ends[-1]), blocks(ends)
    titan, _ = collate_torchtitan(batch)
    for ids, positions in zip(titan["input"], titan["positions"], strict=True):
        yield "torchtitan", ids, positions, by_positions(positions)
    packed = collate_megatron(batch)
    yield "megatron", packed["tokens"][0], packed["position_ids"][0], blocks(packed["cu_seqlens"][0])
    olmo = collate_olmo(batch)
    for ids, lengths in zip(olmo["input_ids"], olmo["doc_lens"], strict=True):
        ends = [0, *accumulate(lengths[lengths > 0].tolist())]
        yield "olmo", ids, torch.arange(ends[-1]), blocks(ends)


def test_flex_attention_takes_the_mask() -> None:
    """Torch's own functions evaluate it as it is: causal, within a document, fill apart."""
    ids = torch.tensor([[0, 0, 1, 1], [0, 1, -1, -1]], dtype=torch.int32)
    mask = create_mask(document_mask(ids), 2, None, 4, 4, device="cpu")
    assert mask.int().tolist() == [
        [[[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]],
        [[[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]],
    ]


@settings(max_examples=20)
@given(strategies.packed_rows())
def test_a_document_does_not_see_another(rows: list[Any]) -> None:
    """Changed ids of one document leave others' outputs bit-equal under each mask; not under a causal one alone."""
    changed = [[(token + 1 if owner == 0 else token, owner) for token, owner in row] for row in rows]
    before, after = (views(batch_of(each, mask=False)[0]) for each in (rows, changed))
    for (name, ids, positions, allowed), (_, others, _, _) in zip(before, after, strict=True):
        kept = ids == others
        ours, theirs = attend(ids, positions, allowed), attend(others, positions, allowed)
        assert ours[kept].equal(theirs[kept]), name
        assert not (ours[~kept] == theirs[~kept]).all(-1).any(), name
        causal = torch.ones_like(allowed).tril()
        across = kept & (torch.arange(len(ids)) > int((~kept).int().argmax()))
        seen = attend(ids, positions, causal)[across], attend(others, positions, causal)[across]
        assert not (seen[0] == seen[1]).all(-1).any(), name
