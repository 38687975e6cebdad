"""Promises of lists of files: ``--files-from`` takes each name as it is, and means what naming them would mean."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.commands import Call, Run
from support.refusals import fill

from llmprep.documents.file_lists import read_names
from llmprep.errors import DataError, InputError, LlmprepError


@pytest.mark.parametrize(
    ("data", "nul_separated", "listed"),
    [
        (b"a.txt\nb c.txt\n", False, ["a.txt", "b c.txt"]),
        (b"a.txt\n\nb.txt", False, ["a.txt", "b.txt"]),
        (b" a\n-x\n*.txt\n", False, [" a", "-x", "*.txt"]),
        (b"a\nb\0c\0", True, ["a\nb", "c"]),
        (b"caf\xe9.txt\n", False, ["caf\udce9.txt"]),
        (b"\xef\xbb\xbfa.txt\r\n\r\nb c.txt\r\nodd\r\n", False, ["a.txt", "b c.txt", "odd\r"]),
    ],
)
def test_names_are_taken_as_they_are(
    data: bytes, nul_separated: bool, listed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One a line or NUL-separated; line ends of Windows belong to no name, unless there is a file of that name."""
    monkeypatch.chdir(tmp_path)
    fill(tmp_path, {"odd\r": "", "list": data})

    assert read_names("list", nul_separated=nul_separated) == listed


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("empty", DataError, "empty: names no file"),
        ("blank", DataError, "blank: names no file"),
        ("wide", DataError, "wide: is UTF-16 text; write the list as UTF-8"),
        ("missing", InputError, "missing: no such file or directory"),
        (".", InputError, r"\.: is a directory"),
        ("-", InputError, "-: standard input is closed"),
    ],
)
def test_a_list_that_names_nothing_is_an_error(
    name: str, error: type[LlmprepError], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list that is empty, cannot be read or is not UTF-8 is named, and is not an empty run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", None)
    fill(tmp_path, {"empty": b"", "blank": b"\n\n", "wide": "a.txt\r\n".encode("utf-16")})

    with pytest.raises(error, match=f"^{message}$"):
        read_names(name, nul_separated=False)


def test_a_list_means_what_its_names_mean(call: Call, llmprep: Run, tmp_path: Path) -> None:
    """Files, folders and patterns in a list give the file that naming them gives, after those that are named."""
    fill(
        tmp_path,
        {"a.txt": "a", "folder/b\nc": "b", "folder/a": "c", "x.md": "d", "w.md": "e", "list": "folder\n*.md\n"},
    )

    assert call("tokenize", "a.txt", "folder", "*.md", "-q", "-o", "named.pt").code == 0
    assert call("tokenize", "a.txt", "--files-from", "list", "-q", "-o", "listed.pt").code == 0
    assert (tmp_path / "listed.pt").read_bytes() == (tmp_path / "named.pt").read_bytes()

    piped = llmprep("tokenize", "--count", "--files-from", "-", "-0", stdin=b"folder/b\nc\0x.md\0")
    assert [line.split(maxsplit=1)[1] for line in piped.stdout.splitlines()] == [rb"folder/b\nc", b"x.md", b"total"]
    twice = llmprep("tokenize", "-", "--files-from", "-", "-o", "x.pt", stdin=b"a.txt\n")
    assert (twice.returncode, twice.stderr) == (2, b"llmprep: error: -: standard input can be read only once\n")
    alone = call("tokenize", "a.txt", "-0")
    assert (alone.code, alone.notes) == (2, ["llmprep: error: --null: goes with --files-from"])
