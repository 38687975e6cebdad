"""Promises of finding, and of lists of files: what is named becomes sources, each checked before any is read."""

import glob
import io
import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from unittest.mock import Mock

import pytest
from support.commands import ROOT, Call, clean_environment
from support.documents import content
from support.processes import unprivileged

from llmprep.documents.expanding import expand_paths
from llmprep.documents.file_lists import read_names
from llmprep.documents.finding import find_sources
from llmprep.errors import InputError, LlmprepError, UsageError

MIXED = (
    "a/b.txt", "B.txt", "a.txt", "a/\u00e9.txt", "a b/c", "a/z/deep/er.md", "Z", "\u4e2d.txt", "a-b.txt", "10", "9",
)  # fmt: skip


def fill(*names: str, links: Mapping[str, str] = MappingProxyType({})) -> None:
    """Make files, each holding its own name, symbolic links, and the folders they need."""
    for name in (*names, *links):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).symlink_to(links[name]) if name in links else Path(name).write_bytes(os.fsencode(name))


def names(*paths: str) -> list[str]:
    """What the sources found are called."""
    return [source.name for source in find_sources(paths)]


def expanded(path: str, said: list[str] | None = None) -> list[str]:
    """The files that a path means."""
    return [found for found, _ in expand_paths([path], None if said is None else said.append)]


def test_a_folder_is_walked_in_byte_order(tmp_path: Path) -> None:
    """Files come in byte order of their path inside the folder, however it was filled and wherever it lies."""
    fill(*(f"texts/{name}" for name in MIXED))
    expected = sorted(MIXED, key=str.encode)
    for way in (str(tmp_path / "texts"), "texts/", "./texts", "texts/../texts"):
        assert names(way) == expected
    assert expanded("./texts") == [f"./texts/{name}" for name in expected]
    assert [content(path).decode() for path in expanded("texts")] == [f"texts/{name}" for name in expected]

    fill(*(os.fsdecode(b"odd/" + odd) for odd in (b"a\xff", b"a\xc3\xa9", b"a", b"a\x80")))
    assert (
        names("odd") == names("odd/*") == ["a", "a\\x80", "a\u00e9", "a\\xff"]
    )  # bytes that are no UTF-8 are written out
    assert find_sources(["odd/a\udcff"])[0].path == "odd/a\udcff"


def test_folders_may_lie_deep_in_each_other(tmp_path: Path) -> None:
    """A thousand folders, one in the other, are walked as few are."""
    deep = [tmp_path / "/".join("d" * depth) for depth in range(1, sys.getrecursionlimit() + 2)]
    for folder in deep:
        folder.mkdir()
    file = deep[-1] / "a.txt"
    file.write_text("deep")
    assert [source.path for source in find_sources([str(deep[0])])] == [str(file)]
    file.unlink()
    for folder in reversed(deep):  # shutil.rmtree calls itself for each
        folder.rmdir()


def test_what_a_folder_holds_besides_plain_files() -> None:
    """Hidden files are left out, links to folders not followed, so a loop ends; that is said. Named, all is taken."""
    links = {"in/l.txt": "sub/b.txt", "in/loop": ".", "in/sub/other": "../..", "named": "in/sub"}
    fill("in/a.txt", "in/.hidden", "in/sub/.DS_Store", "in/sub/b.txt", "in/.git/config", "in/.git/x/y", links=links)
    said: list[str] = []
    assert [source.name for source in find_sources(["in"], announce=said.append)] == ["a.txt", "l.txt", "sub/b.txt"]
    assert said == [
        "in: 3 hidden files or folders in it are left out; name them to take them",
        "in: 2 links to folders in it are not followed; name them to follow them",
        "in/sub/b.txt: is the same file as in/l.txt; its tokens are included each time",
    ]
    assert names("in/.hidden", "in/.git", "named") == [".hidden", "config", "x/y", "b.txt"]
    fill("one/a.txt", "one/.hidden", links={"one/loop": "."})
    said.clear()
    assert len(list(find_sources(["one"], announce=said.append))) == 1
    assert said == [
        "one: 1 hidden file or folder in it is left out; name it to take it",
        "one: 1 link to a folder in it is not followed; name it to follow it",
    ]


PATTERNS = "*.txt ? [0-9]* a*/* ./*/b.txt a/z/../*.txt .h* ** **/* a/** **/*.txt */**/* **/z/** a** [aB]*/**/*.md"


@pytest.mark.parametrize("pattern", [*PATTERNS.split(), "**/deep/**/*.md"])
def test_a_pattern_means_what_pythons_means(pattern: str, tmp_path: Path) -> None:
    """Where there are no links, files are those of Python's own recursive glob, in byte order, on every machine."""
    fill(*MIXED, ".hidden.txt", "a/.hidden/b.txt", "[a]/b")
    for start in ("", f"{glob.escape(str(tmp_path))}/", "./"):
        matched = glob.glob(start + pattern, recursive=True)  # noqa: PTH207 - its very meaning
        files = sorted(filter(os.path.isfile, set(matched)), key=os.fsencode)
        assert expanded(start + pattern) == files != []


