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


def fill(folder: Path, *names: str) -> Path:
    """Make files, each holding its own name, and the folders they need."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def names(*paths: str | Path) -> list[str]:
    """What the sources found are called."""
    return [source.name for source in find_sources([str(path) for path in paths])]


def expanded(pattern: str | Path, said: list[str] | None = None) -> list[str]:
    """The files that a path means."""
    return [path for path, _ in expand_paths([str(pattern)], None if said is None else said.append)]


# --- folders --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_a_folder_is_walked_in_byte_order(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files come in byte order of their path inside the folder, however it was filled and wherever it lies."""
    shuffled = random.Random(seed).sample(MIXED, len(MIXED))  # noqa: S311 - an order, no secret
    folder = fill(tmp_path / "texts", *shuffled)
    monkeypatch.chdir(tmp_path)
    expected = sorted(MIXED, key=str.encode)

    for way in (folder, "texts", "texts/", "./texts", "texts/../texts"):
        assert names(way) == expected
    assert [content(path).decode() for path in expanded(folder)] == expected
    assert expanded("./texts") == [f"./texts/{name}" for name in expected]


def test_names_are_compared_and_shown_as_bytes(tmp_path: Path) -> None:
    """Names that are no UTF-8 are sorted as the bytes they are on the disk, and shown with these written out."""
    for name in (b"a\xff", b"a\xc3\xa9", b"a", b"a\x80"):
        (tmp_path / os.fsdecode(name)).touch()

    assert names(tmp_path) == ["a", "a\\x80", "a\u00e9", "a\\xff"]
    (source,) = find_sources([str(tmp_path / "a\udcff")])
    assert (source.path, source.name) == (str(tmp_path / "a\udcff"), "a\\xff")


def test_hidden_files_are_left_out_and_said(tmp_path: Path) -> None:
    """Hidden files and folders inside a folder are no texts; named, each is an input like any other."""
    folder = fill(tmp_path / "texts", "a.txt", ".hidden", "sub/.DS_Store", "sub/b.txt", ".git/config", ".git/x/y")
    said: list[str] = []

    assert expanded(folder, said) == [f"{folder}/a.txt", f"{folder}/sub/b.txt"]
    assert said == [f"{folder}: 3 hidden files or folders in it are left out; name them to take them"]
    assert names(folder / ".hidden", folder / ".git") == [".hidden", "config", "x/y"]


def test_links_in_a_folder(tmp_path: Path) -> None:
    """A link to a file is a file; links to folders are not followed, so a loop ends, and that is said."""
    folder = fill(tmp_path / "texts", "sub/a.txt")
    (folder / "link.txt").symlink_to(folder / "sub/a.txt")
    (folder / "loop").symlink_to(folder)
    (folder / "sub/other").symlink_to(tmp_path)
    said: list[str] = []

    found = find_sources([str(folder)], announce=said.append)

    assert [source.name for source in found] == ["link.txt", "sub/a.txt"]
    assert said == [
        f"{folder}: 2 links to folders in it are not followed; name them to follow them",
        f"{folder}/sub/a.txt: is the same file as {folder}/link.txt; its tokens are taken each time",
    ]
    (tmp_path / "named").symlink_to("texts/sub")
    assert names(tmp_path / "named") == ["a.txt"]


