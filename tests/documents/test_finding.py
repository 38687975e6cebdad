"""Promises of sources: what a user names becomes a list of inputs, the same everywhere, checked before reading."""

from __future__ import annotations

import glob
import gzip
import os
import random
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.commands import Call, Ended, Run

from llmprep.documents.finding import expand_paths, find_sources, read_names
from llmprep.documents.reading import read_blocks
from llmprep.documents.source import Source
from llmprep.errors import DataError, InputError, UsageError
from llmprep.ptfile.reading import read_pt

CLOSED = ("sh", "-c", 'exec "$@" <&-', "sh")


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


def texts(sources: list[Source]) -> list[str]:
    """What sources hold."""
    return ["".join(block.text for block in read_blocks(source)) for source in sources]


# --- folders --------------------------------------------------------------------------------------

MIXED = (
    "B.txt",
    "a/b.txt",
    "a.txt",
    "a/\u00e9.txt",
    "a b/c",
    "a/z/deep/er.md",
    "Z",
    "\u4e2d.txt",
    "a-b.txt",
    "10",
    "9",
)


@pytest.mark.parametrize("seed", range(3))
def test_a_folder_is_walked_in_byte_order(seed: int, tmp_path: Path) -> None:
    """Every file below comes in byte order of its path inside the folder, however the folder was filled."""
    shuffled = random.Random(seed).sample(MIXED, len(MIXED))  # noqa: S311 - an order, no secret

    folder = fill(tmp_path / "texts", *shuffled)

    assert names(folder) == sorted(MIXED, key=str.encode)
    assert texts(find_sources([str(folder)])) == sorted(MIXED, key=str.encode)


def test_byte_order_holds_for_names_that_are_no_utf_8(tmp_path: Path) -> None:
    """Names are compared as the bytes they are on the disk, and bytes that are no UTF-8 are shown written out."""
    raw = [b"a\xff", b"a\xc3\xa9", b"a", b"a\x80"]
    for name in raw:
        (tmp_path / os.fsdecode(name)).write_bytes(name)

    assert names(tmp_path) == ["a", "a\\x80", "a\u00e9", "a\\xff"]


def test_where_a_folder_lies_does_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are those inside the folder, however it is reached; a path for messages is as it was given."""
    fill(tmp_path / "texts", *MIXED)
    monkeypatch.chdir(tmp_path)
    expected = sorted(MIXED, key=str.encode)

    for way in (tmp_path / "texts", "texts", "texts/", "./texts", "texts/../texts"):
        assert names(way) == expected
    assert [path for path, _ in expand_paths(["./texts"])] == [f"./texts/{name}" for name in expected]


def test_hidden_files_are_left_out_and_said(tmp_path: Path) -> None:
    """Hidden files and folders inside a folder are no texts; how many were left out is announced."""
    folder = fill(tmp_path / "texts", "a.txt", ".hidden", "sub/.DS_Store", "sub/b.txt", ".git/config", ".git/x/y")
    said: list[str] = []

    found = find_sources([str(folder)], announce=said.append)

    assert [source.name for source in found] == ["a.txt", "sub/b.txt"]
    assert said == [f"{folder}: 3 hidden files or folders in it are left out; name them to take them"]


def test_nothing_is_said_where_nothing_is_left_out(tmp_path: Path) -> None:
    """A folder all of whose files are taken needs no announcement."""
    said: list[str] = []

    find_sources([str(fill(tmp_path / "texts", "a.txt", "sub/b.txt"))], announce=said.append)

    assert said == []


def test_hidden_inputs_that_are_named_are_taken(tmp_path: Path) -> None:
    """A hidden file or folder is an input like any other when a user names it."""
    fill(tmp_path, ".notes", ".texts/a.txt")

    assert names(tmp_path / ".notes", tmp_path / ".texts") == [".notes", "a.txt"]


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


def test_a_link_to_a_folder_that_is_named_is_walked(tmp_path: Path) -> None:
    """A folder may be named through a link."""
    fill(tmp_path / "texts", "a.txt")
    (tmp_path / "link").symlink_to("texts")

    assert names(tmp_path / "link") == ["a.txt"]


@pytest.mark.parametrize("inside", [[], [".hidden"]], ids=["empty", "hidden"])
def test_a_folder_without_a_text_is_refused(inside: list[str], tmp_path: Path) -> None:
    """A folder that holds no file, or hidden ones only, is an error and not an empty input."""
    folder = tmp_path / "texts"
    folder.mkdir()
    fill(folder, *inside)

    with pytest.raises(UsageError, match=r"texts: there is no file in this folder$"):
        find_sources([str(folder)])


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
    ],
)
def test_a_pattern_means_its_files_in_byte_order(
    pattern: str, found: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patterns are expanded by llmprep, so that a quoted one, or one in a list, means the same on every machine."""
    monkeypatch.chdir(fill(tmp_path, *MIXED, ".hidden.txt", "a/.hidden/b.txt"))

    assert [path for path, _ in expand_paths([pattern])] == found


