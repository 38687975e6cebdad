"""Promises of datasets: the course's batches under the course's seed, from any source, gathered without copies."""

from __future__ import annotations

import array
import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import reference
from torch import Tensor
from torch.utils.data import DataLoader, random_split

from llmprep import WindowDataset, create_dataloader, load_windows
from llmprep.cli.main import run
from llmprep.errors import DataError, EmptyError, FileFormatError, InputError, UsageError
from llmprep.formats.tokens import write_tokens
from llmprep.formats.windows import write_windows
from llmprep.inputs import open_tokens
from llmprep.output.checking import check_output
from llmprep.output.writing import open_output
from llmprep.pytorch.loaders import create_row_loader
from llmprep.tokens.encoding import encode_text


class FakePath:
    """Something that stands for a path, as py.path and others do."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __fspath__(self) -> str:
        return str(self._path)


class Column:
    """What other libraries have: something that becomes an array."""

    def __init__(self, ids: Iterable[int]) -> None:
        self._ids = list(ids)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        return np.array(self._ids)


SEED = 123
LENGTH = 16
STRIDE = 8


@pytest.fixture(scope="module")
def text(story: Path) -> str:
    return story.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def files(story: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the story's tokens and windows, in each dtype and dense."""
    folder = tmp_path_factory.mktemp("files")
    for dtype in ("int64", "int32", "uint16"):
        with open_output(check_output(str(folder / f"{dtype}.tokens.pt"))) as sink:
            write_tokens(sink, open_tokens([str(story)]), dtype=dtype)
        for dense in (False, True):
            name = f"{dtype}{'.dense' if dense else ''}.windows.pt"
            with open_output(check_output(str(folder / name))) as sink:
                write_windows(sink, open_tokens([str(story)]), LENGTH, STRIDE, dtype=dtype, dense=dense)
    with open_output(check_output(str(folder / "apart.windows.pt"))) as sink:
        write_windows(sink, open_tokens([str(story)]), LENGTH, LENGTH + 5, dtype="int64")
    return folder


def assert_same_batches(ours: Iterable[Any], theirs: Iterable[Any]) -> None:
    """Both loaders yield, under the same seed, the same list of [inputs, targets]."""
    batches = []
    for loader in (ours, theirs):
        torch.manual_seed(SEED)
        batches.append(list(loader))
    assert len(batches[0]) == len(batches[1]) > 0
    for batch, expected in zip(*batches, strict=True):
        assert type(batch) is type(expected) is list
        assert len(batch) == len(expected) == 2
        for tensor, wanted in zip(batch, expected, strict=True):
            assert tensor.dtype == wanted.dtype == torch.int64
            assert torch.equal(tensor, wanted)


# --- the course's loader --------------------------------------------------------------------------


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(("batch_size", "max_length", "stride"), [(8, 4, 4), (1, 4, 1), (7, 16, 5), (4, 10, 30)])
def test_batches_are_the_courses(
    batch_size: int, max_length: int, stride: int, shuffle: bool, drop_last: bool, text: str
) -> None:
    """Under the same seed each batch equals that of the course's loader, shuffled or not, the last one too."""
    text = text[:3001]
    options = (batch_size, max_length, stride, shuffle, drop_last)

    assert_same_batches(create_dataloader(text, *options), reference.dataloader(text, *options))


def test_defaults_are_the_courses(text: str) -> None:
    """With nothing but a text, batches equal those of the course's loader with nothing but a text."""
    assert_same_batches(create_dataloader(text), reference.dataloader(text))


def test_the_courses_text_gives_the_courses_batches(verdict: Path) -> None:
    """The course's story in the course's call: 160 batches of 8, the first input 40, 367, 2885, 1464."""
    text = verdict.read_text(encoding="utf-8")
    options = {"batch_size": 8, "max_length": 4, "stride": 4, "shuffle": False}

    loader = create_dataloader(text, **options)  # type: ignore[arg-type]

    assert len(loader) == 160
    assert next(iter(loader))[0][0].tolist() == [40, 367, 2885, 1464]
    assert_same_batches(loader, reference.dataloader(text, **options))  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("shuffle", [True, False])
def test_workers_change_no_batch(shuffle: bool, text: str, files: Path) -> None:
    """Two worker processes give the batches that no worker gives, from memory and from a file."""
    expected = reference.dataloader(text, 8, LENGTH, STRIDE, shuffle, drop_last=False)

    for source in (text, files / "uint16.windows.pt"):
        ours = create_dataloader(source, 8, LENGTH, STRIDE, shuffle, drop_last=False, num_workers=2)
        assert_same_batches(ours, expected)


@pytest.mark.slow
def test_workers_that_start_fresh_open_the_file(files: Path, text: str) -> None:
    """Workers that inherit nothing (``spawn``) get the dataset by its path and give the same batches."""
    dataset = WindowDataset(files / "int64.windows.pt")
    ours = DataLoader(dataset, batch_size=8, num_workers=2, multiprocessing_context="spawn")

    assert_same_batches(ours, reference.dataloader(text, 8, LENGTH, STRIDE, shuffle=False, drop_last=False))


# --- sources --------------------------------------------------------------------------------------

NAMES = [
    f"{dtype}.{kind}.pt" for dtype in ("int64", "int32", "uint16") for kind in ("tokens", "windows", "dense.windows")
]


