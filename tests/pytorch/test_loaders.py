"""Promises of loaders: the course's batches under the course's seed, from any source; windows files as tensors."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import reference
from support.loading import assert_same_batches
from torch.utils.data import DataLoader, random_split

from llmprep import WindowDataset, WindowSampler, create_dataloader, encode_text, load_windows
from llmprep.errors import FileFormatError, InputError, UsageError

LENGTH, STRIDE = 16, 8


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("sizes", [(8, 4, 4), (7, 16, 5), (4, 10, 30)])
def test_batches_are_the_courses(sizes: tuple[int, int, int], shuffle: bool, drop_last: bool, text: str) -> None:
    """Under the same seed each batch equals that of the course's loader, shuffled or not, the last one too."""
    options = (text[:3001], *sizes, shuffle, drop_last)
    assert_same_batches(create_dataloader(*options), reference.dataloader(*options))


def test_defaults_are_the_courses(text: str) -> None:
    """With nothing but a text, batches equal those of the course's loader with nothing but a text."""
    assert create_dataloader(text, num_workers=2).num_workers == 2
    assert_same_batches(create_dataloader(text), reference.dataloader(text))


def test_defaults_give_way_to_a_windows_files_own_sizes(files: Path) -> None:
    """Its own max_length and stride hold unless others are given, which are refused; elsewhere the course's hold."""
    apart, tokens, store = (files / name for name in ("apart.windows.pt", "uint16.tokens.pt", "store"))
    for given in ((), (8, 16), (8, 16, 21, False, False), (4, np.int64(16))):
        loader: Any = create_dataloader(apart, *given)
        assert (loader.dataset.max_length, loader.dataset.stride) == (16, 21)
        whole = WindowDataset(apart, 16, 21)
        assert_same_batches(loader, DataLoader(whole, loader.batch_size, len(given) < 5, drop_last=len(given) < 5))
    for sizes, wrong in (((256, 21), "max_length 256"), ((16, 128), "stride 128"), ((16, 8), "stride 8")):
        with pytest.raises(UsageError, match=f"{wrong}: .* was made with"):
            create_dataloader(apart, 4, *sizes)
    for source in (tokens, store, list(range(999))):
        for chosen in ((1,), (1, 256), (1, 32), (1, 32, 16)):
            loader = create_dataloader(source, *chosen)
            assert (loader.dataset.max_length, loader.dataset.stride) == (*chosen[1:], *(256, 128)[len(chosen) - 1 :])
            assert {type(size) for size in (loader.dataset.max_length, loader.dataset.stride)} == {int}
    ours, theirs = (inspect.signature(each).parameters for each in (create_dataloader, reference.dataloader))
    assert [repr(each.default) for each in ours.values()][1:7] == [repr(each.default) for each in theirs.values()][1:]


def test_a_store_is_shuffled_epoch_by_epoch(files: Path) -> None:
    """Under one seed of torch, the passes over a store are the epochs of a sampler with a seed drawn from it."""
    torch.manual_seed(5)
    loader = create_dataloader(files / "store", max_length=64, stride=64)
    torch.manual_seed(5)
    seed = int(torch.empty((), dtype=torch.int64).random_())
    dataset = WindowDataset(files / "store", 64)
    for epoch in range(3):
        order = list(WindowSampler(dataset, seed=seed, epoch=epoch))[:96]
        assert torch.equal(torch.cat([inputs for inputs, _ in loader]), dataset.__getitems__(order).inputs)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_torchs_own_tools_take_the_data_set(files: Path, text: str) -> None:
    """Random_split gives the parts, and a plain DataLoader, with workers, the batches, as of the course's Dataset."""
    ours, theirs = (
        random_split(dataset, [0.7, 0.3], torch.Generator().manual_seed(1))[0]
        for dataset in (WindowDataset(files / "uint16.windows.pt"), reference.windows_dataset(text, LENGTH, STRIDE))
    )
    assert_same_batches(DataLoader(ours, batch_size=8, num_workers=2), DataLoader(theirs, batch_size=8))


