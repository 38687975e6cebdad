"""Promises for hostile inputs and faults: one line, the right exit code, and nothing left behind.

The number in a test's name is that of its case.
"""

from __future__ import annotations

import codecs
import contextlib
import gzip
import hashlib
import http.server
import io
import itertools
import os
import random
import re
import resource
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import tracemalloc
import unicodedata
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.commands import SAMPLES, Call, Ended, Run, clean_environment
from support.reference import cache_name, encode, rank_address, rank_file, tiktoken_encoding, window_rows

from llmprep.choices import BLOCK_BYTES, Effort, Newlines, Reading, Special, TextOptions
from llmprep.documents.finding import find_sources
from llmprep.documents.opening import HEAD_BYTES
from llmprep.documents.reading import read_blocks
from llmprep.documents.source import BOM
from llmprep.errors import DataError, InputError
from llmprep.inputs import open_tokens
from llmprep.preview.plain import visible
from llmprep.ptfile.layout import TensorView
from llmprep.ptfile.writing import write_pt

COMMANDS = ["tokenize", "pairs", "window", "embed"]
PROCESSES = [*COMMANDS[:3], pytest.param("embed", marks=pytest.mark.slow)]
"""The commands where each costs a process: one that imports torch takes seconds."""
SGR = re.compile(r"\x1b\[[0-9;]*m")
HARMFUL = {"Cc", "Cf", "Cs", "Zl", "Zp"}
LARGEST = 2**31 - 1

Tree = dict[str, tuple[int, bytes | str]]
Refused = Callable[..., Ended]


# --- what every case checks -----------------------------------------------------------------------


def tree(folder: Path) -> Tree:
    """Everything under a folder: what kind of thing it is, and its bytes if it is a file."""

    def held(path: Path) -> bytes | str:
        if path.is_symlink():
            return str(path.readlink())
        return path.read_bytes() if path.is_file() and os.access(path, os.R_OK) else ""

    return {str(path): (path.lstat().st_mode, held(path)) for path in sorted(folder.rglob("*"))}


def ended_as(result: subprocess.CompletedProcess[bytes]) -> Ended:
    """The same, of a process."""
    return Ended(result.returncode, result.stdout, result.stderr)


def check_one_line(ended: Ended, code: int, begins: str, *words: str) -> None:
    """Check the exit code, that nothing is on standard output, and the one line ``llmprep: error: FILE: reason``."""
    errors = [line for line in ended.notes if not line.startswith("llmprep: note: ")]
    assert errors, ended
    (line,) = errors
    assert line.startswith(f"llmprep: error: {begins}")
    for word in words:
        assert word in line
    assert "internal error" not in line
    assert all(char.isprintable() for char in line)
    assert (ended.code, ended.stdout) == (code, b"")


@pytest.fixture
def refused(call: Call, tmp_path: Path) -> Refused:
    """Run a command line that must be refused with one line, leaving the folder as it was."""

    def check(*arguments: str | Path, code: int, begins: str, words: Sequence[str] = (), notes: int = 0) -> Ended:
        before = tree(tmp_path)
        ended = call(*arguments)
        check_one_line(ended, code, begins, *words)
        assert len(ended.notes) == notes + 1
        assert tree(tmp_path) == before
        return ended

    return check


def shell(line: str, cwd: Path, env: Mapping[str, str] | None = None) -> Ended:
    """Run a bash line in which ``llmprep`` is the command."""
    defined = f'llmprep() {{ {shlex.quote(sys.executable)} -m llmprep "$@"; }}; '
    return ended_as(
        subprocess.run(
            ["bash", "-c", defined + line], cwd=cwd, env=clean_environment(env), capture_output=True, timeout=60,
            check=False,
        )
    )  # fmt: skip


def load(path: Path | str) -> dict[str, Any]:
    """What torch reads from a file."""
    loaded: dict[str, Any] = torch.load(path, weights_only=True)
    return loaded


def ids_in(path: Path | str) -> list[int]:
    """The ids of a tokens file."""
    ids: list[int] = load(path)["token_ids"].tolist()
    return ids


def is_inert(text: str) -> bool:
    """Whether nothing in a text acts on a terminal."""
    return all(char in "\u200c\u200d\n" or unicodedata.category(char) not in HARMFUL for char in text)


# --- 1 to 5: little or nothing --------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [*([name] for name in COMMANDS), ["tokenize", "--count"]], ids=" ".join)
@pytest.mark.parametrize("data", [b"", BOM], ids=["nothing", "only a byte order mark"])
def test_01_an_empty_file_is_refused(refused: Refused, arguments: list[str], data: bytes) -> None:
    """An empty file alone has no tokens: an error, and no output."""
    Path("empty.txt").write_bytes(data)

    refused(*arguments, "empty.txt", code=3, begins="empty.txt: empty: 0 tokens")


def test_01_empty_standard_input_is_refused(llmprep: Run, tmp_path: Path) -> None:
    """The same for standard input, and for several empty files."""
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "b").write_bytes(b"")

    for inputs in (["-"], ["/dev/stdin"], ["a", "b"]):
        ended = ended_as(llmprep("tokenize", *inputs, "-o", "o.pt"))
        name = inputs[0] if len(inputs) == 1 else "2 inputs"
        check_one_line(ended, 3, f"{name}: empty: 0 tokens")
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}


@pytest.mark.parametrize("order", list(itertools.permutations(["one.txt", "none.txt", "two.txt"])), ids=" ".join)
def test_02_an_empty_file_among_many_is_skipped_and_told(call: Call, order: Sequence[str]) -> None:
    """An empty file among others adds nothing, not even a separator; a note counts it and meta lists it."""
    texts = {"one.txt": "The first text.", "two.txt": "The second text.", "none.txt": ""}
    for name, text in texts.items():
        Path(name).write_text(text)
    full = [encode(texts[name]) for name in order if texts[name]]

    ended = call("tokenize", *order, "-o", "o.pt")

    made = load("o.pt")
    assert ended.code == 0
    assert ended.notes == ["llmprep: note: 1 empty input skipped: none.txt"]
    assert made["token_ids"].tolist() == [*full[0], 50256, *full[1]]
    assert [(source["name"], source["tokens"], source["bytes"]) for source in made["meta"]["sources"]] == [
        (name, len(encode(texts[name])), len(texts[name])) for name in order
    ]


def test_02_an_empty_file_among_many_counts_as_zero(call: Call) -> None:
    """``--count`` gives an empty file among others its zero."""
    Path("a.txt").write_text("word word")
    Path("empty.txt").write_text("")

    ended = call("tokenize", "--count", "empty.txt", "a.txt")

    assert (ended.code, ended.lines) == (0, ["0 empty.txt", "2 a.txt", "2 total"])


@pytest.mark.parametrize("command", ["window", "embed"])
def test_03_one_token_gives_no_window(refused: Refused, command: str) -> None:
    """One token has nothing to follow it: the error names n and max_length, and what a window needs."""
    Path("one.txt").write_text("The")

    refused(
        command, "one.txt", "--max-length", "4", code=3, begins="one.txt: 1 token",
        words=["max_length 4", "at least 2 tokens"],
    )  # fmt: skip


def test_03_one_token_gives_no_pair(refused: Refused) -> None:
    """One token gives no pair either."""
    Path("one.txt").write_text("The")

    refused("pairs", "one.txt", code=3, begins="one.txt: 1 token", words=["lower --start, --context-size"])


@pytest.mark.parametrize("command", ["window", "embed"])
@pytest.mark.parametrize("more", [[], ["--stride", "1"], ["--stride", "50"]], ids=" ".join)
def test_04_as_many_tokens_as_max_length_give_no_window(refused: Refused, command: str, more: list[str]) -> None:
    """As many tokens as max_length lack the last target: the error names n, max_length and the largest that works."""
    Path("ten.txt").write_text("a" + " a" * 9)

    refused(
        command, "ten.txt", "--max-length", "10", *more, code=3, begins="ten.txt: 10 tokens",
        words=["max_length 10", "the largest max_length that works is 9"],
    )  # fmt: skip


@pytest.mark.parametrize("more", [[], ["--dense"], ["--stride", "1"], ["--stride", "50"]], ids=" ".join)
def test_05_one_token_more_gives_one_window(call: Call, more: list[str]) -> None:
    """One token more than max_length, as case 4 advises, gives exactly one window, whatever the stride."""
    Path("ten.txt").write_text("a" + " a" * 9)
    ids = encode("a" + " a" * 9)

    ended = call("window", "ten.txt", "--max-length", "9", *more)

    made = load("ten.windows.pt")
    assert ended.code == 0
    assert (made["input_ids"].tolist(), made["target_ids"].tolist()) == ([ids[:9]], [ids[1:]])


# --- 6 and 7: numbers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "option"),
    [("window", "--max-length"), ("window", "--stride"), ("embed", "--max-length"), ("embed", "--stride"),
     ("pairs", "--context-size")],
)  # fmt: skip
def test_06_a_wrong_size_is_refused_before_anything_is_allocated(
    refused: Refused, call: Call, command: str, option: str
) -> None:
    """0, negative, fractional, exponential or huge sizes are usage errors that name the range, at no cost."""
    Path("a.txt").write_text("word " * 1000)
    call(command, "a.txt", option, "0")  # what is imported once is no cost of a value

    tracemalloc.start()
    for value in ("0", "-1", "4.5", "x", "1e3", "10" * 15, str(LARGEST + 1), "\u0663", " 4", "0x10", "+4", "1_0"):
        refused(
            command, "a.txt", option, value, code=2, begins=f"Invalid value for '{option}'",
            words=[f"from 1 to {LARGEST}"],
        )  # fmt: skip
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 4_000_000


