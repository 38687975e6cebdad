"""Promises of lists of files: ``--files-from`` takes each name as it is, and means what naming them would mean."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.commands import Call, Run
from support.refusals import fill

from llmprep.documents.file_lists import read_names
from llmprep.errors import DataError, InputError

LISTS = {
    b"a.txt\nb c.txt\n": ["a.txt", "b c.txt"],
    b"a.txt\n\nb.txt": ["a.txt", "b.txt"],
    b" a\n-x\n*.txt\n": [" a", "-x", "*.txt"],
    b"caf\xe9.txt\n": ["caf\udce9.txt"],
    b"\xef\xbb\xbfa.txt\r\n\r\nb c.txt\r\nodd\r\n": ["a.txt", "b c.txt", "odd\r"],
    b"a\nb\0c\0": ["a\nb", "c"],
}


@pytest.mark.parametrize("data", LISTS)
def test_names_are_taken_as_they_are(data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One a line or NUL-separated; line ends of Windows belong to no name, unless there is a file of that name."""
    monkeypatch.chdir(tmp_path)
    fill(tmp_path, {"odd\r": "", "list": data})

    assert read_names("list", nul_separated=b"\0" in data) == LISTS[data]


def test_a_list_that_names_nothing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that is empty, cannot be read or is not UTF-8 is named, and is not an empty run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", None)
    fill(tmp_path, {"empty": b"", "blank": b"\n\n", "wide": "a.txt\r\n".encode("utf-16")})
    messages = {"empty": "names no file", "blank": "names no file", "wide": "is UTF-16 text; write the list as UTF-8"}

    for name, message in messages.items():
        with pytest.raises(DataError, match=f"^{name}: {message}$"):
            read_names(name, nul_separated=False)
    for name, message in {
        "none": "no such file or directory",
        ".": "is a directory",
        "-": "standard .* closed",
    }.items():
        with pytest.raises(InputError, match=f"^{name}: {message}$"):
            read_names(name, nul_separated=False)


def test_a_list_means_what_its_names_mean(call: Call, llmprep: Run, tmp_path: Path) -> None:
    """Files, folders and patterns in a list give the file that naming them gives, after those that are named."""
    fill(tmp_path, {"a.txt": "a", "in/b\nc": "b", "in/a": "c", "x.md": "d", "w.md": "e", "list": "in\n*.md\n"})

    assert call("tokenize", "a.txt", "in", "*.md", "-q", "-o", "named.pt").code == 0
    assert call("tokenize", "a.txt", "--files-from", "list", "-q", "-o", "listed.pt").code == 0
    assert (tmp_path / "listed.pt").read_bytes() == (tmp_path / "named.pt").read_bytes()

    piped = llmprep("tokenize", "--count", "--files-from", "-", "-0", stdin=b"in/b\nc\0x.md\0")
    assert [line.split(maxsplit=1)[1] for line in piped.stdout.splitlines()] == [rb"in/b\nc", b"x.md", b"total"]
    twice = llmprep("tokenize", "-", "--files-from", "-", "-o", "x.pt", stdin=b"a.txt\n")
    assert (twice.returncode, twice.stderr) == (2, b"llmprep: error: -: standard input can be read only once\n")
    alone = call("tokenize", "a.txt", "-0")
    assert (alone.code, alone.notes) == (2, ["llmprep: error: --null: goes with --files-from"])
