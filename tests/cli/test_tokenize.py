"""Promises of ``tokenize``, and after them those of ``window`` and of ``pairs``.

Ids are exact, in a file or printed, and what cannot be read is not counted; windows are the textbook loop's, with a
preview of the first; pairs are the course's growing contexts, printed and in a file.
"""

import gzip
from pathlib import Path

import pytest
import torch
from support.commands import SAMPLES, Call
from support.reference import encode, pair_rows, tiktoken_encoding, window_rows
from support.refusals import fill, matches


def test_ids_are_tiktokens(call: Call, story: Path) -> None:
    """What is written, printed and counted is what tiktoken gives for each whole text; printing writes nothing."""
    paths = [story, SAMPLES / "documents.txt", SAMPLES / "tides.py"]
    rows = [encode(path.read_text(encoding="utf-8")) for path in paths]
    printed, counted = call("tokenize", "--ids", *paths), call("tokenize", "--count", *paths)
    assert list(Path().iterdir()) == []
    assert printed.lines == [" ".join(map(str, row)) for row in rows]
    assert [int(line.split()[0]) for line in counted.lines] == [*map(len, rows), sum(map(len, rows))]
    call("tokenize", story)
    assert torch.load("story.tokens.pt", weights_only=True)["token_ids"].tolist() == rows[0]


WORDS = b"one two three " * 76_000
"""More text than one block holds."""
UNREADABLE: dict[str, tuple[str, bytes, str]] = {
    "Latin-1 at the end": ("a.txt", WORDS + b"caf\xe9", f"not valid UTF-8 at byte {len(WORDS) + 3} (0xe9)"),
    "PDF": ("a.txt", b"%PDF-1.7\n1 0 obj\nstream", "looks like a PDF document"),
    "a special token at the end": ("a.txt", WORDS + b"<|endoftext|>", f"in the text at byte {len(WORDS)}"),
    "no text": ("a.jsonl", b'{"text": "one"}\n{"text": 7}', "line 2: field text is a number, not a string"),
    "cut gzip data at the end": ("a.gz", gzip.compress(WORDS)[:-9], "the gzip data is cut short"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_cannot_be_read_is_not_counted(what: str, call: Call) -> None:
    """Whatever keeps a text from being read to its end ends the run, alone or among others; no count is printed."""
    name, data, reason = UNREADABLE[what]
    fill(Path(), {name: data, "good.txt": "some words", "empty.txt": ""})
    lines = [f"--count {name} -j1"]
    if what.endswith("at the end"):
        lines += [f"--count empty.txt good.txt {name} -j2", f"--ids {name} -j1"]
    for line in lines:
        ended = call("tokenize", "--special", "error", "--backend", "tiktoken", *line.split())
        assert matches(f"llmprep: error: {name}: ...{reason}...", ended.notes[-1])
        assert (ended.code, len(ended.notes)) == (3, 1)
        assert "--ids" in line or ended.lines == []


@pytest.mark.parametrize(
    ("preview", "max_length", "stride"), [("1", 256, 256), ("3", 256, 5), ("2", 20, 300), ("0", 256, 256)]
)
def test_windows_are_the_textbook_loops(call: Call, story: Path, preview: str, max_length: int, stride: int) -> None:
    """The file holds the textbook loop's windows, and ``--json --preview N`` the first N, whole, of any length."""
    rows = window_rows(encode(story.read_text(encoding="utf-8")), max_length, stride)
    options = ["--max-length", str(max_length), "--stride", str(stride), "--preview", preview]
    shown = call("window", story, "--json", *options).value["windows"]
    made = torch.load("story.windows.pt", weights_only=True)
    assert (made["input_ids"].tolist(), made["target_ids"].tolist()) == rows
    assert [window["input_ids"] for window in shown] == rows[0][: int(preview)]
    assert [window["target_ids"] for window in shown] == rows[1][: int(preview)]


@pytest.mark.parametrize(("mode", "shown"), [(["--json"], 1), ([], 2)], ids=["json", "words"])
def test_a_preview_says_its_limit(call: Call, story: Path, mode: list[str], shown: int) -> None:
    """Where fewer windows are shown than are asked for and there are, that is said."""
    Path("a.txt").write_text(story.read_text(encoding="utf-8") * 24, encoding="utf-8")
    ended = call("window", "a.txt", "--max-length", "60000", "--stride", "40000", "--preview", "3", *mode)
    assert ended.notes == [f"llmprep: note: --preview 3: {shown} shown; a preview reads the first 65,536 tokens"]


@pytest.mark.parametrize(("start", "context_size", "windows"), [(0, 4, 2), (6250, 8, 1), (100, 1, 3)])
def test_pairs_of_the_sample_story(call: Call, story: Path, start: int, context_size: int, windows: int) -> None:
    """Pairs are what slicing tiktoken's ids gives; the file holds the same, padded with the end-of-text id."""
    ids, text_of = encode(story.read_text(encoding="utf-8")), tiktoken_encoding("gpt2").decode
    starts = range(start, start + context_size * windows, context_size)
    pairs = [pair for at in starts for pair in pair_rows(ids[at : at + context_size + 1], context_size)]
    options = ["--start", str(start), "--context-size", str(context_size), "--windows", str(windows)]
    ended = call("pairs", story, *options, "-o", "p.pt")
    made = torch.load("p.pt", weights_only=True)
    as_text = [f"{text_of(context)} ----> {text_of([target])}".replace("\n", r"\n") for context, target in pairs]
    assert (ended.code, ended.notes) == (0, [])
    assert ended.lines[:-1] == [f"{context} ----> {target}" for context, target in pairs] + as_text
    assert made["targets"].tolist() == [target for _, target in pairs]
    assert made["lengths"].tolist() == [len(context) for context, _ in pairs]
    assert made["contexts"].tolist() == [context + [50256] * (context_size - len(context)) for context, _ in pairs]


def test_inputs_that_were_not_read_are_not_said_to_be_empty(call: Call) -> None:
    """``pairs`` reads no further than it shows, and knows nothing of what comes after."""
    for name, text in {"e": "", "a": "one two three four five six", "b": "one"}.items():
        Path(f"{name}.txt").write_text(text, encoding="utf-8")
    assert call("pairs", "e.txt", "a.txt", "b.txt").notes == ["llmprep: note: 1 empty input skipped: e.txt"]