# --- patterns -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.txt", ["B.txt", "a-b.txt", "a.txt", "\u4e2d.txt"]),
        ("?", ["9", "Z"]),
        ("[0-9]*", ["10", "9"]),
        ("a*/*", ["a b/c", "a/b.txt", "a/\u00e9.txt"]),
        ("a/**", ["a/b.txt", "a/z/deep/er.md", "a/\u00e9.txt"]),
        ("**/*.txt", ["B.txt", "a-b.txt", "a.txt", "a/b.txt", "a/\u00e9.txt", "\u4e2d.txt"]),
        ("**/deep/**/*.md", ["a/z/deep/er.md"]),
        ("./*/b.txt", ["./a/b.txt"]),
        ("a/z/../*.txt", ["a/z/../b.txt", "a/z/../\u00e9.txt"]),
        (".h*", [".hidden.txt"]),
    ],
)
def test_a_pattern_means_its_files_in_byte_order(
    pattern: str, found: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patterns are expanded by llmprep, so that a quoted one, or one in a list, means the same on every machine."""
    monkeypatch.chdir(fill(tmp_path, *MIXED, ".hidden.txt", "a/.hidden/b.txt"))

    assert expanded(pattern) == found


@pytest.mark.parametrize("pattern", ["**", "**/*", "a/**", "**/*.txt", "*/**/*", "**/z/**", "a**", "[aB]*/**/*.md"])
def test_patterns_mean_what_pythons_mean(pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are no links, the files are those of Python's own recursive glob, also below another folder."""
    monkeypatch.chdir(fill(tmp_path, *MIXED, ".hidden.txt", "a/.hidden/b.txt", "[a]/b"))

    for start in ("", f"{glob.escape(str(tmp_path))}/", "./"):
        matched = glob.glob(start + pattern, recursive=True)  # noqa: PTH207 - its very meaning
        assert expanded(start + pattern) == sorted(filter(os.path.isfile, set(matched)), key=os.fsencode)


def test_a_recursive_pattern_ends_at_loops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``**`` follows no links to folders: each file comes once, and loops do not multiply."""
    monkeypatch.chdir(fill(tmp_path, "a.txt", "sub/b.txt"))
    for name in ("loop", "again", "sub/up"):
        (tmp_path / name).symlink_to(tmp_path)

    assert expanded("**/*.txt") == ["a.txt", "sub/b.txt"]
    assert expanded("again/*.txt") == ["again/a.txt"]


def test_a_file_whose_name_is_a_pattern_is_that_file(tmp_path: Path) -> None:
    """A name with brackets or a star is taken as it is if there is such a file, also below such a folder."""
    fill(tmp_path, "[a].txt", "a.txt", "b*", "bc", "[x]/*.txt", "[x]/y.txt")

    assert names(tmp_path / "[a].txt", tmp_path / "b*") == ["[a].txt", "b*"]
    assert names(tmp_path / "[x]") == ["*.txt", "y.txt"]


def test_folders_that_a_pattern_matches_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder among the matches is left out, with a word; where it is gone through, none is needed."""
    monkeypatch.chdir(fill(tmp_path, "a.txt", "sub/b.txt"))
    said: list[str] = []

    assert expanded("*", said) == ["a.txt"]
    assert said == ["*: left out, as a folder: sub; name one to read it"]
    assert expanded("**", said := []) == ["a.txt", "sub/b.txt"]
    assert said == []


# --- what may not be read, and what holds no text -------------------------------------------------


def link(name: str, target: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).symlink_to(target)


REFUSED: dict[str, tuple[Callable[[Path], object], type[LlmprepError], str]] = {
    "missing": (lambda _: None, InputError, "missing: no such file or directory"),
    "dangling": (link("dangling", "nothing"), InputError, "dangling: no such file or directory"),
    "looping": (link("looping", "looping"), InputError, "looping: too many levels of symbolic links"),
    "text/below": (lambda folder: (folder / "text").touch(), InputError, "text/below: not a directory"),
    "x" * 300: (lambda _: None, InputError, f"{'x' * 300}: file name too long"),
    "nul\0": (lambda _: None, InputError, "nul\0: no name holds a NUL character"),
    "with link": (lambda folder: link("l", "nothing")(fill(folder, "with link/a") / "with link"), InputError,
                  "with link/l: no such file or directory"),
    "*.nothing": (lambda _: None, InputError, "*.nothing: no file matches"),
    "**/*.nothing": (lambda folder: fill(folder, "sub/a"), InputError, "**/*.nothing: no file matches"),
    "fold*": (lambda folder: fill(folder, "folder/a"), InputError, "fold*: no file matches"),
    "empty": (lambda folder: (folder / "empty").mkdir(), UsageError, "empty: there is no file in this folder"),
    "hiding": (lambda folder: fill(folder, "hiding/.a"), UsageError, "hiding: there is no file in this folder"),
    "pipe.parquet": (lambda folder: os.mkfifo(folder / "pipe.parquet"), UsageError,
                     "pipe.parquet: a Parquet file is read by seeking; it cannot come through a pipe"),
    "-": (lambda _: None, UsageError, "-: standard input can be read only once"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_mistake_among_many_is_found_before_any_is_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it stands, what cannot be read is one error in the system's words, and no source is returned."""
    make, error, message = REFUSED[name]
    make(tmp_path)
    monkeypatch.chdir(fill(tmp_path, "a.txt"))
    with (tmp_path / "a.txt").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        for paths in ([name, "a.txt", "-"], ["a.txt", "-", name]):
            with pytest.raises(error) as raised:
                find_sources(paths)
            assert str(raised.value) == message


def test_standard_input_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed standard input and a terminal are each one error; with a field it holds records, else text."""
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
def test_no_folder_is_passed_over_in_silence(mode: int, tmp_path: Path) -> None:
    """Where a folder may not be entered or read, it is an error, and a pattern is the same error; so is such a file."""
    prefix = unprivileged()
    fill(tmp_path, "secret/a.txt", "secret/in/b.txt", "open/c.txt", "open/in/d.txt", "closed.txt")
    (tmp_path / "closed.txt").chmod(0)
    (tmp_path / "secret").chmod(mode)
    paths = ["secret", "secret/*.txt", "*/*.txt", "**/*.txt", "secret/**", "secret/in/*.txt", "*/in/*", "closed.txt"]

    done = subprocess.run(
        [*prefix, sys.executable, "-c", TRY, *paths],
        cwd=tmp_path, env=clean_environment({"PYTHONPATH": str(ROOT)}), capture_output=True, text=True, check=True,
    )  # fmt: skip

    (tmp_path / "secret").chmod(0o755)
    *lines, closed = done.stdout.splitlines()
    assert closed == "closed.txt: permission denied"
    may_pass = 2 if mode == 0o111 else 0  # the last two need nothing in the way to be listed
    for line in lines[: len(lines) - may_pass]:
        assert line.startswith("secret")
        assert line.endswith(": permission denied")
    assert lines[len(lines) - may_pass :] == ["1", "2"][:may_pass]


@pytest.mark.parametrize("named", ["in", "in/*", "in/**/*", "in/**"])
def test_what_is_no_file_is_left_out_and_named(named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pipes, sockets and devices in a folder or among matches make nobody wait; up to five are named."""
    monkeypatch.chdir(fill(tmp_path, "in/a.txt", "in/deep/b.txt", "in/z.txt"))
    os.mkfifo("in/deep/pipe.txt")
    Path("in/link").symlink_to("deep/pipe.txt")
    Path("in/zero").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("in/socket")
    endless = [*(["in/deep/pipe.txt"] if named != "in/*" else []), "in/link", "in/socket", "in/zero"]
    said: list[str] = []

    assert expanded(named, said) == ["in/a.txt", *(["in/deep/b.txt"] if named != "in/*" else []), "in/z.txt"]
    assert said[0] == f"{named}: left out, as no regular file: {', '.join(endless)}; name one to read it"

    for k in range(3):
        os.mkfifo(f"in/{k}")
    expanded(named, said := [])
    more = len(endless) + 3 - 5
    assert said[0].endswith(f"in/0, in/1, in/2, {', '.join(endless[:2])} and {more} more; name one to read it")
    (pipe,) = find_sources(["in/link"])
    assert pipe.size is None


def test_what_parquets_writers_leave_beside_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Notes on the other files are named and left out of a folder or pattern, and taken by their own name."""
    monkeypatch.chdir(fill(tmp_path, "d/_common_metadata", "d/_metadata", "d/_SUCCESS", "d/my_metadata", "d/a.txt"))
    for name in ("d", "d/*"):
        said: list[str] = []
        assert expanded(name, said) == ["d/a.txt", "d/my_metadata"]
        notes = "d/_SUCCESS, d/_common_metadata, d/_metadata"
        assert said == [f"{name}: left out, as it is about other files: {notes}; name one to read it"]

    assert names("d/_metadata") == ["_metadata"]


# --- several --------------------------------------------------------------------------------------


def test_inputs_keep_the_order_they_are_named_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files, folders, patterns and standard input may be mixed, and named twice; only what one means is sorted."""
    monkeypatch.chdir(fill(tmp_path, "z.txt", "folder/b", "folder/a", "x.md", "w.md"))
    with (tmp_path / "z.txt").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)

        found = find_sources(["z.txt", "folder", "-", "*.md", "folder/a"])

    assert [source.name for source in found] == ["z.txt", "a", "b", "-", "w.md", "x.md", "a"]
    assert [source.path for source in found][1:3] == ["folder/a", "folder/b"]


def test_files_of_one_name_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names get as many folders as tell them apart, and no more; one file named twice keeps one name."""
    fill(tmp_path, "x/wiki/000.txt", "x/books/000.txt", "y/wiki/000.txt", "alone.txt", "books/000.txt")
    monkeypatch.chdir(tmp_path)

    assert names("x/wiki/000.txt", "x/books/000.txt") == ["wiki/000.txt", "books/000.txt"]
    assert names("x/wiki", "x/books", "y/wiki", "alone.txt") == [
        "x/wiki/000.txt", "books/000.txt", "y/wiki/000.txt", "alone.txt",
    ]  # fmt: skip
    assert names("x/wiki/000.txt", "x/../x/wiki/000.txt", "x/books/000.txt") == [
        "wiki/000.txt", "wiki/000.txt", "books/000.txt",
    ]  # fmt: skip
    assert len(set(names(".", "x/books"))) == 6  # a name that a folder gives may be what another is lengthened to


@pytest.mark.parametrize("how", ["again", "path", "symbolic", "hard", "folder"])
def test_a_file_that_is_read_twice_is_said(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same file by its name, another path, a link or a folder is read again, with a word; up to five times."""
    monkeypatch.chdir(fill(tmp_path, "m/a.txt", "b.txt"))
    Path("empty").touch()
    other = {"again": "m/a.txt", "path": "./m/a.txt", "symbolic": "s", "hard": "h", "folder": "m"}[how]
    Path("s").symlink_to("m/a.txt")
    Path("h").hardlink_to("m/a.txt")
    said: list[str] = []

    assert len(find_sources(["m/a.txt", "b.txt", other, "empty", "empty"], announce=said.append)) == 5

    named = f"{other}/a.txt" if how == "folder" else other
    same = "was named before" if named == "m/a.txt" else "is the same file as m/a.txt"
    assert said == [f"{named}: {same}; its tokens are taken each time"]
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
)  # fmt: skip
def test_the_name_tells_the_format(format_: str, files: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names tell records, compressed or not, from text; with a field all that is not Parquet holds records."""
    named = files.split()
    monkeypatch.chdir(fill(tmp_path, *named))
    with Path(named[0]).open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)

        plain, chosen = (find_sources([*named, "-"], field) for field in (None, "body"))

    assert [source.format for source in plain] == [*[format_] * len(named), "text"]
    assert [source.text_field for source in plain] == ["text"] * len(plain)
    assert {source.format for source in chosen[:-1]} == {"parquet" if format_ == "parquet" else "jsonl"}
    assert (chosen[-1].format, {source.text_field for source in chosen}) == ("jsonl", {"body"})


def test_a_field_must_be_utf8() -> None:
    """A name of a field that is not UTF-8 is a fault of the command line, whatever the records are."""
    with pytest.raises(UsageError, match=r"--field a\udcff: is not valid UTF-8, as the name of every field is"):
        find_sources(["-"], "a\udcff")


def test_sizes_are_those_of_files(tmp_path: Path) -> None:
    """A file has its size, an empty one 0; a pipe, and what says falsely that it is empty, has None."""
    fill(tmp_path, "full")
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")

    assert [find_sources([str(tmp_path / name)])[0].size for name in ("full", "empty", "pipe")] == [4, 0, None]
    if Path("/proc/version").exists():
        assert find_sources(["/proc/version"])[0].size is None
        assert content("/proc/version") == Path("/proc/version").read_bytes() != b""
