"""Promises of ``--dry-run``: it says what a run would do, refuses what the run would refuse, and writes nothing."""

import gzip
import os
import random
import re
from pathlib import Path

import pytest
from support.commands import Call
from support.refusals import check_error, fill, tree

from llmprep.tokens import estimate as estimates

PACKED = gzip.compress(b"one two")


@pytest.mark.parametrize("command", ["tokenize", "window"])
def test_a_dry_run_writes_nothing(command: str, call: Call, story: Path, tmp_path: Path) -> None:
    """``--dry-run`` names inputs and output, states sizes and tokens, reads nothing that could be read but once."""
    (tmp_path / "small.txt").write_text("one two")
    (tmp_path / "old.pt").write_bytes(b"PK\x03\x04 old")
    os.mkfifo(tmp_path / "pipe")
    before = tree(tmp_path)
    for output in ("new.pt", "old.pt"):
        ended = call(command, story, "small.txt", "pipe", "-", "-o", output, "--dry-run", "--jobs", 3)
        assert (ended.code, ended.stderr) == (0, b"")
        assert ended.lines[:6] == [
            f"    24.3 kB {story}",
            "    7 bytes small.txt",
            "          ? pipe",
            "          ? -",
            "would read 4 inputs, 24.3 kB, and 2 inputs of unknown size",
            "would give about 6,262 tokens (95 % between 6,262 and 6,262)",
        ]
        assert re.fullmatch("would take up to .* MB of memory, with 3 jobs", ended.lines[6])
        assert re.fullmatch(f"would write {output}, about .*; nothing was written", ended.lines[7])
        assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "options",
    [
        "tokenize", "tokenize --dtype int32", "window --max-length 64 --stride 1 --dtype uint16",
        "window --max-length 10 --stride 50", "window --max-length 64 --stride 8 --dense",
    ],
)  # fmt: skip
def test_the_size_that_is_foretold_is_the_size(options: str, call: Call, story: Path, tmp_path: Path) -> None:
    """The bytes that a dry run foretells are those that are written, but for the small frame of the file."""
    foretold = call(*options.split(), story, "-o", "x.pt", "--dry-run", "--json").value
    assert call(*options.split(), story, "-o", "x.pt", "-q").code == 0
    size = (tmp_path / "x.pt").stat().st_size
    assert foretold["estimate"]["tokens"] == 6259
    assert abs(size - foretold["estimate"]["output_bytes"]) < 3000 + size * 0.02


def test_a_dry_run_as_json(call: Call, tmp_path: Path) -> None:
    """One object holds the inputs, the output and the estimate; names that would act on a terminal are inert."""
    name = "a\x1b[31m\n.txt"
    (tmp_path / name).write_text("one two")
    value = call("tokenize", name, "-o", "x.pt", "--dry-run", "--json", "-j", 1).value
    lines = call("tokenize", name, "-o", "\x1b[0m.pt", "--dry-run").lines
    estimate, memory, inert = value.pop("estimate"), value.pop("memory"), r"a\x1b[31m\n.txt"
    known = {"n_bytes": 7, "n_unsized": 0, "tokens": 2, "low": 2, "high": 2, "output_bytes": 16}
    assert estimate == known | {key: estimate[key] for key in ("seconds", "minutes")}
    assert value == {"command": "dry-run", "inputs": [{"name": inert, "bytes": 7}], "output": "x.pt"}
    assert memory == {"bytes": memory["bytes"], "jobs": 1, "needs_most": inert}
    assert lines[0] == f"    7 bytes {inert}"
    assert lines[4].startswith(r"would write \x1b[0m.pt, ")


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("tokenize missing.txt -o x.pt", 1, "missing.txt: no such file or directory"),
        ("tokenize a.txt -o a.txt", 2, "a.txt: is also an input"),
        ("tokenize a.txt -o empty.txt", 6, "empty.txt: exists and is not a .pt file"),
        ("tokenize a.txt --encoding gpt22", 5, "--encoding gpt22: unknown"),
        ("window a.txt --max-length 1 --encoding o200k_base --dtype uint16", 2, "--dtype uint16: holds ids up to "),
        ("window a.txt a.txt.gz -o x.pt --max-length 9", 3, "2 inputs: 5 tokens give no window of max_length 9; "),
        ("window a.txt.gz --max-length 1 --val-fraction 0.4", 3, "a.txt.gz (val): 0 tokens give no window of "),
        ("tokenize empty.txt", 3, "empty.txt: empty: 0 tokens"),
        ("tokenize a.jsonl --field none", 3, "a.jsonl: line 1"),
    ],
)
def test_a_dry_run_refuses_what_the_run_refuses(
    line: str, code: int, message: str, call: Call, tmp_path: Path, vocab_dir: Path
) -> None:
    """Mistakes in names and options, windows longer than the text, an empty text: the dry run ends as the run does."""
    fill(tmp_path, {"a.txt": "one two", "a.txt.gz": PACKED, "a.jsonl": '{"text": "one"}\n', "empty.txt": ""})
    dry, wet = (call(*line.split(), "--vocab-dir", vocab_dir, *more) for more in (["--dry-run"], []))
    assert (dry.code, dry.stdout, dry.notes) == (wet.code, wet.stdout, wet.notes)
    assert (dry.code, dry.stdout) == (code, b"")
    assert dry.notes[-1].startswith(f"llmprep: error: {message}")
    assert list(tmp_path.glob("*.pt")) == []


def test_a_dry_run_of_a_large_text_refuses_what_is_certain(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are no more tokens than bytes; within that, and where text is packed, it is left to the run."""
    monkeypatch.setattr(estimates, "SAMPLE_BYTES", 8)
    text = random.Random(0).randbytes(10_000).hex().encode()  # noqa: S311 - no secret
    fill(tmp_path, {"a.txt": text, "a.txt.gz": gzip.compress(text)})
    certain = call("window", "a.txt", "--max-length", "20001", "--dry-run")
    check_error(certain, 3, "a.txt: at most 20001 tokens, which give no window of max_length 20001")
    for name, length in (("a.txt", "20000"), ("a.txt.gz", "20001")):
        assert call("window", name, "--max-length", length, "--dry-run").code == 0
