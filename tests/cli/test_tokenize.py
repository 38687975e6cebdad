"""Promises of ``tokenize``: exact ids, in a file or printed, and no count of what could not be read."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import torch
from support.commands import SAMPLES, Call
from support.reference import encode, tiktoken_encoding


def ids_in(name: str) -> list[int]:
    """The ids that torch reads from a tokens file."""
    ids: list[int] = torch.load(name, weights_only=True)["token_ids"].tolist()
    return ids


def row(text: str) -> str:
    """A line of ids."""
    return " ".join(map(str, encode(text)))


@pytest.mark.parametrize("encoding", ["gpt2", "r50k_base", "p50k_base"])
def test_the_courses_tokens(call: Call, verdict: Path, encoding: str) -> None:
    """The course's story has 5,145 tokens, also in the encodings that share its vocabulary."""
    ended = call("tokenize", verdict, "--encoding", encoding, "-o", "ids.pt")

    assert ended.code == 0
    assert ended.lines[0].startswith("5,145 tokens ")
    assert ids_in("ids.pt")[:8] == [40, 367, 2885, 1464, 1807, 3619, 402, 271]


def test_tokens_of_the_sample_story(call: Call, story: Path) -> None:
    """``tokenize`` says tokens, distinct ids, characters and bytes, shows the first ids and texts, names the file."""
    text = story.read_text(encoding="utf-8")
    ids = encode(text)
    first = [tiktoken_encoding("gpt2").decode([i]).replace("\n", r"\n") for i in ids[:16]]

    ended = call("tokenize", story)

    characters = f"{len(text):,} characters ({len(text) / len(ids):.2f} per token)"
    assert ended.lines == [
        f"{len(ids):,} tokens (gpt2), {len(set(ids)):,} distinct, {characters}, {story.stat().st_size:,} bytes",
        "<|endoftext|> in the text itself: 0; encoded by tiktoken",
        " ".join(map(str, ids[:16])),
        "|".join(first),
        f"story.tokens.pt: token_ids [{len(ids)}], {Path('story.tokens.pt').stat().st_size / 1000:.1f} kB",
    ]
    assert ids_in("story.tokens.pt") == ids


def test_counts_are_like_wc(call: Call) -> None:
    """``--count`` prints a right-aligned count and the name for each input, and a total if there are several."""
    texts = {"long": "word " * 1000, "short": "one two", "empty": "", "mark": "\ufeff"}
    for name, text in texts.items():
        Path(f"{name}.txt").write_text(text, encoding="utf-8")
    Path("none.jsonl").write_text('{"text": ""}\n\n', encoding="utf-8")
    Path("none.gz").write_bytes(gzip.compress(b""))
    story = SAMPLES / "story.txt"

    one = call("tokenize", "--count", story)
    several = call("tokenize", "--count", "long.txt", "empty.txt", "short.txt", "mark.txt", "none.jsonl", "none.gz")

    assert (one.lines, one.notes) == ([f"{len(encode(story.read_text(encoding='utf-8')))} {story}"], [])
    n = len(encode(texts["long"]))
    assert several.lines == [
        f"{n} long.txt", "   0 empty.txt", "   2 short.txt", "   0 mark.txt", "   0 none.jsonl", "   0 none.gz",
        f"{n + 2} total",
    ]  # fmt: skip
    assert call("tokenize", "--count", "--json", "long.txt", "empty.txt").value == {
        "command": "tokenize",
        "counts": [{"name": "long.txt", "tokens": n}, {"name": "empty.txt", "tokens": 0}],
        "n_tokens": n,
    }


def test_ids_are_a_line_per_input(call: Call) -> None:
    """``--ids`` prints each input's ids on one line, an empty one for an empty input, and writes nothing."""
    texts = {"a.txt": "", "b.txt": "I HAD always thought", "c.txt": "", "d.txt": "a\nb", "e.txt": "x" * 50}
    for name, text in texts.items():
        Path(name).write_text(text, encoding="utf-8")

    ended = call("tokenize", "--ids", *texts)
    value = call("tokenize", "--ids", "--json", *texts).value

    assert (ended.code, ended.lines, ended.notes) == (0, [*map(row, texts.values())], [])
    rows = [{"name": name, "token_ids": encode(text)} for name, text in texts.items()]
    assert value == {"command": "tokenize", "ids": rows}
    assert {path.name for path in Path().iterdir()} == texts.keys()


