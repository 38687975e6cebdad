"""Promises of a windows file: the textbook loop's rows in one shared storage, and the stream they were cut from."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import reference
from support.commands import Call
from support.streams import Make, ids_sha256, saved

from llmprep.choices import Effort, Reading
from llmprep.errors import EmptyError, FileFormatError, LlmprepError, UsageError
from llmprep.formats.windows import WindowOptions, check_window_ids, read_windows, verify_windows, write_windows
from llmprep.inputs import open_tokens
from llmprep.ptfile.reading import read_pt

KEYS = ("input_ids", "target_ids")


@pytest.mark.parametrize(
    ("max_length", "stride", "dtype"),
    [(4, 4, "int64"), (7, 3, "int32"), (256, 1, "int64"), (3, 4, "uint16"), (5, 11, "int32"), (1, 1, "uint16")],
)
def test_a_windows_file(
    make: Make, max_length: int, stride: int, dtype: str, story: Path, story_ids: list[int], tmp_path: Path
) -> None:
    """`window` writes the textbook loop's rows as views of one storage, or with ``--dense`` as two contiguous tensors.

    The storage holds the stream once, or where windows lie apart, rows of max_length + 1 ids.
    """
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


def test_the_effort_does_not_show(story: Path) -> None:
    """Read in small blocks, by either backend or several threads, a text makes the same file as read at once."""
    for options in (
        WindowOptions(7, 7),
        WindowOptions(16, 4, "int32"),
        WindowOptions(5, 9),
        WindowOptions(64, 9, dense=True),
    ):
        files = set()
        for effort in (Effort(), Effort("tiktoken", 1, 7), Effort("gigatoken", 3, 1000)):
            sink = io.BytesIO()
            size = write_windows(sink, open_tokens([str(story)], Reading(effort=effort)), options)
            assert size == len(sink.getvalue())
            files.add(sink.getvalue())
        assert len(files) == 1


def test_dense_states_its_size_first(story: Path, story_ids: list[int]) -> None:
    """The size of dense tensors is said before a byte of them is written."""
    said: list[str] = []
    sink = io.BytesIO()
    options = WindowOptions(64, 1, "int32", dense=True)

    write_windows(sink, open_tokens([str(story)]), options, lambda note: said.append(f"{len(sink.getvalue())}: {note}"))

    n = len(story_ids) - 64
    assert said == [f"0: --dense: 2 x {n} x 64 int32 are {2 * n * 64 * 4:,} bytes"]


# --- the stream -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("max_length", "stride"), [(7, 3), (4, 4), (256, 1)])
@pytest.mark.parametrize("form", [(), ("--dense",)], ids=["views", "dense"])
def test_a_windows_file_gives_its_stream_back(
    make: Make, max_length: int, stride: int, form: tuple[str, ...], story: Path, story_ids: list[int]
) -> None:
    """From windows without gaps comes the stream they were cut from, up to the last target."""
    shape = ("--max-length", str(max_length), "--stride", str(stride))
    windows = make("window", story, *shape, *form, out="windows.pt")

    tokens = make("tokenize", "windows.pt")

    reach = (len(windows["input_ids"]) - 1) * stride + max_length + 1
    assert tokens["token_ids"].tolist() == story_ids[:reach]
    assert (tokens["meta"]["n_tokens"], tokens["meta"]["content_sha256"]) == (reach, ids_sha256(story_ids[:reach]))


@pytest.mark.parametrize("command", ["pairs", "tokenize", "window"])
def test_windows_with_gaps_are_no_stream(call: Call, make: Make, command: str, story: Path, tmp_path: Path) -> None:
    """Where a window begins after the end of the one before, there is no text to continue: refused."""
    make("window", story, "--max-length", "4", "--stride", "5")

    ended = call(command, "x.pt", "-o", "y.pt")

    assert ended.code == 3
    assert b"leave gaps (stride 5, max_length 4)" in ended.stderr
    assert not (tmp_path / "y.pt").exists()


# --- reading and verifying ------------------------------------------------------------------------

X = torch.arange(6).view(2, 3)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"input_ids": X}, FileFormatError, "target_ids: missing; a windows file has"),
        ({"target_ids": X}, FileFormatError, "input_ids: missing"),
        ({"input_ids": X, "target_ids": X.view(6)}, FileFormatError, r"target_ids: shape \(6,\), dtype int64"),
        ({"input_ids": X.double(), "target_ids": X}, FileFormatError, r"input_ids: shape \(2, 3\), dtype float64"),
        ({"input_ids": X, "target_ids": X[:1]}, FileFormatError, r"\(2, 3\) and target_ids \(1, 3\) differ in shape"),
        ({"input_ids": X[:0], "target_ids": X[:0]}, EmptyError, "empty: 0 windows of 3 tokens"),
    ],
)
def test_windows_must_be_two_tables_of_whole_numbers(
    values: dict[str, object], error: type[LlmprepError], message: str, tmp_path: Path
) -> None:
    """Missing keys, other ranks and dtypes, and unlike shapes are errors that say what was found."""
    with pytest.raises(error, match=message):
        read_windows(saved(tmp_path / "x.pt", **values))


def test_windows_know_their_shape(tmp_path: Path) -> None:
    """Windows are read back; a max_length or a stride that is not the file's own is refused."""
    file = saved(tmp_path / "x.pt", input_ids=X, target_ids=X + 1, meta={"options": {"stride": 2}})

    inputs, targets = read_windows(file, 3, 2)

    assert (inputs.tolist(), targets.tolist()) == (X.tolist(), (X + 1).tolist())
    for shape, message in (
        ((4, None), "max_length 4: .* was made with max_length 3"),
        ((3, 3), "stride 3: .* stride 2"),
    ):
        with pytest.raises(UsageError, match=message):
            read_windows(file, *shape)
    assert read_windows(saved(tmp_path / "y.pt", input_ids=X, target_ids=X), stride=9)[0].shape == (2, 3)


