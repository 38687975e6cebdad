"""Promises of reading a store: one stream, whatever its shards, and never the ids of another or of a damaged one."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.commands import ROOT, clean_environment
from support.stores import N_VOCAB, make_store

from llmprep.errors import FileFormatError, InputError
from llmprep.store.reading import TokenStore
from llmprep.store.schema import shard_name
from llmprep.store.verify import verify_store

shard_lists = st.lists(st.lists(st.integers(0, N_VOCAB - 1), max_size=25), min_size=1, max_size=8).filter(any)
"""The ids of each shard; some are empty, not all."""
OLD, NEW = [range(40), range(40, 80), range(80, 120)], [range(200, 240), range(240, 280), range(280, 320)]
both = pytest.mark.parametrize("check", [True, False])


# --- the stream -----------------------------------------------------------------------------------


@given(shards=shard_lists, fraction=st.none() | st.floats(0.01, 0.99), data=st.data())
def test_any_run_of_tokens_is_the_streams(shards: list[list[int]], fraction: float | None, data: st.DataObject) -> None:
    """Reading from any position, across any number of shards, gives the slice of the stream, or of a part of it."""
    ids = [token_id for shard in shards for token_id in shard]
    cut = len(ids) - int(len(ids) * (fraction or 0))
    part = data.draw(st.sampled_from([None, "train", "val"] if fraction else [None]))
    expected = {None: ids, "train": ids[:cut], "val": ids[cut:]}[part]
    with tempfile.TemporaryDirectory() as folder:
        store = TokenStore(make_store(Path(folder), shards, fraction), part)
        position = data.draw(st.integers(0, len(expected)))
        count = data.draw(st.integers(0, len(expected) - position))
        size = data.draw(st.integers(1, 50))

        assert len(store) == len(expected)
        assert store.read(position, count).tolist() == expected[position : position + count]
        blocks = list(store.blocks(size))
        assert [token_id for block in blocks for token_id in block.tolist()] == expected
        assert {block.dtype for block in blocks} <= {np.dtype(np.uint32)}
        assert max(map(len, blocks), default=0) <= size
        if position < len(expected):
            number, place = store.locate(position)
            assert store.shard(number)[place] == expected[position]
        for first, length in ((position, len(expected) + 1 - position), (-1, 2)):
            with pytest.raises(IndexError, match=f"tokens {first} to {first + length} of {len(expected)}"):
                store.read(first, length)


@given(shards=shard_lists, data=st.data())
def test_gathered_rows_are_the_streams(shards: list[list[int]], data: st.DataObject) -> None:
    """Rows of one length from any starts, in any order, also the same twice, come as int64."""
    ids = [token_id for shard in shards for token_id in shard]
    with tempfile.TemporaryDirectory() as folder:
        store = TokenStore(make_store(Path(folder), shards))
        length = data.draw(st.integers(1, len(ids)))
        starts = data.draw(st.lists(st.integers(0, len(ids) - length), max_size=10))
        rows = store.gather(np.array(starts, np.int64), length)
    assert rows.dtype == np.int64
    assert rows.shape == (len(starts), length)
    assert rows.tolist() == [ids[start : start + length] for start in starts]


def test_shards_are_mapped_not_copied(tmp_path: Path) -> None:
    """A run that lies in one shard is a read-only view of its file, in its 16 bits."""
    store = TokenStore(make_store(tmp_path / "s", [range(100), range(100, 200)]))
    first, second = store.read(10, 50), store.read(20, 50)
    assert np.shares_memory(first, second)
    assert (first.flags.owndata, first.flags.writeable, str(first.dtype)) == (False, False, "uint16")


def test_the_number_of_maps_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more shards than may be mapped at once, all are still read, in any order."""
    monkeypatch.setattr("llmprep.store.reading.MAX_MAPS", 2)
    store = TokenStore(make_store(tmp_path / "store", [[k] * 3 for k in range(7)]))
    for number in (0, 3, 6, 0, 1, 2, 5, 0):
        assert store.read(3 * number, 3).tolist() == [number] * 3


