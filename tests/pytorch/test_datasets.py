"""Promises of data sets: the textbook loop's windows from any source, and what is no source refused with the reason."""

from __future__ import annotations

import array
import itertools
import os
import pickle
import shutil
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import reference
from support.loading import assert_same_batches, same_items, sent
from torch.utils.data import DataLoader

from llmprep import Sharding, WindowDataset, build_store, create_dataloader, encode_text, load_windows, open_tokens
from llmprep.errors import DataError, FileFormatError, InputError, LlmprepError, UsageError, VocabularyError

LENGTH, STRIDE = 16, 8
FILES = [
    f"{dtype}.{kind}.pt" for dtype in ("int64", "int32", "uint16") for kind in ("tokens", "windows", "dense.windows")
]


class FakePath(os.PathLike[str]):
    """Something that stands for a path, as py.path and others do."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __fspath__(self) -> str:
        return str(self._path)


# --- windows --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*FILES, "store"])
def test_items_are_the_loops_windows(name: str, files: Path, text: str) -> None:
    """Every item, one by one and gathered, is the textbook loop's window, int64, and a copy that may be written to."""
    inputs, targets = reference.window_rows(reference.encode(text), LENGTH, STRIDE)

    dataset: Any = WindowDataset(files / name, LENGTH, STRIDE)
    dataset[0][0].zero_()
    for tensor in next(iter(DataLoader(dataset, batch_size=4))):
        tensor.zero_()

    assert len(dataset) == len(inputs)
    assert ([x.tolist() for x, _ in dataset], [y.tolist() for _, y in dataset]) == (inputs, targets)
    places = [5, 0, len(inputs) - 1, 5, -1]
    gathered = dataset.__getitems__(places)
    assert [(x.tolist(), y.tolist()) for x, y in gathered] == [(inputs[k], targets[k]) for k in places]
    assert dataset[0][0].dtype == dataset[0][1].dtype == torch.int64


def test_a_file_of_windows_has_its_sizes(files: Path, tmp_path: Path) -> None:
    """It needs neither max_length nor stride, and no others are taken; also one that torch.save wrote."""
    inputs = torch.arange(12).reshape(3, 4)
    torch.save({"input_ids": inputs, "target_ids": inputs + 1}, tmp_path / "theirs.pt")

    assert len(WindowDataset(files / "apart.windows.pt")) == len(WindowDataset(files / "uint16.tokens.pt", 16, 21))
    assert WindowDataset(tmp_path / "theirs.pt").__getitems__([0, 1, 2]).inputs.equal(inputs)
    for sizes, wrong in (((LENGTH + 1, STRIDE), "max_length 17"), ((LENGTH, STRIDE + 1), "stride 9")):
        with pytest.raises(UsageError, match=f"{wrong}: .* was made with"):
            WindowDataset(files / "int64.windows.pt", *sizes)


def test_stride_is_max_length_where_none_is_given() -> None:
    """Without a stride, windows touch and do not overlap."""
    assert (
        WindowDataset(np.arange(13), 4).__getitems__([0, 1, 2]).inputs.tolist() == np.arange(12).reshape(3, 4).tolist()
    )


def test_sizes_are_whole_numbers_from_1(files: Path) -> None:
    """A size of another type or out of range is refused by name, also of windows, whose sizes it might be."""
    for source, name in itertools.product((range(50), files / "int64.windows.pt"), ("max_length", "stride")):
        for wrong in (0, -1, 2**31, 16.0, "16", True, torch.tensor(16), [16]):
            with pytest.raises(UsageError, match=f"^{name} .*: must be (a whole number|from 1 to 2147483647)"):
                WindowDataset(source, **{"max_length": LENGTH, name: wrong})  # type: ignore[arg-type]


def test_sizes_may_be_numpys() -> None:
    """A whole number of numpy's is one, and small as its dtype may be, it is reckoned with as Python's are."""
    dataset = WindowDataset(np.arange(9000), np.uint8(255), np.int16(300))  # type: ignore[arg-type]

    assert len(dataset) == 30
    assert dataset[-1][1].tolist() == list(range(8701, 8956))


def test_a_windows_number_is_a_whole_number() -> None:
    """Anything else is a TypeError, as in a list, for one window and for a batch: nothing is rounded or read."""
    dataset: Any = WindowDataset(np.arange(99), 8)

    for wrong in (1.5, 1.0, "1", True, None, np.float32(1), np.True_, slice(2), [1]):
        with pytest.raises(TypeError, match="a window's number is a whole number, not a"):
            dataset[wrong]
        with pytest.raises(TypeError, match="a window's number is a whole number, not a"):
            dataset.__getitems__([0, wrong])