@pytest.mark.parametrize("pattern", ["**", "**/*", "a/**", "**/*.txt", "*/**/*", "**/z/**", "a**", "[aB]*/**/*.md"])
def test_patterns_mean_what_pythons_mean(pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are no links, the files are those of Python's own recursive glob, also below another folder."""
    monkeypatch.chdir(fill(tmp_path, *MIXED, ".hidden.txt", "a/.hidden/b.txt", "[a]/b"))

    for start in ("", f"{glob.escape(str(tmp_path))}/", "./"):
        matched = glob.glob(start + pattern, recursive=True)  # noqa: PTH207 - its very meaning
        expected = {path for path in matched if Path(path).is_file()}
        assert [path for path, _ in expand_paths([start + pattern])] == sorted(expected, key=os.fsencode)


def test_a_recursive_pattern_ends_at_loops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``**`` follows no links to folders: each file comes once, and loops do not multiply."""
    monkeypatch.chdir(fill(tmp_path, "a.txt", "sub/b.txt"))
    for name in ("loop", "again", "sub/up"):
        (tmp_path / name).symlink_to(tmp_path)

    assert [path for path, _ in expand_paths(["**/*.txt"])] == ["a.txt", "sub/b.txt"]


def test_a_file_whose_name_is_a_pattern_is_that_file(tmp_path: Path) -> None:
    """A name with brackets or a star is taken as it is if there is such a file, also below such a folder."""
    fill(tmp_path, "[a].txt", "a.txt", "b*", "bc", "[x]/*.txt", "[x]/y.txt")

    assert names(tmp_path / "[a].txt", tmp_path / "b*") == ["[a].txt", "b*"]
    assert names(tmp_path / "[x]") == ["*.txt", "y.txt"]


def test_a_pattern_without_a_match_is_an_error(tmp_path: Path) -> None:
    """A pattern that matches nothing, or folders only, is named."""
    fill(tmp_path, "folder/a.txt")

    for pattern in (tmp_path / "*.md", tmp_path / "*", tmp_path / "**/*.md"):
        with pytest.raises(InputError) as raised:
            find_sources([str(pattern)])
        assert str(raised.value) == f"{pattern}: no file matches"


# --- several --------------------------------------------------------------------------------------


def test_inputs_keep_the_order_they_are_named_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files, folders, patterns and standard input may be mixed; only what one of them means is sorted."""
    monkeypatch.chdir(fill(tmp_path, "z.txt", "folder/b", "folder/a", "x.md", "w.md"))
    with (tmp_path / "z.txt").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)

        found = names("z.txt", "folder", "-", "*.md", "folder/a")

    assert found == ["z.txt", "a", "b", "-", "w.md", "x.md", "a"]


def test_an_input_named_twice_is_read_twice(tmp_path: Path) -> None:
    """Naming a file twice is a choice; each time it is a document of its own."""
    fill(tmp_path, "a.txt", "b.txt")

    found = find_sources([str(tmp_path / "a.txt"), str(tmp_path), str(tmp_path / "*.txt")])

    assert texts(found) == ["a.txt", "a.txt", "b.txt", "a.txt", "b.txt"]


def test_standard_input_can_be_read_only_once() -> None:
    """``-`` twice is refused: the second reading would find nothing."""
    with pytest.raises(UsageError, match="only once"):
        find_sources(["-", "-"])