@pytest.mark.parametrize("printed", ["--count", "--ids"])
def test_nothing_but_empty_inputs_is_an_error(printed: str, call: Call) -> None:
    """Where all inputs are empty there is nothing to count or print."""
    Path("a.txt").touch()
    Path("b.gz").write_bytes(gzip.compress(b""))

    ended = call("tokenize", printed, "a.txt", "b.gz")

    assert (ended.code, ended.stdout) == (3, b"")
    assert ended.notes == ["llmprep: error: a.txt, b.gz: empty: 0 tokens"]


@pytest.mark.parametrize("printed", ["--ids", "--count"])
def test_ids_and_counts_report_special_tokens(printed: str, call: Call) -> None:
    """How many end-of-text strings a text holds is said on these runs too, on standard error."""
    Path("a.txt").write_text("a<|endoftext|>b", encoding="utf-8")

    (note,) = call("tokenize", printed, "a.txt").notes

    assert note.startswith("llmprep: note: <|endoftext|> stands 1 times in the text itself")


WORDS = b"one two three " * 76_000
"""More text than one block holds."""
UNREADABLE: dict[str, tuple[str, bytes, str]] = {
    "Latin-1": ("a.txt", b"caf\xe9 au lait", "not valid UTF-8 at byte 3 (0xe9)"),
    "Latin-1 at the end": ("a.txt", WORDS + b"caf\xe9", f"not valid UTF-8 at byte {len(WORDS) + 3} (0xe9)"),
    "a cut character at the end": ("a.txt", WORDS + b"caf\xc3", f"not valid UTF-8 at byte {len(WORDS) + 3} (0xc3)"),
    "PDF": ("a.txt", b"%PDF-1.7\n1 0 obj\nstream", "looks like a PDF document"),
    "a special token": ("a.txt", b"one <|endoftext|> two", "special token <|endoftext|> in the text at byte 4"),
    "a special token at the end": ("a.txt", WORDS + b"<|endoftext|>", f"in the text at byte {len(WORDS)}"),
    "no JSON": ("a.jsonl", b'{"text": "one"}\n{"text": ', "line 2: not valid JSON"),
    "no text": ("a.jsonl", b'{"text": "one"}\n{"text": 7}', "line 2: field text is a int, not a string"),
    "no field": ("a.jsonl", b'{"body": "one"}', "line 1: has no field text"),
    "cut gzip data": ("a.gz", gzip.compress(WORDS)[:-9], "the gzip data is cut short"),
    "damaged gzip data": ("a.gz", gzip.compress(b"words")[:-9] + b"\xff" * 9, "the gzip data is damaged"),
    "no Parquet": ("a.parquet", b"PAR1 no Parquet PAR1", "damaged near row 1"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_cannot_be_read_is_not_counted(what: str, call: Call) -> None:
    """Whatever keeps a text from being read to its end ends the run, alone or among others; no count is printed."""
    name, data, reason = UNREADABLE[what]
    Path(name).write_bytes(data)
    Path("good.txt").write_bytes(b"some words")
    Path("empty.txt").touch()

    lines = [f"--count {name} -j1"]
    if what.endswith("at the end"):
        lines += [f"--count empty.txt good.txt {name} -j2", f"--ids {name} -j1"]
    for line in lines:
        ended = call("tokenize", "--special", "error", "--backend", "tiktoken", *line.split())

        assert ended.code == 3
        (error,) = ended.notes
        assert error.startswith(f"llmprep: error: {name}: ")
        assert reason in error
        assert "--ids" in line or ended.lines == []


def test_an_empty_variable_is_not_set(call: Call, story: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``LLMPREP_VOCAB_DIR=`` in the environment names no folder, as if it were not there."""
    monkeypatch.setenv("LLMPREP_VOCAB_DIR", "")

    assert call("tokenize", story, "--count").lines == [f"6259 {story}"]
