"""Promises of ``--on-bad skip`` and ``--skip-binary``: a bad file is left out whole, named, and that is all."""

import errno
import gzip
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.commands import Call, Ended
from support.documents import parquet
from support.refusals import check_refused
from support.stores import build, contents, json_lines, stream_of, write_files
from support.streams import all_ids

from llmprep.choices import Building, Effort, Reading, Sharding
from llmprep.documents.finding import find_sources
from llmprep.documents.leaving_out import MAX_SAID, find_bad
from llmprep.documents.source import input_error, is_of_one_file
from llmprep.errors import FileFormatError, InputError, RefusedError
from llmprep.formats.meta import checked_meta
from llmprep.inputs import open_tokens
from llmprep.ptfile.reading import read_pt
from llmprep.store.build import build_store
from llmprep.store.executors import InProcess
from llmprep.store.faults import find_faults
from llmprep.store.merge import merge_store
from llmprep.store.vetting import vet

WORDS = "It was the best of times, it was late \u2014 "
PNG = b"\x89PNG\r\n\x1a\n\x00"


def spoil(kind: str, data: bytes, at: int) -> tuple[str, bytes]:
    """A name and what a file of it holds: a text that is bad at, or from, one of its bytes."""
    match kind:
        case "cut short":
            packed = gzip.compress(data)
            return "bad.gz", packed[: 2 + at % (len(packed) - 2)]
        case "a bad record":
            lines = json_lines([WORDS] * (len(data) // 40)).splitlines(keepends=True)
            lines.insert(at % (len(lines) + 1), b'{"texts": 1}\n')
            return "bad.jsonl", b"".join(lines)
        case _:
            return "bad.txt", data[:at] + b"\xff" + data[at:]


@given(
    repeats=st.lists(st.integers(0, 3) | st.sampled_from([1500, 4000]), min_size=1, max_size=4),
    bad=st.tuples(st.sampled_from(["not UTF-8", "cut short", "a bad record"]), st.integers(1, 5000), st.floats(0, 1)),
    place=st.integers(0, 4),
    jobs=st.sampled_from([1, 2]),
    store=st.booleans(),
)
@example(repeats=[1, 4000], bad=("not UTF-8", 4000, 1.0), place=1, jobs=2, store=True)
@example(repeats=[1, 1], bad=("not UTF-8", 2, 0.5), place=1, jobs=1, store=False)
@settings(max_examples=25)
def test_the_rest_is_as_if_the_bad_file_were_not_there(
    *, repeats: list[int], bad: tuple[str, int, float], place: int, jobs: int, store: bool
) -> None:
    """Wherever its first bad byte is, many blocks or shards in, nothing of it is in the output, no separator too."""
    kind, times, where = bad
    data = (WORDS * times).encode()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        good = write_files(folder, {f"{k}.txt": f"{k} {WORDS * n}" if n else "" for k, n in enumerate(repeats)})
        paths = [*good[:place], *write_files(folder, dict([spoil(kind, data, int(where * len(data)))])), *good[place:]]
        if not any(repeats):
            return
        notes: list[str] = []
        effort = Effort("tiktoken", jobs, 1 << 12)
        reading = Reading(effort=effort, announce=notes.append, on_bad="skip")
        if store:
            sharding = Sharding(1 << 14)
            build_store(paths, folder / "s", reading, sharding)
            build_store(good, folder / "t", Reading(effort=effort, announce=notes.append), sharding)
            assert stream_of(folder / "s") == stream_of(folder / "t")
            (left_out,) = json.loads((folder / "s/manifest.json").read_bytes())["left_out"]
        else:
            stream = open_tokens(paths, reading)
            assert all_ids(stream) == all_ids(open_tokens(good, Reading(effort=effort)))
            ((*_, path),) = stream.figures.left_out
            left_out = {"name": Path(path).name, "reason": stream.figures.left_out[0].reason}
        said = [note for note in notes if "left out" in note]
        assert said == [f"{folder / left_out['name']}: left out: {left_out['reason']}"]


def fill(folder: Path) -> None:
    """Texts, and beside them one file of each kind that is bad."""
    write_files(folder, {
        "a.txt": "one two three four five six", "b.txt": b"caf\xe9 ", "c.gz": gzip.compress(b"one two")[:-3],
        "d.txt": PNG, "e.jsonl": '{"text": 1}\n', "f.txt": "one two three\n" * 6, "g.pt": "a text",
        "h.zst": "no zstandard, whatever its name", "i.parquet": b"PAR1 and no more",
        "j.txt": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\n",
    })  # fmt: skip
    (folder / "k.txt").symlink_to("nowhere")
    parquet(folder / "l.parquet", ["one"], "story")


GOOD = {"a.txt", "f.txt", "h.zst"}
OUTPUTS = (
    "tokenize -o x.pt", "window --max-length 4 -o x.pt", "embed --max-length 4 --dim 2 -o x.pt", "pairs -o x.pt",
    "tokenize -o x/", "tokenize -o x/ --jobs 2", "tokenize --count", "tokenize --ids", "tokenize -o x.pt --dry-run",
)  # fmt: skip


@pytest.mark.parametrize("command", OUTPUTS)
def test_every_command_leaves_out_and_says_so(command: str, call: Call) -> None:
    """Each file left out is named on standard error, in the JSON object and in what is written, and counted last."""
    fill(Path("in"))
    assert call(*command.split(), "in").code in (1, 3)
    assert not Path("x.pt").exists()
    said, told = (call(*command.split(), "in", "--on-bad", "skip", *more) for more in ((), ("--json",)))
    bad = {path.name for path in Path("in").iterdir()} - GOOD
    assert (said.code, told.code) == (0, 0), said
    assert {note.split(": ")[2].removeprefix("in/") for note in said.notes if ": left out: " in note} == bad
    listed = {each["name"]: each["reason"] for each in told.value["left_out"]}
    assert listed.keys() == bad
    assert listed["b.txt"].startswith("not valid UTF-8 at byte 3 (0xe9)")
    if not command.startswith("pairs"):
        counted = re.compile(rf"\b{len(GOOD)} inputs,.* {len(bad)} left out")
        assert any(map(counted.search, (*said.lines[-4:], said.notes[-1])))
    stated: Any = None
    if Path("x.pt").exists():
        stated = checked_meta(read_pt(Path("x.pt")))["left_out"]
    elif Path("x").exists():
        stated = json.loads(Path("x/manifest.json").read_bytes())["left_out"]
        merged = call("merge", "x")
        again = [line.replace("x: ", "x: unchanged, ", 1) for line in said.lines]
        assert (len(merged.notes), merged.lines) == (len(bad), again)
    assert stated is None or {each["name"]: each["reason"] for each in stated} == listed
    if stated is not None and "pairs" not in command and "embed" not in command:
        shown = call("inspect", "x" if Path("x").exists() else "x.pt", "--verify", "--json").value
        assert shown["left_out"] == listed


def test_what_cannot_be_skipped_ends_the_run(call: Call) -> None:
    """That all inputs are bad, one alone is, or a pipe would be read twice is an error; so is a special token."""
    write_files(Path(), {"b.txt": b"caf\xe9 ", "c.txt": PNG, "a.txt": "one <|endoftext|> two", "d.txt": "one"})
    skip = ("--on-bad", "skip", "-o", "x.pt")
    line = "b.txt: not valid UTF-8 at byte 3 (0xe9); ..."
    check_refused(call, "tokenize", "b.txt", "c.txt", *skip, code=3, line=line)
    check_refused(call, "tokenize", "b.txt", "c.txt", "--on-bad", "skip", "-o", "x/", code=3, line=line)
    check_refused(call, "tokenize", "b.txt", *skip, code=3, line=line)
    check_refused(call, "tokenize", "-", "a.txt", *skip, code=2, line="-: comes through a pipe, and ... save it first")
    special = ("a.txt", "d.txt", "--special", "error")
    check_refused(call, "tokenize", *special, *skip, code=3, line="a.txt: special token ...")
    assert call("tokenize", "d.txt", *skip).code == 0
    line = "x.pt: already holds tokens, so options for text do not apply"
    check_refused(call, "window", "x.pt", "--on-bad", "skip", code=2, line=line)
    assert not is_of_one_file(_of_the_machine())


def _of_the_machine() -> InputError:
    cause = OSError(errno.EMFILE, "Too many open files")
    error = input_error("a.txt", cause)
    error.__cause__ = cause
    return error


def test_many_are_counted_and_all_are_listed(call: Call) -> None:
    """Some are named one by one, how many more there are is said, and a second run with a default name goes on."""
    write_files(Path("in"), {"a.txt": "one"} | {f"{number:03}.txt": b"\xff" for number in range(50)})
    for _ in range(2):
        ended = call("tokenize", "in", "--on-bad", "skip")
        assert ended.code == 0, ended
        assert len(ended.notes) == MAX_SAID + 1
        assert ended.notes[-1].startswith(f"llmprep: note: {50 - MAX_SAID} more inputs left out; ")
    assert len(read_pt(Path("in.tokens.pt")).meta["left_out"]) == 50
    with pytest.raises(UserWarning, match=r"000\.txt: left out: not valid"):
        open_tokens("in", Reading(on_bad="skip"))


def test_a_store_leaves_out_the_same_for_every_worker(tmp_path: Path) -> None:
    """Tasks, processes and a resumed run give the same bytes; what was read is not read again; stop is another plan."""
    fill(tmp_path / "in")
    reading, sharding = Reading(effort=Effort("tiktoken"), on_bad="skip", announce=lambda _: None), Sharding(40)
    built = [tmp_path / name for name in ("alone", "tasks", "jobs")]
    build_store(tmp_path / "in", built[0], reading, sharding)
    for task in ((2, 2), (1, 2)):
        build_store(tmp_path / "in", built[1], reading, sharding, Building(task=task))
    merge_store(built[1])
    build_store(tmp_path / "in", built[2], reading, sharding, Building(jobs=2))
    (built[2] / "manifest.json").unlink()
    (built[2] / "tokens-00001.pt").unlink()
    build_store(tmp_path / "in", built[2], reading, sharding)
    assert contents(built[0]) == contents(built[1]) == contents(built[2])

    class Counting(InProcess):
        """Keeps what it is given."""

        given: tuple[str, ...] = ()

        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            Counting.given += tuple(source.name for source in args[0].sources)
            return super().submit(fn, *args, **kwargs)

    sources = find_sources([str(tmp_path / "in")], on_bad="skip")
    kept = vet(sources, built[0], reading, Counting())
    assert {*kept.names} == GOOD
    assert {*Counting.given} == {*sources.names} - GOOD
    (tmp_path / "in/a.txt").write_text("otherwise than before, though it may be read")
    assert find_bad(vet(sources, built[0], reading, Counting())) == {}
    assert "a.txt" in Counting.given
    write_files(tmp_path, {"y/a.txt": "one", "y/b.txt": "two"})
    build_store(tmp_path / "y", tmp_path / "z", reading)
    with pytest.raises(RefusedError, match="on_bad was skip, is stop"):
        build(tmp_path / "y", tmp_path / "z", None)


def test_binary_files_of_folders_and_patterns_are_left_out(call: Call) -> None:
    """Those that are no text by their first bytes, packed too; one that was named itself, or is bad later, is not."""
    write_files(Path("in"), {"a.txt": "one", "b.png": PNG, "c.gz": gzip.compress(PNG), "d.zip": b"PK\x03\x04" + PNG})
    for named in ("in", "in/*"):
        check_refused(call, "tokenize", named, "-o", "x.pt", code=3, line="in/b.png: looks like a PNG image, ...")
        ended = call("tokenize", named, "--skip-binary", "-o", "x.pt")
        assert (ended.code, len(ended.notes)) == (0, 3), ended
        assert ended.lines[-1].endswith("; 1 input, 3 left out")
    line = "in/b.png: looks like a PNG image, ..."
    check_refused(call, "tokenize", "in", "in/b.png", "--skip-binary", "-o", "y.pt", code=3, line=line, notes=3)
    line = "--skip-binary: is for folders and patterns, ..."
    check_refused(call, "tokenize", "in/a.txt", "--skip-binary", "-o", "y.pt", code=2, line=line)
    write_files(Path("in"), {"e.txt": b"caf\xe9 "})
    line = "in/e.txt: not valid UTF-8 ..."
    ended = call("tokenize", "in", "--skip-binary", "-o", "x/")
    assert (ended.code, ended.notes[-1].startswith(f"llmprep: error: {line[:24]}")) == (3, True)
    both: Ended = call("tokenize", "in", "--skip-binary", "--on-bad", "skip", "-o", "z/")
    assert both.lines[-1].endswith("; 1 input, 4 left out")


@pytest.mark.parametrize("wrong", ["x", [1], [{"name": "a"}], [{"name": "a", "reason": 1}]])
def test_what_is_stated_of_them_is_not_trusted(wrong: object, call: Call) -> None:
    """A file or store that says it otherwise is refused."""
    write_files(Path("in"), {"a.txt": "one two three"})
    assert call("tokenize", "in", "-o", "x/", "-q").code == call("tokenize", "in", "-o", "x.pt", "-q").code == 0
    assert find_faults(json.loads(Path("x/manifest.json").read_bytes()) | {"left_out": wrong})
    file = read_pt(Path("x.pt"))
    file.meta["left_out"] = wrong
    with pytest.raises(FileFormatError, match=r"x\.pt: meta: left_out"):
        checked_meta(file)


def test_a_file_that_was_mended_or_spoilt_is_the_reason(tmp_path: Path) -> None:
    """Where nobody is told, what is left out is a warning that acts on no terminal; a store names what has changed."""
    write_files(tmp_path / "in", {"a.txt": b"one", "b\x1b[31m\n.txt": b"\xff", "c.txt": b"three"})
    (bad,), reading = (tmp_path / "in").glob("b*"), Reading(on_bad="skip")
    with pytest.warns(UserWarning, match=r"b\\x1b\[31m\\n\.txt: left out: not valid UTF-8") as warned:
        build_store(tmp_path / "in", tmp_path / "s", reading)
    assert all(str(each.message).isprintable() for each in warned)
    for data, path, reason in ((b"two", bad, "was left out, and can be read now"), (b"\xff", "c.txt", "left out now")):
        (tmp_path / "in" / path).write_bytes(data)
        with pytest.raises(RefusedError, match=reason):
            build_store(tmp_path / "in", tmp_path / "s", Reading(on_bad="skip", announce=lambda _: None))