@given(shuffled=st.permutations(MIXED))
def test_a_mistake_among_many_is_found_before_any_is_opened(
    shuffled: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Wherever the missing one stands, no source is returned and so none is read."""
    folder = tmp_path_factory.getbasetemp() / "many"
    fill(folder, *MIXED[1:])

    with pytest.raises(InputError, match=r"B\.txt: no such file or directory$"):
        find_sources([str(folder / name) for name in shuffled])


# --- formats --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "format_"),
    [
        ("a.txt", "text"),
        ("a", "text"),
        ("a.json", "text"),
        ("jsonl", "text"),
        ("a.jsonl.txt", "text"),
        ("a.gz", "text"),
        ("a.jsonl", "jsonl"),
        ("a.jsonlines", "jsonl"),
        ("a.jl", "jsonl"),
        ("a.jsonl.gzip", "jsonl"),
        ("a.jsonl.bz", "jsonl"),
        ("a.jsonl.zstd", "jsonl"),
        ("A.JSONL", "jsonl"),
        ("a.ndjson", "jsonl"),
        ("a.jsonl.gz", "jsonl"),
        ("a.jsonl.bz2", "jsonl"),
        ("a.ndjson.xz", "jsonl"),
        ("a.JSONL.ZST", "jsonl"),
        ("a.parquet", "parquet"),
        ("a.b.Parquet", "parquet"),
    ],
)
def test_the_name_tells_the_format(name: str, format_: str, tmp_path: Path) -> None:
    """Names that end in .jsonl, .ndjson (compressed or not) or .parquet hold records, all others text."""
    (source,) = find_sources([str(fill(tmp_path, name) / name)])

    assert source.format == format_


@pytest.mark.parametrize("name", ["c4-train.00000.json.gz", "my.json", "part-00000.gz", "wiki_00", "a.txt"])
def test_a_field_makes_every_input_records(name: str, call: Call, tmp_path: Path) -> None:
    """With ``--field`` what is not Parquet is JSON Lines, whatever its name; a field that is not there is an error."""
    data = b'{"text": "one two", "n": 1}\n{"text": "three"}\n'
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)

    assert call("tokenize", name, "--ids", "--field", "text").stdout == b"505 734 50256 15542\n"
    wrong = call("tokenize", name, "--count", "--field", "nosuch")
    assert (wrong.code, wrong.notes) == (
        3, [f"llmprep: error: {name}: line 1: has no field nosuch; its fields: n, text (see --field)"],
    )  # fmt: skip
    assert call("tokenize", name, "-o", "x.pt", "--force").notes == [
        f"llmprep: note: {name}: begins with a JSON object and is read as plain text; --field NAME reads its records"
    ]


def test_standard_input_holds_records_if_a_field_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input has no name to go by: with a field it is JSON Lines, else text."""
    with (fill(tmp_path, "x") / "x").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)

        (plain,) = find_sources(["-"])
        (records,) = find_sources(["-"], "body")

    assert (plain.format, records.format, records.text_field) == ("text", "jsonl", "body")


def test_sizes_are_those_of_files(tmp_path: Path) -> None:
    """A file has its size, an empty one 0; what has no size, a pipe, has None."""
    (tmp_path / "full").write_bytes(b"12345")
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")

    found = find_sources([str(tmp_path / name) for name in ("full", "empty", "pipe")])

    assert [source.size for source in found] == [5, 0, None]


# --- lists of names -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "nul_separated", "listed"),
    [
        (b"a.txt\nb c.txt\n", False, ["a.txt", "b c.txt"]),
        (b"a.txt\n\nb.txt", False, ["a.txt", "b.txt"]),
        (b" a\n-x\n*.txt\n", False, [" a", "-x", "*.txt"]),
        (b"a\nb\0c\0", True, ["a\nb", "c"]),
        (b"caf\xe9.txt\n", False, ["caf\udce9.txt"]),
    ],
)
def test_a_list_of_names(data: bytes, nul_separated: bool, listed: list[str], tmp_path: Path) -> None:
    """A list holds names, one a line or NUL-separated as ``find -print0`` writes them, taken as they are."""
    (tmp_path / "list").write_bytes(data)

    assert read_names(str(tmp_path / "list"), nul_separated=nul_separated) == listed


@pytest.mark.parametrize("data", [b"", b"\n\n"])
def test_an_empty_list_is_an_error(data: bytes, tmp_path: Path) -> None:
    """A list without a name is named, and is not an empty run."""
    (tmp_path / "list").write_bytes(data)

    with pytest.raises(DataError, match="list: names no file"):
        read_names(str(tmp_path / "list"), nul_separated=False)


