"""Promises of a store's packing index: the same bytes however it is built, found again, nothing else taken for it."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.stores import build, json_lines, write_files

from llmprep.choices import BestFit, TextOptions
from llmprep.errors import DataError, FileFormatError, LlmprepError, OutputError
from llmprep.formats.packing import COLUMNS, read_packing, verify_packing, write_packing
from llmprep.output.checking import check_output
from llmprep.output.writing import open_output
from llmprep.ptfile.reading import read_pt
from llmprep.store.packing import READ_NUMBERS, Packing, build_packing, open_packing
from llmprep.store.reading import TokenStore
from llmprep.store.sealed import read_sealed, write_sealed
from llmprep.store.verify import verify_store
from llmprep.windows.packed import Fill

NOTHING: Mapping[str, Any] = {}
SMALL = BestFit(buffer=2)
"""A buffer that makes many blocks, so that a build says several times how far it is."""


@pytest.fixture
def packing() -> Packing:
    """The packing of a store of some 80 documents in a few shards."""
    return pack_texts([f"{'a word or two ' * (k * 5 % 13)}{k}" for k in range(80)], val_fraction=0.3)


def pack_texts(texts: list[str], **building: Any) -> Packing:
    """Build a store of texts in the current folder; return its packing into short rows."""
    write_files(Path(), {"texts.jsonl": json_lines(texts)})
    build("texts.jsonl", "store", 900, **building)
    return Packing(TokenStore("store"), 16, SMALL)


@pytest.mark.parametrize("split", [None, "train", "val"])
@pytest.mark.parametrize("belongs", ["old", "new"])
def test_an_index_has_each_token_of_its_store(packing: Packing, split: str | None, belongs: Any) -> None:
    """Of a store or of a split, each token is in one row, and torch loads the index."""
    packing = replace(packing, store=TokenStore("store", split), separator_belongs=belongs)
    path = build_packing(packing)
    rows = open_packing(packing)
    _, starts, lengths = rows.take(np.arange(len(rows)))
    parts = zip(starts.tolist(), lengths.tolist(), strict=True)
    assert sorted(place for start, length in parts for place in range(start, start + length)) == [
        *range(len(packing.store))
    ]
    loaded = torch.load(path, weights_only=True, mmap=True)
    assert loaded["part_starts"].tolist() == starts.tolist()
    assert loaded["meta"]["fill"]["n_documents"] == len(packing.store.documents()) == rows.fill.n_documents
    assert [*verify_packing(read_pt(path))][-1] == f"{len(packing.store)} tokens in rows, 0 of them twice, and 0 lost"


@pytest.mark.parametrize("stop_at", [1, 17, 33])
def test_a_build_that_is_broken_off_goes_on(packing: Packing, stop_at: int) -> None:
    """There is no index till then; the next build goes on from what was noted, and ends with the same bytes."""
    seen: list[int] = []

    def stop(fill: Fill) -> None:
        seen.append(fill.n_documents)
        if len(seen) == stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_packing(packing, stop)
    assert not packing.path.exists()
    again: list[int] = []
    path = build_packing(packing, lambda fill: again.append(fill.n_documents))
    assert again[0] == 2 * (stop_at // 16 * 16 if stop_at > 16 else 0) + 2
    data = path.read_bytes()
    path.unlink()
    assert build_packing(packing).read_bytes() == data
    assert [each.name for each in Path("store").iterdir() if each.name.startswith(".packed")] == []


def test_an_index_of_many_rows_is_written_in_blocks() -> None:
    """More rows than are held at a time are as many in the index, and each has its parts."""
    packing = replace(pack_texts(["word " * 40_000]), max_length=1)
    build_packing(packing)
    rows = open_packing(packing)
    assert len(rows) == -(-len(packing.store) // 2) > READ_NUMBERS
    assert rows.take(np.arange(len(rows)))[2].sum() == len(packing.store)


def spoil_state(work: Path) -> None:
    """Change a number of what a broken build has noted."""
    (work / "state.json").write_bytes((work / "state.json").read_bytes().replace(b'"blocks":16', b'"blocks":15'))


def spoil_column(work: Path) -> None:
    """Cut a column short."""
    os.truncate(work / "starts", 8)


def replace_state(work: Path) -> None:
    """Put what was noted of another build in its place, whole."""
    state = read_sealed(work / "state.json")
    write_sealed(work / "state.json", {"of": {}, "blocks": state["blocks"], "fill": state["fill"]})


@pytest.mark.parametrize("spoil", [spoil_state, spoil_column, replace_state])
def test_what_a_broken_build_left_is_not_trusted(packing: Packing, spoil: Callable[[Path], None]) -> None:
    """A state that was changed, or files that are shorter than it says, are begun anew."""

    def stop(fill: Fill) -> None:
        if fill.n_documents > 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_packing(packing, stop)
    spoil(packing.path.with_name(f".{packing.path.stem}"))
    again: list[int] = []
    build_packing(packing, lambda fill: again.append(fill.n_documents))
    assert again[0] == 2
    assert len([*verify_store(Path("store"))]) == 4


def test_several_who_need_an_index_build_it_once(packing: Packing) -> None:
    """Of four that begin together one packs, and all have the index; whoever comes later finds it."""
    seen: list[int] = []
    with ThreadPoolExecutor(4) as pool:
        paths = {*pool.map(lambda _: build_packing(packing, lambda fill: seen.append(fill.n_documents)), range(4))}
    assert paths == {packing.path}
    assert seen == [*range(2, 82, 2)]
    build_packing(packing, lambda _: pytest.fail("is there already"))


def test_a_folder_that_another_build_removes_is_made_again(packing: Packing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has built removes the folder, also where another has just made sure of it."""
    removed: list[Path] = []
    made = Path.mkdir

    def mkdir(path: Path, *args: Any, **choices: Any) -> None:
        made(path, *args, **choices)
        if not removed:
            path.rmdir()
            removed.append(path)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    assert build_packing(packing).is_file()
    assert removed