@pytest.mark.parametrize("name", NAMES)
def test_files_give_the_texts_batches(name: str, files: Path, text: str) -> None:
    """A tokens or windows file of any dtype, dense or not, gives the batches of its text, as int64."""
    ours = create_dataloader(files / name, 8, LENGTH, STRIDE)

    assert_same_batches(ours, reference.dataloader(text, 8, LENGTH, STRIDE))


def test_windows_that_stand_apart_give_the_texts_batches(files: Path, text: str) -> None:
    """A windows file with gaps between its windows gives the batches of its text."""
    ours = create_dataloader(files / "apart.windows.pt", 8, LENGTH, LENGTH + 5)

    assert_same_batches(ours, reference.dataloader(text, 8, LENGTH, LENGTH + 5))


def test_a_texts_path_gives_its_batches(story: Path, text: str) -> None:
    """A `Path` names a file, a str is the text itself."""
    ours = create_dataloader(story, 8, LENGTH, STRIDE)

    assert_same_batches(ours, reference.dataloader(text, 8, LENGTH, STRIDE))


def test_a_texts_path_is_read_as_the_course_reads_it(tmp_path: Path) -> None:
    """Carriage returns in a file become line feeds, as they do where the course opens it as text."""
    path = tmp_path / "crlf.txt"
    path.write_bytes(b"one two\r\nthree four\rfive six\r\n")

    dataset = WindowDataset(path, 2, 1)

    assert_same_batches(DataLoader(dataset), reference.dataloader(path.read_text(), 1, 2, 1, shuffle=False))


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int32, np.int64])
def test_an_array_gives_its_windows(dtype: type[np.generic], text: str) -> None:
    """Ids in an array of any integer dtype give the batches of their text, as int64."""
    ids = np.array(reference.encode(text)).astype(dtype)

    assert_same_batches(create_dataloader(ids, 8, LENGTH, STRIDE), reference.dataloader(text, 8, LENGTH, STRIDE))


def test_another_encoding_is_taken_for_texts(story: Path) -> None:
    """The encoding decides a text's ids, given as a str or by its path."""
    text = "if tide:\n        return"

    (inputs, targets), *_ = create_dataloader(text, 1, 2, 1, shuffle=False, encoding="p50k_base")

    ids = reference.encode(text, "p50k_base")
    assert ids != reference.encode(text, "gpt2")
    assert (inputs.tolist(), targets.tolist()) == ([ids[:2]], [ids[1:3]])
    by_path = WindowDataset(story, 4, 4, encoding="p50k_base")
    assert by_path[0][0].tolist() == encode_text(story.read_text(), "p50k_base")[:4].tolist()


# --- the Dataset ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_items_are_the_loops_windows(name: str, files: Path, text: str) -> None:
    """Every item, one by one and gathered, is the textbook loop's window, int64."""
    inputs, targets = reference.window_rows(reference.encode(text), LENGTH, STRIDE)

    dataset = WindowDataset(files / name, LENGTH, STRIDE)

    assert len(dataset) == len(inputs)
    assert [x.tolist() for x, _ in dataset] == inputs  # type: ignore[attr-defined]
    assert [y.tolist() for _, y in dataset] == targets  # type: ignore[attr-defined]
    gathered = dataset.__getitems__([5, 0, len(inputs) - 1, 5])
    assert [x.tolist() for x, _ in gathered] == [inputs[k] for k in (5, 0, -1, 5)]
    assert [y.tolist() for _, y in gathered] == [targets[k] for k in (5, 0, -1, 5)]
    assert dataset[0][0].dtype == dataset[0][1].dtype == torch.int64


def test_a_windows_file_knows_its_sizes(files: Path) -> None:
    """A windows file needs neither max_length nor stride."""
    dataset = WindowDataset(files / "int64.windows.pt")

    assert dataset[0][0].shape == (LENGTH,)
    assert dataset[1][0][: LENGTH - STRIDE].equal(dataset[0][0][STRIDE:])


def test_stride_is_max_length_where_none_is_given() -> None:
    """Without a stride, windows touch and do not overlap."""
    dataset = WindowDataset(np.arange(13), 4)

    assert [x.tolist() for x, _ in dataset] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]  # type: ignore[attr-defined]


def test_a_plain_dataloader_takes_the_dataset(files: Path, text: str) -> None:
    """The Dataset needs no collate function of ours: torch's own gives the same batches."""
    ours = DataLoader(WindowDataset(files / "uint16.windows.pt"), batch_size=8, shuffle=True, drop_last=True)

    assert_same_batches(ours, reference.dataloader(text, 8, LENGTH, STRIDE))


def test_parts_of_the_dataset_are_loaded_alike(text: str) -> None:
    """A random_split gives the same parts, and the same batches of them, as of the course's Dataset."""
    parts = []
    for dataset in (WindowDataset(encode_text(text), LENGTH, STRIDE), reference.windows_dataset(text, LENGTH, STRIDE)):
        part, _ = random_split(dataset, [0.7, 0.3], torch.Generator().manual_seed(SEED))
        parts.append(DataLoader(part, batch_size=8))

    assert_same_batches(*parts)


def test_a_batch_may_be_written_to(files: Path) -> None:
    """Batches are copies: changing one in place changes neither the dataset nor the file."""
    path = files / "int64.windows.pt"
    before = path.read_bytes()
    dataset = WindowDataset(path)
    first, (batch, _) = dataset[0][0].clone(), next(iter(DataLoader(dataset, batch_size=4)))

    batch.zero_()
    dataset[0][0].zero_()

    assert dataset[0][0].equal(first)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", NAMES)
