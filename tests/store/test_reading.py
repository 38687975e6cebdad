"""Promises of reading a store: one stream of windows, whatever its shards, for any number of workers."""

from __future__ import annotations

import itertools
import pickle
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.commands import Call, run_llmprep
from support.reference import window_rows
from torch.utils.data import DataLoader

from llmprep import WindowDataset, WindowSampler, create_dataloader
from llmprep.errors import DataError, FileFormatError, InputError, UsageError
from llmprep.formats.tokens import write_tokens
from llmprep.store.folder import file_sha256
from llmprep.store.merge import ContentHash, write_manifest
from llmprep.store.reading import TokenStore
from llmprep.store.schema import shard_name
from llmprep.tokens.stream import TokenStream

N_VOCAB = 50_257


def make_store(folder: Path, shards: Sequence[Sequence[int]], val_fraction: float | None = None) -> Path:
    """Write a store with exactly these ids in its shards."""
    folder.mkdir(parents=True, exist_ok=True)
    receipts: dict[int, dict[str, Any]] = {}
    content = ContentHash(folder)
    for number, ids in enumerate(shards):
        path = folder / shard_name(number)
        blocks = iter([np.array(ids, np.uint32)])
        with path.open("wb") as sink:
            stream = TokenStream("made", "gpt2", "", N_VOCAB, {}, blocks)
            n_bytes = write_tokens(sink, stream, dtype="uint16")
        figures = {"tokens": len(ids), "documents": int(number == 0), "special": 0, "boms": 0}
        kept = {
            "file": path.name,
            "bytes": n_bytes,
            "sha256": file_sha256(path),
            "pieces": [[0, 0, len(ids), int(number == 0), 0]],
        }
        receipts[number] = {**kept, **figures}
        content.add(number, len(ids))
    told = {
        "options": {"encoding": "gpt2", "vocab_sha256": "0" * 64, "separator": "eot"},
        "n_vocab": N_VOCAB,
        "plan_sha256": "0" * 64,
        "corpus": [["a.txt", 0, 0]],
        "shards": [[[0, 0, None]] for _ in shards],
        "val_fraction": val_fraction,
    }
    write_manifest(folder, told, receipts, content.hexdigest())
    return folder


shard_lists = st.lists(st.lists(st.integers(0, N_VOCAB - 1), max_size=25), min_size=1, max_size=8).filter(any)
"""The ids of each shard; some are empty, not all."""

shapes = st.tuples(st.integers(1, 40), st.integers(1, 50))
"""(max_length, stride)."""


def flat(shards: Sequence[Sequence[int]]) -> list[int]:
    """The ids of all shards."""
    return [token_id for ids in shards for token_id in ids]


# --- the stream -----------------------------------------------------------------------------------


@given(shards=shard_lists, data=st.data())
def test_any_run_of_tokens_is_the_streams(shards: list[list[int]], data: st.DataObject) -> None:
    """Reading from any position, across any number of shards, gives the slice of the whole stream."""
    ids = flat(shards)
    with tempfile.TemporaryDirectory() as folder:
        store = TokenStore(make_store(Path(folder), shards))
        position = data.draw(st.integers(0, len(ids) - 1))
        count = data.draw(st.integers(0, len(ids) - position))
        size = data.draw(st.integers(1, 50))

        number, place = store.locate(position)

        assert len(store) == len(ids)
        assert store.read(position, count).tolist() == ids[position : position + count]
        assert shards[number][place] == ids[position]
        assert [len(part) for part in shards[:number]] == [len(store.shard(k)) for k in range(number)]
        assert sum(map(len, shards[:number])) + place == position
        blocks = list(store.blocks(size))
        assert [token_id for block in blocks for token_id in block.tolist()] == ids
        assert {block.dtype for block in blocks} == {np.dtype(np.uint32)}
        assert max(map(len, blocks)) <= size