def test_tokens_of_no_document_are_not_packed() -> None:
    """A store of end-of-text alone, with boundaries in texts, has no document; that is said, and nothing is left."""
    packing = pack_texts(["<|endoftext|>" * 9], options=TextOptions(boundaries="text"))
    with pytest.raises(DataError, match=r"^store: holds no document to pack$"):
        build_packing(packing)
    assert not [*Path("store").glob(".packed*")]


def test_another_choice_is_another_index(packing: Packing) -> None:
    """Each choice that decides the rows is in the index's name; a folder of one's own holds it where that is wanted."""
    Path("elsewhere").mkdir()
    others = [
        packing,
        replace(packing, max_length=15),
        replace(packing, separator_belongs="new"),
        replace(packing, store=TokenStore("store", "val")),
        *(replace(packing, chosen=other) for other in (BestFit(1, 2), BestFit(buffer=1), BestFit(buffer=2, overlap=1))),
        replace(packing, chosen=replace(SMALL, truncate=True)),
        replace(packing, chosen=replace(SMALL, index_dir="elsewhere")),
    ]
    paths = [build_packing(each) for each in others]
    assert len({path.name for path in paths}) == len(others) - 1
    assert paths[-1] == Path("elsewhere", packing.path.name)
    lines = [*verify_store(Path("store"))][3:]
    assert len(lines) == len(others) - 1
    assert len([line for line in lines if ", 0 of " not in line]) == 1


def rewrite(packing: Packing, stated: Mapping[str, Any] = NOTHING, **changed: Any) -> None:
    """Write the index with other columns or another meta, its checksums as they must be."""
    file = read_pt(packing.path)
    columns = {name: np.array(file.tensors[name]) for name in COLUMNS}
    columns |= {name: change(columns[name]) for name, change in changed.items()}
    fill, meta = read_packing(file).fill, {**file.meta, **stated}
    with open_output(check_output(str(packing.path))) as sink:
        write_packing(sink, {name: [column] for name, column in columns.items()}, fill, meta, n_lost_runs=0)


def test_what_an_index_states_of_itself_is_checked(packing: Packing) -> None:
    """One whose options are none, or are not of its rows, is refused when its store is verified."""
    build_packing(packing)
    for options in ({}, {"split": "none"}, {"overlap": 99}, {"max_length": "8"}, {"truncate": 7}):
        rewrite(packing, {"options": {**read_pt(packing.path).meta["options"], **options} if options else {}})
        with pytest.raises(FileFormatError, match="its meta does not state how it was packed"):
            [*verify_store(Path("store"))]
        packing.path.unlink()
        build_packing(packing)


def test_verifying_packs_anew(packing: Packing) -> None:
    """An index in which two rows' parts have changed places holds in itself, and verifying its store finds it."""
    build_packing(packing)
    rewrite(packing, part_starts=lambda starts: starts[::-1])
    with pytest.raises(FileFormatError, match="part_starts are not those that packing gives"):
        [*verify_store(Path("store"))]


@pytest.mark.parametrize("texts", [["other words", "altogether"], ["a word", " or two", " more"]])
def test_an_index_of_another_store_is_refused(texts: list[str]) -> None:
    """Under the name of this store's, also of one with the same ids in other documents; in place, it is of no use."""
    unseparated = TextOptions(separator="none")
    held = build_packing(pack_texts(["a word or", " two more"], options=unseparated)).read_bytes()
    packing = pack_texts(texts, options=unseparated, restart=True)
    assert [*verify_store(Path("store"))][-1].endswith("is of what the store held before; it can be removed")
    packing.path.write_bytes(held)
    with pytest.raises(FileFormatError, match="is of another store"):
        open_packing(packing)


def damage(packing: Packing) -> None:
    """Change one byte of the index's parts."""
    data = bytearray(packing.path.read_bytes())
    data[data.index(np.array(read_pt(packing.path).tensors["part_starts"][:4]).tobytes())] ^= 1
    packing.path.write_bytes(data)


def shorten(packing: Packing) -> None:
    """Leave the end out."""
    data = packing.path.read_bytes()
    packing.path.write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize("spoil", [damage, shorten])
def test_a_damaged_index_is_refused(packing: Packing, spoil: Callable[[Packing], None]) -> None:
    """Its checksums are compared when it is opened, and it must be whole."""
    build_packing(packing)
    spoil(packing)
    with pytest.raises(FileFormatError):
        open_packing(packing)


def test_a_folder_that_cannot_be_written_to_is_said(packing: Packing) -> None:
    """It is one line that names what to do; nothing is left in the store."""
    before = sorted(Path("store").iterdir())
    with pytest.raises(OutputError, match=r"^nowhere: is not a folder that can be written to, .* --index-dir$"):
        build_packing(replace(packing, chosen=replace(SMALL, index_dir="nowhere")))
    assert sorted(Path("store").iterdir()) == before


@pytest.mark.parametrize("choice", [{"seed": -1}, {"buffer": 0}, {"overlap": True}, {"truncate": True, "overlap": 1}])
def test_choices_that_make_no_sense_are_refused(choice: dict[str, Any]) -> None:
    """A number out of range, and an overlap of what is truncated, are refused where they are given."""
    with pytest.raises(LlmprepError, match=next(reversed(choice))):
        BestFit(**choice)