def test_it_pickles_by_path(name: str, files: Path) -> None:
    """A pickled dataset of a file is its path and sizes, not its ids, and comes back the same."""
    dataset = WindowDataset(files / name, LENGTH, STRIDE)

    pickled = pickle.dumps(dataset)
    back = pickle.loads(pickled)  # noqa: S301 - our own

    assert len(pickled) < 1000 < (files / name).stat().st_size
    assert len(back) == len(dataset)
    for index in (0, 7, len(dataset) - 1):
        assert all(map(torch.equal, back[index], dataset[index]))


def test_an_arrays_dataset_pickles_too() -> None:
    """A dataset of an array carries the array, each id once."""
    dataset = WindowDataset(np.arange(1000, dtype=np.uint16), 100, 1)

    pickled = pickle.dumps(dataset)
    back = pickle.loads(pickled)  # noqa: S301 - our own

    assert len(pickled) < 2 * 1000 + 1000
    assert all(map(torch.equal, back[899], dataset[899]))


def test_every_token_is_a_target_once(text: str) -> None:
    """At stride = max_length the targets of one epoch, shuffled, are the ids from the second on, without the tail."""
    ids = reference.encode(text)
    n_windows = (len(ids) - 1) // 4

    loader = create_dataloader(text, 8, 4, 4, shuffle=True, drop_last=False)

    seen = sorted(token for _, targets in loader for token in targets.flatten().tolist())
    assert seen == sorted(ids[1 : n_windows * 4 + 1])


def test_rows_come_in_the_loaders_order(text: str) -> None:
    """The loader of rows alone, which embeddings take, yields the inputs of the course's loader."""
    rows = np.array(reference.window_rows(reference.encode(text), 4, 4)[0])
    torch.manual_seed(SEED)
    ours = list(create_row_loader(rows, batch_size=8, shuffle=True, drop_last=False))
    torch.manual_seed(SEED)
    theirs = [inputs for inputs, _ in reference.dataloader(text, 8, 4, 4, shuffle=True, drop_last=False)]

    assert len(ours) == len(theirs)
    assert all(map(torch.equal, ours, theirs))


# --- load_windows ---------------------------------------------------------------------------------


@pytest.mark.parametrize("given_as", [str, Path])
@pytest.mark.parametrize("name", [name for name in NAMES if "windows" in name])
def test_loaded_windows_are_torchs(name: str, given_as: type, files: Path) -> None:
    """load_windows gives what torch.load gives: the same values, dtype, shape and strides."""
    theirs = torch.load(files / name, weights_only=True, mmap=True)

    ours = load_windows(given_as(files / name))

    for tensor, wanted in zip(ours, (theirs["input_ids"], theirs["target_ids"]), strict=True):
        assert (tensor.dtype, tensor.shape, tensor.stride()) == (wanted.dtype, wanted.shape, wanted.stride())
        assert tensor.long().equal(wanted.long())


def test_loaded_windows_share_one_storage(files: Path) -> None:
    """Inputs and targets, and neighbouring windows, are views of the same memory."""
    inputs, targets = load_windows(files / "int64.windows.pt")

    assert targets.data_ptr() == inputs.data_ptr() + 8
    assert [row.data_ptr() - before.data_ptr() for before, row in pairwise(inputs[:4])] == [STRIDE * 8] * 3


def test_a_damaged_file_is_not_loaded(files: Path, tmp_path: Path) -> None:
    """A flipped bit, which torch would not notice, is an error."""
    data = bytearray((files / "int64.windows.pt").read_bytes())
    data[200] ^= 1
    (tmp_path / "damaged.pt").write_bytes(data)
    torch.load(tmp_path / "damaged.pt", weights_only=True)

    for load in (load_windows, WindowDataset):
        with pytest.raises(FileFormatError, match="checksum"):
            load(tmp_path / "damaged.pt")


WRITE = """
import sys
import threading
from llmprep import load_windows
dense, *paths = sys.argv[1:]
for path in paths:
    x, y = load_windows(path, dense=dense == "True")
    before = x.clone()
    y[y == y[3, 2].item()] = -100
    x[-1] = 7
    print((y == -100).sum().item() > 0, x[:-1].equal(before[:-1]))
"""


@pytest.mark.parametrize("dense", [False, True])
def test_loaded_windows_may_be_written_to(dense: bool, files: Path) -> None:
    """Client code that masks targets in place ends well; views share the change, ``dense`` tensors do not.

    The file is never changed.
    """
    names = ["int64.windows.pt", "int32.windows.pt", "int64.dense.windows.pt", "apart.windows.pt"]
    before = [(files / name).read_bytes() for name in names]

    ended = subprocess.run(
        [sys.executable, "-c", WRITE, str(dense), *(files / name for name in names)], capture_output=True, check=False
    )

    shared = [not dense and ".dense." not in name for name in names]
    told = "".join(f"True {not each}\n" for each in shared)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, told.encode(), b"")
    assert [(files / name).read_bytes() for name in names] == before


@pytest.mark.parametrize("name", [name for name in NAMES if "windows" in name])
def test_dense_windows_are_copies(name: str, files: Path) -> None:
    """``dense=True`` gives the same numbers in two contiguous tensors that share nothing."""
    views, copies = load_windows(files / name), load_windows(files / name, dense=True)

    for view, copy in zip(views, copies, strict=True):
        assert copy.equal(view)
        assert copy.is_contiguous()
    assert copies[0].untyped_storage().data_ptr() != copies[1].untyped_storage().data_ptr()


