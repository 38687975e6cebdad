"""Promises of the words: what each command prints, to the letter, and which files it makes, is as it was.

A golden file is a session in a folder of texts: commands after ``$``, each with its standard output, its standard error
after ``2>`` and, if it is not 0, its exit code; then the files that are new. ``UPDATE_GOLDEN=1`` writes it anew.
"""

from __future__ import annotations

import gzip
import shlex
import shutil
from pathlib import Path

import pytest
from support.commands import SAMPLES, Call
from support.golden import GOLDEN, check_golden

TEXTS = {
    "a.txt": b"one two three four five six seven eight nine",
    "far/tale.of.two.txt": b"It was the best of times, it was the worst of times.",
    "marked.txt": b"\xef\xbb\xbfone two<|endoftext|>three four five six",
    "empty.txt": b"",
    "mark.txt": b"\xef\xbb\xbf",
    "empty.jsonl": b'{"text": ""}\n\n',
    "empty.gz": gzip.compress(b""),
}


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.glob("session_*.txt")))
def test_a_session_is_as_it_was(name: str, call: Call, request: pytest.FixtureRequest) -> None:
    """Every line that commands print, and every file that they make, is the golden file's."""
    for text in [*SAMPLES.iterdir(), *([request.getfixturevalue("verdict")] if "course" in name else [])]:
        shutil.copy(text, text.name)
    for path, data in TEXTS.items():
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_bytes(data)
    given, shown = set(Path().rglob("*")), []
    for line in (GOLDEN / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("$ llmprep "):
            ended = call(*shlex.split(line)[2:])
            shown += [line, *ended.lines, *(f"2> {note}" for note in ended.notes)]
            shown += [f"exit code {ended.code}"] if ended.code else []
    made = sorted(str(path) for path in {*Path().rglob("*")} - given if path.is_file() and ".lock" not in path.name)
    check_golden(name, "\n".join([*shown, f"new files: {', '.join(made) or 'none'}"]) + "\n")
