"""Promises of Parquet: text in any form is read, damage and what is no text are named by their row."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from support.documents import counts_of, documents, parquet, read
from support.streams import sha256

from llmprep.documents.parquet import count_rows
from llmprep.documents.reading import read_blocks
from llmprep.errors import DataError, InputError, UsageError


@pytest.mark.parametrize(
    "type_",
    [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.binary(), pa.large_binary()],
    ids=str,
)
def test_columns_of_text_in_any_form(type_: Any, tmp_path: Path) -> None:
    """Strings may be short, long, in a dictionary or not marked as such, in any number of row groups."""
    path = parquet(tmp_path / "a.parquet", ["one", "two"] * 1500, type_=type_, row_group_size=700)

    assert documents(read(path)) == ["one", "two"] * 1500
    assert count_rows(counts_of(path).source) == 3000


def claim(path: Path) -> None:
    """A table that claims to hold strings, and holds other bytes."""
    cells = pa.array([b"one", b"caf\xe9"], pa.binary())
    pa.parquet.write_table(pa.table({"text": pa.Array.from_buffers(pa.string(), 2, cells.buffers())}), path)


def twins(path: Path) -> None:
    pa.parquet.write_table(pa.Table.from_arrays([pa.array(["one"])] * 2, names=["text", "text"]), path)


def misname(path: Path, field: str) -> None:
    pa.parquet.write_table(pa.table({"text": ["one"], "name": ["two"]}), path, store_schema=False)
    path.write_bytes(path.read_bytes().replace(field.encode(), field[:2].encode() + b"\xff\xfe"))


def damage(path: Path, keep: slice, instead: bytes = b"") -> None:
    """A table that is cut, or has wrong bytes inside a page."""
    data = parquet(path, [os.urandom(50).hex() for _ in range(200)], write_page_checksum=True).read_bytes()
    path.write_bytes(data[keep] + (instead + data[keep.stop + len(instead) :] if instead else b""))


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "null": (lambda path: parquet(path, ["x"] * 2000 + [None]), "row 2001: column text is null, not a string"),
    "bytes": (lambda path: parquet(path, [b"\xe9"], type_=pa.binary()), "row 1: column text is not valid UTF-8"),
    "claimed": (claim, "row 2: column text is not valid UTF-8"),
    "numbers": (lambda path: parquet(path, [5], type_=pa.int64()), "row 1: column text is a int, not a string"),
    "lists": (lambda path: parquet(path, [["x"]], type_=pa.list_(pa.string())), "row 1: column text is a list, not a"),
    "no column": (lambda path: parquet(path, ["x"], "body"), "has no column text; its columns: id, body (see --field)"),
    "no rows": (lambda path: parquet(path, [], "body"), "has no column text; its columns: id, body (see --field)"),
    "two columns": (twins, "has 2 columns text; which one is meant is not clear; rename one"),
    "the name of the column": (lambda path: misname(path, "text"), "the name of a column is not valid UTF-8: b'"),
    "the name of another column": (lambda path: misname(path, "name"), "the name of a column is not valid UTF-8: b'"),
    "a damaged page": (lambda path: damage(path, slice(5000), b"\x55" * 100), "damaged near row 1: "),
    **{f"to {end}": (partial(damage, keep=slice(end)), "damaged near row 1: ") for end in (0, 3, 4, 100, 5000, -1)},
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_bad_table_is_named(what: str, tmp_path: Path) -> None:
    """A cell that holds no text, a column that is not there or not clear, and damage are named, never passed over."""
    make, message = BAD[what]
    make(tmp_path / "a.parquet")

    with pytest.raises(DataError) as raised:
        read(tmp_path / "a.parquet")

    assert str(raised.value).startswith(f"{tmp_path / 'a.parquet'}: {message}")
    assert ("checksum" in str(raised.value)) == (what == "a damaged page")


def test_a_missing_extra_and_another_name_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pyarrow the error says what to install; a table of another name is refused with what it looks like."""
    path = parquet(tmp_path / "a.parquet", ["x"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"a\.parquet: Parquet files need an extra: pip install 'llmprep\[parquet\]'"):
        read(path)
    with pytest.raises(DataError, match=r"looks like a Parquet file, not UTF-8 text; give it a name that ends in \.p"):
        read(path.rename(tmp_path / "a.txt"))


def test_a_table_that_changes_is_never_a_mixture(tmp_path: Path) -> None:
    """One that is replaced while it is read is the old one whole, as its hash says; a rewritten one is an error."""
    path = parquet(tmp_path / "a.parquet", ["old"] * 5000, row_group_size=500)
    before, counts = sha256(path.read_bytes()), counts_of(path)
    blocks = read_blocks(counts, block_bytes=100)
    first = next(blocks)
    parquet(tmp_path / "new.parquet", ["new"] * 5000, row_group_size=500).replace(path)

    assert documents([first, *blocks]) == ["old"] * 5000
    assert counts.sha256 == before

    os.utime(path, (0, 0))
    blocks = read_blocks(counts_of(path), block_bytes=100)
    next(blocks)
    path.write_bytes(path.read_bytes())
    with pytest.raises(InputError, match=r"a\.parquet: changed while it was read"):
        list(blocks)
