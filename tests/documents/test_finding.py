"""Promises of finding: what a user names becomes a list of sources, the same everywhere, checked before any is read."""

from __future__ import annotations

import glob
import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import ROOT, clean_environment
from support.documents import content
from support.processes import unprivileged

from llmprep.documents.expanding import expand_paths
from llmprep.documents.finding import find_sources
from llmprep.errors import InputError, LlmprepError, UsageError

MIXED = (
    "B.txt", "a/b.txt", "a.txt", "a/\u00e9.txt", "a b/c", "a/z/deep/er.md", "Z", "\u4e2d.txt", "a-b.txt", "10", "9",
)  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a folder of its own, and is in it."""
    monkeypatch.chdir(tmp_path)


def fill(*names: str) -> None:
    """Make files, each holding its own name, and the folders they need."""
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)


def link(name: str, target: str | Path) -> None:
    """Make a symbolic link, and the folder it needs."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).symlink_to(target)


def names(*paths: str) -> list[str]:
    """What the sources found are called."""
    return [source.name for source in find_sources(paths)]


def expanded(path: str, said: list[str] | None = None) -> list[str]:
    """The files that a path means."""
    return [found for found, _ in expand_paths([path], None if said is None else said.append)]


# --- folders --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_a_folder_is_walked_in_byte_order(seed: int, tmp_path: Path) -> None:
    """Files come in byte order of their path inside the folder, however it was filled and wherever it lies."""
    for name in random.Random(seed).sample(MIXED, len(MIXED)):  # noqa: S311 - an order, no secret
        fill(f"texts/{name}")
    expected = sorted(MIXED, key=str.encode)

    for way in (str(tmp_path / "texts"), "texts", "texts/", "./texts", "texts/../texts"):
        assert names(way) == expected
    assert expanded("./texts") == [f"./texts/{name}" for name in expected]
    assert [content(path).decode() for path in expanded("texts")] == [f"texts/{name}" for name in expected]


def test_names_are_compared_and_shown_as_bytes() -> None:
    """Names that are no UTF-8 are sorted as the bytes they are on the disk, and shown with these written out."""
    for name in (b"a\xff", b"a\xc3\xa9", b"a", b"a\x80"):
        Path(os.fsdecode(b"in/" + name)).parent.mkdir(exist_ok=True)
        Path(os.fsdecode(b"in/" + name)).touch()

    assert names("in") == names("in/*") == ["a", "a\\x80", "a\u00e9", "a\\xff"]
    assert find_sources(["in/a\udcff"])[0].path == "in/a\udcff"


def test_hidden_files_are_left_out_and_said() -> None:
    """Hidden files and folders inside a folder are no texts; named, each is an input like any other."""
    fill("in/a.txt", "in/.hidden", "in/sub/.DS_Store", "in/sub/b.txt", "in/.git/config", "in/.git/x/y")
    said: list[str] = []

    assert expanded("in", said) == ["in/a.txt", "in/sub/b.txt"]
    assert said == ["in: 3 hidden files or folders in it are left out; name them to take them"]
    assert names("in/.hidden", "in/.git") == [".hidden", "config", "x/y"]
    assert expanded("in/sub/b.txt", said) == ["in/sub/b.txt"]
    assert len(said) == 1


def test_links_in_a_folder() -> None:
    """A link to a file is a file; links to folders are not followed, so a loop ends, and that is said."""
    fill("in/sub/a.txt")
    for name, target in {"in/l.txt": "sub/a.txt", "in/loop": ".", "in/sub/other": "../..", "named": "in/sub"}.items():
        link(name, target)
    said: list[str] = []

    assert [source.name for source in find_sources(["in"], announce=said.append)] == ["l.txt", "sub/a.txt"]
    assert said == [
        "in: 2 links to folders in it are not followed; name them to follow them",
        "in/sub/a.txt: is the same file as in/l.txt; its tokens are taken each time",
    ]
    assert names("named") == ["a.txt"]