@pytest.mark.parametrize(("name", "reason"), [("missing", "no such file or directory"), ("folder", "is a directory")])
def test_a_list_that_cannot_be_read_is_named(name: str, reason: str, tmp_path: Path) -> None:
    """A list that is missing or a folder is an error in the system's words."""
    (tmp_path / "folder").mkdir()

    with pytest.raises(InputError, match=f"{name}: {reason}"):
        read_names(str(tmp_path / name), nul_separated=False)


def test_names_from_a_list_are_names_on_the_command_line(call: Call, tmp_path: Path) -> None:
    """Files, folders and patterns in a list give the file that naming them gives, after those that are named."""
    fill(tmp_path, "a.txt", "folder/b", "folder/a", "x.md", "w.md")
    (tmp_path / "list").write_text("folder\n*.md\n")

    assert call("tokenize", "a.txt", "folder", "*.md", "-q", "-o", "named.pt") == Ended(0, b"", b"")
    assert call("tokenize", "a.txt", "--files-from", "list", "-q", "-o", "listed.pt") == Ended(0, b"", b"")

    assert (tmp_path / "listed.pt").read_bytes() == (tmp_path / "named.pt").read_bytes()


def test_a_list_on_standard_input(llmprep: Run, tmp_path: Path) -> None:
    """``--files-from -`` reads names from a pipe, with ``-0`` as ``find -print0`` writes them, newlines included."""
    fill(tmp_path, "a\nb.txt", "c d.txt")

    done = llmprep("tokenize", "--count", "--files-from", "-", "-0", stdin=b"a\nb.txt\0c d.txt\0")

    assert (done.returncode, done.stderr) == (0, b"")
    assert [line.split(maxsplit=1)[1] for line in done.stdout.splitlines()] == [rb"a\nb.txt", b"c d.txt", b"total"]


def test_standard_input_is_a_list_or_a_text(llmprep: Run, tmp_path: Path) -> None:
    """Standard input cannot be both the list and a text: the second would be empty."""
    done = llmprep("tokenize", "-", "--files-from", "-", "-o", "x.pt", stdin=b"a.txt\n")

    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"llmprep: error: -: standard input can be read only once\n"


def test_a_list_from_a_closed_standard_input(llmprep: Run) -> None:
    """``--files-from -`` without a standard input is one line."""
    done = llmprep("tokenize", "--files-from", "-", "-o", "x.pt", prefix=CLOSED)

    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"llmprep: error: -: standard input is closed\n"


def test_nul_goes_with_a_list(call: Call, tmp_path: Path) -> None:
    """``--null`` alone is a usage error, and so is a command without any input."""
    fill(tmp_path, "a.txt")

    assert call("tokenize", "a.txt", "-0") == Ended(2, b"", b"llmprep: error: --null: goes with --files-from\n")
    ended = call("tokenize", "-o", "x.pt")
    assert (ended.code, ended.stdout) == (2, b"")
    (line,) = ended.notes
    assert "Missing argument 'FILE...'" in line


@pytest.mark.parametrize("name", ["-", "*.txt"])
def test_what_has_no_name_needs_one_for_its_output(name: str, call: Call, tmp_path: Path) -> None:
    """Standard input and patterns give no name to an output, and nothing is written under an odd one."""
    fill(tmp_path, "a.txt")

    ended = call("tokenize", name)

    assert (ended.code, ended.stdout) == (2, b"")
    (line,) = ended.notes
    assert line.endswith("has no name; name the output with -o")
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt"}