def test_a_windows_file_of_wrong_ids_is_not_loaded(tmp_path: Path) -> None:
    """Ids that are not in the file's own vocabulary are an error, by every way to open it."""
    stream = open_tokens([str(Path(__file__).parent.parent / "sample_texts" / "story.txt")])
    with open_output(check_output(str(tmp_path / "w.pt"))) as sink:
        stream.n_vocab = 1000
        write_windows(sink, stream, LENGTH, STRIDE, dtype="int64")

    for load in (load_windows, WindowDataset, create_dataloader):
        with pytest.raises(FileFormatError, match=r"w\.pt: id \d+ at \[\d+, \d+\] >= vocabulary 1000"):
            load(tmp_path / "w.pt")
    assert len(WindowDataset(tmp_path / "w.pt", check=False)) > 5


# --- what a source may be -------------------------------------------------------------------------


@pytest.mark.parametrize("given_as", [str, Path, os.fspath, FakePath])
@pytest.mark.parametrize("name", ["story.txt", "int32.tokens.pt", "int32.windows.pt", "store"])
def test_a_path_is_a_path(name: str, given_as: Callable[[Path], Any], story: Path, files: Path, tmp_path: Path) -> None:
    """A str, a Path and anything that stands for a path are the same path."""
    path = {"story.txt": story, "store": tmp_path / "store"}.get(name, files / name)
    if name == "store":
        assert run(["tokenize", str(story), "-o", f"{path}/", "-q"]) == 0

    dataset = WindowDataset(given_as(path), LENGTH, STRIDE)

    assert all(map(torch.equal, dataset[3], WindowDataset(files / "int64.tokens.pt", LENGTH, STRIDE)[3]))


@pytest.mark.parametrize(
    "ids",
    [
        list(range(20)),
        tuple(range(20)),
        range(20),
        torch.arange(20),
        torch.arange(20).to(torch.uint16),
        torch.arange(20, dtype=torch.int32),
        np.arange(20),
        np.arange(20, dtype=">i4"),
        np.arange(40)[::2] // 2,
        np.arange(20, dtype=np.uint8),
        np.arange(20, dtype=np.uint64),
        [np.int64(k) for k in range(20)],
        deque(range(20)),
        array.array("i", range(20)),
        Column(range(20)),
    ],
    ids=lambda ids: type(ids).__name__,
)
def test_ids_are_given_in_many_ways(ids: Any) -> None:
    """Lists, ranges, Tensors and arrays of any integer dtype and layout hold ids."""
    dataset = WindowDataset(ids, 4, 2)

    assert dataset[1][0].tolist() == [2, 3, 4, 5]
    assert dataset[1][1].dtype == torch.int64
    assert next(iter(create_dataloader(ids, 2, 4, 4, shuffle=False)))[1].tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]


NO_IDS: dict[str, tuple[Any, str]] = {
    "floats": (np.arange(9.0), r"ids: shape \(9,\), dtype float64; need \(n,\) whole numbers"),
    "float list": ([1, 2.5], "ids: item 1 is a float; need whole numbers"),
    "float tensor": (torch.rand(9), "dtype float32"),
    "bools": (np.ones(9, bool), "dtype bool"),
    "bool list": ([1, 2, True], "ids: item 2 is a bool; need whole numbers"),
    "a list of None": ([1, None], "ids: item 1 is a NoneType"),
    "two dimensions": (np.ones((3, 3), int), r"ids: shape \(3, 3\)"),
    "a tensor that is no array": (torch.ones(9, dtype=torch.bfloat16), "ids: a tensor of torch.bfloat16 is no array"),
    "a sparse tensor": (torch.ones(9, dtype=torch.int64).to_sparse(), "ids: a tensor of torch.int64 is no array"),
    "a matrix": (torch.ones(3, 3, dtype=torch.int64), r"ids: shape \(3, 3\)"),
    "no dimension": (np.int64(7), "ids: a int64 holds no token ids"),
    "lists": ([[1, 2], [3]], "ids: item 0 is a list"),
    "objects": (np.array([1, None]), "dtype object"),
    "words": (["one", "two"], "ids: item 0 is a str"),
    "bytes": (b"words", "ids: a bytes holds no token ids"),
    "a bytearray": (bytearray(b"words"), "ids: a bytearray holds no token ids"),
    "nothing": (None, "ids: a NoneType holds no token ids"),
    "a number": (7, "ids: a int holds no token ids"),
    "a set": ({1, 2, 3}, "ids: a set holds no token ids"),
    "an iterator": (iter([1, 2, 3]), "ids: a list_iterator holds no token ids"),
    "a negative id": ([1, 2, -3], r"ids: id -3 at \[2\] is negative"),
    "a huge id": (
        np.array([1, 2**63], np.uint64),
        r"ids: id 9223372036854775808 at \[1\] >= vocabulary 9223372036854775808",
    ),
    "a number beyond all": ([1, 2**70], "ids: one of them is larger than any vocabulary: 1180591620717411303424"),
}


@pytest.mark.parametrize("make", [WindowDataset, create_dataloader])
@pytest.mark.parametrize("what", NO_IDS)
def test_what_holds_no_ids_is_refused(what: str, make: Callable[..., Any]) -> None:
    """Anything else than whole numbers from 0 on, in one row, is refused at once with what it is."""
    source, reason = NO_IDS[what]

    with pytest.raises(UsageError, match=reason):
        make(source, max_length=1, stride=1)