def test_what_a_pattern_matches_besides_files() -> None:
    """``**`` follows no links; a folder is left out, with a word; a file whose name is a pattern is that file."""
    links = {"loop": ".", "again": ".", "sub/up": ".."}
    fill("a.txt", "sub/b.txt", "[a].txt", "b*", "bc", "[x]/*.txt", "[x]/y.txt", links=links)
    said: list[str] = []

    assert expanded("**/b*.txt", said) == ["sub/b.txt"]
    assert expanded("again/*.txt", said) == ["again/[a].txt", "again/a.txt"]
    assert (names("[a].txt", "b*"), names("[x]"), said) == (["[a].txt", "b*"], ["*.txt", "y.txt"], [])
    assert expanded("[as]*", said) == ["a.txt"]
    assert said == ["[as]*: left out, because it is a folder: again, sub; name one to read it"]


def test_a_mistake_among_many_is_found_before_any_is_read() -> None:
    """Wherever it stands, what cannot be read is one error."""
    fill("a.txt", "folder/a", "hiding/.a", links={"in/link": "none"})
    os.mkfifo("a.parquet")
    for name, error, said in (
        ("fold*/", InputError, "fold*/: no file matches"),
        ("in", InputError, "in/link: no such file or directory"),
        ("hiding", UsageError, "hiding: there is no file in this folder"),
        ("a.parquet", UsageError, "a.parquet: a Parquet file is read by seeking; it cannot come "),
    ):
        for paths in ([name, "a.txt"], ["a.txt", name]):
            with pytest.raises(error, match=f"^{re.escape(said)}"):
                find_sources(paths)


TRY = """
import sys
from llmprep.documents.finding import find_sources
for path in sys.argv[1:]:
    try:
        print(len(find_sources([path])))
    except Exception as error:
        print(error)
"""


def test_no_folder_is_passed_over_in_silence() -> None:
    """Where a folder may not be entered or read, it is an error, and a pattern is the same error; so is such a file."""
    modes = {"blind": 0o111, "closed.txt": 0, "locked": 0o444}
    fill("blind/a.txt", "blind/in/b.txt", "closed.txt", "locked/c.txt", "locked/in/d.txt")
    for name, mode in modes.items():
        Path(name).chmod(mode)
    refused = ["blind", "blind/*.txt", "**/*.txt", "closed.txt", "locked", "locked/*.txt", "locked/in/*.txt"]
    command = [*unprivileged(), sys.executable, "-c", TRY, *refused, "blind/in/*.txt"]
    environment = clean_environment({"PYTHONPATH": str(ROOT)})
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    for name in modes:
        Path(name).chmod(0o755)
    *said, found = done.stdout.splitlines()
    assert found == "1"  # as nothing in the way needs to be listed
    assert {line.split(": ")[1] for line in said} == {"permission denied"}
    assert [line[:5] for line in said] == ["blind"] * 3 + ["close"] + ["locke"] * 3


@pytest.mark.parametrize("below", ["", "/**/*"])
def test_what_is_no_file_is_left_out_and_named(below: str) -> None:
    """Pipes, sockets and devices among what is meant make nobody wait; five are named, as are Parquet's notes."""
    links = {"in/link": "deep/pipe.txt", "in/zero": "/dev/zero"}
    notes = ("in/_SUCCESS", "in/_metadata", "in/deep/_common_metadata")
    fill("in/a.txt", "in/deep/b.txt", "in/my_metadata", *notes, links=links)
    for name in ("in/deep/pipe.txt", "in/0", "in/1"):
        os.mkfifo(name)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("in/socket")
    said: list[str] = []

    assert expanded(f"in{below}", said) == ["in/a.txt", "in/deep/b.txt", "in/my_metadata"]
    endless = "in/0, in/1, in/deep/pipe.txt, in/link, in/socket and 1 more"
    assert said == [
        f"in{below}: left out, because it is not a regular file: {endless}; name one to read it",
        f"in{below}: left out, because it only describes other files: {', '.join(notes)}; name one to read it",
    ]
    assert (find_sources(["in/link"])[0].size, names("in/_metadata")) == (None, ["_metadata"])