def test_a_folder_names_its_output(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder's output is called after it, also where it is named by a dot."""
    monkeypatch.chdir(fill(tmp_path / "texts", "a.txt"))

    assert call("tokenize", ".", "-q") == Ended(0, b"", b"")
    monkeypatch.chdir(tmp_path)
    assert call("tokenize", "texts/a.txt", "-q") == Ended(0, b"", b"")

    assert {path.name for path in (tmp_path / "texts").iterdir()} == {"a.txt", "texts.tokens.pt"}
    assert (tmp_path / "a.tokens.pt").exists()


# --- row 19 of the table of hostile inputs --------------------------------------------------------


def unreadable(folder: Path, what: str) -> str:
    """Make something that cannot be read; return its name."""
    match what:
        case "dangling":
            (folder / what).symlink_to("nothing")
        case "looping":
            (folder / what).symlink_to(what)
        case "dangling in a folder":
            (folder / what).mkdir()
            (folder / what / "link").symlink_to("nothing")
        case "empty folder":
            (folder / what).mkdir()
        case "*.nothing" | "missing":
            pass
        case "text/below":
            (folder / "text").touch()
        case "long":
            return "x" * 300
    return what


ROW_19 = {
    "missing": (1, "missing: no such file or directory"),
    "dangling": (1, "dangling: no such file or directory"),
    "looping": (1, "looping: too many levels of symbolic links"),
    "dangling in a folder": (1, "dangling in a folder/link: no such file or directory"),
    "empty folder": (2, "empty folder: there is no file in this folder"),
    "*.nothing": (1, "*.nothing: no file matches"),
    "text/below": (1, "text/below: not a directory"),
    "long": (1, f"{'x' * 300}: file name too long"),
}


@pytest.mark.parametrize("command", ["tokenize", "pairs", "window"])
@pytest.mark.parametrize("what", ROW_19)
def test_19_what_cannot_be_read_is_one_line(what: str, command: str, call: Call, tmp_path: Path) -> None:
    """A bad name is one line in the system's words, before the bad bytes of an earlier input are met."""
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    name = unreadable(tmp_path, what)
    before = sorted(tmp_path.iterdir())
    code, message = ROW_19[what]

    assert call(command, "latin.txt", name, "-o", "x.pt") == Ended(code, b"", f"llmprep: error: {message}\n".encode())
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("what", ["file", "folder"])
def test_19_what_may_not_be_read_is_one_line(what: str, llmprep: Run, tmp_path: Path) -> None:
    """A file or folder without permission is named before any other input is read, also for a plain user."""
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    secret = fill(tmp_path / "secret", "a.txt")
    (secret if what == "folder" else secret / "a.txt").chmod(0)
    dropped = "-dac_override,-dac_read_search"
    prefix = ("setpriv", "--bounding-set", dropped, "--inh-caps", dropped) if os.geteuid() == 0 else ()
    if prefix and (not shutil.which("setpriv") or subprocess.run([*prefix, "true"], check=False).returncode):
        pytest.skip("root cannot drop its privileges here")

    done = llmprep("tokenize", "latin.txt", "secret", "-o", "x.pt", prefix=prefix)

    secret.chmod(0o755)
    name = b"secret" if what == "folder" else b"secret/a.txt"
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"llmprep: error: " + name + b": permission denied\n"
    assert {path.name for path in tmp_path.iterdir()} == {"latin.txt", "secret"}


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="the system has no file that says it is empty")
def test_a_file_that_says_it_is_empty_is_read(call: Call, tmp_path: Path) -> None:
    """A file of size 0 that holds text has no size, as a pipe; a store, which is planned by sizes, refuses it."""
    (source,) = find_sources(["/proc/version"])
    assert source.size is None

    assert call("tokenize", "/proc/version", "-o", "x.pt").code == 0
    counted = call("tokenize", "--count", "/proc/version")
    dry = call("tokenize", "--dry-run", "/proc/version", "--json", "-o", "y.pt")
    (tmp_path / "a.txt").write_text("some text", encoding="utf-8")
    refused = call("tokenize", "a.txt", "/proc/version", "-o", "store/")

    assert int(counted.lines[0].split()[0]) == len(read_pt(tmp_path / "x.pt").tensors["token_ids"]) > 5
    assert dry.value["inputs"] == [{"name": "/proc/version", "bytes": None}]
    assert (refused.code, refused.notes) == (
        2,
        ["llmprep: error: /proc/version: a token store is planned from files that tell their size; copy it into one"],
    )
    assert not (tmp_path / "store" / "plan.json").exists()


def test_an_empty_file_has_the_size_0(tmp_path: Path) -> None:
    """A file that is empty says so, and is."""
    (tmp_path / "empty").touch()

    (source,) = find_sources([str(tmp_path / "empty")])

    assert source.size == 0


