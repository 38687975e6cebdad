"""Inputs that are empty, too short, missing or no text, and numbers out of range: one line, and nothing left behind."""

from __future__ import annotations

import codecs
import gzip
import itertools
from pathlib import Path

import pytest
from support.commands import Call, Run
from support.processes import ended_as, unprivileged
from support.reference import encode
from support.refusals import Files, Refusal, check_error, check_refusal, check_refused, each_row, frugal, names

from llmprep.preview.plain import visible
from llmprep.ptfile.reading import read_pt

COMMANDS = ("tokenize", "pairs", "window", "embed")
WINDOWING = ("window", "embed")
BOM = codecs.BOM_UTF8
LARGEST = 2**31 - 1
TEN: Files = {"a.txt": "a" + " a" * 9}
TABLES = "embed a.txt --max-length 4 "

# --- too little -----------------------------------------------------------------------------------

SHORT = {
    "nothing": Refusal({"a.txt": ""}, "a.txt", 3, "a.txt: empty: 0 tokens", commands=(*COMMANDS, "tokenize --count")),
    "only a byte order mark": Refusal({"a.txt": BOM}, "a.txt", 3, "a.txt: empty: 0 tokens", commands=COMMANDS),
    "nothing in several": Refusal(
        {"a": "", "b": BOM}, "a b -o o.pt", 3, "2 inputs: empty: 0 tokens", commands=COMMANDS
    ),
    "one token, no window": Refusal(
        {"a.txt": "The"}, "a.txt --max-length 4", 3,
        "a.txt: 1 tokens give no window of max_length 4; a window needs at least 2 tokens", commands=WINDOWING,
    ),
    "one token, no pair": Refusal(
        {"a.txt": "The"}, "pairs a.txt", 3, "a.txt: 1 tokens; ... lower --start, --context-size or --windows"
    ),
    "as many tokens as max_length": Refusal(
        TEN, "a.txt --max-length 10", 3,
        "a.txt: 10 tokens give no window of max_length 10; the largest max_length that works is 9",
        commands=(*WINDOWING, "window --dense", "window --stride 1", "window --stride 50", "embed --stride 50"),
    ),
}  # fmt: skip


@each_row(SHORT)
def test_too_little_text_is_refused(refusal: Refusal, call: Call) -> None:
    """No tokens, or too few for one window or pair: the error says how many there are, and what would work."""
    check_refusal(call, refusal)


@pytest.mark.parametrize("more", [[], ["--dense"], ["--stride", "1"], ["--stride", "50"]], ids=" ".join)
def test_the_largest_max_length_that_works_gives_one_window(call: Call, more: list[str]) -> None:
    """What the error above advises is so, whatever the stride."""
    Path("a.txt").write_text("a" + " a" * 9)
    ids = encode("a" + " a" * 9)

    assert call("window", "a.txt", "--max-length", "9", *more).code == 0

    made = read_pt(Path("a.windows.pt")).tensors
    assert (made["input_ids"].tolist(), made["target_ids"].tolist()) == ([ids[:9]], [ids[1:]])


@pytest.mark.parametrize("order", list(itertools.permutations(["one.txt", "none.txt", "two.txt"]))[:4], ids=" ".join)
def test_an_empty_file_among_others_is_skipped_and_said(call: Call, order: tuple[str, ...]) -> None:
    """It adds nothing, not even a separator; a note counts it, ``meta`` lists it and ``--count`` gives it a zero."""
    texts = {"one.txt": "The first text.", "two.txt": "The second text.", "none.txt": ""}
    for name, text in texts.items():
        Path(name).write_text(text)
    first, second = [encode(texts[name]) for name in order if texts[name]]

    ended = call("tokenize", *order, "-o", "o.pt")
    counted = call("tokenize", "--count", *order)

    made = read_pt(Path("o.pt"))
    assert (ended.code, ended.notes) == (0, ["llmprep: note: 1 empty input skipped: none.txt"])
    assert made.tensors["token_ids"].tolist() == [*first, 50256, *second]
    sizes = [(source["name"], source["tokens"], source["bytes"]) for source in made.meta["sources"]]
    assert sizes == [(name, len(encode(texts[name])), len(texts[name])) for name in order]
    assert counted.lines == [*(f"{len(encode(texts[name]))} {name}" for name in order), "8 total"]


