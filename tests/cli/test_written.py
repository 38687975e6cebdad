"""Promises of outputs to whoever builds on them: what would not change keeps its file, so make builds nothing anew."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import Call, clean_environment

LINES = {
    "tokenize a.txt -o x.pt": ["x.pt"],
    "window a.txt --max-length 4 -o x.pt": ["x.pt"],
    "window a.txt --max-length 4 --val-fraction 0.4 -o x": ["x.train.windows.pt", "x.val.windows.pt"],
    "pairs a.txt -o x.pt": ["x.pt"],
    "embed a.txt --max-length 4 --dim 4 --save-weights w.pt -o x.pt": ["x.pt", "w.pt"],
    "tokenize a.txt -o s/ --shard-bytes 99 -j1": ["s/manifest.json", "s/plan.json", "s/tokens-00001.pt", "s"],
}


def state(name: str) -> tuple[int, int, int]:
    """Which file or folder has a name, its time and mode."""
    status = Path(name).stat()
    return status.st_ino, status.st_mtime_ns, status.st_mode


@pytest.mark.parametrize("line", LINES)
def test_what_would_not_change_stays(line: str, call: Call) -> None:
    """The same command again leaves its files as they are and says so; another text replaces them."""
    Path("a.txt").write_text("a few words and some more " * 9)
    assert not call(*line.split(), "--json").value.get("unchanged")
    before = [state(name) for name in LINES[line]]
    again, told = call(*line.split()), call(*line.split(), "--json").value
    assert ": unchanged, " in again.lines[-1]
    assert all(each["unchanged"] for each in ([told["train"], told["val"]] if "train" in told else [told]))
    assert [state(name) for name in LINES[line]] == before
    Path("a.txt").write_text("other words " * 18)
    ended = call(*line.split(), *(["--restart"] if "s/" in line else []))
    tables = "w.pt" in line  # which are drawn the same for any text
    assert (ended.code, "unchanged" in ended.lines[-1]) == (0, tables)
    assert state(LINES[line][0]) != before[0]


def make(rules: str) -> list[str]:
    """Run make with these rules; return the last word of each line that it prints, of a recipe that was run."""
    Path("Makefile").write_text(rules.replace("LLMPREP", f"{sys.executable} -m llmprep"))
    done = subprocess.run(["make", "-s"], env=clean_environment(), capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_make_builds_nothing_downstream_anew(call: Call) -> None:
    """A text that was only touched is encoded again; what is made of the ids is not, till they change."""
    Path("a.txt").write_text("a few words")
    rules = "b: x.pt\n\t@touch b; echo b\nx.pt: a.txt\n\t@LLMPREP tokenize a.txt -o x.pt -q; echo x\n"
    assert (make(rules), make(rules)) == (["x", "b"], [])
    os.utime("a.txt")
    assert make(rules) == ["x"]
    Path("a.txt").write_text("some other words")
    assert make(rules) == ["x", "b"]
