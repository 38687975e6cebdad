"""Promises of data sets: the textbook loop's windows from any source, and what is no source refused with the reason."""

import array
import os
import pickle
import re
import shutil
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import reference
from support.loading import same_items, sent
from support.refusals import frugal
from torch.utils.data import DataLoader

from llmprep import Sharding, WindowDataset, build_store, create_dataloader, encode_text, load_windows, open_tokens
from llmprep.errors import DataError, FileFormatError, InputError, LlmprepError, UsageError, VocabularyError

LENGTH, STRIDE = 16, 8


@pytest.mark.parametrize("name", ["int64.tokens.pt", "uint16.tokens.pt", "int32.windows.pt", "store"])
def test_items_are_the_loops_windows(name: str, files: Path, text: str) -> None:
    """Every item, one by one and gathered, is the textbook loop's window, int64, and a copy that may be written to."""
    inputs, targets = reference.window_rows(reference.encode(text), LENGTH, STRIDE)
    stand_for_paths = {entry.name: entry for entry in os.scandir(files)}
    dataset: Any = WindowDataset(stand_for_paths[name], LENGTH, STRIDE)
    dataset[0][0].zero_()
    for tensor in next(iter(DataLoader(dataset, batch_size=4))):
        tensor.zero_()
    assert len(dataset) == len(inputs)
    assert ([x.tolist() for x, _ in dataset], [y.tolist() for _, y in dataset]) == (inputs, targets)
    gathered = dataset.__getitems__(places := [5, 0, len(inputs) - 1, 5, -1])
    assert [(x.tolist(), y.tolist()) for x, y in gathered] == [(inputs[k], targets[k]) for k in places]
    assert dataset[0][0].dtype == dataset[0][1].dtype == torch.int64


@pytest.mark.parametrize("name", ["uint16.tokens.pt", "apart.windows.pt", "store"])
def test_slices_and_sizes(name: str, files: Path, text: str) -> None:
    """A slice is what Python's is of the items, stacked, to be written to; the sizes can be read, and not be set."""
    length, stride = (16, 21) if name.startswith("apart") else (16, 8)
    dataset: Any = WindowDataset(files / name, length, stride)
    items = list(dataset)
    for part in (slice(2, 5), slice(-3, None), slice(None, None, -97), slice(9, 2), slice(5, 10**30)):
        rows = dataset[part]
        for side in (0, 1):
            assert rows[side].tolist() == [item[side].tolist() for item in items[part]]
            assert (rows[side].shape, rows[side].dtype) == ((len(items[part]), 16), torch.int64)
            rows[side].zero_()
    assert same_items(items, WindowDataset(files / name, length, stride))
    sizes = {
        "max_length": 16, "stride": stride, "n_tokens": len(encode_text(text)), "n_windows": len(items),
        "encoding": "gpt2", "split": None, "kind": name.split(".")[-2] if "." in name else "store",
    }  # fmt: skip
    for public, value in sizes.items():
        assert getattr(dataset, public) == value
        with pytest.raises(AttributeError):
            setattr(dataset, public, value)
    assert set(dir(dataset)) == {*sizes, "identity", "marking", "refers", "rows"}


def test_a_file_of_windows_has_its_sizes(files: Path, tmp_path: Path) -> None:
    """It needs neither max_length nor stride, and no others are taken; also one that torch.save wrote."""
    inputs = torch.arange(12).reshape(3, 4)
    torch.save({"input_ids": inputs, "target_ids": inputs + 1}, tmp_path / "theirs.pt")
    assert len(WindowDataset(files / "apart.windows.pt")) == len(WindowDataset(files / "uint16.tokens.pt", 16, 21))
    theirs = WindowDataset(tmp_path / "theirs.pt")
    assert theirs.__getitems__([0, 1, 2]).inputs.equal(inputs)
    assert repr(theirs).endswith("theirs.pt', 3 windows of 4)")
    assert (theirs.max_length, theirs.stride, theirs.n_tokens, theirs.encoding) == (4, None, None, None)
    for sizes, wrong in (((LENGTH + 1, STRIDE), "max_length 17"), ((LENGTH, STRIDE + 1), "stride 9")):
        with pytest.raises(UsageError, match=f"{wrong}: .* was made with"):
            WindowDataset(files / "int64.windows.pt", *sizes)