def test_ids_outside_every_window_do_not_matter(tmp_path: Path) -> None:
    """A storage may hold what no window shows; an id that one shows is named by row and column."""
    stream = torch.arange(20)
    stream[19] = 60_000
    windows = stream.unfold(0, 5, 2)[:7]
    assert 60_000 not in windows
    check_window_ids(saved(tmp_path / "x.pt", input_ids=windows[:, :4], target_ids=windows[:, 1:]), 50257)

    stream[8] = 60_000

    with pytest.raises(FileFormatError, match=r"id 60000 at \[3, 2\] >= vocabulary 50257"):
        check_window_ids(saved(tmp_path / "x.pt", input_ids=windows[:, :4], target_ids=windows[:, 1:]), 50257)


def written(path: Path, story: Path, options: WindowOptions) -> dict[str, Any]:
    """Write a windows file; return what torch makes of it, in memory of its own."""
    with path.open("wb") as sink:
        write_windows(sink, open_tokens([str(story)]), options)
    loaded = torch.load(path, weights_only=True)
    return {key: value.clone() if isinstance(value, torch.Tensor) else value for key, value in loaded.items()}


@pytest.mark.parametrize(("options", "n_lines"), [
    (WindowOptions(7, 3), 3), (WindowOptions(7, 9), 2), (WindowOptions(7, 7, dense=True), 2)
])  # fmt: skip
def test_what_is_written_is_verified(options: WindowOptions, n_lines: int, story: Path, tmp_path: Path) -> None:
    """Shift, overlap and vocabulary hold of every window, and the hash where the storage holds the whole stream."""
    meta = written(tmp_path / "x.pt", story, options)["meta"]

    lines = list(verify_windows(read_pt(tmp_path / "x.pt"), meta))

    count = len(range(0, 6259 - 7, options.stride))
    assert lines[0] == f"{count} windows of 7, stride {options.stride}: targets are inputs moved by one"
    assert lines[1] == "every id is in the vocabulary of 50257"
    assert lines[2:] == [f"content_sha256 {meta['content_sha256']}"] * (n_lines - 2)


@pytest.mark.parametrize(
    ("key", "row", "place", "value", "message"),
    [
        ("target_ids", 1500, 2, 5, "x.pt: window 1500: its targets are not its inputs moved by one"),
        ("target_ids", 2083, 6, 50257, "x.pt: id 50257 at [35, 6] >= vocabulary 50257"),
        ("input_ids", 3, 0, 5, "x.pt: window 2: it does not overlap with the next one"),
        ("options", "max_length", None, 6, "x.pt: max_length is 7, meta says 6"),
        ("options", "stride", None, 4, "x.pt: windows is 2084, meta says 1563"),
        ("n_tokens", None, None, 6300, "x.pt: windows is 2084, meta says 2098"),
    ],
)
def test_what_does_not_hold_is_named(
    key: str, row: Any, place: int | None, value: int, message: str, story: Path, tmp_path: Path
) -> None:
    """A window that is not as the others and ``meta`` say is named, with what is wrong with it."""
    values = written(tmp_path / "x.pt", story, WindowOptions(7, 3, "int32", dense=True))
    if row is None:
        values["meta"][key] = value
    elif place is None:
        values["meta"][key][row] = value
    else:
        values[key][row, place] = value
    file = saved(tmp_path / "x.pt", **values)

    with pytest.raises(FileFormatError) as raised:
        list(verify_windows(file, file.meta))

    assert str(raised.value) == f"{tmp_path}/{message}"


def test_a_hash_that_does_not_hold_is_named(story: Path, tmp_path: Path) -> None:
    """Windows whose stream is not the one that ``meta`` states are refused."""
    meta = written(tmp_path / "x.pt", story, WindowOptions(7, 3))["meta"]

    with pytest.raises(FileFormatError, match=r"content_sha256 is .*, meta says 0000"):
        list(verify_windows(read_pt(tmp_path / "x.pt"), meta | {"content_sha256": "0" * 64}))