@pytest.mark.slow
def test_more_shards_than_open_files(tmp_path: Path) -> None:
    """A process that may open few files reads and verifies a store of many shards."""
    folder = make_store(tmp_path / "store", [[k, k + 1, k + 2, k + 3] for k in range(120)])
    code = (
        "import sys; from pathlib import Path; from llmprep.store.reading import TokenStore\n"
        "from llmprep.store.verify import verify_store\n"
        "store = TokenStore(sys.argv[1]); list(verify_store(store.folder))\n"
        "print(sum(int(block.sum()) for block in store.blocks(7)))"
    )
    limited = ("bash", "-c", 'ulimit -n 48 && exec "$@"', "bash")
    command = [*limited, sys.executable, "-c", code, str(folder)]

    ended = subprocess.run(
        command, env=clean_environment({"PYTHONPATH": str(ROOT)}), capture_output=True, check=False
    )  # fmt: skip

    assert (ended.stdout, ended.stderr) == (b"%d\n" % sum(4 * k + 6 for k in range(120)), b"")


def test_a_store_says_what_it_is(tmp_path: Path) -> None:
    """Its folder, tokens, shards, encoding and part; an unknown part is refused with those there are."""
    whole = make_store(tmp_path / "whole", [range(1000), range(200)])
    split = make_store(tmp_path / "split", [range(100)], val_fraction=0.25)
    assert repr(TokenStore(whole)) == f"TokenStore('{whole}', 1,200 tokens in 2 shards, gpt2)"
    assert repr(TokenStore(str(split), "val")) == f"TokenStore('{split}', 25 tokens in 1 shard, gpt2, split val)"
    with pytest.raises(InputError, match=r"^split val: this store has none; build it with --val-fraction$"):
        TokenStore(whole, "val")
    with pytest.raises(InputError, match=r"^split test: this store has train, val; build it with"):
        TokenStore(split, "test")


# --- damage ---------------------------------------------------------------------------------------


def damage(path: Path, ids: Sequence[int]) -> None:
    """Overwrite the last ids of a shard, and leave its checksum as it was."""
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("archive/data/0")
    data, new = path.read_bytes(), np.array(ids, "<u2").tobytes()
    name, extra = np.frombuffer(data[entry.header_offset + 26 :][:4], "<u2").tolist()
    end = entry.header_offset + 30 + name + extra + entry.file_size
    path.write_bytes(data[: end - len(new)] + new + data[end:])


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A store of three shards; one bit of the second is not what it was."""
    folder = make_store(tmp_path / "store", OLD)
    damage(folder / shard_name(1), [79 ^ 4])
    return folder


def test_a_damaged_shard_is_refused_when_it_is_touched(damaged: Path) -> None:
    """Not before, and each time; what was found sound is not read again. A verification names it."""
    store = TokenStore(damaged)
    assert store.read(0, 3).tolist() == [0, 1, 2]
    damage(damaged / shard_name(0), [1])
    assert store.read(0, 3).tolist() == [0, 1, 2]
    for sent in (store, store, pickle.loads(pickle.dumps(store))):  # noqa: S301 - our own bytes
        with pytest.raises(FileFormatError, match=r"tokens-00001\.pt: checksum"):
            sent.read(45, 1)
    with pytest.raises(FileFormatError, match=r"tokens-00000\.pt: checksum"):
        list(verify_store(damaged))


def test_the_check_can_be_left_out(damaged: Path) -> None:
    """``check=False`` takes a shard as it is, here and where the store is sent."""
    store = TokenStore(damaged, check=False)
    for sent in (store, pickle.loads(pickle.dumps(store))):  # noqa: S301 - our own bytes
        assert sent.read(79, 1).tolist() == [79 ^ 4]


def test_an_id_beyond_the_vocabulary_is_refused(tmp_path: Path) -> None:
    """A shard whose checksum holds, of ids that the vocabulary does not have, is named with the id and its place."""
    store = TokenStore(make_store(tmp_path / "store", [[1, 2, 3] * 4, [4, 65535, 5] * 4]))
    with pytest.raises(FileFormatError, match=r"tokens-00001\.pt: id 65535 at \[1\] >= vocabulary 50257"):
        store.read(10, 4)


def test_files_that_are_missing_extra_or_cut_are_named(tmp_path: Path) -> None:
    """All of them, when the store is opened."""
    folder = make_store(tmp_path / "store", OLD)
    (folder / shard_name(0)).unlink()
    (folder / shard_name(1)).write_bytes(b"")
    (folder / shard_name(7)).write_bytes(b"")
    with pytest.raises(FileFormatError, match=r"00\.pt is missing; .*01\.pt has 0 bytes, .*; .*07\.pt is not in the"):
        TokenStore(folder)


# --- a store that is built anew while it is open --------------------------------------------------


def rebuild(folder: Path, shards: Sequence[Sequence[int]]) -> None:
    """Put another store in the place of one, as a build does: new files, and the manifest last."""
    new = make_store(folder.with_name("new"), shards)
    for path in sorted(new.glob("tokens-*.pt")):
        path.replace(folder / path.name)
    (new / "manifest.json").replace(folder / "manifest.json")


@both
def test_a_store_built_anew_is_not_read_as_the_old_one(check: bool, tmp_path: Path) -> None:
    """What was touched stays as it was; a shard not yet touched is refused, whatever is left unchecked."""
    store = TokenStore(make_store(tmp_path / "store", OLD), check=check)
    assert store.read(0, 8).tolist() == list(range(8))
    rebuild(store.folder, NEW)
    assert store.read(8, 8).tolist() == list(range(8, 16))
    with pytest.raises(FileFormatError, match=r"tokens-00001\.pt: its sha256 is not the one in the manifest"):
        store.read(70, 8)


@both
def test_a_shard_that_is_mapped_again_is_the_same(check: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where maps are given up, a shard that was replaced meanwhile is refused, also one that was checked before."""
    monkeypatch.setattr("llmprep.store.reading.MAX_MAPS", 1)
    store = TokenStore(make_store(tmp_path / "store", OLD), check=check)
    assert [store.read(place, 1)[0] for place in (0, 40)] == [0, 40]
    rebuild(store.folder, NEW)
    with pytest.raises(FileFormatError, match=r"tokens-00000\.pt: its sha256"):
        store.read(0, 1)


