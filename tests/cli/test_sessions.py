"""Promises of the words: what each command prints, to the letter, is as it was.

A golden file is a session in a folder with two sample texts and three short ones: commands after ``$``, each with its
standard output, its standard error after ``2>`` and, if it is not 0, its exit code. ``UPDATE_GOLDEN=1`` writes it anew.
"""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest
from support.commands import SAMPLES, Call
from support.golden import GOLDEN, check_golden

SHORT = {
    "a.txt": b"one two three four five six seven eight nine",
    "empty.txt": b"",
    "marked.txt": b"\xef\xbb\xbfone two<|endoftext|>three four five six",
}


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.glob("session_*.txt")))
def test_a_session_is_as_it_was(name: str, call: Call) -> None:
    """Every line that commands print is the golden file's."""
    for sample in ("story.txt", "records.jsonl"):
        shutil.copy(SAMPLES / sample, sample)
    for path, data in SHORT.items():
        Path(path).write_bytes(data)
    shown = []

    for line in (GOLDEN / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("$ llmprep "):
            ended = call(*shlex.split(line)[2:])
            shown += [line, *ended.lines, *(f"2> {note}" for note in ended.notes)]
            shown += [f"exit code {ended.code}"] if ended.code else []

    check_golden(name, "\n".join(shown) + "\n")