# --- numbers --------------------------------------------------------------------------------------

WRONG_NUMBERS = ("0", "-1", "4.5", "x", "1e3", "1" + "0" * 15, str(LARGEST + 1), "\u0663", " 4", "0x10", "+4", "1_0")


@pytest.mark.parametrize(
    ("command", "option"),
    [("window", "--max-length"), ("embed", "--max-length"), ("window", "--stride"), ("pairs", "--context-size")],
)
def test_a_wrong_size_is_refused(call: Call, command: str, option: str) -> None:
    """0, negative, fractional, exponential, foreign or huge sizes are usage errors that name the range."""
    Path("a.txt").write_text("word " * 1000)

    for value in WRONG_NUMBERS:
        line = (
            f"Invalid value for '{option}': ... is not a whole number from 1 to {LARGEST}; see llmprep {command} --help"
        )
        check_refused(call, command, "a.txt", option, value, code=2, line=line)


WORDS: Files = {"a.txt": "word " * 1000}
LARGE = {
    "a window": Refusal(
        WORDS, f"a.txt --max-length {LARGEST}", 3, "a.txt: 1001 tokens ... the largest max_length that works is 1000",
        commands=(
            "window", f"window --dense --stride {LARGEST}", f"embed --context-length {LARGEST} --dim 1",
        ),
    ),
    "a context": Refusal(WORDS, f"pairs a.txt --context-size {LARGEST} --windows 100000", 3, "a.txt: 1001 tokens; ..."),
    "a start": Refusal(WORDS, f"pairs a.txt --start 1{'0' * 30}", 3, "a.txt: 1001 tokens; ..."),
    "tables": Refusal(
        WORDS, f"{TABLES} --dim 65536 --context-length {LARGEST}", 2, "--dim 65536: tables of (50257 + 2147483647) x "
        "65536 float32 need 562963.1 GB, this machine has ... GB",
    ),
}  # fmt: skip


@each_row(LARGE)
def test_the_largest_size_costs_no_memory(refusal: Refusal, call: Call) -> None:
    """The largest sizes that are allowed are refused for a small text, without allocating by them."""
    check_refusal(call, refusal)

    with frugal(40_000_000):
        check_refusal(call, refusal)


OTHER_NUMBERS = {
    "a window longer than the default table": Refusal(
        {"a.txt": "a" + " a" * 2100}, "embed a.txt --max-length 2048", 2,
        "max_length 2048 is larger than --context-length 1024; ...",
    ),
    "a window longer than the table": Refusal(
        TEN, "embed a.txt --max-length 5 --context-length 4", 2, "max_length 5 is larger than --context-length 4; ..."
    ),
    **{
        f"--dim {value}": Refusal(TEN, f"{TABLES} --dim {value}", 2, "Invalid value for '--dim': ...65536...")
        for value in ("0", "65537", "-1", "1" + "0" * 30)
    },
    **{
        f"--context-length {value}": Refusal(
            TEN, f"{TABLES} --context-length {value}", 2, f"Invalid value for '--context-length': ...{LARGEST}..."
        )
        for value in ("0", LARGEST + 1)
    },
    **{
        f"--device {device}": Refusal(TEN, f"{TABLES} --device {device}", 2, f"--device {device}: not available ...")
        for device in ("cuda:99", "nonsense", "cpu:x")
    },
}  # fmt: skip


@each_row(OTHER_NUMBERS)
def test_tables_and_devices_that_cannot_be_are_refused(refusal: Refusal, call: Call) -> None:
    """Too long a window, a size out of range or a device that is not here names the limit, before the text is read."""
    check_refusal(call, refusal)


def test_uint16_holds_the_ids_of_gpt2_only(call: Call, vocab_dir: Path) -> None:
    """``--dtype uint16`` is refused for a vocabulary over 65,536, of a text or of a file; for GPT-2's it holds all."""
    Path("a.txt").write_text("one two three")
    large = ("a.txt", "--encoding", "cl100k_base", "--vocab-dir", vocab_dir)
    assert call("tokenize", *large, "-o", "ids.pt").code == 0
    line = "--dtype uint16: ...65535...100277...; use int32 or int64"

    for arguments in (large, ("ids.pt",)):
        for command in ("tokenize", "window"):
            check_refused(call, command, *arguments, "--dtype", "uint16", "-o", "o.pt", code=2, line=line)

    assert call("tokenize", "a.txt", "--dtype", "uint16").code == 0
    ids = read_pt(Path("a.tokens.pt")).tensors["token_ids"]
    assert (ids.dtype, ids.tolist()) == ("uint16", encode("one two three"))


