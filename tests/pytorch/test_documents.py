"""Promises of windows that know their documents: what a walk over the stream tells, token by token."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import strategies
from support.loading import sent
from support.reference import encode
from support.rows import assert_item, batch_of, plain, starts_of, tell, walk
from support.stores import EOT, build, json_lines, write_files
from torch.utils.data import DataLoader

from llmprep import WindowDataset, collate_windows, create_dataloader, open_tokens
from llmprep.choices import Reading, TextOptions
from llmprep.errors import UsageError
from llmprep.formats.tokens import write_tokens
from llmprep.output.checking import check_output
from llmprep.output.writing import open_output
from llmprep.pytorch.documents import DocumentBatch, Marking
from llmprep.pytorch.rows import StreamRows
from llmprep.windows.counts import count_windows
from llmprep.windows.documents import KnownStarts

FILE = "texts.tokens.pt"
BELONGS, SEPARATORS = ("old", "new"), ("eot", "none")
TEXTS = ["One short text.", "x", "Another one, that is longer than a window of eight tokens is.", "And a last one."]


@given(strategies.documents, st.integers(1, 9), st.integers(1, 12), st.sampled_from(SEPARATORS),
       st.sampled_from(BELONGS), st.booleans())  # fmt: skip
def test_rows_are_what_a_walk_tells(
    documents: list[list[int]], length: int, stride: int, separator: str, belongs: Any, mask: bool
) -> None:
    """For any documents, sizes and choices each window, gathered and alone, is what a walk over the tokens tells."""
    walked = walk(documents, separator, belongs)
    starts = KnownStarts(np.array(starts_of(documents, separator), np.int64))
    count = count_windows(len(walked), length, stride)
    ids = np.array([token_id for token_id, _ in walked], np.int64)
    opens = int(separator == "eot" and belongs == "new")
    rows = StreamRows(ids, length, stride, count, "", starts, opens)
    batch = DocumentBatch.gathered(rows.document_rows(np.arange(count)[::-1]), Marking(belongs, mask))
    collated = batch.collated()
    assert len(batch) == len(collated["seq_lengths"]) == count
    for k, item in enumerate(batch):
        first = (count - 1 - k) * stride
        told = tell(walked[first : first + length + 1], mask=mask)
        assert_item(item, told)
        assert_item({key: value[k] for key, value in collated.items()}, told)
    if count:
        assert plain(DocumentBatch.of([*batch]).collated()) == plain(collated)


@given(strategies.packed_rows(), st.booleans())
def test_what_fills_a_row_is_of_no_document(rows: list[Any], mask: bool) -> None:
    """It has the number -1, places from 0, no target and no part of the lengths, one by one or collated."""
    batch, told = batch_of(rows, mask=mask)
    for item, expected in zip(batch, told, strict=True):
        assert_item(item, expected)
        assert item["n_tokens"] == sum(number >= 0 for number in expected.numbers)
    again = DocumentBatch.of([*batch]).collated()
    for k, expected in enumerate(told):
        assert_item({key: value[k] for key, value in again.items()}, expected)


def source_of(kind: str, separator: Any) -> Path:
    """The texts as a store of several shards, a tokens file or a file of JSON Lines."""
    write_files(Path(), {"texts.jsonl": json_lines(["", *TEXTS])})
    options = TextOptions(separator=separator)
    if kind == "store":
        build("texts.jsonl", "store", 30, options=options)
    elif kind == FILE:
        with open_output(check_output(kind)) as sink:
            write_tokens(sink, open_tokens("texts.jsonl", reading=Reading(options=options)), dtype="uint16")
    return Path(kind)


@pytest.mark.parametrize("belongs", BELONGS)
@pytest.mark.parametrize(("kind", "separator"), [*product(("store", FILE), SEPARATORS), ("texts.jsonl", "eot")])
def test_every_source_tells_its_documents(kind: str, separator: Any, belongs: Any) -> None:
    """A store, a tokens file and texts give the windows of the walk, here and in another process."""
    walked = walk([encode(text) for text in TEXTS], separator, belongs, EOT)
    choices: Any = {"documents": True, "separator_belongs": belongs, "mask_boundaries": True}
    dataset = WindowDataset(source_of(kind, separator), 8, 3, **choices)
    told = [tell(walked[3 * k : 3 * k + 9], mask=True) for k in range(len(dataset))]
    assert len(told) == count_windows(len(walked), 8, 3) > 4
    for known in (dataset, sent(dataset)):
        for k, expected in enumerate(told):
            assert_item(known[k], expected)
    part, (first, *_) = dataset[1:3], DataLoader(dataset, 2, collate_fn=collate_windows, num_workers=1)
    for place, expected in enumerate(told[1:3]):
        assert_item({key: value[place] for key, value in part.items()}, expected)
    for place, expected in enumerate(told[:2]):
        assert_item({key: value[place] for key, value in first.items()}, expected)
    assert "stride 3, documents, gpt2" in repr(dataset)


@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_are_the_same_windows(shuffle: bool, files: Path) -> None:
    """A loader that knows documents yields the inputs and targets of one that does not, in the same order."""
    sizes: Any = {"batch_size": 4, "max_length": 16, "stride": 8, "shuffle": shuffle}
    batches = []
    for documents in (False, True):
        torch.manual_seed(1)
        batches.append([*create_dataloader(files / "store", documents=documents, **sizes)])
    assert len(batches[0]) == len(batches[1]) > 2
    for (inputs, targets), batch in zip(*batches, strict=True):
        assert torch.stack([batch["input_ids"], batch["target_ids"]]).equal(torch.stack([inputs, targets]))
        assert [batch[key].is_contiguous() for key in ("input_ids", "target_ids")] == [True, True]
        assert (batch["document_ids"].dtype, batch["position_ids"].dtype) == (torch.int32, torch.int64)


def test_choices_that_do_nothing_are_refused(files: Path) -> None:
    """What does not tell where documents begin, and a choice without documents=True, is one line with what to do."""
    for source, what in ((np.arange(99), "an array of ids"), (files / "int64.windows.pt", "a windows file")):
        with pytest.raises(UsageError, match=rf"^documents: {what} does not tell .* name texts, a tokens"):
            WindowDataset(source, 16, 8, documents=True)
    with pytest.raises(UsageError, match=r"^documents: a text in memory does not tell"):
        create_dataloader("some words", documents=True)
    for choice in ({"separator_belongs": "new"}, {"mask_boundaries": True}):
        with pytest.raises(UsageError, match=rf"^{next(iter(choice))}: .* give documents=True too$"):
            WindowDataset(files / "store", 16, **choice)
    with pytest.raises(UsageError, match=r"^separator_belongs 'both': must be 'old' or 'new'$"):
        WindowDataset(files / "store", 16, documents=True, separator_belongs="both")  # type: ignore[arg-type]
