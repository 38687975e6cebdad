"""Promises of embeddings and weights files: the course's vectors, and tables that are checked before use."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import reference
from support.streams import Make, saved

from llmprep.errors import FileFormatError
from llmprep.formats.embeddings import write_embeddings
from llmprep.formats.verify import verify_file
from llmprep.formats.weights import WEIGHT_KEYS, has_weights, read_weights, write_weights
from llmprep.ptfile.reading import read_pt


@pytest.mark.parametrize("source", ["text", "windows with gaps"])
def test_an_embeddings_file(make: Make, source: str, story: Path) -> None:
    """`embed` writes ``input_embeddings`` (N, L, D), equal to the course's, of a text or of any windows file."""
    stride = 4 if source == "text" else 9
    if source != "text":
        make("window", story, "--max-length", "4", "--stride", "9", out="windows.pt")
    given = (story, "--max-length", "4") if source == "text" else ("windows.pt",)

    loaded = make("embed", *given, "--batches", "3")

    text = story.read_text(encoding="utf-8")
    batches = zip(range(3), reference.embeddings(text, max_length=4, stride=stride), strict=False)
    assert list(loaded) == ["input_embeddings", "meta"]
    assert torch.equal(loaded["input_embeddings"], torch.cat([batch for _, batch in batches]))
    assert (loaded["meta"]["options"]["max_length"], loaded["meta"]["options"]["stride"]) == (4, stride)


def test_raw_batches_become_one_tensor(tmp_path: Path) -> None:
    """The bytes of batches, one after the other, are the tensor; the size is returned."""
    values = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    with (tmp_path / "x.pt").open("wb") as sink:
        batches = (values[k : k + 2].data.cast("B") for k in (0, 2))
        size = write_embeddings(sink, batches, (4, 3, 2), dtype="float32", meta={"kind": "embeddings"})

    loaded = torch.load(tmp_path / "x.pt", weights_only=True)

    assert torch.equal(loaded["input_embeddings"], torch.tensor(values))
    assert loaded["meta"] == {"kind": "embeddings"}
    assert size == (tmp_path / "x.pt").stat().st_size


# --- weights --------------------------------------------------------------------------------------

V, C = torch.ones(5, 2), torch.zeros(3, 2)


@pytest.mark.parametrize("keys", WEIGHT_KEYS)
def test_weights_are_written_read_and_verified(keys: tuple[str, str], tmp_path: Path) -> None:
    """Two tables under any of the known pairs of names are recognised, read back and verified."""
    sink = io.BytesIO()
    tables = dict(zip(keys, (V.numpy(), C.numpy()), strict=True))
    assert write_weights(sink, tables) == len(sink.getvalue())
    (tmp_path / "x.pt").write_bytes(sink.getvalue())
    file = read_pt(tmp_path / "x.pt")

    token, position = read_weights(file)

    assert has_weights(file)
    assert (token.tolist(), position.tolist()) == (V.tolist(), C.tolist())
    assert list(verify_file(file)) == ["checksums of 2 tensors hold", "token table [5, 2], positional table [3, 2]"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"tok_emb.weight": V},
            r"a weights file has token_embedding.weight \(V, D\) and pos_embedding.weight \(C, D\)",
        ),
        (
            {key: V for pair in WEIGHT_KEYS[:2] for key in pair},
            "holds token_embedding.weight and tok_emb.weight; leave one pair of tables",
        ),
        ({"tok_emb.weight": V, "pos_emb.weight": torch.ones(3, 3)}, "need .* of one width D and not empty"),
        ({"tok_emb.weight": V, "pos_emb.weight": torch.ones(2)}, "need .* of one width D and not empty"),
        ({"tok_emb.weight": V[:0], "pos_emb.weight": C}, "need .* of one width D and not empty"),
        ({"tok_emb.weight": V, "pos_emb.weight": C.long()}, "needs pos_emb.weight as float32, float16 or float64"),
    ],
)
def test_what_is_no_pair_of_tables_is_named(values: dict[str, Any], message: str, tmp_path: Path) -> None:
    """Tables that are missing, ambiguous, of other shapes or dtypes are errors that say what is needed."""
    with pytest.raises(FileFormatError, match=message):
        read_weights(saved(tmp_path / "x.pt", **values))