def test_a_windows_number_may_be_any_whole_number() -> None:
    """Those of numpy and torch are taken; what is larger than any number of windows is not there."""
    dataset = WindowDataset(np.arange(99), 8)

    for number in (2, np.int64(2), np.uint8(2), torch.tensor(2), -10):
        assert dataset[number][0][0] == dataset.__getitems__([number])[0][0][0] == 16  # type: ignore[index,list-item]
    for far in (12, -13, 10**30, -(10**30)):
        with pytest.raises(IndexError, match=f"window {far} of 12"):
            dataset[far]


@pytest.mark.parametrize(("n_tokens", "max_length"), [(4, 4), (1, 1), (0, 4), (255, 256)])
def test_no_window_is_an_error(n_tokens: int, max_length: int) -> None:
    """A text too short for one window raises, where the course's loader yields nothing."""
    with pytest.raises(DataError, match=f"ids: {n_tokens} tokens give no window of max_length {max_length}"):
        WindowDataset(np.arange(n_tokens), max_length)


# --- paths ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("given_as", [str, Path, FakePath])
def test_a_path_is_a_path(given_as: Callable[[Path], Any], story: Path, files: Path) -> None:
    """A str, a Path and anything that stands for a path are the same path, whatever is there."""
    expected = WindowDataset(files / "int64.tokens.pt", LENGTH, STRIDE)

    for path in (story, files / "int32.tokens.pt", files / "int32.windows.pt", files / "store"):
        assert same_items(WindowDataset(given_as(path), LENGTH, STRIDE), expected)


def test_a_text_is_read_as_the_course_reads_it(tmp_path: Path) -> None:
    """Carriage returns in a file become line feeds, as they do where the course opens it as text."""
    (tmp_path / "crlf.txt").write_bytes(b"one two\r\nthree four\rfive six\r\n")

    dataset = WindowDataset(tmp_path / "crlf.txt", 2, 1)

    expected = reference.dataloader("one two\nthree four\nfive six\n", 1, 2, 1, shuffle=False)
    assert_same_batches(DataLoader(dataset), expected)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of texts: a plain one, records, one in a folder of its own."""
    texts = tmp_path / "texts"
    (texts / "z").mkdir(parents=True)
    (texts / "b.txt").write_text("some words of a text, " * 9)
    (texts / "c.jsonl").write_text('{"text": "first record"}\n{"text": "second record"}\n')
    (texts / "z" / "a.txt").write_text("words in a folder of their own")
    return texts


def test_a_folder_of_texts_is_read_as_the_command_reads_it(folder: Path) -> None:
    """Its documents come in byte order of their paths, with the end-of-text id between them, as one stream."""
    stream = open_tokens(folder)
    ids = np.concatenate(list(stream))

    dataset = WindowDataset(folder, 8, 8)

    assert 2 * reference.encode("<|endoftext|>") == ids[ids == 50256].tolist()[:2]
    assert same_items(dataset, WindowDataset(ids, 8, 8))
    assert dataset.identity()["content_sha256"] == stream.figures.content_sha256
    assert same_items(sent(dataset), dataset)


def test_what_is_left_out_of_a_folder_is_said_once(folder: Path, recwarn: pytest.WarningsRecorder) -> None:
    """A hidden file, a pipe and a link to a folder are named in warnings, which a worker does not repeat."""
    (folder / ".hidden").write_text("hidden words")
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to(folder / "z")

    dataset = WindowDataset(folder, 8)
    said = sorted(str(warning.message).split("texts: ")[1][:16] for warning in recwarn.list)
    sent(dataset)

    assert said == ["1 hidden files o", "1 links to folde", "left out, as no "]
    assert len(recwarn) == 3


def test_a_name_is_never_a_pattern(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with signs of a pattern is that name: the file if it is there, else an error, not another file."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(files / "int64.windows.pt", "w.pt")
    shutil.copy(files / "int64.windows.pt", "[w]*.pt")

    assert len(WindowDataset("[w]*.pt")) > 0
    for name in ("*.pt", "w?pt", "[x]*.pt"):
        with pytest.raises(InputError, match="no such file"):
            WindowDataset(name)


def test_a_path_leads_where_the_system_says(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``..`` after a link to a folder is a step back from there; where there is no current folder, that is an error."""
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real/inner")
    shutil.copy(files / "int64.windows.pt", tmp_path / "real" / "w.pt")
    (tmp_path / "gone").mkdir()

    for load in (WindowDataset, load_windows):
        monkeypatch.chdir(tmp_path)
        assert len(load("link/../w.pt")[0]) > 1
        monkeypatch.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()
        with pytest.raises(InputError, match=r"w\.pt: the current folder is gone"):
            load("w.pt")
        (tmp_path / "gone").mkdir()


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


