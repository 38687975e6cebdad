"""Inputs that are empty, too short or not there, and numbers out of range: one line, and nothing left behind."""

import codecs
from pathlib import Path

import pytest
from support.commands import Call
from support.refusals import Refusal, check_refusal, check_refused, each_row, frugal

from llmprep.preview.plain import visible

COMMANDS = ("tokenize", "pairs", "window", "embed")
LARGEST = 2**31 - 1
ONE = {"a.txt": "The"}
TEN = {"a.txt": "a" + " a" * 9}
WORDS = {"a.txt": "word " * 1000}

SHORT = {
    "nothing": Refusal({"a.txt": ""}, "a.txt", 3, "a.txt: empty: 0 tokens", commands=(*COMMANDS, "tokenize --count")),
    "only a byte order mark": Refusal({"a.txt": codecs.BOM_UTF8}, "tokenize a.txt", 3, "a.txt: empty: 0 tokens"),
    "nothing in several": Refusal({"a": "", "b": ""}, "a b -o o.pt", 3, "2 inputs: empty: 0 tokens", commands=COMMANDS),
    "one token, no window": Refusal(
        ONE, "a.txt --max-length 4", 3,
        "a.txt: 1 token gives no window of max_length 4; a window needs 2 tokens or more", commands=COMMANDS[2:],
    ),
    "one token, no pair": Refusal(ONE, "pairs a.txt", 3, "a.txt: 1 token; ... lower --start, --context-size or ..."),
    "as many tokens as max_length": Refusal(
        TEN, "a.txt --max-length 10", 3,
        "a.txt: 10 tokens give no window of max_length 10; the largest max_length that works is 9",
        commands=("window", "window --dense", "window --stride 50", "embed"),
    ),
}  # fmt: skip
LARGE = {
    "a window": Refusal(
        WORDS, f"a.txt --max-length {LARGEST}", 3, "a.txt: 1001 tokens ... the largest max_length that works is 1000",
        commands=(f"window --dense --stride {LARGEST}", f"embed --context-length {LARGEST} --dim 1"),
    ),
    "a context": Refusal(WORDS, f"pairs a.txt --context-size {LARGEST} --windows 100000", 3, "a.txt: 1001 tokens; ..."),
    "a start": Refusal(WORDS, f"pairs a.txt --start 1{'0' * 30}", 3, "a.txt: 1001 tokens; ..."),
    "a window larger than the tables": Refusal(
        TEN, "embed a.txt --max-length 5 --context-length 4", 2, "max_length 5 is larger than --context-length 4; ..."
    ),
    "tables": Refusal(
        WORDS, f"embed a.txt --dim 65536 --context-length {LARGEST}", 2,
        "--dim 65536: tables of (50257 + 2147483647) x 65536 float32 need 562963.1 GB, this machine has ... GB",
    ),
}  # fmt: skip


@each_row(SHORT | LARGE)
def test_too_short_a_text_is_refused(refusal: Refusal, call: Call) -> None:
    """Too few tokens: the error says how many there are, and what would work; the largest sizes cost no memory."""
    check_refusal(call, refusal)
    with frugal(40_000_000):
        check_refusal(call, refusal)


WRONG_SIZES = ("0", "-1", "4.5", "1e3", "1" + "0" * 15, str(LARGEST + 1), "\u0663", " 4", "0x10", "+4", "1_0")


@pytest.mark.parametrize("option", ["window --max-length", "embed --stride", "pairs --context-size"])
def test_a_wrong_size_is_refused(option: str, call: Call) -> None:
    """0, negative, fractional, exponential, foreign or huge sizes are usage errors that name the range."""
    command, name = option.split()
    line = f"Invalid value for '{name}': ... is not a whole number from 1 to {LARGEST}; see llmprep {command} --help"
    for value in WRONG_SIZES:
        check_refused(call, command, "a.txt", name, value, code=2, line=line)


def test_tables_and_devices_that_cannot_be_are_refused(call: Call) -> None:
    """A size out of range or a device that is not here names the limit, before the text is read."""
    for option, limit, values in (
        ("--dim", "Invalid ...: ...65536...", ("0", "65537")),
        ("--context-length", f"Invalid ...: ...{LARGEST}...", ("0", str(LARGEST + 1))),
        ("--device", "--device ...: not available here...", ("cuda:99", "nonsense", "cpu:x")),
    ):
        for value in values:
            check_refusal(call, Refusal({"a.txt": b"caf\xe9"}, f"embed a.txt {option} {value}", 2, limit))


WRONG_FILES = {
    "a folder without files": (lambda to: (to / "in/below").mkdir(parents=True), "in", 2, "there is no file in ..."),
    "missing": (None, "in.txt", 1, "no such file or directory"),
    "a link to itself": (lambda to: (to / "a.lnk").symlink_to("a.lnk"), "a.lnk", 1, "too many levels of symbolic ..."),
    "below a file": ({"file.txt": "text"}, "file.txt/in.txt", 1, "not a directory"),
    "a pattern that matches nothing": (None, "*.nothing", 1, "no file matches"),
    "a name too long": (None, "n" * 300, 1, "file name too long"),
    "a name with NUL": (None, "a\x00b", 1, "no name holds a NUL character"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG_FILES)
def test_what_is_no_readable_file_is_named_first(what: str, call: Call) -> None:
    """It is one line, before any other input is looked at, here one that is no text, and before a count begins."""
    make, name, code, reason = WRONG_FILES[what]
    Path("binary.txt").write_bytes(b"\x00" * 50)
    every = (*(f"{command} -o o.pt" for command in COMMANDS), "tokenize --count")
    check_refusal(call, Refusal(make, ("binary.txt", name), code, f"{visible(name)}: {reason}", commands=every))
