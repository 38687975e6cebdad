"""Promises of a windows file: the textbook loop's rows in one shared storage, and the stream they were cut from."""

import io
import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import reference
from support.commands import Call
from support.refusals import check_refused
from support.streams import Make, ids_sha256, saved

from llmprep.errors import EmptyError, FileFormatError, UsageError
from llmprep.formats.windows import WindowOptions, check_window_ids, read_windows, write_windows
from llmprep.inputs import open_tokens

KEYS = ("input_ids", "target_ids")


@pytest.mark.parametrize(
    ("max_length", "stride", "dtype"), [(7, 3, "int64"), (256, 1, "int32"), (3, 4, "uint16"), (5, 11, "int32")]
)
def test_a_windows_file(
    make: Make, max_length: int, stride: int, dtype: str, story: Path, story_ids: list[int], tmp_path: Path
) -> None:
    """Rows are the textbook loop's, views of one storage or with ``--dense`` apart; the stream comes back from them."""
    shape = ("--max-length", str(max_length), "--stride", str(stride), "--dtype", dtype)

    views, dense = make("window", story, *shape), make("window", story, *shape, "--dense", out="dense.pt")

    assert list(views) == list(dense) == [*KEYS, "meta"]
    assert dense["meta"] == views["meta"] | {"options": views["meta"]["options"] | {"dense": True}}
    for key, rows in zip(KEYS, reference.window_rows(story_ids, max_length, stride), strict=True):
        assert views[key].dtype is dense[key].dtype is getattr(torch, dtype)
        assert np.array_equal(views[key].numpy(), np.array(rows))
        assert torch.equal(dense[key], views[key])
        assert dense[key].is_contiguous()
        assert dense[key].untyped_storage().nbytes() == dense[key].nbytes
    x, y = (views[key] for key in KEYS)
    assert x.untyped_storage().data_ptr() == y.untyped_storage().data_ptr()
    assert x.stride() == y.stride() == (min(stride, max_length + 1), 1)
    assert y.storage_offset() - x.storage_offset() == 1
    n_stored = len(x) * (max_length + 1) if stride > max_length else len(story_ids)
    assert x.untyped_storage().nbytes() == n_stored * x.itemsize
    assert (tmp_path / "x.pt").stat().st_size <= n_stored * x.itemsize + 8192
    for name in ("x.pt", "dense.pt") if stride <= max_length else ():
        back = make("tokenize", name, out="tokens.pt")
        held = story_ids[: (len(x) - 1) * stride + max_length + 1]
        assert back["token_ids"].tolist() == held
        assert (back["meta"]["n_tokens"], back["meta"]["content_sha256"]) == (len(held), ids_sha256(held))


def test_dense_states_its_size_first(story: Path, story_ids: list[int]) -> None:
    """The size of dense tensors is said before a byte of them is written."""
    said: list[str] = []
    sink = io.BytesIO()
    options = WindowOptions(64, 1, "int32", dense=True)

    write_windows(sink, open_tokens([str(story)]), options, lambda note: said.append(f"{len(sink.getvalue())}: {note}"))

    n = len(story_ids) - 64
    assert said == [f"0: --dense: 2 x {n} x 64 int32 are {2 * n * 64 * 4:,} bytes"]


def test_windows_with_gaps_are_no_stream(call: Call, make: Make, story: Path) -> None:
    """Where a window begins after the end of the one before, there is no text to continue: refused."""
    make("window", story, "--max-length", "4", "--stride", "5")
    check_refused(call, "tokenize", "x.pt", code=3, line="x.pt: ...leave gaps (stride 5, max_length 4)...")
    torch.save({"input_ids": torch.zeros(2, 4, dtype=torch.int64), "target_ids": torch.zeros(2, 4).long()}, "of.pt")
    line = "of.pt: its windows have a stride that it does not tell, so ..."
    check_refused(call, "decode", "of.pt", "--encoding", "gpt2", code=3, line=line)


def test_ids_outside_every_window_do_not_matter(tmp_path: Path) -> None:
    """A storage may hold what no window shows; an id that one shows is named by row and column."""
    stream = torch.arange(20)
    for place, shown in ((19, False), (8, True)):
        stream[place] = 60_000
        windows = stream.unfold(0, 5, 2)[:7]
        file = saved(tmp_path / "x.pt", input_ids=windows[:, :4], target_ids=windows[:, 1:])
        with pytest.raises(FileFormatError, match=r"id 60000 at \[3, 2\] >= ") if shown else nullcontext():
            check_window_ids(file, 50257)


def test_windows_know_their_shape(tmp_path: Path) -> None:
    """Windows are read back; a max_length or a stride that is not the file's own is refused, if it states one."""
    rows = torch.arange(6).view(2, 3)
    file = saved(tmp_path / "x.pt", input_ids=rows, target_ids=rows + 1, meta={"options": {"stride": 2}})

    assert [array.tolist() for array in read_windows(file, 3, 2)] == [rows.tolist(), (rows + 1).tolist()]
    wrong_shapes: Any = {(4, None): "max_length 4: .* was made with max_length 3", (3, 3): "stride 3: .* stride 2"}
    for shape, message in wrong_shapes.items():
        with pytest.raises(UsageError, match=message):
            read_windows(file, *shape)
    assert read_windows(saved(tmp_path / "y.pt", input_ids=rows, target_ids=rows), stride=9)[0].shape == (2, 3)
    with pytest.raises(EmptyError, match="empty: 0 windows of 3 tokens"):
        read_windows(saved(tmp_path / "z.pt", input_ids=rows[:0], target_ids=rows[:0]))


@pytest.mark.parametrize("form", [(), ("--dense",)], ids=["views", "dense"])
def test_the_split_shares_no_token(
    call: Call, make: Make, form: tuple[str, ...], story: Path, story_ids: list[int], tmp_path: Path
) -> None:
    """The stream is cut once, then each part is windowed on its own, and says so; ids are split as their text is."""
    shape = ("--max-length", "7", "--stride", "3", *form, "--val-fraction", "0.3", "-q")
    make("tokenize", story, out="tokens.pt")
    for source, out in ((story, "x.pt"), ("tokens.pt", "y.pt")):
        assert call("window", source, *shape, "-o", out).code == 0

    cut = len(story_ids) - math.floor(len(story_ids) * 0.3)
    for name, held in (("train", story_ids[:cut]), ("val", story_ids[cut:])):
        part = torch.load(f"x.{name}.windows.pt", weights_only=True)
        assert tuple(part[key].tolist() for key in KEYS) == reference.window_rows(held, 7, 3)
        meta = part["meta"]
        assert (meta["n_tokens"], meta["content_sha256"]) == (len(held), ids_sha256(held))
        assert (meta["options"]["part"], meta["options"]["val_fraction"]) == (name, 0.3)
        assert meta["sources"][0]["tokens"] == len(story_ids)
        assert Path(f"y.{name}.windows.pt").read_bytes() == Path(f"x.{name}.windows.pt").read_bytes()
    assert len(list(tmp_path.iterdir())) == 5