@pytest.fixture
def with_pipes(tmp_path: Path) -> Path:
    """A folder with two texts, and between them a pipe, a link to it, a socket and a link to a device."""
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.txt", "z.txt"):
        (folder / name).write_text("some words", encoding="utf-8")
    os.mkfifo(folder / "deep" / "pipe.txt")
    (folder / "link").symlink_to("deep/pipe.txt")
    (folder / "zero").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(folder / "socket"))
    return folder


@pytest.mark.parametrize("named", ["in", "in/*", "in/**/*", "in/**"])
@pytest.mark.parametrize("options", [["--count"], ["--ids"], ["--dry-run", "-o", "x.pt"], ["-o", "x.pt"], ["-o", "s/"]])
def test_what_is_no_file_is_left_out_and_named(
    named: str, options: list[str], with_pipes: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pipes, sockets and devices in a folder or behind a pattern make nobody wait: they are named, and files read."""
    deep = ["in/deep/pipe.txt"] if named != "in/*" else []
    endless = [*deep, "in/link", "in/socket", "in/zero"]

    ended = call("tokenize", named, *options)

    assert ended.code == 0
    note = f"llmprep: note: {named}: left out, as no regular file: {', '.join(endless)}; name one to read it"
    assert note in ended.notes
    if options == ["--count"]:
        assert [line.split() for line in ended.lines] == [["2", "in/a.txt"], ["2", "in/z.txt"], ["4", "total"]]


def test_many_that_are_no_files_are_counted(tmp_path: Path, call: Call) -> None:
    """Up to five are named."""
    (tmp_path / "in").mkdir()
    for number in range(8):
        os.mkfifo(tmp_path / "in" / f"{number}")

    ended = call("tokenize", "in", "--count")

    assert ended.notes[0].endswith("no regular file: in/0, in/1, in/2, in/3, in/4 and 3 more; name one to read it")
    assert (ended.code, ended.notes[1:]) == (2, ["llmprep: error: in: there is no file in this folder"])


def test_a_pipe_is_read_by_its_name(with_pipes: Path, llmprep: Run) -> None:
    """On the command line, and in a list of files, a pipe is taken as it is."""
    for named in (["in/deep/pipe.txt"], ["--files-from", "list"]):
        (with_pipes.parent / "list").write_text("in/link\n", encoding="utf-8")
        with subprocess.Popen(["/bin/sh", "-c", "echo three more words > in/link"], cwd=with_pipes.parent):
            ended = llmprep("tokenize", *named, "--count")

        assert (ended.returncode, ended.stdout.split()[0], ended.stderr) == (0, b"4", b"")


# --- several of one kind, and what is no data -----------------------------------------------------


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
    # A name that a folder gives may be what another is lengthened to.
    assert len(set(names(".", "x/books"))) == 6


@pytest.mark.parametrize("how", ["again", "path", "symbolic", "hard", "folder"])
def test_a_file_that_is_read_twice_is_said(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same file by its name, another path, a link or a folder is read again, with a word."""
    monkeypatch.chdir(fill(tmp_path, "m/a.txt", "b.txt"))
    other = {"again": "m/a.txt", "path": "./m/a.txt", "symbolic": "s", "hard": "h", "folder": "m"}[how]
    (tmp_path / "s").symlink_to("m/a.txt")
    (tmp_path / "h").hardlink_to(tmp_path / "m/a.txt")
    said: list[str] = []

    assert len(find_sources(["m/a.txt", "b.txt", other], announce=said.append)) == 3

    (told,) = said
    assert told.startswith(f"{other}/a.txt: " if how == "folder" else f"{other}: ")
    assert told.endswith("its tokens are taken each time")


@pytest.mark.parametrize("pattern", ["secret/*.txt", "*/*.txt", "**/*.txt", "secret/in/*.txt", "secret/**", "*/in/*"])
@pytest.mark.parametrize("mode", [0o000, 0o444, 0o111])
def test_a_pattern_passes_over_no_folder_in_silence(pattern: str, mode: int, llmprep: Run, tmp_path: Path) -> None:
    """Where a folder may not be entered or read, a pattern is the error that the folder itself is."""
    fill(tmp_path, "secret/a.txt", "secret/in/b.txt", "open/c.txt", "open/in/d.txt")
    dropped = "-dac_override,-dac_read_search"
    prefix = ("setpriv", "--bounding-set", dropped, "--inh-caps", dropped) if os.geteuid() == 0 else ()
    if prefix and (not shutil.which("setpriv") or subprocess.run([*prefix, "true"], check=False).returncode):
        pytest.skip("root cannot drop its privileges here")
    (tmp_path / "secret").chmod(mode)

    done = llmprep("tokenize", pattern, "--count", prefix=prefix)

    (tmp_path / "secret").chmod(0o755)
    if (pattern, mode) == ("secret/in/*.txt", 0o111) or (pattern, mode) == ("*/in/*", 0o111):
        assert done.returncode == 0  # nothing in the way needs to be listed
        return
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"llmprep: error: secret")
    assert done.stderr.endswith(b": permission denied\n")