@given(shards=shard_lists, data=st.data())
def test_gathered_rows_are_the_streams(shards: list[list[int]], data: st.DataObject) -> None:
    """Rows of one length from any starts, in any order, also the same twice, come as int64."""
    ids = flat(shards)
    with tempfile.TemporaryDirectory() as folder:
        store = TokenStore(make_store(Path(folder), shards))
        length = data.draw(st.integers(1, len(ids)))
        starts = data.draw(st.lists(st.integers(0, len(ids) - length), max_size=10))

        rows = store.gather(np.array(starts, np.int64), length)

    assert rows.dtype == np.int64
    assert rows.shape == (len(starts), length)
    assert rows.tolist() == [ids[start : start + length] for start in starts]


@given(shards=shard_lists, shape=shapes)
def test_windows_are_the_textbook_loops(shards: list[list[int]], shape: tuple[int, int]) -> None:
    """For any shards, max_length and stride, the windows are those of the loop over the whole stream."""
    max_length, stride = shape
    inputs, targets = window_rows(flat(shards), max_length, stride)
    with tempfile.TemporaryDirectory() as folder:
        path = make_store(Path(folder), shards)
        if not inputs:
            with pytest.raises(DataError, match=f"max_length {max_length}"):
                WindowDataset(path, max_length, stride)
            return

        dataset = WindowDataset(path, max_length, stride)

        gathered = dataset.__getitems__(list(range(len(dataset))))
        assert [x.tolist() for x, _ in gathered] == inputs
        assert [y.tolist() for _, y in gathered] == targets
        assert (dataset[0][0].tolist(), dataset[-1][1].tolist()) == (inputs[0], targets[-1])
        assert {dataset[0][0].dtype, dataset[0][1].dtype, gathered.inputs.dtype} == {torch.int64}


def test_a_window_may_lie_in_three_shards(tmp_path: Path) -> None:
    """A window goes on through a short shard, and an empty one, into the next."""
    path = make_store(tmp_path / "s", [[1, 2, 3], [4], [], [5, 6, 7], []])

    dataset = WindowDataset(path, 4, 1)

    assert [(x.tolist(), y.tolist()) for x, y in DataLoader(dataset, batch_size=None)] == [
        ([1, 2, 3, 4], [2, 3, 4, 5]),
        ([2, 3, 4, 5], [3, 4, 5, 6]),
        ([3, 4, 5, 6], [4, 5, 6, 7]),
    ]


def test_shards_are_mapped_not_copied(tmp_path: Path) -> None:
    """A run that lies in one shard is a read-only view of its file, in its 16 bits."""
    store = TokenStore(make_store(tmp_path / "s", [range(100), range(100, 200)]))

    first, second = store.read(10, 50), store.read(20, 50)

    assert np.shares_memory(first, second)
    assert not first.flags.owndata
    assert not first.flags.writeable
    assert first.dtype == np.uint16


def test_stores_and_datasets_travel_as_paths(tmp_path: Path) -> None:
    """A store, and a dataset on it, pickle to a few hundred bytes, and give the same windows over there."""
    path = make_store(tmp_path / "s", [range(5000), range(5000)], val_fraction=0.3)
    store, dataset = TokenStore(path, "train"), WindowDataset(path, 64, 3, split="val")
    store.read(4990, 50)
    dataset[0]

    packed = [pickle.dumps(thing) for thing in (store, dataset)]
    there, dataset_there = (pickle.loads(data) for data in packed)  # noqa: S301 - our own bytes

    assert max(map(len, packed)) < 1000
    assert len(there) == len(store) == 7000
    assert there.read(4990, 50).tolist() == store.read(4990, 50).tolist()
    assert len(dataset_there) == len(dataset)
    assert torch.equal(dataset_there[-1][1], dataset[-1][1])


# --- splits ---------------------------------------------------------------------------------------