@pytest.mark.parametrize(
    "arguments",
    [
        ["window", "--max-length", str(LARGEST)],
        ["window", "--max-length", str(LARGEST), "--stride", str(LARGEST), "--dense"],
        ["embed", "--max-length", str(LARGEST), "--context-length", str(LARGEST), "--dim", "1"],
        ["pairs", "--context-size", str(LARGEST), "--windows", "1000000"],
        ["pairs", "--start", "1" + "0" * 30],
    ],
    ids=" ".join,
)
def test_06_the_largest_size_costs_no_memory(refused: Refused, call: Call, arguments: list[str]) -> None:
    """The largest sizes that are allowed are refused for a small text, without allocating by them."""
    Path("a.txt").write_text("word " * 1000)
    call(arguments[0], "a.txt", "-q", "-o", "/dev/null")

    tracemalloc.start()
    call(arguments[0], "a.txt", "-q", "-o", "/dev/null")
    usual = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    refused(*arguments, "a.txt", code=3, begins="a.txt: 1001 tokens")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < usual + 2_000_000


@pytest.mark.parametrize("more", [[], ["--dense"]], ids=["views", "dense"])
def test_07_a_stride_beyond_max_length_tells_what_is_lost(call: Call, more: list[str]) -> None:
    """A stride beyond max_length gives the textbook windows, and tells how many tokens no window uses."""
    text = "".join(f" word{k}" for k in range(40))
    Path("a.txt").write_text(text)
    ids = encode(text)
    inputs, targets = window_rows(ids, 3, 7)
    lost = (len(inputs) - 1) * 3
    tail = len(ids) - (len(inputs) - 1) * 7 - 4

    ended = call("window", "a.txt", "--max-length", "3", "--stride", "7", *more)

    made = load("a.windows.pt")
    assert ended.code == 0
    assert made["input_ids"].tolist() == inputs
    assert made["target_ids"].tolist() == targets
    assert any(line.startswith(f"never used: gaps {lost}, tail {tail};") for line in ended.lines)


# --- 8 to 12: bytes that are nearly text ----------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_08_a_byte_order_mark_is_dropped_and_told(call: Call, command: str) -> None:
    """A mark at the start of each file is dropped with a note; the result is that of the text without it."""
    options = ["--max-length", "4"] if command in {"window", "embed"} else []
    text = b"The first line.\nThe second line, which is longer.\n"
    Path("plain.txt").write_bytes(text)
    Path("marked.txt").write_bytes(BOM + text)

    plain = call(command, "plain.txt", "-o", "plain.pt", *options)
    marked = call(command, "marked.txt", "-o", "marked.pt", *options)

    assert (plain.code, marked.code) == (0, 0)
    assert "llmprep: note: marked.txt: byte order mark dropped" in marked.notes
    made, wanted = load("marked.pt"), load("plain.pt")
    assert all(torch.equal(made[key], wanted[key]) for key in wanted.keys() - {"meta"})
    assert made["meta"]["content_sha256"] == wanted["meta"]["content_sha256"]


def test_08_only_the_first_mark_of_each_file_is_a_mark(call: Call) -> None:
    """A second mark, or one inside the text, is a character of the text; each of several files drops its own."""
    Path("a.txt").write_bytes(BOM + BOM + b"one" + BOM + b"two")
    Path("b.txt").write_bytes(BOM + b"three")

    call("tokenize", "a.txt", "b.txt", "-o", "o.pt")

    assert ids_in("o.pt") == [*encode("\ufeffone\ufefftwo"), 50256, *encode("three")]


LINE_ENDS = b"one\r\ntwo\rthree\n\r\nfour \r\r\n five\n\rsix\r\n"


@pytest.mark.parametrize(("newlines", "newline"), [("universal", None), ("keep", "")])
def test_09_line_ends_are_pythons(call: Call, newlines: str, newline: str | None) -> None:
    """``--newlines universal`` reads CRLF, lone CR and LF as Python's text mode does; ``keep`` leaves them."""
    Path("a.txt").write_bytes(LINE_ENDS)
    with Path("a.txt").open(encoding="utf-8", newline=newline) as file:
        text = file.read()

    ended = call("tokenize", "a.txt", "--newlines", newlines)

    assert ended.code == 0
    assert ids_in("a.tokens.pt") == encode(text)


@pytest.mark.parametrize(("newlines", "newline"), [("universal", None), ("keep", "")])
def test_09_line_ends_are_the_same_at_any_block_size(tmp_path: Path, newlines: Newlines, newline: str | None) -> None:
    """A CRLF across a block's edge is one line end: ids do not depend on the block size."""
    path = tmp_path / "a.txt"
    path.write_bytes(LINE_ENDS)
    with path.open(encoding="utf-8", newline=newline) as file:
        wanted = encode(file.read())

    for size in [*range(1, 12), len(LINE_ENDS) - 1]:
        reading = Reading(options=TextOptions(newlines=newlines), effort=Effort(block_bytes=size))
        stream = open_tokens([str(path)], reading)
        assert np.concatenate(list(stream)).tolist() == wanted, size


BAD_BYTES = {
    "a lone byte of cp1252": b"It\x92s text",
    "an overlong NUL": b"abc \xc0\x80 def",
    "a surrogate": b"abc \xed\xa0\x80 def",
    "beyond Unicode": b"abc \xf5\x80\x80\x80 def",
    "a character cut short inside": b"caf\xc3 au lait",
    "a last character cut short": b"un caf\xc3",
    "four bytes cut short": b"smile \xf0\x9f\x98",
    "after a byte order mark": BOM + b"caf\xe9",
    "after line ends that are normalised": b"a\r\n" * 20 + b"\xff",
}


@pytest.mark.parametrize("data", BAD_BYTES.values(), ids=BAD_BYTES.keys())
def test_10_invalid_utf8_is_named_with_its_offset(refused: Refused, data: bytes) -> None:
    """A byte that is not UTF-8 is named with its value and its offset from the start of the file."""
    Path("a.txt").write_bytes(data)
    with pytest.raises(UnicodeDecodeError) as caught:
        data.decode()
    start = caught.value.start

    refused(
        "tokenize", "a.txt", code=3, begins=f"a.txt: not valid UTF-8 at byte {start} (0x{data[start]:02x}); ",
        words=["iconv"],
    )  # fmt: skip


EDGE = HEAD_BYTES + BLOCK_BYTES
"""Where the second block that is read ends; the first is what was looked at to tell what the file is."""