@pytest.mark.slow
def test_a_worker_that_starts_fresh_opens_the_data_set_anew(text: str, story: Path) -> None:
    """A worker that inherits nothing (``spawn``) gets the path of a text, and gives the same batches."""
    ours = DataLoader(WindowDataset(story, LENGTH, STRIDE), 64, num_workers=1, multiprocessing_context="spawn")
    assert_same_batches(ours, reference.dataloader(text, 64, LENGTH, STRIDE, shuffle=False, drop_last=False))


def test_a_path_is_no_text() -> None:
    """A str that ends as a path does, or names a file that is there, is refused with what was meant; no other."""
    Path("my story").write_text("some words")
    for path in ("the-verdict.txt", "x.PT", "corpus/", "~/x.gz", "my story"):
        with pytest.raises(UsageError, match=r"a str is the text itself, as in the course; did you mean Path\('"):
            create_dataloader(path)
    for text in ("I had a look at it.txt", "x.txt\ny.txt", "a/b or c/d", "x" * 5000):
        assert len(list(create_dataloader(text, 1, 1, 1))) == len(encode_text(text)) - 1


def test_no_batch_at_all_warns() -> None:
    """Where the reference's loader silently yields nothing, ours says so, and what to do."""
    with pytest.warns(UserWarning, match=r"no batch: 3 windows of 4, batch_size 4, .* lower batch_size or stride"):
        assert list(create_dataloader(range(13), 4, 4, 4)) == []
    assert len(list(create_dataloader(range(13), 4, 4, 4, drop_last=False))) == 1


@pytest.mark.parametrize("name", ["int64", "int32.dense", "uint16", "apart"])
def test_loaded_windows_are_torchs_and_may_be_written_to(name: str, files: Path) -> None:
    """They are torch.load's, and share a change, or with ``dense`` share nothing; the file never changes."""
    path = files / f"{name}.windows.pt"
    before = path.read_bytes()
    theirs = torch.load(path, weights_only=True, mmap=True)
    views, copies = load_windows(path), load_windows(str(path), dense=True)
    for view, copy, wanted in zip(views, copies, (theirs["input_ids"], theirs["target_ids"]), strict=True):
        assert (view.dtype, view.shape, view.stride()) == (wanted.dtype, wanted.shape, wanted.stride())
        assert view.long().equal(wanted.long())
        assert (copy.equal(view), copy.is_contiguous()) == (True, True)
    for (inputs, targets), shared in ((views, not name.endswith("dense")), (copies, False)):
        assert inputs[3, 3] == targets[3, 2] != 7
        targets[3, 2] = 7
        assert (inputs[3, 3] == 7) == shared
    assert path.read_bytes() == before


def test_a_file_that_is_not_sound_is_not_loaded(files: Path, tmp_path: Path) -> None:
    """A flipped bit, ids of no vocabulary, another kind, nothing at all."""
    data = bytearray((files / "int64.windows.pt").read_bytes())
    data[200] ^= 1
    (tmp_path / "damaged.pt").write_bytes(data)
    torch.save(dict.fromkeys(("input_ids", "target_ids"), torch.tensor([[1, -1]])), tmp_path / "ids.pt")
    for name, error, message in (
        ("damaged.pt", FileFormatError, "checksum"),
        ("ids.pt", FileFormatError, r"id -1 at \[0, 1\] is negative"),
        ("gone.pt", InputError, ".o such file"),
    ):
        for load in (load_windows, WindowDataset):
            with pytest.raises(error, match=rf"{name}: .*{message}"):
                load(tmp_path / name)
    with pytest.raises(FileFormatError, match="input_ids: missing"):
        load_windows(files / "int64.tokens.pt")
    assert len(WindowDataset(tmp_path / "ids.pt", check=False)) == 1