@both
def test_a_shard_that_was_only_copied_is_read(check: bool, tmp_path: Path) -> None:
    """Content decides: a file of other times and place that holds the same goes on."""
    store = TokenStore(make_store(tmp_path / "store", OLD), check=check)
    rebuild(store.folder, OLD)
    assert [store.read(place, 1)[0] for place in (0, 40, 119)] == [0, 40, 119]


def test_a_store_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is that of the folder it was given in: where another is current, nothing else is read."""
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    make_store(tmp_path / "store", OLD)
    make_store(Path("in/store"), NEW)
    stores = [TokenStore("../store"), TokenStore(Path("../store"), check=False)]
    pickles = [pickle.dumps(store) for store in stores]
    for folder in ("/", tmp_path / "sub" / "in"):
        monkeypatch.chdir(folder)
        for store in (*stores, *map(pickle.loads, pickles)):
            assert store.read(100, 1)[0] == 100
    assert max(map(len, pickles)) < 1000
    assert str(stores[0].folder) == "../store"


@pytest.mark.parametrize("fraction", [None, 0.4])
def test_who_gets_a_store_refuses_another(fraction: float | None, tmp_path: Path) -> None:
    """A pickle says which ids and which part were read; a store of other ids, or cut elsewhere, is refused."""
    folder = make_store(tmp_path / "store", OLD, fraction)
    sent = pickle.dumps(TokenStore(folder, "val" if fraction else None))
    shutil.rmtree(folder)
    make_store(folder, [range(120)], fraction)
    assert len(pickle.loads(sent)) == (48 if fraction else 120)  # noqa: S301 - other shards of the same ids
    shutil.rmtree(folder)
    make_store(folder, NEW if fraction is None else OLD, fraction and 0.41)
    with pytest.raises(InputError, match="store: has changed since it was opened: it holds other ids; open it anew"):
        pickle.loads(sent)  # noqa: S301 - our own bytes