@pytest.mark.parametrize("place", [HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 1, EDGE - 1, EDGE, EDGE + 1, 2 * EDGE + 7])
@pytest.mark.parametrize("bad", [b"\xff", b"\xc3"], ids=["never UTF-8", "half a character"])
def test_10_offsets_count_from_the_start_of_the_file(refused: Refused, place: int, bad: bytes) -> None:
    """At and behind a block's edge the offset is that in the file, not in the block; earlier output is withdrawn."""
    text = b"one two three\n" * (3 * BLOCK_BYTES // 14)
    Path("a.txt").write_bytes(text[:place] + bad + text[place:])

    refused("tokenize", "a.txt", code=3, begins=f"a.txt: not valid UTF-8 at byte {place} (0x{bad[0]:02x}); ")


LATIN = "Some plain text, long enough to be sure. "
NOT_TEXT = {
    "UTF-16 text (little-endian)": codecs.BOM_UTF16_LE + LATIN.encode("utf-16-le"),
    "UTF-16 text (big-endian)": codecs.BOM_UTF16_BE + LATIN.encode("utf-16-be"),
    "UTF-32 text (little-endian)": codecs.BOM_UTF32_LE + LATIN.encode("utf-32-le"),
    "UTF-32 text (big-endian)": codecs.BOM_UTF32_BE + LATIN.encode("utf-32-be"),
    "UTF-16 text (little-endian, without a mark)": LATIN.encode("utf-16-le"),
    "UTF-16 text (big-endian, without a mark)": LATIN.encode("utf-16-be"),
    "UTF-32 text (little-endian, without a mark)": LATIN.encode("utf-32-le"),
    "UTF-32 text (big-endian, without a mark)": LATIN.encode("utf-32-be"),
    "binary data": b"\x00\x01\x02\x00" * 50,
    "a PNG image": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "a PDF document": gzip.compress(b"%PDF-1.7\n1 0 obj " * 100),
    "gzip data inside compressed data": gzip.compress(gzip.compress(b"some text " * 100)),
}


@pytest.mark.parametrize("what", NOT_TEXT)
def test_11_what_is_not_utf8_text_is_named(refused: Refused, what: str) -> None:
    """UTF-16, UTF-32, binary data and an image named .txt are refused with what they look like; so in gzip data."""
    Path("a.txt").write_bytes(NOT_TEXT[what])

    refused("tokenize", "a.txt", code=3, begins=f"a.txt: looks like {what}", words=["not UTF-8 text; convert it first"])


@pytest.mark.parametrize("command", COMMANDS)
def test_11_gzip_data_named_txt_is_its_text(call: Call, story: Path, command: str) -> None:
    """Compressed data is told by its bytes, not by its name, and is read as the text that it holds."""
    options = ["--max-length", "16"] if command in {"window", "embed"} else []
    Path("a.txt").write_bytes(gzip.compress(story.read_bytes()))

    plain = call(command, story, "-o", "plain.pt", *options)
    packed = call(command, "a.txt", "-o", "packed.pt", *options)

    assert (plain.code, packed.code, packed.notes) == (0, 0, [note.replace("plain", "packed") for note in plain.notes])
    made, wanted = load("packed.pt"), load("plain.pt")
    assert all(torch.equal(made[key], wanted[key]) for key in wanted.keys() - {"meta"})
    assert made["meta"]["content_sha256"] == wanted["meta"]["content_sha256"]
    (source,) = made["meta"]["sources"]
    data = Path("a.txt").read_bytes()
    assert (source["bytes"], source["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())


def test_11_gzip_data_that_is_cut_short_is_told(refused: Refused, story: Path) -> None:
    """Compressed data that ends too early is one line, and what could be read of it is withdrawn."""
    Path("a.txt").write_bytes(gzip.compress(story.read_bytes())[:-9])

    refused("tokenize", "a.txt", code=3, begins="a.txt: the gzip data is cut short")


def test_12_one_nul_is_text(call: Call) -> None:
    """A single NUL is a character like any other: id 188."""
    Path("a.txt").write_bytes(b"left\x00right")

    ended = call("tokenize", "a.txt")

    assert ended.code == 0
    assert ids_in("a.tokens.pt") == encode("left\x00right")
    assert 188 in ids_in("a.tokens.pt")


# --- 13: text without a place to cut --------------------------------------------------------------


def minified(n_bytes: int) -> str:
    """One line of code without white space."""
    words = ["alpha", "be,", "(x)", "=>", "{}", "0", "3.14", '"s"', "fn", "//", "_y", ";", "zz"]
    chosen = random.Random(13).choices(words, k=n_bytes // 2)  # noqa: S311 - a text, no secret
    return "".join(chosen)[:n_bytes]


def chinese(n_bytes: int) -> str:
    """Chinese characters, three bytes each, without punctuation."""
    chosen = random.Random(13).choices(range(0x4E00, 0x9FA5), k=n_bytes // 3)  # noqa: S311 - a text, no secret
    return "".join(map(chr, chosen))


UNCUT: dict[str, tuple[Callable[[int], str], int]] = {
    "a line without white space": (minified, 10_000_000),
    "one letter": (lambda n_bytes: "a" * n_bytes, 5_000_000),
    "Chinese": (chinese, 1_000_000),
}


def seconds(call: Call, text: str) -> float:
    """Processor time to tokenize a text, the best of two."""
    Path("a.txt").write_text(text, encoding="utf-8")

    def once() -> float:
        begun = time.process_time()
        assert call("tokenize", "a.txt", "-q").code == 0
        return time.process_time() - begun

    return min(once(), once())


@pytest.mark.parametrize("what", UNCUT)
def test_13_text_without_a_place_to_cut_is_exact_and_linear(call: Call, what: str) -> None:
    """Ids are tiktoken's, and eight times the text takes far less than 64 times the time."""
    make, size = UNCUT[what]
    small, large = make(size // 80), make(size // 10)

    ratio = seconds(call, large) / seconds(call, small)

    assert call("tokenize", "a.txt").code == 0
    assert ids_in("a.tokens.pt") == encode(small)
    assert ratio < 24


@pytest.mark.slow
@pytest.mark.parametrize("what", UNCUT)
def test_13_large_text_without_a_place_to_cut_is_linear_and_bounded(call: Call, tmp_path: Path, what: str) -> None:
    """At full size, four times the text takes far less than 16 times the time, and under 500 MB."""
    make, size = UNCUT[what]

    ratio = seconds(call, make(size)) / seconds(call, make(size // 4))

    Path("a.txt").write_text(make(size), encoding="utf-8")
    assert peak_kilobytes(["tokenize", "-q", "a.txt"], tmp_path) < 500_000
    assert ids_in("a.tokens.pt") == encode(make(size))
    assert ratio < 9


def peak_kilobytes(arguments: Sequence[str], cwd: Path) -> int:
    """Run a command in a process of its own; return the most memory that it held at once."""
    # Not ru_maxrss: that begins with what the parent held.
    script = (
        "import sys; from llmprep.cli.main import run\n"
        "code = run(sys.argv[1:]); print(open('/proc/self/status').read()); sys.exit(code)"
    )
    command = [sys.executable, "-c", script, *arguments]
    status = subprocess.run(
        command, cwd=cwd, env=clean_environment(), capture_output=True, text=True, check=True
    ).stdout
    (held,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
    return int(held)


# --- 15: a boundary that a text forges ------------------------------------------------------------

FORGED = {
    "whole": "Before<|endoftext|>after",
    "twice, side by side": "one <|endoftext|><|endoftext|> two",
    "at both ends": "<|endoftext|>text<|endoftext|>",
    "between line ends": "one\r\n<|endoftext|>\ntwo\n",
    "begun only": "text <|endoftext",
    "ended only": "endoftext|> text",
    "doubled marks": "a<|<|endoftext|>|>b",
    "one letter wrong": "<|endoftexT|> and <| endoftext |>",
    "of another vocabulary": "<|fim_prefix|> is plain text here",
}


@pytest.mark.parametrize("special", ["allow", "text"])
@pytest.mark.parametrize("text", FORGED.values(), ids=FORGED.keys())
def test_15_a_forged_boundary_is_as_special_says(call: Call, text: str, special: Special) -> None:
    """``--special allow`` takes the string as its id, ``text`` as plain text, both as tiktoken does, and counts it."""
    Path("a.txt").write_bytes(text.encode())
    found = text.count("<|endoftext|>")

    ended = call("tokenize", "a.txt", "--special", special, "--json")

    assert ended.code == 0
    assert ids_in("a.tokens.pt") == encode(text.replace("\r\n", "\n"), special=special)
    assert ended.value["n_special"] == found
    taken = {"allow": "taken as its id", "text": "taken as plain text"}[special]
    said = f"llmprep: note: <|endoftext|> stands {found} times in the text itself, {taken} (--special)"
    assert ended.notes == ([said] if found else [])


@pytest.mark.parametrize("text", FORGED.values(), ids=FORGED.keys())
def test_15_special_error_refuses_a_forged_boundary(refused: Refused, call: Call, text: str) -> None:
    """``--special error`` refuses a text with the string, and says where it stands; a part of it is plain text."""
    Path("a.txt").write_bytes(text.encode())
    place = text.encode().find(b"<|endoftext|>")

    if place >= 0:
        refused(
            "tokenize", "a.txt", "--special", "error", code=3,
            begins=f"a.txt: special token <|endoftext|> in the text at byte {place}",
        )  # fmt: skip
    else:
        assert call("tokenize", "a.txt", "--special", "error").code == 0
        assert ids_in("a.tokens.pt") == encode(text, special="text")


EDGES = [1, 2, 3, 5, 7, 11, 12, 13, 14, 17, 20, 26]


@pytest.mark.parametrize("special", ["allow", "text"])
def test_15_a_forged_boundary_across_a_block_edge(tmp_path: Path, special: Special) -> None:
    """Ids and count are the same at any block size, wherever that puts the edge."""
    texts = [f"some words {text} more words\n" for text in FORGED.values()]
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.txt").write_bytes(text.encode())
    wanted = [[*encode(text, special=special), 50256] for text in texts]
    paths = [str(tmp_path / f"{number}.txt") for number in range(len(texts))]

    for size in EDGES:
        reading = Reading(options=TextOptions("keep", special=special), effort=Effort(block_bytes=size))
        stream = open_tokens(paths, reading)
        assert [*np.concatenate(list(stream)).tolist(), 50256] == list(itertools.chain(*wanted)), size
        assert stream.n_special == sum(text.count("<|endoftext|>") for text in texts), size


def test_15_a_forged_boundary_across_a_block_edge_is_refused(tmp_path: Path) -> None:
    """``--special error`` finds the string and its place at any block size."""
    text = b"some words and<|endoftext|>more words\n"
    path = tmp_path / "a.txt"
    path.write_bytes(text)

    for size in EDGES:
        reading = Reading(options=TextOptions(special="error"), effort=Effort(block_bytes=size))
        stream = open_tokens([str(path)], reading)
        with pytest.raises(DataError, match=f"in the text at byte {text.find(b'<|')}"):
            list(stream)


# --- 17 and 18: text and names that act on a terminal ---------------------------------------------

ACTING = (
    "\x1b[31mred\x1b[0m bell\x07 \x1b]52;c;aGk=\x07 \x1b]8;;http://a\x1b\\link \x1b[2J \x9b1m\x85 "
    "\u202eevil\u202c \u2066x\u2069 [bold] [/b] :smile: [link=b]c[/link] \\[d] \u2028\x00\x7f end"
)


def pairs_text(ended_lines: Sequence[str]) -> str:
    """The longest line: the last context as text, with its target."""
    return max(ended_lines, key=len)


def test_17_a_pipe_gets_no_escape_and_loses_nothing(call: Call) -> None:
    """In a pipe, no command's output holds a character that acts, and all of the text is there, made visible."""
    Path("a.txt").write_bytes(ACTING.encode())
    ids = encode(ACTING)
    decode = tiktoken_encoding("gpt2").decode
    most = str(len(ids) - 1)

    tokenized = call("tokenize", "a.txt")
    paired = call("pairs", "a.txt", "--context-size", most)
    windowed = call("window", "a.txt", "--max-length", "8", "--preview", "9")

    for ended in (tokenized, paired, windowed):
        assert ended.code == 0
        assert is_inert((ended.stdout + ended.stderr).decode())
    assert "|".join(visible(decode([i])) for i in ids[:16]) in tokenized.lines
    assert f"{visible(decode(ids[:-1]))} ----> {visible(decode(ids[-1:]))}" in paired.lines
    for k in range(min(9, (len(ids) - 9) // 8 + 1)):
        window = ids[8 * k : 8 * k + 9]
        assert f"{visible(decode(window[:-1]))} ----> {visible(decode(window[-1:]))}" in windowed.lines


def on_terminal(arguments: Sequence[str | Path], cwd: Path) -> tuple[int, str]:
    """Run a command on a wide terminal: its exit code and what the terminal is sent."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "llmprep", *arguments]
    with subprocess.Popen(
        command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
        env=clean_environment({"COLUMNS": "4000"}),
    ) as child:  # fmt: skip
        os.close(theirs)
        sent = b""
        with contextlib.suppress(OSError):  # Linux tells a terminal's end as an error
            while part := os.read(ours, 65536):
                sent += part
    os.close(ours)
    return child.returncode, sent.decode().replace("\r\n", "\n")


@pytest.mark.parametrize(
    "arguments", [["tokenize"], ["pairs", "--context-size", "40"], ["window", "--max-length", "8"]], ids=" ".join
)
def test_17_a_terminal_gets_no_escape_but_our_colours(tmp_path: Path, arguments: list[str]) -> None:
    """On a terminal, output holds no escape but colours, and every token shown is there letter by letter."""
    (tmp_path / "a.txt").write_bytes(ACTING.encode())
    ids = encode(ACTING)
    decode = tiktoken_encoding("gpt2").decode

    code, sent = on_terminal([*arguments, "a.txt"], tmp_path)

    bare = SGR.sub("", sent)
    assert code == 0
    assert SGR.search(sent)
    assert is_inert(bare)
    if arguments[0] == "tokenize":
        cells = [visible(decode([i])).replace(" ", "\u2423") for i in ids[:48]]
        assert re.search(r" *".join(map(re.escape, cells)), bare)
    else:
        size = int(arguments[-1])
        assert visible(decode(ids[:size])).strip(" ") in bare


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["tokenize", ACTING.replace("/", "").replace("\x00", "")], 1),
        (["tokenize", "a.txt", "--encoding", "\x1b]0;title\x07[red]"], 5),
        (["tokenize", "a.txt", "--\x1b[31m\u202e"], 2),
        (["\x1b[2J[/b]"], 2),
        (["window", "a.txt", "--max-length", "\x1b[2J\n[/b]"], 2),
        (["window", "a.txt", "--dtype", "\x9b2J\n:smile:"], 2),
        (["tokenize", "a.txt", "-o", "\x1b[2J/o.pt"], 1),
        (["embed", "a.txt", "--device", "\x1b[2J"], 2),
        (["embed", "a.txt", "--max-length", "1", "--weights", "\x1b[2J\n"], 1),
    ],
)
def test_17_errors_are_inert(refused: Refused, arguments: list[str], code: int) -> None:
    """What an error repeats of a command line is made visible, on one line, and markup in it stays."""
    Path("a.txt").write_text("one two three")

    ended = refused(*arguments, code=code, begins="")

    assert is_inert(ended.stderr.decode())
    for markup in ("[/b]", "[red]", ":smile:", "[bold]"):
        assert (markup in "".join(arguments)) == (markup in ended.stderr.decode())


NAMES = {
    "a newline": "new\nline.txt",
    "an escape": "esc\x1b[31mred.txt",
    "markup": "[/red].txt",
    "an emoji's name": ":smile:.txt",
    "spaces": " two  spaces .txt",
    "a leading dash": "-dash.txt",
    "an option": "--help",
    "an override": "\u202etxt.exe",
    "bytes that are not UTF-8": os.fsdecode(b"caf\xe9\xff.txt"),
    "no suffix and a dot": ".hidden",
    "a quote and a star": "a'\"*?$(b).txt",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_18_a_hostile_file_name_works_and_is_shown_escaped(call: Call, tmp_path: Path, name: str) -> None:
    """Each command reads a file of any name, writes beside it, and prints the name so that it does nothing."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("one two three four five six")
    stem = Path(name).stem

    tokenized = call("tokenize", "--", name)
    windowed = call("window", "--max-length", "2", "--", name)
    embedded = call("embed", "--max-length", "2", "--dim", "2", "--", name)
    paired = call("pairs", "--", name)
    counted = call("tokenize", "--count", "--", name)

    for ended in (tokenized, windowed, embedded, paired, counted):
        assert ended.code == 0
        assert is_inert((ended.stdout + ended.stderr).decode())
    for kind in ("tokens", "windows", "embeddings"):
        assert (tmp_path / f"{stem}.{kind}.pt").is_file()
    assert tokenized.lines[-1].startswith(f"{visible(stem)}.tokens.pt: ")
    assert counted.lines == [f"6 {visible(name)}"]
    (source,) = load(tmp_path / f"{stem}.tokens.pt")["meta"]["sources"]
    assert source["name"] == os.fsencode(Path(name).name).decode("utf-8", "backslashreplace")


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_18_a_missing_file_of_hostile_name_is_one_line(refused: Refused, name: str) -> None:
    """An error about such a name, or pattern, is one line that shows the name escaped."""
    reason = "no file matches" if set(name) & set("*?[") else "no such file or directory"

    ended = refused("tokenize", "--", name, code=1, begins=f"{visible(name)}: {reason}")

    assert is_inert(ended.stderr.decode())


def test_18_bytes_that_are_not_utf8_reach_the_process(llmprep: Run, tmp_path: Path) -> None:
    """As the operating system hands it over, a name of any bytes is read, and the default name has the same bytes."""
    name = os.fsencode(tmp_path) + b"/\xff\xfe \x80.txt"
    Path(os.fsdecode(name)).write_text("one two three")

    result = llmprep("tokenize", name)

    assert (result.returncode, result.stderr) == (0, b"")
    assert set(os.listdir(os.fsencode(tmp_path))) == {b"\xff\xfe \x80.txt", b"\xff\xfe \x80.tokens.pt"}  # noqa: PTH208


# --- 19 to 22: inputs that are no quiet file ------------------------------------------------------


def make_folder() -> str:
    Path("folder.txt/below").mkdir(parents=True)
    return "folder.txt"


def make_dangling() -> str:
    Path("link.txt").symlink_to("nothing")
    return "link.txt"


def make_loop() -> str:
    Path("a.lnk").symlink_to("b.lnk")
    Path("b.lnk").symlink_to("a.lnk")
    return "a.lnk"


def make_below_a_file() -> str:
    Path("file.txt").write_text("text")
    return "file.txt/below.txt"


WRONG_INPUTS: dict[str, tuple[Callable[[], str], int, str]] = {
    "a folder without files": (make_folder, 2, "there is no file in this folder"),
    "missing": (lambda: "missing.txt", 1, "no such file or directory"),
    "a dangling link": (make_dangling, 1, "no such file or directory"),
    "a link to itself": (make_loop, 1, "too many levels of symbolic links"),
    "below a file": (make_below_a_file, 1, "not a directory"),
    "a pattern that matches nothing": (lambda: "*.nothing", 1, "no file matches"),
    "a name too long": (lambda: "n" * 300, 1, "file name too long"),
    "a name with NUL": (lambda: "a\x00b", 1, "no name holds a NUL character"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("what", WRONG_INPUTS)
def test_19_an_input_that_cannot_be_read_is_told_first(refused: Refused, command: str, what: str) -> None:
    """What is no readable file is one line, before another input, here one that is no text, is looked at."""
    make, code, reason = WRONG_INPUTS[what]
    Path("binary.txt").write_bytes(b"\x00" * 50)
    name = make()

    refused(command, "binary.txt", name, "-o", "o.pt", code=code, begins=f"{visible(name)}: {reason}")


@pytest.mark.parametrize("choice", ["--count", "--ids"])
def test_19_also_before_a_count(refused: Refused, choice: str) -> None:
    """A count of several files does not begin before all are known to be there."""
    Path("a.txt").write_text("text")

    refused("tokenize", choice, "a.txt", "missing.txt", code=1, begins="missing.txt: no such file or directory")


def test_19_an_unreadable_file_is_told_first(llmprep: Run, tmp_path: Path) -> None:
    """A file without permission is one line, before another input is looked at; root gives up its privilege first."""
    (tmp_path / "binary.txt").write_bytes(b"\x00" * 50)
    (tmp_path / "secret.txt").write_text("text")
    (tmp_path / "secret.txt").chmod(0)
    dropped = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []

    result = llmprep("tokenize", "binary.txt", "secret.txt", "-o", "o.pt", prefix=dropped)

    check_one_line(ended_as(result), 1, "secret.txt: permission denied")
    assert {path.name for path in tmp_path.iterdir()} == {"binary.txt", "secret.txt"}


def test_19_an_unreadable_folder_is_told(llmprep: Run, tmp_path: Path) -> None:
    """A file in a folder that may not be entered is one line too."""
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "a.txt").write_text("text")
    (tmp_path / "closed").chmod(0)
    dropped = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []

    result = llmprep("tokenize", "closed/a.txt", "-o", "o.pt", prefix=dropped)

    (tmp_path / "closed").chmod(0o700)
    check_one_line(ended_as(result), 1, "closed/a.txt: permission denied")


@contextlib.contextmanager
def feeding(path: Path, data: bytes) -> Iterator[None]:
    """Make a FIFO and write ``data`` into it, in pieces, as it is read."""
    os.mkfifo(path)

    def feed() -> None:
        with contextlib.suppress(BrokenPipeError), path.open("wb", buffering=0) as file:
            for start in range(0, len(data), 5000):
                file.write(data[start : start + 5000])

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    yield
    thread.join(timeout=30)
    assert not thread.is_alive()


@pytest.mark.parametrize("command", COMMANDS)
def test_20_a_fifo_is_streamed_once(call: Call, story: Path, tmp_path: Path, command: str) -> None:
    """A FIFO gives, byte for byte, the file that a plain file of its name gives, and the same words."""
    options = ["--max-length", "16"] if command in {"window", "embed"} else []
    (tmp_path / "pipe").mkdir()

    plain = call(command, story, "-o", "plain.pt", *options)
    with feeding(tmp_path / "pipe" / "story.txt", story.read_bytes()):
        piped = call(command, "pipe/story.txt", "-o", "piped.pt", *options)

    assert (plain.code, piped.code) == (0, 0)
    assert Path("piped.pt").read_bytes() == Path("plain.pt").read_bytes()
    assert [line.replace("piped", "plain") for line in piped.lines] == plain.lines


def test_20_a_pt_file_may_come_through_a_fifo(call: Call, story: Path, tmp_path: Path) -> None:
    """A tokens file, whose directory stands at its end, is taken from a FIFO too."""
    call("tokenize", story, "-o", "story.tokens.pt")
    call("window", "story.tokens.pt", "--max-length", "16", "-o", "plain.pt")

    with feeding(tmp_path / "fifo", Path("story.tokens.pt").read_bytes()):
        ended = call("window", "fifo", "--max-length", "16", "-o", "piped.pt")

    assert ended.code == 0
    assert Path("piped.pt").read_bytes() == Path("plain.pt").read_bytes()


def test_20_standard_input_and_process_substitution(story: Path, tmp_path: Path) -> None:
    """``-``, ``/dev/stdin`` and ``<(cmd)`` give the ids of the file."""
    lines = (
        f"llmprep tokenize -q - -o 1.pt < {story}",
        f"cat {story} | llmprep tokenize -q /dev/stdin -o 2.pt",
        f"llmprep tokenize -q <(cat {story}) -o 3.pt",
        f"cat {story} | llmprep tokenize -q - -o 4.pt",
    )

    ended = shell(" && ".join(lines), tmp_path)

    assert (ended.code, ended.stderr) == (0, b"")
    wanted = encode(story.read_text(encoding="utf-8"))
    assert all(ids_in(tmp_path / f"{k}.pt") == wanted for k in (1, 2, 3, 4))


def test_20_pairs_reads_no_further_than_it_shows(tmp_path: Path) -> None:
    """From a source without an end, ``pairs`` takes what it shows and ends."""
    ended = shell("llmprep pairs <(yes word) --start 100", tmp_path)

    assert ended.code == 0
    assert len(ended.lines) == 8


@pytest.mark.parametrize("command", PROCESSES)
def test_21_closed_standard_input_is_one_line(tmp_path: Path, command: str) -> None:
    """``-`` with standard input closed is one line; a file is still read."""
    (tmp_path / "a.txt").write_text("one two three four five six")
    before = tree(tmp_path)

    ended = shell(f"llmprep {command} - -o o.pt <&-", tmp_path)

    check_one_line(ended, 1, "-: standard input is closed")
    assert tree(tmp_path) == before


def test_21_a_file_is_read_though_standard_input_is_closed(tmp_path: Path) -> None:
    """Without ``-``, a closed standard input is no matter."""
    (tmp_path / "a.txt").write_text("one two three four five six")

    ended = shell("llmprep tokenize a.txt <&-", tmp_path)

    assert (ended.code, ended.stderr) == (0, b"")
    assert ids_in(tmp_path / "a.tokens.pt") == encode("one two three four five six")


@pytest.mark.parametrize("command", PROCESSES)
def test_21_a_terminal_is_no_input(tmp_path: Path, command: str) -> None:
    """``-`` with a terminal as standard input is refused at once; nobody waits for a person to type."""
    ours, theirs = os.openpty()

    result = subprocess.run(
        [sys.executable, "-m", "llmprep", command, "-", "-o", "o.pt"], stdin=theirs, cwd=tmp_path, timeout=30,
        env=clean_environment(), capture_output=True, check=False,
    )  # fmt: skip

    os.close(ours)
    os.close(theirs)
    check_one_line(ended_as(result), 2, "-: standard input is a terminal; ")
    assert list(tmp_path.iterdir()) == []


def begin_reading(path: Path, data: bytes) -> Iterator[str]:
    """Write a file and read its first block; the rest is to come."""
    path.write_bytes(data)
    (source,) = find_sources([str(path)])
    texts = (block.text for block in read_blocks(source, block_bytes=1000))
    yield next(texts)
    yield from texts


WORDS = b"one two three\n" * 1000


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(WORDS + b"more"),
        lambda path: os.truncate(path, 5000),
        lambda path: path.write_bytes(WORDS.replace(b"o", b"0")),
        lambda path: os.truncate(path, 0),
    ],
    ids=["grows", "shrinks", "is rewritten", "is emptied"],
)
def test_22_a_file_that_changes_while_it_is_read_is_told(tmp_path: Path, change: Callable[[Path], object]) -> None:
    """A file that grows, shrinks or is rewritten meanwhile is an error, never a mixture."""
    path = tmp_path / "a.txt"
    texts = begin_reading(path, WORDS)
    next(texts)

    time.sleep(0.01)
    change(path)

    with pytest.raises(InputError, match=r"a\.txt: changed while it was read; "):
        list(texts)


def test_22_a_file_that_is_replaced_while_it_is_read_is_the_old_one(tmp_path: Path) -> None:
    """A file that another takes the place of is read to its end as it was at open."""
    path = tmp_path / "a.txt"
    texts = begin_reading(path, WORDS)
    first = next(texts)

    (tmp_path / "new").write_bytes(b"other")
    (tmp_path / "new").replace(path)

    assert (first + "".join(texts)).encode() == WORDS


def test_22_the_command_tells_too_and_withdraws_its_output(tmp_path: Path) -> None:
    """``tokenize`` of a file that grows meanwhile ends with one line; what went into a pipe is no whole file."""
    path, fifo = tmp_path / "a.txt", tmp_path / "out"
    path.write_bytes(b"one two three\n" * (40 * BLOCK_BYTES // 14))
    os.mkfifo(fifo)

    with running("tokenize", "a.txt", "-o", "out", cwd=tmp_path) as child, reading(fifo, child) as reader:
        with path.open("ab") as file:
            file.write(b"more")
        while reader.read(1 << 20):
            pass
        stdout, stderr = child.communicate(timeout=30)

    check_one_line(Ended(child.returncode, stdout, stderr), 1, "a.txt: changed while it was read; ")


# --- 23 and 24: standard output fails -------------------------------------------------------------

MADE = {
    "--help": [],
    "--version": [],
    "window --help": [],
    "tokenize a.txt": ["a.tokens.pt"],
    "tokenize --count a.txt": [],
    "tokenize --ids a.txt": [],
    "tokenize --json a.txt": ["a.tokens.pt"],
    "tokenize -q a.txt -o -": [],
    "pairs a.txt": [],
    "pairs a.txt -o o.pt": ["o.pt"],
    "window --max-length 2 a.txt": ["a.windows.pt"],
    "window --max-length 2 --val-fraction 0.5 a.txt": ["a.train.windows.pt", "a.val.windows.pt"],
    "embed --max-length 2 a.txt": ["a.embeddings.pt"],
}
"""Command lines that print something, and the files that each makes."""
PRINTING = [pytest.param(line, id=line, marks=[pytest.mark.slow] if line.startswith("embed") else []) for line in MADE]


@pytest.fixture
def short_text(tmp_path: Path) -> Path:
    """A folder that holds a.txt, a few words."""
    (tmp_path / "a.txt").write_text("one two three four five six seven eight nine")
    return tmp_path


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([c, "a.txt"] for c in COMMANDS)], ids=" ".join)
def test_23_a_closed_standard_output_is_an_error(short_text: Path, arguments: list[str]) -> None:
    """With standard output closed, every command ends with one line and writes nothing."""
    before = tree(short_text)

    ended = shell(f"llmprep {shlex.join(arguments)} >&-", short_text)

    check_one_line(ended, 1, "standard output is closed; ")
    assert tree(short_text) == before


@pytest.mark.parametrize("line", PRINTING)
def test_23_a_full_standard_output_is_an_error(short_text: Path, line: str) -> None:
    """With standard output on a full device, every command ends with one line, behind the file that it is to write."""
    ended = shell(f"llmprep {line} > /dev/full", short_text)

    check_one_line(ended, 1, "", "o space left on")
    assert {path.name for path in short_text.iterdir()} == {"a.txt", *MADE[line]}


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("line", ["tokenize --ids a.txt", "tokenize a.txt -q -o -"])
def test_23_a_standard_output_that_takes_a_part_is_an_error(tmp_path: Path, line: str, unbuffered: str) -> None:
    """Where standard output takes only the first part, that is an error, also under PYTHONUNBUFFERED."""
    (tmp_path / "a.txt").write_text("word " * 40_000)

    ended = shell(f"ulimit -f 100; llmprep {line} > out", tmp_path, {"PYTHONUNBUFFERED": unbuffered})

    assert ended.code == 1
    (error,) = ended.notes
    assert "file" in error
    assert "too large" in error or "file-size limit" in error
    assert (tmp_path / "out").stat().st_size == 100 * 1024


@pytest.mark.parametrize(
    ("line", "head", "unbuffered", "made"),
    [
        ("pairs a.txt --windows 9000", "head -1", "", []),
        ("pairs a.txt --windows 9000 -o o.pt", "head -1", "1", ["o.pt"]),
        ("window a.txt --max-length 4 --preview 4000", "head -1", "", ["a.windows.pt"]),
        ("tokenize --ids a.txt", "head -c 1", "1", []),
        ("tokenize a.txt -o -", "head -c 1", "", []),
        ("window a.txt --max-length 4 -o -", "head -c 1", "1", []),
    ],
)
def test_24_head_ends_a_command_in_silence(
    tmp_path: Path, line: str, head: str, unbuffered: str, made: list[str]
) -> None:
    """``| head -1`` ends each command that has more to say with 141, silently, and its files are in place."""
    (tmp_path / "a.txt").write_text("word " * 40_000)

    headed = f'llmprep {line} | {head}; exit "${{PIPESTATUS[0]}}"'
    ended = shell(headed, tmp_path, {"PYTHONUNBUFFERED": unbuffered})

    assert ended.code == 141
    assert b"error" not in ended.stderr
    assert b"Traceback" not in ended.stderr
    assert len(ended.stdout) > 0
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", *made}
    for name in made:
        assert torch.load(tmp_path / name, weights_only=True)["meta"]["n_tokens"] > 0


@pytest.mark.parametrize("line", PRINTING)
def test_24_a_reader_that_is_gone_ends_a_command_in_silence(short_text: Path, line: str) -> None:
    """Where the reader has gone before a word is said, every command ends with 141, silently, behind its files."""
    reader, writer = os.pipe()
    os.close(reader)

    result = subprocess.run(
        [sys.executable, "-m", "llmprep", *line.split()], stdout=writer, stderr=subprocess.PIPE, cwd=short_text,
        env=clean_environment(), timeout=60, check=False,
    )  # fmt: skip

    os.close(writer)
    assert result.returncode == 141
    assert b"error" not in result.stderr
    assert {path.name for path in short_text.iterdir()} == {"a.txt", *MADE[line]}


# --- 31: signals ----------------------------------------------------------------------------------


@contextlib.contextmanager
def running(*arguments: str, cwd: Path, **choices: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command; whatever happens, it does not outlive the test."""
    with subprocess.Popen(
        [sys.executable, "-m", "llmprep", *arguments], cwd=cwd, env=clean_environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **choices,
    ) as child:  # fmt: skip
        try:
            yield child
        finally:
            child.kill()


def wait_for(what: Callable[[], bool], child: subprocess.Popen[bytes]) -> None:
    """Wait until ``what`` holds, but no longer than the child lives, nor than half a minute."""
    deadline = time.monotonic() + 30
    while not what():
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


@contextlib.contextmanager
def writing(fifo: Path, child: subprocess.Popen[bytes]) -> Iterator[io.FileIO]:
    """Open a FIFO to write into as soon as the child has opened it to read."""
    opened: list[int] = []

    def has_reader() -> bool:
        with contextlib.suppress(OSError):
            opened.append(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
        return bool(opened)

    wait_for(has_reader, child)
    os.set_blocking(opened[0], True)
    with io.FileIO(opened[0], "wb") as writer:
        yield writer


@contextlib.contextmanager
def reading(fifo: Path, child: subprocess.Popen[bytes]) -> Iterator[io.FileIO]:
    """Open a FIFO to read from, and wait until the child has written into it."""
    with io.FileIO(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
        wait_for(lambda: bool(reader.read(1)), child)
        os.set_blocking(reader.fileno(), True)
        yield reader


def stop(child: subprocess.Popen[bytes], *signals: signal.Signals) -> tuple[int, float]:
    """Send signals one after the other; return the exit code, and the seconds that the end took."""
    begun = time.monotonic()
    for number in signals:
        child.send_signal(number)
        time.sleep(0.002)
    child.wait(timeout=30)
    return child.returncode, time.monotonic() - begun


def has_temporary(folder: Path, size: int = 1) -> bool:
    """Whether a temporary file of llmprep's, of at least ``size`` bytes, lies in a folder."""
    return any(path.stat().st_size >= size for path in folder.glob(".llmprep-*.tmp"))


SIGNALS = [
    ([signal.SIGINT], 130),
    ([signal.SIGTERM], 143),
    ([signal.SIGHUP], 129),
    ([signal.SIGINT] * 5, 130),
    ([signal.SIGTERM] * 5, 143),
]


@pytest.mark.parametrize(("signals", "code"), SIGNALS)
def test_31_a_signal_while_reading_ends_it(tmp_path: Path, signals: list[signal.Signals], code: int) -> None:
    """While input is awaited, one signal or several end the command at once; the old file stays, no other is left."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    (tmp_path / "o.pt").write_bytes(b"PK\x03\x04 an old file")
    before = tree(tmp_path)

    n_pipes = 2 * (os.cpu_count() or 1) + 4  # two pipes full for each thread, and more
    text = b"one two three\n" * (n_pipes * 65_536 // 14)

    with running("tokenize", "fifo", "-o", "o.pt", cwd=tmp_path) as child, writing(fifo, child) as writer:
        writer.write(text)
        wait_for(lambda: has_temporary(tmp_path), child)
        ended, took = stop(child, *signals)
        stdout, stderr = child.communicate()

    assert (ended, stdout, stderr) == (code, b"", b"")
    assert took < 3
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("command", "signals", "code"),
    [
        ("pairs", *SIGNALS[0]),
        ("window", *SIGNALS[1]),
        ("embed", *SIGNALS[0]),
        pytest.param("embed", *SIGNALS[1], marks=pytest.mark.slow),
    ],
)
def test_31_every_command_heeds_a_signal_while_reading(
    tmp_path: Path, command: str, signals: list[signal.Signals], code: int
) -> None:
    """The same for each other command, after its first input has come."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    before = tree(tmp_path)
    ends = ["--start", "10000000"] if command == "pairs" else []

    with running(command, "fifo", "-o", "o.pt", *ends, cwd=tmp_path) as child, writing(fifo, child) as writer:
        writer.write(b"one two three\n" * (2 * BLOCK_BYTES // 14))
        ended, took = stop(child, *signals)
        stdout, stderr = child.communicate()

    assert (ended, stdout, stderr) == (code, b"", b"")
    assert took < 3
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["window", "--dense", "--max-length", "256", "--stride", "1"],
        pytest.param(["embed", "--max-length", "64", "--stride", "1", "--dim", "512"], marks=pytest.mark.slow),
    ],
    ids=["window --dense", "embed"],
)
@pytest.mark.parametrize(("signals", "code"), [SIGNALS[0], SIGNALS[4]])
def test_31_a_signal_while_writing_ends_it(
    tmp_path: Path, story: Path, arguments: list[str], signals: list[signal.Signals], code: int
) -> None:
    """While a large file is written, a signal ends the command; the old file stays, and no temporary one is left."""
    shutil.copy(story, tmp_path / "a.txt")
    (tmp_path / "a.txt").write_text(story.read_text(encoding="utf-8") * 10)
    (tmp_path / "o.pt").write_bytes(b"PK\x03\x04 an old file")
    before = tree(tmp_path)

    with running(*arguments, "a.txt", "-o", "o.pt", cwd=tmp_path) as child:
        wait_for(lambda: has_temporary(tmp_path, size=1_000_000), child)
        ended, took = stop(child, *signals)
        stdout, stderr = child.communicate()

    assert (ended, stdout) == (code, b"")
    assert all(line.startswith(b"llmprep: note: ") for line in stderr.splitlines())
    assert took < 3
    assert tree(tmp_path) == before


def test_31_a_signal_that_was_ignored_stays_ignored(tmp_path: Path) -> None:
    """Under nohup, which has SIGHUP ignored, a hang-up does not end the command."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with running("tokenize", "fifo", cwd=tmp_path, preexec_fn=ignore) as child, writing(fifo, child) as writer:
        writer.write(b"one two three")
        time.sleep(0.3)
        child.send_signal(signal.SIGHUP)
        time.sleep(0.1)
        writer.close()
        child.communicate(timeout=30)

    assert child.returncode == 0
    assert ids_in(tmp_path / "fifo.tokens.pt") == encode("one two three")


# --- 35: memory -----------------------------------------------------------------------------------


def limited(n_bytes: int) -> Callable[[], None]:
    """What a child does before it starts: limit its address space."""
    return lambda: resource.setrlimit(resource.RLIMIT_AS, (n_bytes, n_bytes))


@pytest.mark.slow
def test_35_a_memory_limit_names_what_to_lower_for_embed(tmp_path: Path, story: Path) -> None:
    """Tables that do not fit under the limit are one line that names --dim, and no file is left."""
    script = "import llmprep.embedding, torch; torch.zeros(1); print(open('/proc/self/status').read())"
    status = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    (started,) = re.findall(r"VmPeak:\s+(\d+) kB", status)

    with running(
        "embed", str(story), "--dim", "16384", "-o", "o.pt", cwd=tmp_path,
        preexec_fn=limited(int(started) * 1024 + 800_000_000),
    ) as child:  # fmt: skip
        stdout, stderr = child.communicate(timeout=60)

    check_one_line(Ended(child.returncode, stdout, stderr), 1, "out of memory; lower ", "--dim", "ulimit -v")
    assert list(tmp_path.iterdir()) == []


def test_35_a_memory_limit_names_what_to_lower_for_dense_windows(tmp_path: Path) -> None:
    """A window that does not fit under the limit is one line that names --max-length, and no file is left."""
    n_tokens = 20_000_000
    with (tmp_path / "ids.pt").open("wb") as file:
        view = TensorView(0, "uint16", (n_tokens,), (1,))
        write_pt(file, [[np.zeros(n_tokens, "<u2").data.cast("B")]], lambda _: {"token_ids": view})
    before = tree(tmp_path)

    with running(
        "window", "ids.pt", "--encoding", "gpt2", "--dense", "--max-length", str(n_tokens - 1), "-o", "o.pt",
        cwd=tmp_path,
        preexec_fn=limited(400_000_000),
    ) as child:  # fmt: skip
        stdout, stderr = child.communicate(timeout=60)

    check_one_line(Ended(child.returncode, stdout, stderr), 1, "out of memory; lower ", "--max-length", "ulimit -v")
    assert tree(tmp_path) == before


# --- 40 to 42: sizes, dtypes, devices -------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--max-length", "2048"], ["2048", "--context-length 1024"]),
        (["--max-length", "5", "--context-length", "4"], ["max_length 5", "--context-length 4"]),
        (
            ["--dim", "65536", "--context-length", str(LARGEST)],
            ["--dim 65536", "50257", f"{(50257 + LARGEST) * 65536 * 4 / 1e9:.1f} GB", "this machine"],
        ),
        (["--dim", "0"], ["'--dim'", "1"]),
        (["--dim", "65537"], ["'--dim'", "65536"]),
        (["--dim", "-1"], ["'--dim'"]),
        (["--dim", "1" + "0" * 30], ["'--dim'"]),
        (["--context-length", "0"], ["'--context-length'", "1"]),
        (["--context-length", str(LARGEST + 1)], ["'--context-length'", str(LARGEST)]),
    ],
    ids=" ".join,
)
def test_40_tables_that_cannot_be_are_refused(
    refused: Refused, story: Path, options: list[str], words: list[str]
) -> None:
    """Too long a window, too large a table or a size out of range names both numbers, the size or the range."""
    refused("embed", story, "--max-length", "4", *options, code=2, begins="", words=words)


@pytest.mark.parametrize("command", ["tokenize", "window"])
@pytest.mark.parametrize("encoding", ["cl100k_base", "o200k_base"])
def test_41_uint16_is_refused_for_a_large_vocabulary(
    refused: Refused, call: Call, vocab_dir: Path, story: Path, command: str, encoding: str
) -> None:
    """``--dtype uint16`` cannot hold every id of a vocabulary over 65,536, from a text or from a tokens file."""
    n_vocab = tiktoken_encoding(encoding).n_vocab
    made_with = ["--encoding", encoding, "--vocab-dir", vocab_dir]
    assert call("tokenize", story, *made_with, "-o", "ids.pt").code == 0

    for arguments in ([story, *made_with], ["ids.pt"]):
        refused(
            command, *arguments, "--dtype", "uint16", "-o", "o.pt", code=2, begins="--dtype uint16: ",
            words=["65535", str(n_vocab), "use int32 or int64"],
        )  # fmt: skip


def test_41_uint16_holds_every_id_of_gpt2(call: Call, story: Path) -> None:
    """For GPT-2's vocabulary uint16 holds the same ids in a quarter of the space."""
    assert call("tokenize", story, "--dtype", "uint16").code == 0

    ids = load("story.tokens.pt")["token_ids"]
    assert ids.dtype == torch.uint16
    assert ids.tolist() == encode(story.read_text(encoding="utf-8"))


@pytest.mark.parametrize("device", ["cuda:99", "nonsense", "cpu:x"])
def test_42_a_device_that_is_not_there_is_refused(refused: Refused, story: Path, device: str) -> None:
    """A device that torch does not have here is one line, before the text is read."""
    refused("embed", story, "--device", device, code=2, begins=f"--device {device}: not available here")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_42_cuda_without_cuda_is_refused(refused: Refused, story: Path) -> None:
    """``--device cuda`` without CUDA is one line."""
    refused("embed", story, "--device", "cuda", code=2, begins="--device cuda: not available here")


# --- 43: vocabularies -----------------------------------------------------------------------------

NAME = "cl100k_base"
FILE = f"{NAME}.tiktoken"
HOW = "put the file into a folder and name that with --vocab-dir or LLMPREP_VOCAB_DIR"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without a network whose caches are empty; returns tiktoken's cache folder."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setattr(urllib.request, "_opener", None)
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(cache))
    return cache


@pytest.fixture
def tokenized(call: Call, no_network: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """Tokenize a text with a vocabulary that is not in the package; the cache is as ``no_network`` made it."""
    Path("a.txt").write_text("one two three")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(no_network))
    return lambda *more: call("tokenize", "a.txt", "--encoding", NAME, "-o", "o.pt", *more)


def test_43_gpt2_needs_no_network(call: Call, no_network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GPT-2 and its relatives work without network and caches, and look for none."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    Path("a.txt").write_text("one two three")

    for name in ("gpt2", "r50k_base", "p50k_base", "p50k_edit", "text-davinci-003"):
        assert call("tokenize", "a.txt", "--encoding", name).code == 0


def test_43_no_network_names_where_it_looked(tokenized: Callable[..., Ended], no_network: Path, tmp_path: Path) -> None:
    """Without network, one line names the cache, the address and how to supply the file; a note tells of the try."""
    before = tree(tmp_path)

    ended = tokenized()

    check_one_line(ended, 5, f"{FILE}: not to be had; tried ", f"{no_network} (no {FILE} in it)", HOW)
    assert "openaipublic.blob.core.windows.net" in ended.notes[-1]
    assert ended.notes[0] == f"llmprep: note: downloading {FILE} from openaipublic.blob.core.windows.net"
    assert tree(tmp_path) == before


def test_43_a_vocabulary_in_the_cache_or_the_folder_is_used(
    call: Call, no_network: Path, vocab_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is found in --vocab-dir, LLMPREP_VOCAB_DIR and tiktoken's cache, under its name or the cache's."""
    Path("a.txt").write_text("one two three")
    wanted = encode("one two three", NAME)

    given = call("tokenize", "a.txt", "--encoding", NAME, "--vocab-dir", vocab_dir)
    monkeypatch.setenv("LLMPREP_VOCAB_DIR", str(vocab_dir))
    named = call("tokenize", "a.txt", "--encoding", NAME)
    monkeypatch.delenv("LLMPREP_VOCAB_DIR")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(no_network))
    (no_network / cache_name(rank_address(NAME))).write_bytes(rank_file(NAME))
    cached = call("tokenize", "a.txt", "--encoding", NAME)

    assert [(ended.code, ended.notes) for ended in (given, named, cached)] == [(0, [])] * 3
    assert ids_in("a.tokens.pt") == wanted


@pytest.mark.parametrize("damage", [lambda data: data[:1000], lambda data: data + b"\n", lambda _: b""])
def test_43_a_wrong_file_in_the_given_folder_is_refused(
    tokenized: Callable[..., Ended], tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    """A file in --vocab-dir whose hash is not the pinned one is refused by name; nothing is downloaded instead."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / FILE).write_bytes(damage(rank_file(NAME)))

    ended = tokenized("--vocab-dir", folder)

    check_one_line(ended, 5, f"{folder / FILE}: its sha256 is not ", "replace it")
    assert len(ended.notes) == 1


def test_43_a_truncated_cache_is_told(tokenized: Callable[..., Ended], no_network: Path) -> None:
    """A damaged file in the cache is not used, and without network the line names it."""
    kept = no_network / cache_name(rank_address(NAME))
    kept.write_bytes(rank_file(NAME)[:100_000])

    ended = tokenized()

    check_one_line(ended, 5, f"{FILE}: not to be had; ", f"{kept} (wrong sha256", HOW)


def test_43_a_folder_that_is_not_there_is_told(tokenized: Callable[..., Ended], tmp_path: Path) -> None:
    """A --vocab-dir that does not exist is named among the places tried."""
    ended = tokenized("--vocab-dir", tmp_path / "nowhere")

    check_one_line(ended, 5, f"{FILE}: not to be had; ", f"--vocab-dir {tmp_path / 'nowhere'} (no {FILE} in it)", HOW)


class Answer(http.server.BaseHTTPRequestHandler):
    """Answers every request with its server's ``status`` and ``body``."""

    def do_GET(self) -> None:
        """Answer, or, where the status says so, half-answer."""
        status, body = self.server.answer  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if status == http.HTTPStatus.PARTIAL_CONTENT else body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def network(answer: tuple[int, bytes]) -> Iterator[str]:
    """A server on this machine; yields its address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        server.answer = answer  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def redirect(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Have every download go to ``address`` instead."""
    opened = urllib.request.urlopen
    monkeypatch.setattr(urllib.request, "urlopen", lambda _, timeout: opened(address, timeout=timeout))


def test_43_a_download_is_told_checked_and_kept(
    tokenized: Callable[..., Ended], no_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vocabulary is downloaded once: the note says so, the hash is checked, and the cache has it the next time."""
    with network((200, rank_file(NAME))) as address, monkeypatch.context() as patch:
        redirect(patch, address)
        first = tokenized()
    second = tokenized("--force")

    assert (first.code, second.code) == (0, 0)
    assert first.notes == [f"llmprep: note: downloading {FILE} from openaipublic.blob.core.windows.net"]
    assert second.notes == []
    (kept,) = no_network.iterdir()
    assert kept.name == cache_name(rank_address(NAME))
    assert hashlib.sha256(kept.read_bytes()).digest() == hashlib.sha256(rank_file(NAME)).digest()
    assert ids_in("o.pt") == encode("one two three", NAME)


def test_43_a_cache_that_cannot_be_written_is_only_told(
    tokenized: Callable[..., Ended], no_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the cache cannot be written, the run goes on with what it downloaded, and says that it is not kept."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(no_network / "file" / "below"))
    (no_network / "file").write_text("in the way")

    with network((200, rank_file(NAME))) as address:
        redirect(monkeypatch, address)
        ended = tokenized()

    assert ended.code == 0
    assert "not kept there" in ended.notes[-1]
    assert ids_in("o.pt") == encode("one two three", NAME)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, b"<html>Please log in</html>"), ["the download's sha256 is not", "nothing was kept"]),
        ((200, b""), ["the download's sha256 is not"]),
        ((404, b"gone"), ["Not Found", HOW]),
        ((500, b""), ["Internal Server Error", HOW]),
        ((206, b"x" * 1000), ["sha256 is not"]),
    ],
    ids=["another page", "nothing", "not found", "broken server", "cut short"],
)
def test_43_a_wrong_answer_is_refused(
    tokenized: Callable[..., Ended], no_network: Path, monkeypatch: pytest.MonkeyPatch, answer: tuple[int, bytes],
    words: list[str],
) -> None:  # fmt: skip
    """An answer that is not the file is one line, and nothing of it is kept."""
    with network(answer) as address:
        redirect(monkeypatch, address)
        ended = tokenized()

    check_one_line(ended, 5, f"{FILE}: ", *words)
    assert list(no_network.iterdir()) == []
    assert not Path("o.pt").exists()


@contextlib.contextmanager
def silent_server(until: float) -> Iterator[int]:
    """A server that accepts connections and does not answer for ``until`` seconds; yields its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listening:
        closing = threading.Timer(until, listening.close)
        closing.start()
        yield listening.getsockname()[1]
        closing.cancel()
        closing.join()


def test_43_a_silent_network_ends(tokenized: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that accepts and never answers ends with the one line when the time allowed is over."""
    monkeypatch.setattr("llmprep.vocabulary.downloading.CONNECT_SECONDS", 0.2)

    with silent_server(until=10) as port:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        ended = tokenized()

    check_one_line(ended, 5, f"{FILE}: not to be had; ", "timed out", HOW)


def test_43_a_network_that_drips_ends(tokenized: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that sends a byte now and then ends when the time allowed for the whole is over."""
    monkeypatch.setattr("llmprep.vocabulary.downloading.DOWNLOAD_SECONDS", 0.5)

    def drip(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
            for _ in range(300):
                connection.sendall(b"x")
                time.sleep(0.02)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=drip, args=(listening,))
        thread.start()
        redirect(monkeypatch, f"http://127.0.0.1:{listening.getsockname()[1]}")
        ended = tokenized()
        thread.join(timeout=10)

    check_one_line(ended, 5, f"{FILE}: not to be had; ", "not complete after", HOW)


@pytest.mark.slow
def test_43_a_silent_network_ends_within_30_seconds(llmprep: Run, tmp_path: Path) -> None:
    """With the times as they are, the one line comes within 30 seconds."""
    (tmp_path / "a.txt").write_text("one two three")
    begun = time.monotonic()

    with silent_server(until=40) as port:
        env = {"https_proxy": f"http://127.0.0.1:{port}", "no_proxy": "", "TIKTOKEN_CACHE_DIR": str(tmp_path)}
        result = llmprep("tokenize", "a.txt", "--encoding", NAME, env=env)

    check_one_line(ended_as(result), 5, f"{FILE}: not to be had; ", "timed out", HOW)
    assert time.monotonic() - begun < 30


def test_43_a_preview_needs_no_network(
    call: Call, vocab_dir: Path, no_network: Path, monkeypatch: pytest.MonkeyPatch, story: Path
) -> None:
    """A tokens file whose vocabulary is not here is windowed all the same, shown as ids, and nothing is downloaded."""
    call("tokenize", story, "--encoding", NAME, "--vocab-dir", vocab_dir, "-o", "ids.pt")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(no_network))
    monkeypatch.setattr(socket.socket, "connect", refuse)
    without = call("window", "ids.pt", "--max-length", "4", "-o", "w.pt")
    given = call("window", "ids.pt", "--max-length", "4", "-o", "w.pt", "--vocab-dir", vocab_dir)

    ids = encode(story.read_text(encoding="utf-8"), NAME)
    decode = tiktoken_encoding(NAME).decode
    assert (without.code, given.code) == (0, 0)
    assert f"[{ids[0]}] ----> {ids[1]}" in without.lines
    (note,) = without.notes
    assert note.startswith(f"llmprep: note: text is not shown: {FILE}: not to be had; tried ")
    assert given.notes == []
    assert f"{decode(ids[:1])} ----> {decode(ids[1:2])}" in given.lines


# --- 45: surroundings -----------------------------------------------------------------------------

SURROUNDINGS: dict[str, dict[str, str | None]] = {
    "torch made careless": {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"},
    "without asserts and docstrings": {"PYTHONOPTIMIZE": "2"},
    "LC_ALL=C": {"LC_ALL": "C"},
    "a Python that takes C at its word": {
        "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii:strict",
    },
    "Turkish": {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"},
    "no home": {"HOME": None, "USER": None, "LOGNAME": None},
    "a home that is not there": {"HOME": "/nonexistent"},
    "another time zone": {"TZ": "Pacific/Kiritimati"},
    "another hash seed": {"PYTHONHASHSEED": "4242"},
    "no terminal type": {"TERM": None, "COLUMNS": "0", "LINES": "x"},
    "many threads": {"OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "1"},
    "UTF-8 mode off, warnings on": {"PYTHONUTF8": "0", "PYTHONWARNINGS": "default"},
}  # fmt: skip


def run_in(env: Mapping[str, str | None], cwd: Path, *arguments: str | Path, **choices: Any) -> Ended:
    """Run a command with variables set, or, where None, unset."""
    changed = clean_environment({name: value for name, value in env.items() if value is not None})
    kept = {name: value for name, value in changed.items() if env.get(name, "") is not None}
    command = [sys.executable, "-m", "llmprep", *arguments]
    return ended_as(subprocess.run(command, cwd=cwd, env=kept, capture_output=True, check=False, **choices))


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the text of case 45, and the windows that it gives in usual surroundings."""
    folder = tmp_path_factory.mktemp("usual")
    text = "".join((SAMPLES / name).read_text(encoding="utf-8")[:3000] for name in ("story.txt", "scripts.txt"))
    (folder / "\u0130stanbul.txt").write_text(text + "\x1b[31m I\u0131 \u202e", encoding="utf-8")
    assert run_in({}, folder, "window", "\u0130stanbul.txt", "--max-length", "8", "--preview", "200").code == 0
    return folder


@pytest.mark.parametrize("env", SURROUNDINGS.values(), ids=SURROUNDINGS.keys())
def test_45_surroundings_change_no_byte(usual: Path, tmp_path: Path, env: dict[str, str | None]) -> None:
    """Locale, home, time zone, hash seed, optimisation and torch's own switches change no byte of a file."""
    name = "\u0130stanbul.txt"

    ended = run_in(env, tmp_path, "window", usual / name, "--max-length", "8", "--preview", "200", "-o", "w.pt")

    assert (ended.code, ended.stderr) == (0, b"")
    assert (tmp_path / "w.pt").read_bytes() == (usual / "\u0130stanbul.windows.pt").read_bytes()
    assert "\x1b" not in ended.stdout.decode()


@pytest.mark.slow
@pytest.mark.parametrize("names", [list(SURROUNDINGS)[0::2], list(SURROUNDINGS)[1::2]], ids=["one half", "the other"])
def test_45_surroundings_change_no_embedding(usual: Path, tmp_path: Path, names: list[str]) -> None:
    """The same for embeddings, with several of these at once."""
    env = {variable: value for name in names for variable, value in SURROUNDINGS[name].items()}
    embed: list[str | Path] = ["embed", usual / "\u0130stanbul.windows.pt", "--dim", "8", "--shuffle", "-o"]

    there = run_in(env, tmp_path, *embed, "there.pt")
    here = run_in({}, tmp_path, *embed, "here.pt")

    assert (there.code, here.code) == (0, 0)
    assert (tmp_path / "there.pt").read_bytes() == (tmp_path / "here.pt").read_bytes()


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
def test_45_the_umask_decides_who_may_read(usual: Path, tmp_path: Path, umask: int, mode: int) -> None:
    """A new file has the permissions that the umask leaves, and the same bytes."""
    text = usual / "\u0130stanbul.txt"

    ended = run_in({}, tmp_path, "window", text, "--max-length", "8", "-q", "-o", "w.pt", umask=umask)

    assert (ended.code, ended.stderr) == (0, b"")
    assert stat.S_IMODE((tmp_path / "w.pt").stat().st_mode) == mode
    assert (tmp_path / "w.pt").read_bytes() == (usual / "\u0130stanbul.windows.pt").read_bytes()


def test_45_a_deleted_current_folder_is_no_matter(usual: Path, tmp_path: Path) -> None:
    """With the current folder gone, absolute paths work, and a relative output is one line."""
    text, target = usual / "\u0130stanbul.txt", tmp_path / "w.pt"
    gone = f"mkdir {tmp_path}/gone; cd {tmp_path}/gone; rmdir {tmp_path}/gone; "

    absolute = shell(f"{gone} llmprep window {text} --max-length 8 -q -o {target}", tmp_path)
    relative = shell(f"{gone} llmprep window {text} --max-length 8 -q -o w.pt", tmp_path)

    assert (absolute.code, absolute.stderr) == (0, b"")
    assert target.read_bytes() == (usual / "\u0130stanbul.windows.pt").read_bytes()
    check_one_line(relative, 1, "w.pt: ")
