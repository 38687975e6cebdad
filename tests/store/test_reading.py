"""Promises of reading a store, whatever its shards, and of nothing else instead of it; last, of the search in it."""

import pickle
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.loading import sent
from support.stores import N_VOCAB, flip, make_store

from llmprep.errors import FileFormatError, InputError
from llmprep.store.reading import TokenStore
from llmprep.store.schema import shard_name
from llmprep.store.search import find_text, find_window
from llmprep.store.verify import verify_store

shard_lists = st.lists(st.lists(st.integers(0, N_VOCAB - 1), max_size=25), min_size=1, max_size=8).filter(any)
"""The ids of each shard; some are empty, not all."""
edges = st.none() | st.integers(-99, 99)
OLD, NEW = [range(40), range(40, 80), range(80, 120)], [range(200, 240), range(240, 280), range(280, 320)]
both = pytest.mark.parametrize("check", [True, False])


@settings(max_examples=40)
@given(shards=shard_lists, fraction=st.none() | st.floats(0.01, 0.99), data=st.data())
def test_any_run_of_tokens_is_the_streams(shards: list[list[int]], fraction: float | None, data: st.DataObject) -> None:
    """From any positions, across any number of shards, runs and rows are slices of the stream, or of a part of it."""
    ids = [token_id for shard in shards for token_id in shard]
    cut = len(ids) - int(len(ids) * (fraction or 0))
    part = data.draw(st.sampled_from([None, "train", "val"] if fraction else [None]))
    expected = {None: ids, "train": ids[:cut], "val": ids[cut:]}[part]
    position = data.draw(st.integers(0, len(expected)))
    count = data.draw(st.integers(0, len(expected) - position))
    starts = data.draw(st.lists(st.integers(0, len(expected) - count), max_size=10))
    size = data.draw(st.integers(1, 50))
    with tempfile.TemporaryDirectory() as folder:
        store = TokenStore(make_store(Path(folder), shards, fraction), part)
        assert len(store) == len(expected)
        assert store.read(position, count).tolist() == expected[position : position + count]
        rows = store.gather(np.array(starts, np.int64), count)
        assert (str(rows.dtype), rows.shape) == ("int64", (len(starts), count))
        assert rows.tolist() == [expected[start : start + count] for start in starts]
        blocks = list(store.blocks(size))
        assert [token_id for block in blocks for token_id in block.tolist()] == expected
        assert all(block.dtype == np.uint32 and len(block) <= size for block in blocks)
        assert store.peek(position, count + 99).tolist() == expected[position : position + count + 99]
        part_of = slice(*data.draw(st.tuples(edges, edges, st.none() | st.sampled_from([-7, -1, 1, 3]))))
        assert (store[part_of].tolist(), str(store[part_of].dtype)) == (expected[part_of], "int64")
        assert (list(store), store.n_tokens, store.encoding) == (expected, len(expected), "gpt2")
        if position < len(expected):
            number, place = store.locate(position)
            assert store.shard(number)[place] == expected[position] == store[position] == store[position - len(store)]
        with pytest.raises(IndexError):
            store[len(expected)]
        for first, length in ((position, len(expected) + 1 - position), (-1, 2)):
            with pytest.raises(IndexError, match=f"tokens {first} to {first + length} of {len(expected)}"):
                store.read(first, length)


def test_a_store_says_what_it_is(tmp_path: Path) -> None:
    """Its folder, tokens, shards, encoding and part; an unknown part is refused with those there are."""
    split = make_store(tmp_path / "split", [range(1000), range(200)], val_fraction=0.25)
    assert repr(TokenStore(str(split), "val")) == f"TokenStore('{split}', 300 tokens in 2 shards, gpt2, split val)"
    assert len(repr(TokenStore(split).manifest)) < 1000
    assert not [name for name in dir(TokenStore(split)) if name.startswith("_")]
    for folder, has in ((make_store(tmp_path / "whole", [[1]]), "none"), (split, "train, val")):
        with pytest.raises(InputError, match=f"^split test: this store has {has}; build it with --val-fraction$"):
            TokenStore(folder, "test")


def damage(path: Path, token_id: int) -> None:
    """Flip the lowest bit of one id of a shard, which others follow."""
    flip(path, path.read_bytes().index(np.arange(token_id, token_id + 4, dtype="<u2").tobytes()))


def test_a_damaged_shard_is_refused_when_it_is_touched(tmp_path: Path) -> None:
    """Not before, and each time; what was found sound is mapped, and not read again. ``check=False`` takes it as is."""
    store = TokenStore(make_store(tmp_path / "store", OLD))
    damage(store.folder / shard_name(1), 45)
    unchecked = TokenStore(store.folder, check=False)
    held = store.read(0, 30)
    assert (held.tolist(), str(held.dtype), held.flags.writeable) == ([*range(30)], "uint16", False)
    assert np.shares_memory(held, store.read(20, 20))
    damage(store.folder / shard_name(0), 30)
    assert store.peek(45, 1).tolist() == [44]
    assert store.read(0, 3).tolist() == [0, 1, 2]
    for opened in (store, store, sent(store)):
        with pytest.raises(FileFormatError, match=r"tokens-00001\.pt: checksum"):
            opened.read(45, 1)
    assert [opened.read(45, 1)[0] for opened in (unchecked, sent(unchecked))] == [44, 44]
    with pytest.raises(FileFormatError, match=r"tokens-00000\.pt: checksum"):
        list(verify_store(store.folder))