@given(shards=shard_lists.filter(lambda shards: len(flat(shards)) > 3), fraction=st.floats(0.3, 0.7), shape=shapes)
def test_parts_are_windowed_on_their_own(shards: list[list[int]], fraction: float, shape: tuple[int, int]) -> None:
    """The windows of each part are the loop's over its tokens alone, so no token is shared."""
    ids = flat(shards)
    cut = len(ids) - int(len(ids) * fraction)
    with tempfile.TemporaryDirectory() as folder:
        path = make_store(Path(folder), shards, val_fraction=fraction)
        for split, part in (("train", ids[:cut]), ("val", ids[cut:])):
            store = TokenStore(path, split)
            assert store.read(0, len(store)).tolist() == part
            inputs, targets = window_rows(part, *shape)
            if inputs:
                gathered = WindowDataset(path, *shape, split=split).__getitems__(list(range(len(inputs))))
                assert ([x.tolist() for x, _ in gathered], [y.tolist() for _, y in gathered]) == (inputs, targets)


def test_a_samplers_state_knows_its_store(tmp_path: Path) -> None:
    """A state is of these ids and this part, whatever their shards; as many windows of others are refused."""
    ids = list(range(99))
    path = make_store(tmp_path / "a", [ids[:30], ids[30:]], val_fraction=0.5)
    other_cut = make_store(tmp_path / "b", [ids], val_fraction=0.48)
    state = WindowSampler(WindowDataset(path, 10, split="val"), start=2).state_dict()

    for folder, split, told in [
        (path, "train", "split val: this sampler has train"),
        (other_cut, "val", "first_token 50: this sampler has 52"),
        (make_store(tmp_path / "c", [ids[::-1]], val_fraction=0.5), "val", "content_sha256"),
    ]:
        with pytest.raises(UsageError, match=told):
            WindowSampler(WindowDataset(folder, 10, split=split)).load_state_dict(state)
    WindowSampler(WindowDataset(make_store(tmp_path / "d", [ids], 0.5), 10, split="val")).load_state_dict(state)
    WindowSampler(WindowDataset(path, 10)).load_state_dict(WindowSampler(WindowDataset(np.array(ids), 10)).state_dict())


def test_a_part_that_is_not_there_is_refused(tmp_path: Path, story: Path) -> None:
    """An unknown part is refused with those there are; only stores have any."""
    without = make_store(tmp_path / "without", [range(100)])
    split = make_store(tmp_path / "split", [range(100)], val_fraction=0.5)

    with pytest.raises(InputError, match=r"^split val: this store has none; build it with --val-fraction$"):
        WindowDataset(without, 4, split="val")
    with pytest.raises(InputError, match=r"^split test: this store has train, val;"):
        WindowDataset(split, 4, split="test")
    with pytest.raises(UsageError, match=r"^split val: only a token store has splits$"):
        WindowDataset(story, 4, split="val")


def test_a_store_does_not_know_max_length(tmp_path: Path) -> None:
    """max_length is chosen when reading; the stride is max_length unless chosen."""
    path = make_store(tmp_path / "s", [range(100)])

    with pytest.raises(UsageError, match="max_length: needed"):
        WindowDataset(path)
    assert [x[0].item() for x, _ in DataLoader(WindowDataset(path, 30), batch_size=None)] == [0, 30, 60]


# --- loaders --------------------------------------------------------------------------------------