def refused_paths(files: Path, story: Path, tmp_path: Path) -> list[tuple[dict[str, Any], type[LlmprepError], str]]:
    """Arguments that are refused, with the error."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.txt").symlink_to("nowhere")
    (tmp_path / "several").mkdir()
    for name in ("a.pt", "b.pt"):
        shutil.copy(files / "int64.tokens.pt", tmp_path / "several" / name)
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 " * 99)
    torch.save({"weights": torch.zeros(3)}, tmp_path / "other.pt")
    tokens, windows = files / "int64.tokens.pt", files / "int64.windows.pt"
    missing = "max_length: needed, as the source is not a windows file"
    return [
        ({"source": tmp_path / "gone.txt"}, InputError, r"gone\.txt: no such file"),
        ({"source": tmp_path / "gone", "split": "val"}, InputError, "gone: no such file"),
        ({"source": "a\0b"}, InputError, "no name holds a NUL character"),
        ({"source": ""}, UsageError, "source: is empty; name a path"),
        ({"source": tmp_path / "empty"}, UsageError, "empty: there is no file in this folder"),
        ({"source": tmp_path / "broken"}, InputError, r"a\.txt: no such file"),
        ({"source": tmp_path / "latin.txt"}, DataError, r"latin\.txt: not valid UTF-8 at byte 3"),
        ({"source": tmp_path / "other.pt"}, FileFormatError, "holds weights"),
        ({"source": tmp_path / "several"}, DataError, r"a\.pt: looks like a \.pt file, not UTF-8 text; give one alone"),
        *(({"source": source, "max_length": None}, UsageError, missing) for source in (tokens, story, range(9))),
        *(
            ({"source": source, "split": "val"}, UsageError, "split val: only a token store has splits")
            for source in (story, tokens, windows, range(99))
        ),
        ({"source": files / "store", "split": "val"}, InputError, "split val: this store has none"),
        *(({"source": source, "encoding": ""}, VocabularyError, "unknown") for source in (story, tokens, range(99))),
        ({"source": tokens, "encoding": "p50k_base"}, UsageError, "was made with gpt2"),
        ({"source": files / "store", "encoding": "p50k_base"}, UsageError, "was made with gpt2"),
    ]


def test_what_makes_no_data_set_is_refused(files: Path, story: Path, tmp_path: Path) -> None:
    """What is missing, unreadable, of another kind, or does not go together is llmprep's own error, with the reason."""
    for choices, error, reason in refused_paths(files, story, tmp_path):
        with pytest.raises(error, match=reason):
            WindowDataset(**{"max_length": 8, **choices})


# --- ids ------------------------------------------------------------------------------------------


def test_ids_are_given_in_many_ways() -> None:
    """Sequences, Tensors and arrays of any integer dtype and layout hold ids."""
    ids = np.arange(20)
    arrays = [np.arange(40)[::2] // 2, *map(ids.astype, ("u1", ">i4", "u8"))]

    for source in (range(20), deque(ids), array.array("i", ids), torch.tensor(ids).to(torch.uint16), *arrays):
        dataset = WindowDataset(source, 4, 2)  # type: ignore[arg-type]
        assert dataset[1][0].tolist() == [2, 3, 4, 5]
        assert dataset[1][1].dtype == torch.int64


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (np.arange(9.0), r"ids: shape \(9,\), dtype float64; need \(n,\) whole numbers"),
        (torch.rand(9), "dtype float32"),
        (np.ones(9, bool), "dtype bool"),
        (np.array([1, None]), "dtype object"),
        (torch.ones(9, dtype=torch.bfloat16), "ids: a tensor of torch.bfloat16 is no array"),
        (torch.ones(9, dtype=torch.int64).to_sparse(), "ids: a tensor of torch.int64 is no array"),
        ([[1, 2], [3]], "ids: item 0 is a list"),
        (b"words", "ids: a bytes holds no token ids"),
        (None, "ids: a NoneType holds no token ids"),
        (iter([1, 2, 3]), "ids: a list_iterator holds no token ids"),
        (torch.tensor([1, 2, -3]), r"ids: id -3 at \[2\] is negative"),
        (np.array([1, 2**63], np.uint64), rf"ids: id {2**63} at \[1\] >= vocabulary {2**63}"),
    ],
    ids=lambda source: source if isinstance(source, str) else type(source).__name__,
)
def test_what_holds_no_ids_is_refused(source: Any, reason: str) -> None:
    """Anything else than whole numbers from 0 on, in one row, is refused at once with what it is."""
    for make in (WindowDataset, create_dataloader):
        with pytest.raises(UsageError, match=reason):
            make(source, max_length=1, stride=1)