# --- no text --------------------------------------------------------------------------------------

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
def test_what_is_not_utf8_text_is_named(call: Call, what: str) -> None:
    """Other encodings, binary data and images are refused with what they look like, in compressed data too."""
    line = f"a.txt: looks like {what}..., not UTF-8 text; convert it first..."
    check_refusal(call, Refusal({"a.txt": NOT_TEXT[what]}, "tokenize a.txt", 3, line))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_byte_order_mark_is_dropped_and_said(call: Call, command: str) -> None:
    """A mark at the start of each file is dropped with a note; any other is a character. A NUL is one too."""
    options = ["--max-length", "4"] if command in WINDOWING else []
    text = b"The first line.\nThe second \x00 line, which \xef\xbb\xbf is longer.\n"
    Path("plain.txt").write_bytes(text)
    Path("marked.txt").write_bytes(BOM + text)

    plain = call(command, "plain.txt", "-o", "plain.pt", *options)
    marked = call(command, "marked.txt", "-o", "marked.pt", *options)

    assert (plain.code, marked.code) == (0, 0)
    assert "llmprep: note: marked.txt: byte order mark dropped" in marked.notes
    made, wanted = read_pt(Path("marked.pt")), read_pt(Path("plain.pt"))
    assert made.meta["content_sha256"] == wanted.meta["content_sha256"]
    if command == "tokenize":
        assert made.tensors["token_ids"].tolist() == encode(text.decode())


# --- no file --------------------------------------------------------------------------------------


def loop(folder: Path) -> None:
    """Two links that lead to each other."""
    (folder / "a.lnk").symlink_to("b.lnk")
    (folder / "b.lnk").symlink_to("a.lnk")


WRONG_FILES = {
    "a folder without files": (lambda to: (to / "in/below").mkdir(parents=True), "in", 2, "there is no file in ..."),
    "missing": (None, "in.txt", 1, "no such file or directory"),
    "a dangling link": (lambda to: (to / "in.txt").symlink_to("none"), "in.txt", 1, "no such file or directory"),
    "a link to itself": (loop, "a.lnk", 1, "too many levels of symbolic links"),
    "below a file": ({"file.txt": "text"}, "file.txt/in.txt", 1, "not a directory"),
    "a pattern that matches nothing": (None, "*.nothing", 1, "no file matches"),
    "a name too long": (None, "n" * 300, 1, "file name too long"),
    "a name with NUL": (None, "a\x00b", 1, "no name holds a NUL character"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG_FILES)
def test_what_is_no_readable_file_is_named_first(call: Call, what: str) -> None:
    """It is one line, before any other input is looked at, here one that is no text, and before a count begins."""
    make, name, code, reason = WRONG_FILES[what]
    Path("binary.txt").write_bytes(b"\x00" * 50)
    line = f"{visible(name)}: {reason}"
    arguments = ("binary.txt", name, "-o", "o.pt")
    check_refusal(call, Refusal(make, arguments, code, line, commands=COMMANDS))
    for choice in ("--count", "--ids"):
        check_refused(call, "tokenize", choice, "binary.txt", name, code=code, line=line)


@pytest.mark.parametrize("closed", ["secret", "secret/a.txt"], ids=["a folder", "a file"])
def test_what_may_not_be_read_is_named_first(closed: str, llmprep: Run, tmp_path: Path) -> None:
    """A file without permission, or in a folder that may not be entered, is one line."""
    prefix = unprivileged()
    (tmp_path / "binary.txt").write_bytes(b"\x00" * 50)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "a.txt").write_text("text")
    (tmp_path / closed).chmod(0)

    ended = ended_as(llmprep("tokenize", "binary.txt", "secret/a.txt", "-o", "o.pt", prefix=prefix))

    (tmp_path / "secret").chmod(0o755)
    check_error(ended, 1, "secret/a.txt: permission denied")
    assert names(tmp_path) == {"binary.txt", "secret"}