def test_a_map_that_can_hold_no_wrong_id_is_not_read(tmp_path: Path) -> None:
    """A memmap stays one: 64 GB of uint16 make a dataset at once, where no such number can be wrong."""
    with (tmp_path / "train.bin").open("wb") as file:
        file.truncate(1 << 36)
    started = time.process_time()

    dataset = WindowDataset(np.memmap(tmp_path / "train.bin", np.uint16, "r"), 1024)

    assert time.process_time() - started < 5
    assert len(dataset) == (1 << 35) // 1024 - 1
    assert dataset[-1][0].tolist() == [0] * 1024


def test_a_relative_path_needs_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the current folder is gone, a relative path is llmprep's own error."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    with pytest.raises(InputError, match=r"a\.txt: the current folder is gone"):
        WindowDataset("a.txt", 4)


def test_a_file_of_no_windows_is_an_error(tmp_path: Path) -> None:
    """A windows file without a window, or without a token in one, is empty."""
    for shape in ((0, 4), (3, 0)):
        torch.save(dict.fromkeys(("input_ids", "target_ids"), torch.zeros(shape, dtype=torch.int64)), tmp_path / "w.pt")

        for load in (WindowDataset, load_windows):
            with pytest.raises(EmptyError, match=r"w\.pt: empty: \d windows of \d tokens"):
                load(tmp_path / "w.pt")
        assert run(["embed", str(tmp_path / "w.pt"), "--encoding", "gpt2", "-o", str(tmp_path / "e.pt")]) == 3
        assert not (tmp_path / "e.pt").exists()


def test_ids_are_checked_against_a_vocabulary_that_is_known(files: Path, tmp_path: Path) -> None:
    """With ``encoding`` ids must be in it; a file's must be in its own; ``check=False`` takes both as they are."""
    ids = np.array([5, 50257, 7])
    torch.save({"token_ids": torch.from_numpy(ids)}, tmp_path / "x.pt")

    assert len(WindowDataset(ids, 1)) == len(WindowDataset(tmp_path / "x.pt", 1)) == 2
    with pytest.raises(UsageError, match=r"ids: id 50257 at \[1\] >= vocabulary 50257"):
        WindowDataset(ids, 1, encoding="gpt2")
    with pytest.raises(FileFormatError, match=r"x\.pt: id 50257 at \[1\] >= vocabulary 50257"):
        WindowDataset(tmp_path / "x.pt", 1, encoding="gpt2")
    with pytest.raises(UsageError, match="was made with gpt2"):
        WindowDataset(files / "int64.tokens.pt", 1, encoding="p50k_base")
    assert len(WindowDataset(ids, 1, encoding="gpt2", check=False)) == 2