FORKS = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning", "ignore:This DataLoader will create")


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose ids tell their place in the stream."""
    ids = list(range(3000))
    shards = [ids[:1000], ids[1000:1003], [], ids[1003:1500], ids[1500:]]
    return make_store(tmp_path_factory.mktemp("numbers") / "s", shards, val_fraction=0.1)


def batches(path: Path, **choices: Any) -> list[tuple[list[list[int]], list[list[int]]]]:
    """Every batch of one pass, under one seed."""
    torch.manual_seed(123)
    return [(x.tolist(), y.tolist()) for x, y in create_dataloader(path, 8, 20, 7, **choices)]


@FORKS
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("num_workers", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_workers_change_no_batch(num_workers: int, shuffle: bool, numbers: Path) -> None:
    """Any number of workers gives the batches that none gives, in the same order."""
    expected = batches(numbers, shuffle=shuffle)

    assert batches(numbers, shuffle=shuffle, num_workers=num_workers) == expected


def test_batches_in_order_are_the_textbooks(numbers: Path) -> None:
    """Without shuffling, batches hold the loop's windows in order; drop_last leaves out the incomplete one."""
    inputs, targets = window_rows(range(3000), 20, 7)

    for drop_last in (True, False):
        read = batches(numbers, shuffle=False, drop_last=drop_last)
        stop = len(inputs) - len(inputs) % 8 * drop_last
        assert [row for x, _ in read for row in x] == inputs[:stop]
        assert [row for _, y in read for row in y] == targets[:stop]


def test_a_shuffled_pass_holds_each_window_once(numbers: Path) -> None:
    """Shuffled, each pass holds every window once, in an order of its own that torch's seed decides."""
    inputs, _ = window_rows(range(3000), 20, 7)
    torch.manual_seed(5)
    loader = create_dataloader(numbers, 8, 20, 7, drop_last=False)
    passes = [[row for x, _ in loader for row in x.tolist()] for _ in range(2)]
    torch.manual_seed(6)
    other = [row for x, _ in create_dataloader(numbers, 8, 20, 7, drop_last=False) for row in x.tolist()]
    torch.manual_seed(5)
    same = [row for x, _ in create_dataloader(numbers, 8, 20, 7, drop_last=False) for row in x.tolist()]

    assert sorted(passes[0]) == sorted(passes[1]) == sorted(other) == inputs
    assert len({str(order) for order in (*passes, other, inputs)}) == 4
    assert same == passes[0]


def test_a_loader_may_read_one_part(numbers: Path) -> None:
    """`split` chooses the part that a loader reads."""
    inputs, _ = window_rows(range(2700, 3000), 20, 7)

    read = batches(numbers, shuffle=False, drop_last=False, split="val")

    assert [row for x, _ in read for row in x] == inputs


# --- commands that take a store -------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(story: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the story's store and its tokens file."""
    folder = tmp_path_factory.mktemp("built")
    for output in (["-o", f"{folder}/store/", "--shard-bytes", "10000"], ["-o", f"{folder}/story.pt"]):
        assert run_llmprep("tokenize", story, "--jobs", "1", *output).returncode == 0
    return folder


@pytest.mark.parametrize(
    "command",
    [
        ["window", "--max-length", "64", "--stride", "16"],
        ["window", "--max-length", "64", "--stride", "100", "--dtype", "int32"],
        ["window", "--max-length", "64", "--dense"],
        ["pairs", "--context-size", "5", "--start", "2600", "--windows", "40"],
        ["embed", "--max-length", "16", "--dim", "4", "--batches", "20"],
    ],
    ids=" ".join,
)
def test_commands_take_a_store_as_they_take_a_file(command: list[str], built: Path, call: Call) -> None:
    """`window`, `pairs` and `embed` write the same tensors from a store as from the tokens file of the same text."""
    ended = [call(*command, built / name, "-o", f"{name[:5]}.pt") for name in ("store", "story.pt")]

    from_store, from_file = (torch.load(f"{name}.pt", weights_only=True) for name in ("store", "story"))
    assert [each.code for each in ended] == [0, 0], ended
    assert from_store.keys() == from_file.keys()
    assert all(torch.equal(from_store[key], from_file[key]) for key in from_store.keys() - {"meta"})
    for key in ("n_tokens", "content_sha256", "options", "encoding", "n_vocab", "vocab_sha256", "kind"):
        assert from_store["meta"][key] == from_file["meta"][key]