def test_sizes_are_whole_numbers(files: Path) -> None:
    """One of numpy's is reckoned with as Python's are, stride is max_length where none is given; others are refused."""
    dataset = WindowDataset(np.arange(9000), np.uint8(255), np.int16(300))  # type: ignore[arg-type]
    assert (len(dataset), dataset[-1][1].tolist()) == (30, list(range(8701, 8956)))
    assert [x.tolist() for x, _ in WindowDataset(range(9), 4)] == [[0, 1, 2, 3], [4, 5, 6, 7]]  # type: ignore[attr-defined]
    for source in (range(50), files / "int64.windows.pt"):
        for name, wrong in (("max_length", 0), ("max_length", torch.tensor(16)), ("stride", 2**31), ("stride", 8.0)):
            with pytest.raises(UsageError, match=f"^{name} .*: must be (a whole number|from 1 to 2147483647)"):
                WindowDataset(source, **{"max_length": LENGTH, name: wrong})  # type: ignore[arg-type]


def test_a_windows_number_is_a_whole_number() -> None:
    """Numpy's and torch's are taken; what is none, or is larger than any, is refused, alone and in a batch."""
    dataset: Any = WindowDataset(np.arange(99), 8)
    for number in (2, np.uint8(2), torch.tensor(2), -10):
        assert dataset[number][0][0] == dataset.__getitems__([number])[0][0][0] == 16
    for wrong in (1.0, "1", True, None, np.float32(1), np.True_):
        for take, given in ((dataset.__getitem__, wrong), (dataset.__getitems__, [0, wrong])):
            with pytest.raises(TypeError, match="a window's number is a whole number, not a"):
                take(given)
    with pytest.raises(TypeError, match="a window's number is a whole number, not a slice"):
        dataset.__getitems__([0, slice(2)])
    for far in (12, -13, 10**30, -(10**30)):
        with pytest.raises(IndexError, match=f"window {far} of 12"):
            dataset[far]


def test_a_folder_of_texts_is_read_as_the_command_reads_it(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """Its documents come in order, with the end-of-text id between them; what is left out is said once, in warnings."""
    (tmp_path / "z").mkdir()
    (tmp_path / "b.txt").write_text("some words of a text, " * 9)
    (tmp_path / "c.jsonl").write_text('{"text": "first record"}\n{"text": "second record"}\n')
    (tmp_path / "z" / "a.txt").write_text("words in a folder of their own")
    (tmp_path / ".hidden").write_text("hidden words")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "z")
    stream = open_tokens(tmp_path)
    ids = np.concatenate(list(stream))
    dataset = WindowDataset(tmp_path, 8, 8)
    again = sent(dataset)
    said = [str(warning.message).removeprefix(f"{tmp_path}: ") for warning in recwarn]
    assert sorted(re.findall("hidden|pipe|link", each)[0] for each in said) == ["hidden", "link", "pipe"]
    assert ids[ids == 50256].size == 3
    assert same_items(dataset, WindowDataset(ids, 8, 8))
    assert same_items(again, dataset)
    assert dataset.identity()["content_sha256"] == stream.figures.content_sha256