def test_what_cannot_be_a_store_is_named(tmp_path: Path) -> None:
    """Ids that the vocabulary does not have, when they are touched; files missing, cut or extra, when it is opened."""
    folder = make_store(tmp_path / "store", [[1, 2, 3] * 4, [4, 65535, 5] * 4])
    with pytest.raises(FileFormatError, match=r"tokens-00001\.pt: id 65535 at \[1\] >= vocabulary 50257"):
        TokenStore(folder).read(10, 4)
    (folder / shard_name(0)).unlink()
    (folder / shard_name(1)).write_bytes(b"")
    (folder / shard_name(7)).write_bytes(b"")
    with pytest.raises(FileFormatError, match=r"00\.pt is missing; .*01\.pt has 0 bytes, .*; .*07\.pt is not in the"):
        TokenStore(folder)


def rebuild(folder: Path, shards: Sequence[Sequence[int]]) -> None:
    """Put another store in the place of one, as a build does: new files, and the manifest last."""
    new = make_store(folder.with_name("new"), shards)
    for path in sorted(new.glob("tokens-*.pt")):
        path.replace(folder / path.name)
    (new / "manifest.json").replace(folder / "manifest.json")


@both
def test_a_store_built_anew_is_not_read_as_the_old_one(check: bool, tmp_path: Path) -> None:
    """What was touched stays; a shard that is touched later is refused, unless it holds the same ids."""
    store = TokenStore(make_store(tmp_path / "store", OLD), check=check)
    assert store.read(0, 8).tolist() == list(range(8))
    rebuild(store.folder, OLD)
    assert store.read(100, 1)[0] == 100
    rebuild(store.folder, NEW)
    assert store.read(8, 8).tolist() == list(range(8, 16))
    with pytest.raises(FileFormatError, match=r"tokens-00001\.pt: its sha256 is not the one in the manifest"):
        store.read(70, 8)


@both
def test_a_shard_that_is_mapped_again_is_the_same(check: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More shards than maps are all read with few files open; one that was replaced meanwhile is refused."""
    monkeypatch.setattr("llmprep.store.reading.MAX_MAPS", 2)
    n_open = len([*Path("/dev/fd").iterdir()])
    store = TokenStore(make_store(tmp_path / "store", OLD), check=check)
    assert [store.read(place, 1)[0] for place in (0, 40, 80, 1, 81, 0, 40, 80)] == [0, 40, 80, 1, 81, 0, 40, 80]
    assert len([*Path("/dev/fd").iterdir()]) <= n_open + 2
    rebuild(store.folder, NEW)
    with pytest.raises(FileFormatError, match=r"tokens-00000\.pt: its sha256"):
        store.read(0, 1)


def test_a_store_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is that of the folder it was given in: where another is current, nothing else is read."""
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    make_store(tmp_path / "store", OLD)
    make_store(Path("in/store"), NEW)
    stores = [TokenStore("../store"), TokenStore(Path("../store"), check=False)]
    monkeypatch.chdir("in")
    assert [opened.read(100, 1)[0] for store in stores for opened in (store, sent(store))] == [100] * 4
    assert (len(pickle.dumps(stores[0])) < 1000, str(stores[0].folder)) == (True, "../store")


@pytest.mark.parametrize("fraction", [None, 0.4])
def test_who_gets_a_store_refuses_another(fraction: float | None, tmp_path: Path) -> None:
    """A pickle says which ids and which part were read; a store of other ids, or cut elsewhere, is refused."""
    folder = make_store(tmp_path / "store", OLD, fraction)
    pickled = pickle.dumps(TokenStore(folder, "val" if fraction else None))
    shutil.rmtree(folder)
    make_store(folder, [range(120)], fraction)
    assert len(pickle.loads(pickled)) == (48 if fraction else 120)  # noqa: S301 - other shards of the same ids
    shutil.rmtree(folder)
    make_store(folder, NEW if fraction is None else OLD, fraction and 0.41)
    with pytest.raises(InputError, match="store: has changed since it was opened: it holds other ids; open it anew"):
        pickle.loads(pickled)  # noqa: S301 - our own bytes


TABLE = {0: b"a", 1: b"b", 2: b"ab", 3: b"bba", 4: b""}
"""Id 5 is in no table: it has no bytes either."""


@given(
    ids=st.lists(st.integers(0, 5), max_size=12),
    needle=st.text("ab", min_size=1, max_size=6),
    block=st.integers(1, 5),
)
def test_the_first_occurrence_is_found_wherever_blocks_end(ids: list[int], needle: str, block: int) -> None:
    """The tokens are those that hold the first and the last byte of the first occurrence in the whole text."""
    owners = [place for place, i in enumerate(ids) for _ in TABLE.get(i, b"")]
    at = b"".join(TABLE.get(i, b"") for i in ids).find(needle.encode())
    array = np.array(ids, np.uint16)
    found = find_text(lambda first, count: array[first : first + count], len(ids), needle.encode(), TABLE, block=block)
    assert found == (None if at < 0 else (owners[at], owners[at + len(needle) - 1]))


@given(first=st.integers(0, 30), length=st.integers(1, 8), max_length=st.integers(1, 8), stride=st.integers(1, 8))
def test_the_first_window_that_holds_all_of_it(first: int, length: int, max_length: int, stride: int) -> None:
    """As looking at one window after the other finds it."""
    last = first + length - 1
    holding = (n for n in range(40) if n * stride <= first and last < n * stride + max_length)
    assert find_window(first, last, max_length, stride) == next(holding, None)