# --- patterns -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.txt", ["B.txt", "a-b.txt", "a.txt", "\u4e2d.txt"]),
        ("[0-9]*", ["10", "9"]),
        ("a*/*", ["a b/c", "a/b.txt", "a/\u00e9.txt"]),
        ("**/*.txt", ["B.txt", "a-b.txt", "a.txt", "a/b.txt", "a/\u00e9.txt", "\u4e2d.txt"]),
        ("./*/b.txt", ["./a/b.txt"]),
        ("a/z/../*.txt", ["a/z/../b.txt", "a/z/../\u00e9.txt"]),
        (".h*", [".hidden.txt"]),
    ],
)
def test_a_pattern_means_its_files_in_byte_order(pattern: str, found: list[str]) -> None:
    """Patterns are expanded by llmprep, so that a quoted one, or one in a list, means the same on every machine."""
    fill(*MIXED, ".hidden.txt", "a/.hidden/b.txt")

    assert expanded(pattern) == found


@pytest.mark.parametrize(
    "pattern",
    [
        "**",
        "?",
        "**/*",
        "a/**",
        "**/*.txt",
        "*/**/*",
        "**/z/**",
        "a**",
        "[aB]*/**/*.md",
        "**/deep/**/*.md",
        "./*/b.txt",
    ],
)
def test_patterns_mean_what_pythons_mean(pattern: str, tmp_path: Path) -> None:
    """Where there are no links, the files are those of Python's own recursive glob, also below another folder."""
    fill(*MIXED, ".hidden.txt", "a/.hidden/b.txt", "[a]/b")

    for start in ("", f"{glob.escape(str(tmp_path))}/", "./"):
        matched = glob.glob(start + pattern, recursive=True)  # noqa: PTH207 - its very meaning
        assert expanded(start + pattern) == sorted(filter(os.path.isfile, set(matched)), key=os.fsencode)


def test_what_a_pattern_matches_besides_files() -> None:
    """``**`` follows no links; a folder is left out, with a word; a file whose name is a pattern is that file."""
    fill("a.txt", "sub/b.txt", "[a].txt", "b*", "bc", "[x]/*.txt", "[x]/y.txt")
    for name in ("loop", "again", "sub/up"):
        link(name, Path.cwd())
    said: list[str] = []

    assert expanded("**/b*.txt", said) == ["sub/b.txt"]
    assert expanded("again/*.txt", said) == ["again/[a].txt", "again/a.txt"]
    assert (names("[a].txt", "b*"), names("[x]"), said) == (["[a].txt", "b*"], ["*.txt", "y.txt"], [])
    assert expanded("[as]*", said) == ["a.txt"]
    assert said == ["[as]*: left out, as a folder: again, sub; name one to read it"]


# --- what may not be read, and what holds no text -------------------------------------------------