def test_a_path_is_a_name(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is never a pattern. ``..`` after a link is a step back from where that leads; no current folder: an error."""
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real/inner")
    for name in ("w.pt", "[w]*.pt"):
        shutil.copy(files / "int64.windows.pt", tmp_path / "real" / name)
    assert len(WindowDataset("link/../w.pt")) == len(load_windows("link/../w.pt")[0]) > 1
    monkeypatch.chdir("real/inner")
    assert len(WindowDataset("../[w]*.pt")) > 0
    for name in ("../*.pt", "../w?pt", "../[x]*.pt"):
        with pytest.raises(InputError, match="no such file"):
            WindowDataset(name)
    (tmp_path / "real" / "inner").rmdir()
    with pytest.raises(InputError, match=r"w\.pt: the current folder is gone"):
        WindowDataset("w.pt")


def test_a_split_of_a_store_is_its_part(story: Path, text: str, tmp_path: Path) -> None:
    """``split`` chooses the tokens of a part, whose name and place are in the identity and the repr."""
    build_store(story, tmp_path / "store", sharding=Sharding(val_fraction=0.1))
    ids = encode_text(text)
    cut = len(ids) - len(ids) // 10
    train, val = (WindowDataset(tmp_path / "store", 8, 8, split=split) for split in ("train", "val"))
    assert same_items(train, WindowDataset(ids[:cut], 8, 8))
    assert same_items(val, WindowDataset(ids[cut:], 8, 8))
    assert (val.identity()["split"], val.identity()["first_token"]) == ("val", cut)
    assert repr(val).endswith("store', split val, 78 windows of 8, stride 8, gpt2)")


def test_what_makes_no_data_set_is_refused(files: Path, story: Path, tmp_path: Path) -> None:
    """What is missing, unreadable, of another kind, or does not go together is llmprep's own error, with the reason."""
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 " * 99)
    torch.save({"weights": torch.zeros(3)}, tmp_path / "other.pt")
    tokens, missing = files / "int64.tokens.pt", "max_length: needed, as the source is not a windows file"
    refused: list[tuple[Any, dict[str, Any], type[LlmprepError], str]] = [
        (tmp_path / "gone.txt", {}, InputError, r"gone\.txt: no such file"),
        ("a\0b", {}, InputError, "no name holds a NUL character"),
        ("", {}, UsageError, "source: is empty; name a path"),
        (tmp_path / "latin.txt", {}, DataError, r"latin\.txt: not valid UTF-8 at byte 3"),
        (tmp_path / "other.pt", {}, FileFormatError, "holds weights"),
        (np.arange(8), {}, DataError, "ids: 8 tokens give no window of max_length 8"),
        *((source, {"max_length": None}, UsageError, missing) for source in (story, tokens)),
        *((each, {"split": "val"}, UsageError, "split val: only a token store has") for each in (story, range(99))),
        (range(99), {"encoding": ""}, VocabularyError, "unknown"),
        *((files / name, {"encoding": "p50k_base"}, UsageError, "was made with gpt2") for name in (tokens, "store")),
        (np.arange(9.0), {}, UsageError, r"ids: shape \(9,\), dtype float64; need \(n,\) whole numbers"),
        (torch.ones(9, dtype=torch.bfloat16), {}, UsageError, "ids: a tensor of torch.bfloat16 is not an array"),
        ([[1, 2], [3]], {}, UsageError, "ids: item 0 is a list"),
        (b"words", {}, UsageError, "ids: a bytes holds no token ids"),
        (np.array([1, 2**63], np.uint64), {}, UsageError, rf"ids: id {2**63} at \[1\] >= vocabulary {2**63}"),
    ]
    for source, choices, error, reason in refused:
        with pytest.raises(error, match=reason):
            WindowDataset(source, **{"max_length": 8, **choices})


def test_ids_are_given_in_many_ways() -> None:
    """Sequences, Tensors and arrays of any integer dtype and layout hold ids."""
    ids = np.arange(20)
    arrays = [np.arange(40)[::2] // 2, *map(ids.astype, ("u1", ">i4", "u8"))]
    for source in (range(20), deque(ids), array.array("i", ids), torch.tensor(ids).to(torch.uint16), *arrays):
        dataset = WindowDataset(source, 4, 2)  # type: ignore[arg-type]
        assert (dataset[1][0].tolist(), dataset[1][1].dtype) == ([2, 3, 4, 5], torch.int64)


def test_ids_are_checked_against_a_vocabulary_that_is_known(tmp_path: Path) -> None:
    """With ``encoding`` ids must be in it; ``check=False`` takes them as they are."""
    ids = np.array([5, 50257, 7])
    torch.save({"token_ids": torch.from_numpy(ids)}, tmp_path / "x.pt")
    for source, error, name in ((ids, UsageError, "ids"), (tmp_path / "x.pt", FileFormatError, r"x\.pt")):
        assert len(WindowDataset(source, 1)) == len(WindowDataset(source, 1, encoding="gpt2", check=False)) == 2
        with pytest.raises(error, match=rf"{name}: id 50257 at \[1\] >= vocabulary 50257"):
            WindowDataset(source, 1, encoding="gpt2")


def test_a_map_that_can_hold_no_wrong_id_is_not_read(tmp_path: Path) -> None:
    """A memmap stays one: 64 GB of uint16 make a data set at once, where no such number can be wrong."""
    with (tmp_path / "train.bin").open("wb") as file:
        file.truncate(1 << 36)
    with frugal():
        dataset = WindowDataset(np.memmap(tmp_path / "train.bin", np.uint16, "r"), 1024)
        assert len(dataset) == (1 << 35) // 1024 - 1
        assert dataset[-1][0].tolist() == [0] * 1024


def test_it_says_what_it_is(files: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its repr names the source as it was given, windows, stride and encoding, where these are known."""
    monkeypatch.chdir(files)
    torch.save({"token_ids": torch.arange(9), "meta": {"encoding": "\x1b[31m"}}, path := tmp_path / "t\n.pt")
    for said, dataset in {
        "'int32.windows.pt', 781 windows of 16, stride 8, gpt2": WindowDataset(Path("int32.windows.pt")),
        "1,500 ids, 1,499 windows of 1, stride 1, r50k_base": WindowDataset(range(1500), 1, encoding="davinci"),
        f"'{tmp_path}/t\\n.pt', 1 window of 8, stride 8, '\\x1b[31m'": WindowDataset(path, 8, check=False),
    }.items():
        assert repr(dataset) == repr(sent(dataset)) == f"WindowDataset({said})"


@pytest.mark.parametrize("named", ["given", "by the variable"])
def test_a_vocabulary_is_looked_for_where_it_is_said_to_be(
    named: str, vocab_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each function that loads one takes ``vocab_dir`` or heeds LLMPREP_VOCAB_DIR; so does what was sent elsewhere."""
    text = "a few words of a text"
    (tmp_path / "text").write_text(text)
    torch.save({"token_ids": torch.arange(99)}, tmp_path / "ids.pt")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("LLMPREP_VOCAB_DIR", "" if named == "given" else vocab_dir.name)
    monkeypatch.chdir(vocab_dir.parent)
    choice: dict[str, Any] = {"encoding": "cl100k_base", "vocab_dir": vocab_dir.name if named == "given" else None}

    ids = encode_text(text, **choice)
    by_path, by_ids, _ = (WindowDataset(each, 4, **choice) for each in (tmp_path / "text", ids, tmp_path / "ids.pt"))
    batch = next(iter(create_dataloader(text, 1, 4, shuffle=False, **choice)))
    pickled = pickle.dumps(by_path)
    monkeypatch.chdir("/")
    monkeypatch.delenv("LLMPREP_VOCAB_DIR")
    assert ids.tolist() == reference.encode(text, "cl100k_base")
    for dataset in (by_path, by_ids, pickle.loads(pickled)):  # noqa: S301 - our own
        assert dataset[0][0].tolist() == batch[0][0].tolist() == ids[:4].tolist()