def test_a_split_of_a_store_is_written_as_of_a_file(built: Path, call: Call) -> None:
    """`window --val-fraction` cuts a store's stream where it cuts the file's."""
    for name in ("store", "story.pt"):
        call("window", built / name, "--max-length", "8", "--val-fraction", "0.2", "-o", f"{name[:5]}.pt")

    for part in ("train", "val"):
        loaded = [torch.load(f"{name}.{part}.windows.pt", weights_only=True) for name in ("store", "story")]
        assert torch.equal(loaded[0]["input_ids"], loaded[1]["input_ids"])
        assert torch.equal(loaded[0]["target_ids"], loaded[1]["target_ids"])


@pytest.mark.parametrize("command", ["window", "pairs", "embed"])
@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--newlines", "keep"], "its tokens are made already; options for text do not apply"),
        (["--field", "body"], "its tokens are made already; options for text do not apply"),
        (["--encoding", "cl100k_base"], "was made with gpt2"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_stores_choices_are_made(command: str, options: list[str], told: str, built: Path, call: Call) -> None:
    """Options for text, and another encoding, are refused for a store, whose ids are made."""
    ended = call(command, built / "store", *options, "-o", "o.pt")

    (line,) = ended.notes
    assert ended.code == 2
    assert told in line
    assert not Path("o.pt").exists()


def test_the_default_name_is_the_folders(built: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without -o, the windows of ``store/`` go to ``store.windows.pt`` in the current folder."""
    ended = call("window", f"{built}/store/", "--max-length", "64")

    assert ended.code == 0
    assert Path("store.windows.pt").is_file()


# --- only what is asked for -----------------------------------------------------------------------


def test_a_window_outside_the_split_is_refused(tmp_path: Path) -> None:
    """Single or in a batch, a number beyond the split raises: behind train's last window lie the tokens of val."""
    folder = make_store(tmp_path / "s", [list(range(60)), list(range(60, 100))], val_fraction=0.3)
    train, val = (WindowDataset(folder, 4, 4, split=name) for name in ("train", "val"))

    for dataset in (train, val):
        for outside in (len(dataset), len(dataset) + 1, -len(dataset) - 1):
            with pytest.raises(IndexError, match=f"window {outside} of {len(dataset)}"):
                _ = dataset[outside]
            with pytest.raises(IndexError, match=f"window {outside} of {len(dataset)}"):
                dataset.__getitems__([0, outside])
    tokens = TokenStore(folder, "train")
    for first, count in ((len(tokens) - 3, 4), (-1, 2)):
        with pytest.raises(IndexError, match=f"tokens {first} to {first + count} of 70"):
            tokens.read(first, count)


def test_numbers_from_the_end_are_those_windows(tmp_path: Path) -> None:
    """A negative number counts from the end in a batch too, as `Subset` may ask."""
    dataset = WindowDataset(make_store(tmp_path / "s", [list(range(50))]), 4, 4)

    batch = dataset.__getitems__([-1, 0, -len(dataset)])

    assert batch.inputs.tolist() == [dataset[number][0].tolist() for number in (len(dataset) - 1, 0, 0)]


def test_a_loader_may_be_read_inside_itself(numbers: Path) -> None:
    """The course's training loop evaluates on its training loader; the epoch still holds each window once."""
    loader = create_dataloader(numbers, 8, 20, 7, shuffle=True, drop_last=False)
    inputs, _ = window_rows(range(3000), 20, 7)
    read: list[list[int]] = []

    for step, (x, _) in enumerate(loader):
        read += x.tolist()
        assert len(read) <= len(inputs)
        if step % 5 == 0:
            assert len(list(itertools.islice(loader, 3))) == 3

    assert sorted(read) == sorted(inputs)


def test_a_split_is_a_stores(call: Call, tmp_path: Path) -> None:
    """A split of a file is refused, whichever kind it is: a file has none."""
    (tmp_path / "a.txt").write_text("one two three four five six seven")
    call("tokenize", "a.txt", "-o", "tokens.pt")
    call("window", "a.txt", "--max-length", "2", "-o", "windows.pt")

    for name in ("a.txt", "tokens.pt", "windows.pt"):
        with pytest.raises(UsageError, match="split val: only a token store has splits"):
            WindowDataset(Path(name), 2, 2, split="val")


# --- damage ---------------------------------------------------------------------------------------


def damage(path: Path, ids: Sequence[int]) -> None:
    """Overwrite the last ids of a shard, and leave its checksum as it was."""
    data = path.read_bytes()
    (start, count), new = data_record(path), np.array(ids, "<u2").tobytes()
    end = start + count
    path.write_bytes(data[: end - len(new)] + new + data[end:])


def data_record(path: Path) -> tuple[int, int]:
    """Where the ids of a shard lie in its file, and how many bytes they are."""
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("archive/data/0")
    name, extra = np.frombuffer(path.read_bytes()[entry.header_offset + 26 :][:4], "<u2").tolist()
    return entry.header_offset + 30 + name + extra, entry.file_size


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A store of three shards; one bit of the second is not what it was."""
    folder = make_store(tmp_path / "store", [list(range(k, k + 40)) for k in (0, 40, 80)])
    damage(folder / shard_name(1), [79 ^ 4])
    return folder


@pytest.mark.parametrize(
    "command",
    [
        ["window", "--max-length", "8", "-o", "x.pt"],
        ["window", "--max-length", "8", "--val-fraction", "0.1", "-o", "x.pt"],
        ["window", "--max-length", "8", "--dense", "-o", "x.pt"],
        ["pairs", "--start", "40"],
        ["pairs", "-o", "x.pt"],
        ["embed", "--max-length", "8", "--dim", "4", "-o", "x.pt"],
        ["tokenize", "-o", "x.pt"],
        ["tokenize", "--count"],
        ["tokenize", "--ids"],
        ["inspect", "--max-length", "8", "--window", "5"],
        ["inspect", "--max-length", "8", "--where", "5"],
        ["inspect", "--max-length", "8", "--around", "of"],
        ["inspect", "--verify"],
    ],
)
def test_a_damaged_shard_is_refused(command: list[str], damaged: Path, call: Call) -> None:
    """Each command that reads ids of a store finds a flipped bit, names the shard, and writes nothing."""
    ended = call(command[0], damaged, *command[1:])

    assert ended.code == 4
    assert "tokens-00001.pt" in ended.notes[-1]
    assert "checksum" in ended.notes[-1]
    assert not list(Path().glob("*x*.pt"))


def test_a_damaged_shard_is_refused_by_a_dataset(damaged: Path) -> None:
    """A Dataset finds the damage when it first touches the shard, and not before; other shards are read."""
    dataset = WindowDataset(damaged, 8)

    assert dataset[0][0].tolist() == list(range(8))
    with pytest.raises(FileFormatError, match=r"tokens-00001\.pt: checksum"):
        dataset[4]
    with pytest.raises(FileFormatError, match=r"tokens-00001\.pt: checksum"):
        dataset.__getitems__([0, 4])


@FORKS
def test_a_damaged_shard_is_refused_by_workers(damaged: Path) -> None:
    """So does a process that loads batches."""
    loader = create_dataloader(damaged, 1, 8, 8, shuffle=False, num_workers=1)

    with pytest.raises(FileFormatError, match=r"tokens-00001\.pt: checksum"):
        list(loader)


def test_each_shard_is_checked_once(damaged: Path) -> None:
    """What was found sound is not read again; what was not is refused again."""
    store = TokenStore(damaged)
    assert store.read(0, 3).tolist() == [0, 1, 2]
    damage(damaged / shard_name(0), [1])

    assert store.read(0, 3).tolist() == [0, 1, 2]
    for _ in range(2):
        with pytest.raises(FileFormatError):
            store.read(45, 1)


def test_the_check_can_be_left_out(damaged: Path) -> None:
    """``check=False`` takes a shard as it is, here and where the store is sent."""
    store = TokenStore(damaged, check=False)

    assert store.read(79, 1).tolist() == [79 ^ 4]
    assert pickle.loads(pickle.dumps(store)).read(79, 1).tolist() == [79 ^ 4]  # noqa: S301
    with pytest.raises(FileFormatError):
        pickle.loads(pickle.dumps(TokenStore(damaged))).read(79, 1)  # noqa: S301


# --- a store that is built anew while it is open


OLD, NEW = [range(40), range(40, 80), range(80, 120)], [range(200, 240), range(240, 280), range(280, 320)]


def rebuild(folder: Path, shards: Sequence[Sequence[int]]) -> None:
    """Put another store in the place of one, as a build does: new files, and the manifest last."""
    new = make_store(folder.with_name("new"), shards)
    for path in sorted(new.glob("tokens-*.pt")):
        path.replace(folder / path.name)
    (new / "manifest.json").replace(folder / "manifest.json")


@pytest.mark.parametrize("check", [True, False])
def test_a_store_built_anew_is_not_read_as_the_old_one(check: bool, tmp_path: Path) -> None:
    """What was touched stays as it was; a shard not yet touched is refused, whatever is left unchecked."""
    folder = make_store(tmp_path / "store", OLD)
    dataset = WindowDataset(folder, 8, check=check)
    assert dataset[0][0].tolist() == list(range(8))

    rebuild(folder, NEW)

    assert dataset[1][0].tolist() == list(range(8, 16))
    with pytest.raises(FileFormatError, match=r"tokens-00001\.pt: its sha256 is not the one in the manifest"):
        dataset[9]


@pytest.mark.parametrize("check", [True, False])
def test_a_shard_that_is_mapped_again_is_the_same(check: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where maps are given up, a shard that was replaced meanwhile is refused, also one that was checked before."""
    monkeypatch.setattr("llmprep.store.reading.MAX_MAPS", 1)
    folder = make_store(tmp_path / "store", OLD)
    store = TokenStore(folder, check=check)
    assert [store.read(place, 1)[0] for place in (0, 40)] == [0, 40]

    rebuild(folder, NEW)

    with pytest.raises(FileFormatError, match=r"tokens-00000\.pt: its sha256"):
        store.read(0, 1)


@pytest.mark.parametrize("check", [True, False])
def test_a_shard_that_was_only_copied_is_read(check: bool, tmp_path: Path) -> None:
    """Content decides: a file of other times and place that holds the same goes on."""
    folder = make_store(tmp_path / "store", OLD)
    store = TokenStore(folder, check=check)

    rebuild(folder, OLD)

    assert [store.read(place, 1)[0] for place in (0, 40, 119)] == [0, 40, 119]


def test_a_store_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is that of the folder it was given in: where another is current, nothing else is read."""
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    make_store(tmp_path / "store", OLD)
    make_store(Path("in/store"), NEW)
    stores = [TokenStore(Path("../store")), TokenStore(Path("../store"), check=False)]
    dataset = WindowDataset("../store", 8)
    stores[0].read(0, 1)
    pickles = [pickle.dumps(thing) for thing in stores]

    for folder in ("/", tmp_path / "sub" / "in"):
        monkeypatch.chdir(folder)
        for store in (*stores, *map(pickle.loads, pickles)):
            assert store.read(100, 1)[0] == 100
        assert pickle.loads(pickle.dumps(dataset))[1][0][0] == 8  # noqa: S301 - our own bytes
    assert dataset[5][0][0] == 40
    assert str(stores[0].folder) == "../store"


@pytest.mark.parametrize("fraction", [None, 0.4])
def test_who_gets_a_store_refuses_another(fraction: float | None, tmp_path: Path) -> None:
    """A pickle says which ids and which part were read; a store of other ids, or cut elsewhere, is refused."""
    folder = make_store(tmp_path / "store", OLD, fraction)
    split = "val" if fraction else None
    pickles = [pickle.dumps(thing) for thing in (TokenStore(folder, split), WindowDataset(folder, 8, split=split))]

    shutil.rmtree(folder)
    make_store(folder, [range(120)], fraction)
    for data in pickles:  # other shards of the same ids are no other store
        assert len(pickle.loads(data))  # noqa: S301 - our own bytes
    shutil.rmtree(folder)
    make_store(folder, NEW if fraction is None else OLD, fraction and 0.41)

    for data in pickles:
        with pytest.raises(InputError, match="store: has changed since"):
            pickle.loads(data)  # noqa: S301 - our own bytes


def test_a_source_that_became_another_kind_is_refused(story: Path, tmp_path: Path) -> None:
    """A store whose place a text takes, and the other way round, is said to have changed."""
    text, store = Path(shutil.copy(story, tmp_path / "text")), make_store(tmp_path / "store", OLD)
    pickles = [pickle.dumps(WindowDataset(path, 8)) for path in (text, store)]
    text.rename(tmp_path / "kept")
    store.rename(text)
    (tmp_path / "kept").rename(store)

    for data in pickles:
        with pytest.raises(InputError, match="has changed since"):
            pickle.loads(data)  # noqa: S301 - our own bytes


@pytest.mark.parametrize("command", [["window", "--max-length", "8", "-o", "x.pt"], ["inspect", "--max-length", "8"]])
def test_an_id_beyond_the_vocabulary_is_refused(command: list[str], tmp_path: Path, call: Call) -> None:
    """A shard whose checksum holds, of ids that the vocabulary does not have, is named with the id and its place."""
    folder = make_store(tmp_path / "store", [[1, 2, 3] * 4, [4, 65535, 5] * 4])

    ended = call(command[0], folder, *command[1:], *(["--window", "1"] if command[0] == "inspect" else []))

    assert ended.code == 4
    assert "tokens-00001.pt: id 65535 at [1] >= vocabulary 50257" in ended.notes[-1]
    with pytest.raises(FileFormatError, match="id 65535"):
        WindowDataset(folder, 8).__getitems__([1])


def test_more_shards_than_open_files(tmp_path: Path) -> None:
    """A process that may open few files reads a store of many shards, by every command and in a Dataset."""
    folder = make_store(tmp_path / "store", [[k, k + 1, k + 2, k + 3] for k in range(120)])
    limited = ("bash", "-c", 'ulimit -n 48 && exec "$@"', "bash")
    commands: list[list[str | Path]] = [
        ["window", folder, "--max-length", "8", "-q", "-o", "w.pt"],
        ["embed", folder, "--max-length", "8", "--dim", "4", "-q", "-o", "e.pt"],
        ["pairs", folder, "--start", "470", "-q"],
        ["inspect", folder, "--verify", "-q"],
    ]

    for command in commands:
        ended = run_llmprep(*command, cwd=tmp_path, prefix=limited)
        assert (ended.returncode, ended.stderr) == (0, b"")
    read = (
        "import sys; from llmprep import WindowDataset; d = WindowDataset(sys.argv[1], 4); print(len(d), d[118][1][3])"
    )
    ended = subprocess.run(
        [*limited, sys.executable, "-c", read.replace("sys.argv[1]", f"__import__('pathlib').Path({str(folder)!r})")],
        capture_output=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_the_number_of_maps_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more shards than may be mapped at once, all are still read, in any order."""
    monkeypatch.setattr("llmprep.store.reading.MAX_MAPS", 2)
    store = TokenStore(make_store(tmp_path / "store", [[k] * 3 for k in range(7)]))

    for number in (0, 3, 6, 0, 1, 2, 5, 0):
        assert store.read(3 * number, 3).tolist() == [number] * 3
    assert store.gather(np.arange(0, 18, 4), 3)[:, 0].tolist() == [0, 1, 2, 4, 5]
