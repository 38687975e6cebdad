"""Promises of data sets that travel: by path, to workers that read the same or say that it has changed."""

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from support.loading import same_items, sent
from support.streams import piped

from llmprep import WindowDataset, build_store
from llmprep.errors import DataError, FileFormatError, InputError, UsageError

LENGTH = 16
THINGS = {
    "story.txt", "latin-1", "nothing", "texts", "other texts", "no texts", "from0.pt", "from1.pt", "int64.tokens.pt",
    "apart.windows.pt", "store", "other store",
}  # fmt: skip


@pytest.fixture(scope="module")
def sources(files: Path, story: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with texts, what is no text, folders, files and stores."""
    folder: Path = shutil.copytree(files, tmp_path_factory.mktemp("sources") / "all")
    shutil.copy(story, folder)
    for name, count in {"texts": 2, "other texts": 1, "no texts": 0}.items():
        (folder / name).mkdir()
        for number in range(count):
            (folder / name / str(number)).write_text("Other text. " * 300)
    (folder / "latin-1").write_bytes(b"caf\xe9 " * 300)
    (folder / "nothing").touch()
    for first in (0, 1):
        torch.save({"token_ids": torch.arange(99) + first}, folder / f"from{first}.pt")
    build_store(folder / "texts", folder / "other store")
    return folder


def put(source: Path, path: Path) -> None:
    """Put a copy of a file or folder in the place of what is at a path."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    shutil.copytree(source, path) if source.is_dir() else shutil.copy(source, path)


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("name", ["story.txt", "texts", "from0.pt", "apart.windows.pt", "store"])
def test_it_pickles_by_path_and_contents(
    name: str, check: bool, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a path and sizes, wherever the current folder is; a copy is taken, and nothing else there."""
    put(sources / name, Path(name))
    dataset = WindowDataset(name, LENGTH, check=check)
    pickled = pickle.dumps(dataset)
    monkeypatch.chdir("/")
    put(sources / name, path := tmp_path / name)
    back = pickle.loads(pickled)  # noqa: S301 - our own
    assert len(pickled) < 1000
    assert same_items(back, dataset)
    assert (back.identity(), back.kind) == (dataset.identity(), dataset.kind)
    for other in THINGS - {name}:
        put(sources / other, path)
        with pytest.raises(InputError, match=f"{path}: has changed since"):
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


def test_a_text_through_a_pipe_is_kept(files: Path, story: Path, tmp_path: Path) -> None:
    """A pipe is opened once; the data set travels with its ids; in a text's place it is another; no .pt comes so."""
    with piped(tmp_path / "pipe", story.read_bytes()) as pipe:
        dataset = WindowDataset(pipe, LENGTH)
    path = Path(shutil.copy(story, tmp_path / "text"))
    pickled = pickle.dumps(WindowDataset(path, LENGTH))
    path.unlink()
    assert same_items(dataset, WindowDataset(story, LENGTH))
    assert same_items(sent(dataset), dataset)
    assert repr(sent(dataset)) == f"WindowDataset('{pipe}', 391 windows of 16, stride 16, gpt2)"
    with piped(tmp_path / "short", b"a few words") as pipe, pytest.raises(DataError, match="short: 3 tokens give no"):
        WindowDataset(pipe, LENGTH)
    with piped(path, b"Other text. " * 99), pytest.raises(InputError, match="text: has changed since"):
        pickle.loads(pickled)  # noqa: S301 - our own
    data = (files / "uint16.tokens.pt").read_bytes()
    with (
        piped(tmp_path / "pt", data) as pipe,
        pytest.raises(UsageError, match=r"pt: a \.pt file is mapped, which a pipe"),
    ):
        WindowDataset(pipe, LENGTH)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A file of the ids 0 to 19,999, uint16."""
    np.arange(20_000, dtype=np.uint16).tofile(tmp_path / "raw")
    return tmp_path / "raw"


def test_a_map_of_a_file_travels_by_name(raw: Path) -> None:
    """Ids that numpy maps from a file, or what was cut from such a map, are mapped there again, from where they are."""
    (raw.parent / "more").write_bytes(b"odd" + raw.read_bytes()[:10] + raw.read_bytes())
    long = np.memmap(raw.parent / "more", np.uint16, "r", 3)
    for ids in (np.memmap(raw, np.uint16, "r"), np.memmap(raw, np.uint16), long[2:][3:], np.asarray(long)[5:]):
        dataset = WindowDataset(ids, 8, 8)
        pickled = pickle.dumps(dataset)
        back = pickle.loads(pickled)  # noqa: S301 - our own
        assert len(pickled) < 1000
        assert same_items(back, dataset)
        assert back.identity() == dataset.identity()
        assert sent(back)[0][0].tolist() == list(range(8))


def test_a_map_that_is_not_the_files_travels_whole(raw: Path) -> None:
    """What is in no file of that name, or not in a row, is sent as it is, each id once."""
    whole, private = np.memmap(raw, np.uint16, "r"), np.memmap(raw, np.uint16, "c")
    private[0] = 7
    datasets = [WindowDataset(ids, 8, 1) for ids in (private, whole[::-1], whole)]
    pickles = [pickle.dumps(dataset) for dataset in datasets[:2]]
    np.arange(20_000, dtype=np.uint16)[::-1].tofile(raw.with_name("other"))
    raw.with_name("other").replace(raw)
    pickles.append(pickle.dumps(datasets[2]))
    for pickled, dataset in zip(pickles, datasets, strict=True):
        assert 40_000 < len(pickled) < 41_000
        assert same_items(pickle.loads(pickled), dataset)  # noqa: S301 - our own


@pytest.mark.parametrize("change", ["one id", "shorter", "gone"])
def test_a_map_of_a_file_that_has_changed_is_refused(change: str, raw: Path) -> None:
    """A worker takes a copy of the file; one that would map other ids than its parent says so, whatever their time."""
    pickled, status = pickle.dumps(WindowDataset(np.memmap(raw, np.uint16, "r"), 8)), raw.stat()
    Path(shutil.copyfile(raw, raw.with_name("copy"))).replace(raw)
    assert len(pickle.loads(pickled)) == 2499  # noqa: S301 - our own
    ids = np.arange(20_000 - 4 * (change == "shorter"), dtype=np.uint16)
    ids[12_345] += change == "one id"
    ids.tofile(raw)
    os.utime(raw, ns=(status.st_atime_ns, status.st_mtime_ns))
    if change == "gone":
        raw.unlink()
    with pytest.raises(InputError, match=r"raw: (has changed since|No such file)"):
        pickle.loads(pickled)  # noqa: S301 - our own