def test_inputs_keep_their_order_names_and_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is named may be mixed and named twice; names get as many folders as tell files apart, and no more."""
    fill(
        "z.txt", "folder/b", "folder/a", "x.md", "w.md", "x/wiki/0.txt", "x/books/0.txt", "y/wiki/0.txt", "books/0.txt"
    )
    monkeypatch.setattr("sys.stdin", Mock(isatty=lambda: False))
    assert names("z.txt", "folder", "-", "*.md", "folder/a") == ["z.txt", "a", "b", "-", "w.md", "x.md", "a"]
    assert names("x/wiki", "x/books", "y/wiki", "x.md") == ["x/wiki/0.txt", "books/0.txt", "y/wiki/0.txt", "x.md"]
    assert names("x/wiki/0.txt", "x/../x/wiki/0.txt", "x/books/0.txt") == ["wiki/0.txt", "wiki/0.txt", "books/0.txt"]
    assert len(set(names(".", "x/books"))) == 10  # a name that a folder gives may be what another is lengthened to

    Path("empty").touch()
    assert [source.size for source in find_sources(["z.txt", "empty"])] == [5, 0]
    if Path("/proc/version").exists():  # which says falsely that it is empty
        assert find_sources(["/proc/version"])[0].size is None
        assert content("/proc/version") == Path("/proc/version").read_bytes() != b""


@pytest.mark.parametrize("other", ["m/a.txt", "./m/a.txt", "hard", "m"])
def test_a_file_that_is_read_twice_is_said(other: str) -> None:
    """The same file by its name, another path, a link or a folder is read again, with a word; up to five times."""
    fill("m/a.txt", "b.txt")
    Path("empty").touch()
    Path("hard").hardlink_to("m/a.txt")
    same = "was named before" if other in ("m/a.txt", "m") else "is the same file as m/a.txt"
    said: list[str] = []

    assert len(find_sources(["m/a.txt", "b.txt", other, "empty", "empty"], announce=said.append)) == 5
    assert said == [f"{'m/a.txt' if other == 'm' else other}: {same}; its tokens are included each time"]
    find_sources(["b.txt"] * 8, announce=said.append)
    assert said[6:] == ["and 2 more inputs like these; their tokens are included each time"]


def test_the_name_tells_the_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names tell records, compressed or not, from text; with a field all that is not Parquet holds records."""
    monkeypatch.setattr("sys.stdin", Mock(isatty=lambda: False))
    for named, plain, chosen in (
        ("a.txt a a.json jsonl a.jsonl.txt a.gz my.parquet.txt -", "text", "jsonl"),
        ("a.jsonl a.jsonlines a.jl a.ndjson A.JSONL a.b.jsonl a.jsonl.gz a.jsonl.bz2 a.JSONL.ZST", "jsonl", "jsonl"),
        ("a.parquet a.b.Parquet", "parquet", "parquet"),
    ):
        fill(*named.split())
        for field, format_ in ((None, plain), ("body", chosen)):
            for source in find_sources(named.split(), field):
                assert (source.format, source.text_field) == (format_, field or "text")
    with pytest.raises(UsageError, match=r"--field a\udcff: is not valid UTF-8, as the name of every field is"):
        find_sources(["a.txt"], "a\udcff")


LISTS = {
    b"a.txt\nb c.txt\n\n -x\n*.txt": ["a.txt", "b c.txt", " -x", "*.txt"],
    b"caf\xe9.txt\n": ["caf\udce9.txt"],
    b"\xef\xbb\xbfa.txt\r\n\r\nb c.txt\r\nodd\r\n": ["a.txt", "b c.txt", "odd\r"],
    b"a\nb\0c\0": ["a\nb", "c"],
}


def test_a_list_of_files(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are taken as they are, but for line ends of Windows; ``--files-from`` is like naming them."""
    Path("odd\r").touch()
    for data, expected in LISTS.items():
        Path("list").write_bytes(data)
        assert read_names("list", nul_separated=b"\0" in data) == expected
    Path("blank").write_bytes(b"\n\n")
    Path("wide").write_bytes("a.txt\r\n".encode("utf-16"))
    monkeypatch.setattr("sys.stdin", None)
    for line in (
        "blank: lists no files", "wide: is UTF-16 text; write the list as UTF-8", "none: no such file or directory",
        ".: is a directory", "-: standard input is closed",
    ):  # fmt: skip
        with pytest.raises(LlmprepError, match=f"^{line}$"):
            read_names(line.split(": ")[0], nul_separated=False)

    for data, remedy in {b"a.txt\0in/a\0": "add --null", b"a.txt\nin/a\n": "leave out --null"}.items():
        Path("list").write_bytes(data)
        with pytest.raises(LlmprepError, match=f"^list: its names end with .*; {remedy}$"):
            read_names("list", nul_separated=b"\n" in data)

    fill("a.txt", "in/b\nc", "in/a", "x.md", "w.md")
    Path("list").write_text("in\n*.md\n")
    named, listed = ("a.txt", "in", "*.md"), ("a.txt", "--files-from", "list")
    assert call("tokenize", "--count", *named).stdout == call("tokenize", "--count", *listed).stdout != b""
    for data, options, said in (
        (b"a.txt\n", ["-"], "-: standard input can be read only once"),
        (b"in/b\nc\0none\0", ["-0"], "none: no such file or directory"),
    ):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        assert call("tokenize", *options, "--files-from", "-", "-o", "x.pt").notes == [f"llmprep: error: {said}"]
    assert call("tokenize", "a.txt", "-0").notes == ["llmprep: error: --null: is only used with --files-from"]