@pytest.mark.parametrize("text", ["the-verdict.txt", "data/x.PT", "a.jsonl", "corpus/", "/", "~/x.parquet", "x.txt.gz"])
def test_a_path_is_no_text(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A str that is a path rather than a text is refused, with what was probably meant."""
    with pytest.raises(UsageError, match=r"a str is the text itself, as in the reference; did you mean Path\("):
        create_dataloader(text)


def test_the_name_of_a_file_that_is_there_is_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file's name is refused whatever its ending is, and with white space in it too."""
    monkeypatch.chdir(tmp_path)
    Path("my story").write_text("some words")

    with pytest.raises(UsageError, match=r"did you mean Path\('my story'\)"):
        create_dataloader("my story")


@pytest.mark.parametrize(
    "text", ["I had a look at it.txt and at more", "one two three", "x.txt\ny.txt", "a/b or c/d", "."]
)
def test_a_short_text_is_a_text(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text of a few words, names of files among them, is a text."""
    monkeypatch.chdir(tmp_path)
    if text == ".":
        text = "a . b . c"

    assert len(list(create_dataloader(text, 1, 1, 1))) == len(encode_text(text)) - 1


def test_no_batch_at_all_warns() -> None:
    """Where the reference's loader silently yields nothing, ours says so, and what to do."""
    with pytest.warns(UserWarning, match=r"no batch: 3 windows of 4, batch_size 4, .* lower batch_size or stride"):
        assert list(create_dataloader(range(13), 4, 4, 4)) == []
    assert len(list(create_dataloader(range(13), 4, 4, 4, drop_last=False))) == 1


@pytest.mark.parametrize("wrong", [4.0, "4", True, torch.tensor(4), [4]], ids=repr)
def test_sizes_are_whole_numbers_also_of_windows(wrong: Any, tmp_path: Path) -> None:
    """A windows file, whose sizes they must be, is no reason to take 4.0 for 4."""
    ids = torch.arange(12).view(3, 4)
    torch.save({"input_ids": ids, "target_ids": ids}, tmp_path / "w.pt")

    assert len(WindowDataset(tmp_path / "w.pt", 4)) == 3
    for sizes in ((wrong, None), (4, wrong)):
        with pytest.raises(UsageError, match="must be a whole number"):
            WindowDataset(tmp_path / "w.pt", *sizes)


def test_sizes_may_be_numpys() -> None:
    """A whole number of numpy's is one, and small as its dtype may be, it is reckoned with as Python's are."""
    dataset = WindowDataset(np.arange(9000), np.uint8(255), np.int16(300))  # type: ignore[arg-type]

    assert len(dataset) == 30
    assert dataset[-1][1].tolist() == list(range(8701, 8956))


@pytest.mark.parametrize("wrong", [4.0, "4", True, None, [4]])
@pytest.mark.parametrize("name", ["max_length", "stride"])
def test_sizes_are_whole_numbers(name: str, wrong: Any) -> None:
    """A size of another type is refused, also one that counts as a number."""
    if name == "stride" and wrong is None:
        return  # stands for max_length

    with pytest.raises(UsageError, match=f"{name}.*(must be a whole number|needed)"):
        WindowDataset(range(50), **{"max_length": 4, name: wrong})


def test_a_name_is_never_a_pattern(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with signs of a pattern is that name: the file if it is there, else an error, not another file."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(files / "int64.windows.pt", "w.pt")
    shutil.copy(files / "int64.windows.pt", "[w]*.pt")

    assert len(WindowDataset("[w]*.pt")) > 0
    for name in ("*.pt", "w?pt", "[x]*.pt"):
        with pytest.raises(InputError, match="no such file"):
            WindowDataset(name)


def test_a_step_back_behind_a_link_is_taken(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``..`` behind a link to a folder leads where the system says, not back past the link."""
    monkeypatch.chdir(tmp_path)
    Path("real/inner").mkdir(parents=True)
    Path("link").symlink_to("real/inner")
    shutil.copy(files / "int64.windows.pt", "real/w.pt")

    assert len(WindowDataset("link/../w.pt")) == len(WindowDataset(files / "int64.windows.pt"))
    assert load_windows("link/../w.pt")[0].shape[1] == LENGTH


def test_a_path_in_a_folder_that_is_gone_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no current folder, a relative name is llmprep's own error."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    for load in (WindowDataset, load_windows):
        with pytest.raises(InputError, match=r"a\.pt: the current folder is gone"):
            load("a.pt")


# --- travelling -----------------------------------------------------------------------------------


def test_a_texts_dataset_pickles_by_path(story: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickled dataset of a text is its path, wherever the current folder is; it comes back the same."""
    monkeypatch.chdir(tmp_path)
    Path("story.txt").write_bytes(story.read_bytes())
    dataset = WindowDataset("story.txt", LENGTH, STRIDE)

    pickled = pickle.dumps(dataset)
    monkeypatch.chdir("/")
    back = pickle.loads(pickled)  # noqa: S301 - our own

    assert len(pickled) < 1000
    assert all(map(torch.equal, back[7], dataset[7]))


def test_a_text_that_has_changed_is_refused(story: Path, tmp_path: Path) -> None:
    """A worker that would encode another text than its parent says so."""
    path = tmp_path / "story.txt"
    path.write_bytes(story.read_bytes())
    pickled = pickle.dumps(WindowDataset(path, LENGTH, STRIDE))
    path.write_bytes(story.read_bytes() + b"more")

    with pytest.raises(InputError, match=r"story\.txt: has changed since the data set was made of it"):
        pickle.loads(pickled)  # noqa: S301 - our own


@pytest.mark.parametrize(
    "other",
    [b"Another text. " * 3000, b"", b"caf\xe9 " * 3000, b"%PDF-1.7\n1 0 obj"],
    ids=["another text", "nothing", "latin-1", "pdf"],
)
def test_a_text_that_became_another_is_refused(other: bytes, story: Path, tmp_path: Path) -> None:
    """Whatever stands in the text's place now, the error is that it has changed."""
    path = Path(shutil.copy(story, tmp_path / "text.txt"))
    pickled = pickle.dumps(WindowDataset(path, LENGTH))
    path.write_bytes(other)

    with pytest.raises(InputError, match=r"text\.txt: has changed since"):
        pickle.loads(pickled)  # noqa: S301 - our own


def test_a_text_that_became_a_file_of_tokens_is_refused(story: Path, files: Path, tmp_path: Path) -> None:
    """What was a text and is a .pt now is another source, and the other way round."""
    text, tokens = shutil.copy(story, tmp_path / "a"), shutil.copy(files / "int64.tokens.pt", tmp_path / "b")
    pickled = [pickle.dumps(WindowDataset(path, LENGTH)) for path in (text, tokens)]
    shutil.copy(files / "int64.tokens.pt", text)
    shutil.copy(story, tokens)

    for data in pickled:
        with pytest.raises(InputError, match="has changed since"):
            pickle.loads(data)  # noqa: S301 - our own


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("name", ["int64.tokens.pt", "int64.windows.pt", "plain.pt"])
def test_a_file_that_became_another_is_refused(name: str, check: bool, files: Path, tmp_path: Path) -> None:
    """A worker takes a copy of the file, and no other of that name: of other ids, or of the same in other windows."""
    path, other = tmp_path / name, tmp_path / "other"
    torch.save({"token_ids": torch.arange(99)}, path) if name == "plain.pt" else shutil.copy(files / name, path)
    dataset = WindowDataset(path, LENGTH, check=check)
    pickled = pickle.dumps(dataset)
    Path(shutil.copy(path, other)).replace(path)
    assert all(map(torch.equal, pickle.loads(pickled)[5], dataset[5]))  # noqa: S301 - our own

    if name == "int64.windows.pt":
        shutil.copy(files / "apart.windows.pt", other)
    else:
        torch.save({"token_ids": torch.arange(99) + 1}, other)
    other.replace(path)

    with pytest.raises(InputError, match=r"\.pt: has changed since the data set was made of it"):
        pickle.loads(pickled)  # noqa: S301 - our own


def test_a_copy_is_checked_where_it_is_opened(files: Path, tmp_path: Path) -> None:
    """The very file that was checked is not read through again by a worker; another with its list of records is."""
    path = Path(shutil.copy(files / "int64.tokens.pt", tmp_path / "t.pt"))
    pickled = pickle.dumps(WindowDataset(path, LENGTH))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    with pytest.raises(FileFormatError, match=r"t\.pt: checksum"):
        pickle.loads(pickled)  # noqa: S301 - our own


def through_a_pipe(path: Path, data: bytes) -> threading.Thread:
    """A named pipe that data comes through once."""
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(data,), daemon=True)
    writer.start()
    return writer


def test_a_text_through_a_pipe_is_kept(story: Path, tmp_path: Path) -> None:
    """A pipe is opened once, so none of the text is lost or waited for; the dataset travels with its ids."""
    writer = through_a_pipe(tmp_path / "pipe", story.read_bytes())

    dataset = WindowDataset(tmp_path / "pipe", LENGTH)
    writer.join(10)
    back = pickle.loads(pickle.dumps(dataset))  # noqa: S301 - our own

    expected = WindowDataset(story, LENGTH)
    assert len(dataset) == len(back) == len(expected)
    assert all(map(torch.equal, back[-1], expected[-1]))


def test_a_file_of_tokens_through_a_pipe_is_refused(files: Path, tmp_path: Path) -> None:
    """A .pt file is mapped, which a pipe cannot be: one line, and no waiting for more."""
    writer = through_a_pipe(tmp_path / "pipe", (files / "int64.tokens.pt").read_bytes())

    with pytest.raises(UsageError, match="which a pipe cannot be; save it first"):
        WindowDataset(tmp_path / "pipe", LENGTH)
    writer.join(10)


def maps_of(folder: Path) -> dict[str, Any]:
    """The ids 0 to 19,999 as numpy maps of files, or as what was cut from one."""
    ids = np.arange(20_000, dtype=np.uint16)
    ids.tofile(folder / "raw")
    np.save(folder / "ids.npy", ids)
    np.concatenate([ids[:5], ids]).tofile(folder / "more")
    (folder / "odd").write_bytes(b"..." + ids.tobytes())
    long = np.memmap(folder / "more", np.uint16, "r")
    return {
        "whole": np.memmap(folder / "raw", np.uint16, "r"),
        "to be written": np.memmap(folder / "raw", np.uint16),
        "npy": np.load(folder / "ids.npy", mmap_mode="r"),
        "a run": long[2:][3:],
        "an array": np.asarray(long)[5:],
        "an offset": np.memmap(folder / "odd", np.uint16, "r", 3),
    }


@pytest.mark.parametrize("kind", ["whole", "to be written", "npy", "a run", "an array", "an offset"])
def test_a_map_of_a_file_travels_by_name(kind: str, tmp_path: Path) -> None:
    """Ids that numpy maps from a file are mapped there again, from where they stand in it."""
    dataset = WindowDataset(maps_of(tmp_path)[kind], 8, 8)

    pickled = pickle.dumps(dataset)
    back = pickle.loads(pickled)  # noqa: S301 - our own

    assert len(pickled) < 1000
    assert len(back) == len(dataset)
    assert all(map(torch.equal, back[-1], dataset[-1]))
    assert back.identity() == dataset.identity()
    assert pickle.loads(pickle.dumps(back))[0][0].tolist() == list(range(8))  # noqa: S301 - our own


def test_a_map_that_is_not_the_files_travels_whole(tmp_path: Path) -> None:
    """What is in no file of that name, or not in a row, is sent as it is."""
    raw = maps_of(tmp_path)["whole"]
    private = np.memmap(tmp_path / "raw", np.uint16, "c")
    private[0] = 7
    kinds = {"private": private, "backwards": raw[::-1], "replaced": raw}
    datasets = {name: WindowDataset(ids, 8) for name, ids in kinds.items()}
    np.arange(20_000, dtype=np.uint16)[::-1].tofile(tmp_path / "other")
    pickles = {name: pickle.dumps(dataset) for name, dataset in datasets.items() if name != "replaced"}
    (tmp_path / "other").replace(tmp_path / "raw")
    pickles["replaced"] = pickle.dumps(datasets["replaced"])

    for name, dataset in datasets.items():
        assert len(pickles[name]) > 40_000
        assert torch.equal(pickle.loads(pickles[name])[0][0], dataset[0][0])  # noqa: S301 - our own


@pytest.mark.parametrize("change", ["one id", "shorter", "gone"])
def test_a_map_of_a_file_that_has_changed_is_refused(change: str, tmp_path: Path) -> None:
    """A worker takes a copy of the file; one that would map other ids than its parent says so, whatever their time."""
    pickled = pickle.dumps(WindowDataset(maps_of(tmp_path)["whole"], 8))
    path, status = tmp_path / "raw", (tmp_path / "raw").stat()
    Path(shutil.copyfile(path, tmp_path / "copy")).replace(path)
    assert len(pickle.loads(pickled)) == 2499  # noqa: S301 - our own

    ids = np.arange(20_000 - 4 * (change == "shorter"), dtype=np.uint16)
    ids[12_345] += change == "one id"
    ids.tofile(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    if change == "gone":
        path.unlink()

    with pytest.raises(InputError, match=r"raw: (has changed since|No such file)"):
        pickle.loads(pickled)  # noqa: S301 - our own


# --- vocabularies ---------------------------------------------------------------------------------


@pytest.mark.parametrize("named", ["given", "by the variable"])
def test_a_vocabulary_is_looked_for_where_it_is_said_to_be(
    named: str, vocab_dir: Path, story: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each function that loads one takes ``vocab_dir`` or heeds LLMPREP_VOCAB_DIR; so does what was sent elsewhere."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("LLMPREP_VOCAB_DIR", raising=False)
    monkeypatch.chdir(vocab_dir.parent)
    choice: dict[str, Any] = {"encoding": "cl100k_base"}
    if named == "given":
        choice["vocab_dir"] = Path(vocab_dir.name)
    else:
        monkeypatch.setenv("LLMPREP_VOCAB_DIR", vocab_dir.name)
    path = tmp_path / "ids.pt"
    torch.save({"token_ids": torch.arange(99)}, path)
    text = story.read_text(encoding="utf-8")

    ids = encode_text(text, **choice)
    datasets = [WindowDataset(each, 8, **choice) for each in (story, ids, path)]
    batch = next(iter(create_dataloader(text, 1, 8, 8, shuffle=False, **choice)))
    pickled = pickle.dumps(datasets[0])
    monkeypatch.chdir("/")
    monkeypatch.delenv("LLMPREP_VOCAB_DIR", raising=False)

    assert ids.tolist() == reference.encode(text, "cl100k_base")
    for dataset in (datasets[0], datasets[1], pickle.loads(pickled)):  # noqa: S301 - our own
        assert dataset[0][0].tolist() == batch[0][0].tolist() == ids[:8].tolist()


# --- window numbers -------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [1.5, 1.0, "1", True, None, np.float32(1), np.True_, slice(2), [1]], ids=repr)
def test_a_windows_number_is_a_whole_number(wrong: Any) -> None:
    """Anything else is a TypeError, as in a list, for one window and for a batch: nothing is rounded or read."""
    dataset = WindowDataset(np.arange(99), 8)

    with pytest.raises(TypeError, match="a window's number is a whole number, not a"):
        dataset[wrong]
    with pytest.raises(TypeError, match="a window's number is a whole number, not a"):
        dataset.__getitems__([0, wrong])


@pytest.mark.parametrize("number", [2, np.int64(2), np.uint8(2), torch.tensor(2)], ids=repr)
def test_a_windows_number_may_be_any_whole_number(number: Any) -> None:
    """Those of numpy and torch are taken; what is larger than any number of windows is not there."""
    dataset = WindowDataset(np.arange(99), 8)

    assert dataset[number][0][0] == dataset.__getitems__([number])[0][0][0] == 16
    for far in (10**30, -(10**30), 12):
        with pytest.raises(IndexError, match=f"window {far} of 12"):
            dataset[far]


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_tokens", "max_length"), [(4, 4), (1, 1), (0, 4), (255, 256)])
def test_no_window_is_an_error(n_tokens: int, max_length: int) -> None:
    """A text too short for one window raises, where the course's loader yields nothing."""
    with pytest.raises(DataError, match=f"{n_tokens} tokens give no window of max_length {max_length}"):
        WindowDataset(np.arange(n_tokens), max_length)


@pytest.mark.parametrize("name", ["max_length", "stride"])
@pytest.mark.parametrize("wrong", [0, -1, 2**31])
def test_sizes_out_of_range_are_errors(name: str, wrong: int) -> None:
    """A size out of range is llmprep's own error, which names it."""
    with pytest.raises(UsageError, match=f"{name} {wrong}: must be from 1"):
        WindowDataset(np.arange(10), *(wrong if size == name else 4 for size in ("max_length", "stride")))


def test_a_tokens_file_needs_max_length(files: Path) -> None:
    """What is no windows file has no max_length of its own."""
    with pytest.raises(UsageError, match="max_length: needed"):
        WindowDataset(files / "int64.tokens.pt")


@pytest.mark.parametrize(("name", "sizes"), [("max_length", (LENGTH + 1, STRIDE)), ("stride", (LENGTH, STRIDE + 1))])
def test_a_windows_file_keeps_its_sizes(name: str, sizes: tuple[int, int], files: Path) -> None:
    """Sizes that are not the file's are refused, not ignored."""
    with pytest.raises(
        UsageError, match=rf"{name} {max(sizes) if name == 'max_length' else sizes[1]}: .* was made with"
    ):
        WindowDataset(files / "int64.windows.pt", *sizes)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """A path that leads nowhere is llmprep's own error."""
    for load in (WindowDataset, load_windows, create_dataloader):
        with pytest.raises(InputError, match="gone"):
            load(tmp_path / "gone.pt")


def test_a_file_of_another_kind_is_an_error(files: Path, tmp_path: Path) -> None:
    """A tokens file has no windows, and a file of other tensors has neither."""
    torch.save({"weights": torch.zeros(3)}, tmp_path / "other.pt")

    with pytest.raises(FileFormatError, match="input_ids: missing"):
        load_windows(files / "int64.tokens.pt")
    with pytest.raises(FileFormatError, match="holds weights"):
        WindowDataset(tmp_path / "other.pt", 4, 4)


def test_files_of_torch_save_are_taken(tmp_path: Path) -> None:
    """A file of dense windows that torch.save wrote is a windows file."""
    inputs: Tensor = torch.arange(12).reshape(3, 4)
    torch.save({"input_ids": inputs, "target_ids": inputs + 1}, tmp_path / "theirs.pt")

    dataset = WindowDataset(tmp_path / "theirs.pt")

    assert [(x.tolist(), y.tolist()) for x, y in dataset] == [  # type: ignore[attr-defined]
        (row.tolist(), (row + 1).tolist()) for row in inputs
    ]