def test_folders_that_a_pattern_matches_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder among the matches is left out, with a word."""
    monkeypatch.chdir(fill(tmp_path, "a.txt", "sub/b.txt"))
    said: list[str] = []

    assert [path for path, _ in expand_paths(["*"], said.append)] == ["a.txt"]
    assert said == ["*: left out, as a folder: sub; name one to read it"]


def test_what_parquets_writers_leave_beside_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Notes on the other files are named and left out of a folder or pattern, and taken by their own name."""
    monkeypatch.chdir(fill(tmp_path, "d/_common_metadata", "d/_metadata", "d/_notes.txt", "d/a.txt"))
    for name in ("d", "d/*"):
        said: list[str] = []
        found = find_sources([name], announce=said.append)
        assert [Path(source.path).name for source in found] == ["_notes.txt", "a.txt"]
        (told,) = said
        assert "d/_common_metadata, d/_metadata" in told

    assert names("d/_metadata") == ["_metadata"]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "is a Git LFS pointer"),
        (b"version https://git-lfs.github.com/spec/v1\r\noid sha256:4d7a\r\nsize 9\r\n", "is a Git LFS pointer"),
        (b"/annex/objects/SHA256E-s9--4d7a.txt\n", "is a git-annex pointer"),
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.parquet", "a.txt.gz", "a.pt"])
def test_a_pointer_is_no_data(data: bytes, told: str, name: str, call: Call, tmp_path: Path) -> None:
    """What stands for a file that was not fetched is refused, whatever its name, with what fetches it."""
    (tmp_path / name).write_bytes(data)

    ended = call("tokenize", name, "-o", "x.pt")

    assert (ended.code, ended.stdout) == (3, b"")
    assert ended.notes[0].startswith(f"llmprep: error: {name}: {told}, not the data; fetch it with: git ")


def test_a_pointer_is_no_data_through_a_pipe(llmprep: Run, tmp_path: Path) -> None:
    """Standard input and packed files too."""
    data = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    (tmp_path / "a.gz").write_bytes(gzip.compress(data))

    for name in ("-", "a.gz"):
        ended = llmprep("tokenize", name, "--count", stdin=data)
        assert (ended.returncode, ended.stdout) == (3, b"")
        assert ended.stderr.startswith(f"llmprep: error: {name}: is a Git LFS pointer".encode())


def test_a_text_about_pointers_is_a_text(tmp_path: Path) -> None:
    """Only what has all of a pointer is one."""
    told = "version https://git-lfs.github.com/spec/v1 is how it begins.\n"
    (tmp_path / "a.txt").write_text(told)
    (tmp_path / "b.txt").write_text("/annex/objects/ is where it lies.\nMore.\n")

    assert texts(find_sources([str(tmp_path / "a.txt")])) == [told]
    assert len(texts(find_sources([str(tmp_path / "b.txt")]))) == 1


def test_a_list_from_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Line ends of Windows and a mark belong to no name, unless there is a file of that very name."""
    monkeypatch.chdir(fill(tmp_path, "odd\r"))
    (tmp_path / "list").write_bytes(b"\xef\xbb\xbfa.txt\r\n\r\nb c.txt\r\nodd\r\n")
    (tmp_path / "wide").write_bytes("a.txt\r\n".encode("utf-16"))

    assert read_names("list", nul_separated=False) == ["a.txt", "b c.txt", "odd\r"]
    with pytest.raises(DataError, match="wide: is UTF-16 text; write the list as UTF-8"):
        read_names("wide", nul_separated=False)
