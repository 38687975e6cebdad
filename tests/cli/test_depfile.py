"""Promises of ``--depfile``: make builds again what has changed, whatever its name, and nothing else."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import Call, clean_environment
from support.refusals import check_refused

from llmprep.cli.depfile import find_sources_of, rules

COMMANDS = {
    "a folder": "tokenize texts/ -o out/x.pt",
    "a pattern": "window texts/**/*.txt --max-length 1 -o out/x.pt --val-fraction 0.5",
    "a list": "pairs --files-from list -o out/x.pt --context-size 1",
    "a store": "tokenize texts -o out/x/ -j1",
}


def make(rule: str) -> bool:
    """Run make with a rule; tell whether its recipe was run."""
    Path("Makefile").write_text(rule)
    done = subprocess.run(["make", "-s"], env=clean_environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    return "built" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("what", COMMANDS)
def test_make_builds_what_has_changed(what: str, call: Call) -> None:
    """A change, an added and a removed text build again; a second run, and another file, build nothing."""
    Path("texts/far").mkdir(parents=True)
    Path("out").mkdir()
    for name in ("a b.txt", "b.txt", "far/c.txt"):
        Path("texts", name).write_text(f"some words of {name}")
    Path("list").write_text("texts\n")
    target = {"a pattern": "out/x.train.windows.pt", "a store": "out/x/manifest.json"}.get(what, "out/x.pt")
    quoted = " ".join(f"'{word}'" for word in COMMANDS[what].split())
    restart = " --restart" if what == "a store" else ""
    recipe = f"{sys.executable} -m llmprep {quoted}{restart} --depfile out/x.d -q; echo built"
    rule = f"{target}:\n\t@{recipe}\n-include out/x.d\n"
    assert (make(rule), make(rule)) == (True, False)
    for change in (
        lambda: Path("texts/b.txt").write_text("other words to read here"),
        lambda: Path("texts/far/d.txt").write_text("new words"),
        Path("texts/a b.txt").unlink,
        lambda: shutil.rmtree("texts/far"),
    ):
        change()
        assert (make(rule), make(rule)) == (True, False)
    Path("other.txt").write_text("not listed")
    assert not make(rule)
    before = Path("out/x.d").stat()
    assert call(*COMMANDS[what].split(), *restart.split(), "--depfile", "out/x.d").code == 0
    assert Path("out/x.d").stat() == before


ODD = [f"{a}{char}{b}" for char in "!\"#$%&'()*+,-.:<=>?@[\\]^_`{|}~ " for a, b in ("ab", ("", "b"), ("a", ""))]
NAMES = [name for name in ODD if name[-1] not in " \\"]
NAMES += [
    "a\\ b",
    "a\\#b",
    "a\\:b",
    "a\\\\*b",
    "a\\$b",
    "a\\%b",
    ".PHONY",
    "ifdef x",
    "c:\\x",
    "a=b=c",
    "caf\u00e9 \u4e2d",
]


@pytest.mark.slow
def test_make_reads_every_name(call: Call) -> None:
    """Whatever is in its name, a file that changes or goes builds again, and one that does not builds nothing."""
    assert call("--version").code == 0  # in a folder of its own
    Path("w").mkdir()
    assert make("".join(rules(["out"], [])) + "out:\n\t@echo built\n")
    for name in {*NAMES}:
        Path("w", name).touch()
        rule = "".join(rules(["out"], [f"w/{name}", "w"])) + "out:\n\t@touch out; echo built\n.DEFAULT_GOAL := out\n"
        assert (make(rule), make(rule)) == (True, False), name
        os.utime(Path("w", name))
        assert (make(rule), make(rule)) == (True, False), name
        Path("w", name).unlink()
        assert "%" in name or (make(rule), make(rule)) == (True, True), name
        Path("out").unlink()


def test_folders_are_those_where_a_new_file_would_be_read(call: Call) -> None:
    """Of a pattern, those that it looks into; hidden ones are left out."""
    assert call("--version").code == 0
    for name in ("a/b/c/x.txt", "a/.h/x.txt", "a/d/y.md", "z.txt"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    for path, files, folders in (
        ("a", ["a/b/c/x.txt", "a/d/y.md"], ["a", "a/b", "a/b/c", "a/d"]),
        ("a/*/*/x.txt", ["a/b/c/x.txt"], ["a", "a/b", "a/d"]),
        ("a/**/*.txt", ["a/b/c/x.txt"], ["a", "a/b", "a/b/c", "a/d"]),
        ("*.txt", ["z.txt"], ["."]),
        ("z.txt", ["z.txt"], []),
        (os.devnull, [], []),
    ):
        assert find_sources_of([path]) == (files, folders), path


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("tokenize a.txt -o - --depfile x.d", 2, "--depfile: is a file..."),
        ("pairs a.txt --depfile x.d", 2, "--depfile: is a file..."),
        ("window a.txt --dry-run --depfile x.d", 2, "--depfile: a dry run writes nothing; leave it out"),
        ("tokenize a.txt --count --depfile x.d", 2, "--count and --ids..."),
        ("tokenize a.txt -o s/ --task 1/2 --depfile x.d", 2, "--depfile: a task writes no manifest..."),
        ("tokenize a;b.txt -o x.pt --depfile x.d", 2, "--depfile: a;b.txt: make has no way to write this name..."),
        ("tokenize a.txt -o x%.pt --depfile x.d", 2, "--depfile: x%.pt: make has no way to write this name..."),
        (
            "tokenize a.txt --depfile a;b.txt",
            6,
            "a;b.txt: exists and is not a depfile of llmprep's; --force replaces it",
        ),
        ("tokenize a.txt --force --depfile a.txt", 2, "a.txt: is also an input; name another output"),
        ("tokenize a.txt --depfile no/x.d", 1, "no/x.d: there is no folder no; make it first"),
    ],
)
def test_what_make_could_not_use_is_refused(line: str, code: int, words: str, call: Call) -> None:
    """Before any work, and nothing is written."""
    Path("a.txt").write_text("a few words")
    Path("a;b.txt").write_text("a few words")
    check_refused(call, *line.split(), code=code, line=words)
    assert sorted(path.name for path in Path().iterdir()) == ["a.txt", "a;b.txt"]


def test_the_folder_of_an_output_is_left_out(call: Call) -> None:
    """Every output makes its folder newer than itself, so make would build for ever; that is said."""
    Path("a.txt").write_text("a few words")
    ended = call("tokenize", "*.txt", "-o", "x.pt", "--depfile", "x.d")
    (note,) = ended.notes
    assert note.startswith("llmprep: note: x.d: new files in 1 folder that outputs are written to, as ., start no new")
    assert Path("x.d").read_text().splitlines()[1:] == ["x.pt: \\", "  a.txt", "", "a.txt:"]