def test_ids_are_checked_against_a_vocabulary_that_is_known(tmp_path: Path) -> None:
    """With ``encoding`` ids must be in it; ``check=False`` takes them as they are."""
    ids = np.array([5, 50257, 7])
    torch.save({"token_ids": torch.from_numpy(ids)}, tmp_path / "x.pt")

    assert len(WindowDataset(ids, 1)) == len(WindowDataset(tmp_path / "x.pt", 1)) == 2
    with pytest.raises(UsageError, match=r"ids: id 50257 at \[1\] >= vocabulary 50257"):
        WindowDataset(ids, 1, encoding="gpt2")
    with pytest.raises(FileFormatError, match=r"x\.pt: id 50257 at \[1\] >= vocabulary 50257"):
        WindowDataset(tmp_path / "x.pt", 1, encoding="gpt2")
    assert len(WindowDataset(ids, 1, encoding="gpt2", check=False)) == 2


def test_a_map_that_can_hold_no_wrong_id_is_not_read(tmp_path: Path) -> None:
    """A memmap stays one: 64 GB of uint16 make a data set at once, where no such number can be wrong."""
    with (tmp_path / "train.bin").open("wb") as file:
        file.truncate(1 << 36)
    started = time.process_time()

    dataset = WindowDataset(np.memmap(tmp_path / "train.bin", np.uint16, "r"), 1024)

    assert time.process_time() - started < 5
    assert len(dataset) == (1 << 35) // 1024 - 1
    assert dataset[-1][0].tolist() == [0] * 1024


# --- what it says, and vocabularies ---------------------------------------------------------------


def test_it_says_what_it_is(story: Path, files: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its repr names the source as it was given, windows, stride and encoding, where these are known."""
    monkeypatch.chdir(files)
    torch.save(dict.fromkeys(("input_ids", "target_ids"), torch.zeros((1, 4), dtype=torch.int64)), tmp_path / "w\n.pt")
    torch.save({"token_ids": torch.arange(9), "meta": {"encoding": "\x1b[31m"}}, tmp_path / "t.pt")
    datasets = {
        "'store', 97 windows of 64, stride 64, gpt2": WindowDataset("store", 64),
        "'int32.windows.pt', 781 windows of 16, stride 8, gpt2": WindowDataset(Path("int32.windows.pt")),
        f"'{story}', 97 windows of 64, stride 64, gpt2": WindowDataset(story, 64),
        "1,500 ids, 1,492 windows of 8, stride 1": WindowDataset(range(1500), 8, 1),
        "2 ids, 1 window of 1, stride 1, r50k_base": WindowDataset([1, 2], 1, encoding="davinci"),
        f"'{tmp_path}/w\\n.pt', 1 window of 4": WindowDataset(tmp_path / "w\n.pt"),
        f"'{tmp_path}/t.pt', 2 windows of 4, stride 4, '\\x1b[31m'": WindowDataset(tmp_path / "t.pt", 4, check=False),
    }

    for said, dataset in datasets.items():
        assert repr(dataset) == repr(sent(dataset)) == f"WindowDataset({said})"


@pytest.mark.parametrize("named", ["given", "by the variable"])
def test_a_vocabulary_is_looked_for_where_it_is_said_to_be(
    named: str, vocab_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each function that loads one takes ``vocab_dir`` or heeds LLMPREP_VOCAB_DIR; so does what was sent elsewhere."""
    text = "a few words of a text"
    (tmp_path / "text").write_text(text)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("LLMPREP_VOCAB_DIR", raising=False)
    monkeypatch.chdir(vocab_dir.parent)
    choice: dict[str, Any] = {"encoding": "cl100k_base"}
    if named == "given":
        choice["vocab_dir"] = Path(vocab_dir.name)
    else:
        monkeypatch.setenv("LLMPREP_VOCAB_DIR", vocab_dir.name)
    torch.save({"token_ids": torch.arange(99)}, tmp_path / "ids.pt")

    ids = encode_text(text, **choice)
    by_path, by_ids = (WindowDataset(each, 4, **choice) for each in (tmp_path / "text", ids))
    batch = next(iter(create_dataloader(text, 1, 4, shuffle=False, **choice)))
    if named == "given":
        WindowDataset(tmp_path / "ids.pt", 4, **choice)
    pickled = pickle.dumps(by_path)
    monkeypatch.chdir("/")
    monkeypatch.delenv("LLMPREP_VOCAB_DIR", raising=False)

    assert ids.tolist() == reference.encode(text, "cl100k_base")
    for dataset in (by_path, by_ids, pickle.loads(pickled)):  # noqa: S301 - our own
        assert dataset[0][0].tolist() == batch[0][0].tolist() == ids[:4].tolist()