REFUSED: dict[str, tuple[Callable[[], object], type[LlmprepError], str]] = {
    "missing": (list, InputError, "no such file or directory"),
    "dangling": (lambda: link("dangling", "none"), InputError, "no such file or directory"),
    "looping": (lambda: link("looping", "looping"), InputError, "too many levels of symbolic links"),
    "text/below": (lambda: fill("text"), InputError, "not a directory"),
    "x" * 300: (list, InputError, "file name too long"),
    "nul\0": (list, InputError, "no name holds a NUL character"),
    "*.nothing": (list, InputError, "no file matches"),
    "**/*.nothing": (lambda: fill("sub/a"), InputError, "no file matches"),
    "fold*": (lambda: fill("folder/a"), InputError, "no file matches"),
    "in": (lambda: link("in/link", "none"), InputError, "no such file or directory"),
    "empty": (lambda: Path("empty").mkdir(), UsageError, "there is no file in this folder"),
    "hiding": (lambda: fill("hiding/.a"), UsageError, "there is no file in this folder"),
    "a.parquet": (lambda: os.mkfifo("a.parquet"), UsageError, "a Parquet file is read by seeking; it cannot come t"),
    "-": (list, UsageError, "standard input can be read only once"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_mistake_among_many_is_found_before_any_is_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it stands, what cannot be read is one error in the system's words, and no source is returned."""
    make, error, reason = REFUSED[name]
    make()
    fill("a.txt")
    with Path("a.txt").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        for paths in ([name, "a.txt", "-"], ["a.txt", "-", name]):
            with pytest.raises(error) as raised:
                find_sources(paths)
            assert str(raised.value).startswith("in/link: " if name == "in" else f"{name}: ")
            assert f": {reason}" in str(raised.value)


def test_standard_input_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed standard input, and a terminal, is one error."""
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(InputError, match="-: standard input is closed"):
        find_sources(["-"])
    ours, theirs = os.openpty()
    with os.fdopen(theirs) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        with pytest.raises(UsageError, match="-: standard input is a terminal; pipe text into it or name a file"):
            find_sources(["-"])
    os.close(ours)


TRY = """
import sys
from llmprep.documents.finding import find_sources
from llmprep.errors import InputError
for path in sys.argv[1:]:
    try:
        print(len(find_sources([path])))
    except InputError as error:
        print(error)
"""


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o111])
def test_no_folder_is_passed_over_in_silence(mode: int) -> None:
    """Where a folder may not be entered or read, it is an error, and a pattern is the same error; so is such a file."""
    prefix = unprivileged()
    fill("secret/a.txt", "secret/in/b.txt", "open/c.txt", "open/in/d.txt", "closed.txt")
    Path("closed.txt").chmod(0)
    Path("secret").chmod(mode)
    paths = ["secret", "secret/*.txt", "*/*.txt", "**/*.txt", "secret/**", "closed.txt", "secret/in/*.txt", "*/in/*"]

    done = subprocess.run(
        [*prefix, sys.executable, "-c", TRY, *paths],
        env=clean_environment({"PYTHONPATH": str(ROOT)}), capture_output=True, text=True, check=True,
    )  # fmt: skip
    Path("secret").chmod(0o755)

    lines = done.stdout.splitlines()
    if mode == 0o111:  # for the last two nothing in the way needs to be listed
        assert [lines.pop(), lines.pop()] == ["2", "1"]
    assert [line.endswith(": permission denied") for line in lines] == [True] * len(lines)
    assert [line[:6] for line in lines] == ["closed" if path[0] == "c" else "secret" for path in paths[: len(lines)]]


@pytest.mark.parametrize("named", ["in", "in/*", "in/**/*", "in/**"])
def test_what_is_no_file_is_left_out_and_named(named: str) -> None:
    """Pipes, sockets and devices in a folder or among matches make nobody wait; up to five are named."""
    fill("in/a.txt", "in/deep/b.txt", "in/z.txt")
    os.mkfifo("in/deep/pipe.txt")
    link("in/link", "deep/pipe.txt")
    link("in/zero", "/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("in/socket")
    deep = named != "in/*"
    endless = ["in/deep/pipe.txt"] * deep + ["in/link", "in/socket", "in/zero"]
    said: list[str] = []

    assert expanded(named, said) == ["in/a.txt", *["in/deep/b.txt"] * deep, "in/z.txt"]
    assert said[0] == f"{named}: left out, as no regular file: {', '.join(endless)}; name one to read it"
    for k in range(3):
        os.mkfifo(f"in/{k}")
    expanded(named, said := [])
    more = len(endless) + 3 - 5
    assert said[0].endswith(f"in/0, in/1, in/2, {', '.join(endless[:2])} and {more} more; name one to read it")
    assert find_sources(["in/link"])[0].size is None


def test_what_parquets_writers_leave_beside_is_left_out() -> None:
    """Notes on the other files are named and left out of a folder or pattern, and taken by their own name."""
    fill("d/_common_metadata", "d/_metadata", "d/_SUCCESS", "d/my_metadata", "d/a.txt")
    notes = "d/_SUCCESS, d/_common_metadata, d/_metadata"

    for name in ("d", "d/*"):
        said: list[str] = []
        assert expanded(name, said) == ["d/a.txt", "d/my_metadata"]
        assert said == [f"{name}: left out, as it is about other files: {notes}; name one to read it"]
    assert names("d/_metadata") == ["_metadata"]


# --- several --------------------------------------------------------------------------------------


def test_inputs_keep_the_order_they_are_named_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files, folders, patterns and standard input may be mixed, and named twice; only what one means is sorted."""
    fill("z.txt", "folder/b", "folder/a", "x.md", "w.md")
    with Path("z.txt").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert names("z.txt", "folder", "-", "*.md", "folder/a") == ["z.txt", "a", "b", "-", "w.md", "x.md", "a"]


def test_files_of_one_name_are_told_apart() -> None:
    """Names get as many folders as tell them apart, and no more; one file named twice keeps one name."""
    fill("x/wiki/000.txt", "x/books/000.txt", "y/wiki/000.txt", "alone.txt", "books/000.txt")

    assert names("x/wiki/000.txt", "x/books/000.txt") == ["wiki/000.txt", "books/000.txt"]
    assert names("x/wiki", "x/books", "y/wiki", "alone.txt") == [
        "x/wiki/000.txt", "books/000.txt", "y/wiki/000.txt", "alone.txt",
    ]  # fmt: skip
    assert names("x/wiki/000.txt", "x/../x/wiki/000.txt", "x/books/000.txt") == [
        "wiki/000.txt", "wiki/000.txt", "books/000.txt",
    ]  # fmt: skip
    assert len(set(names(".", "x/books"))) == 6  # a name that a folder gives may be what another is lengthened to


@pytest.mark.parametrize("other", ["m/a.txt", "./m/a.txt", "symbolic", "hard", "m"])
def test_a_file_that_is_read_twice_is_said(other: str) -> None:
    """The same file by its name, another path, a link or a folder is read again, with a word; up to five times."""
    fill("m/a.txt", "b.txt")
    Path("empty").touch()
    link("symbolic", "m/a.txt")
    Path("hard").hardlink_to("m/a.txt")
    same = "was named before" if other in ("m/a.txt", "m") else "is the same file as m/a.txt"
    said: list[str] = []

    assert len(find_sources(["m/a.txt", "b.txt", other, "empty", "empty"], announce=said.append)) == 5
    assert said == [f"{'m/a.txt' if other == 'm' else other}: {same}; its tokens are taken each time"]
    find_sources(["b.txt"] * 8, announce=said.append)
    assert said[6:] == ["2 more inputs are files that came before; their tokens are taken each time"]


# --- formats and sizes ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format_", "files"),
    [
        ("text", "a.txt a a.json jsonl a.jsonl.txt a.gz my.parquet.txt"),
        ("jsonl", "a.jsonl a.jsonlines a.jl a.ndjson A.JSONL a.b.jsonl"),
        ("jsonl", "a.jsonl.gz a.jsonl.gzip a.jsonl.bz a.jsonl.bz2 a.ndjson.xz a.jl.lzma a.JSONL.ZST a.jsonl.zstd"),
        ("parquet", "a.parquet a.b.Parquet"),
    ],
)
def test_the_name_tells_the_format(format_: str, files: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names tell records, compressed or not, from text; with a field all that is not Parquet holds records."""
    fill(*(named := files.split()))
    with Path(named[0]).open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        plain, chosen = (find_sources([*named, "-"], field) for field in (None, "body"))

    assert [source.format for source in plain] == [*[format_] * len(named), "text"]
    assert [source.format for source in chosen[:-1]] == [format_ if format_ == "parquet" else "jsonl"] * len(named)
    assert ({source.text_field for source in plain}, {source.text_field for source in chosen}) == ({"text"}, {"body"})
    assert chosen[-1].format == "jsonl"
    with pytest.raises(UsageError, match=r"--field a\udcff: is not valid UTF-8, as the name of every field is"):
        find_sources(named, "a\udcff")


def test_sizes_are_those_of_files() -> None:
    """A file has its size, an empty one 0; a pipe, and what says falsely that it is empty, has None."""
    fill("full")
    Path("empty").touch()
    os.mkfifo("pipe")

    assert [source.size for source in find_sources(["full", "empty", "pipe"])] == [4, 0, None]
    if Path("/proc/version").exists():
        assert find_sources(["/proc/version"])[0].size is None
        assert content("/proc/version") == Path("/proc/version").read_bytes() != b""
