"""Texts that are none, are damaged far inside, have no end or no place to cut: exact ids, or one line."""

import codecs
import gzip
import itertools
import json
import os
import random
import time
from pathlib import Path

import pytest
from support.commands import Call
from support.processes import finish, running
from support.reference import encode
from support.refusals import OLD, Refusal, check_error, check_refusal, each_row, names

from llmprep.ptfile.reading import read_pt

COMMANDS = ("tokenize --special error -j 1", "tokenize --special error -j 2")
WORDS = b"word " * 500_000
RECORDS = [json.dumps({"text": f"record {k}"}) for k in range(10_000)]
MEMBERS = gzip.compress(b"It was the best of times. " * 900) + gzip.compress(b"It was late. " * 900)


def damaged(name: str, data: str | bytes, line: str) -> Refusal:
    """A file that ends a run of one thread, and of two, which have an old output to replace."""
    return Refusal({name: data, "x.pt": OLD}, f"{name} -o x.pt", 3, f"{name}: {line}", commands=COMMANDS)


DAMAGED = {
    "UTF-16": damaged(
        "a.txt", codecs.BOM_UTF16_LE + "Some plain text".encode("utf-16-le"),
        "looks like UTF-16 text (little-endian), not UTF-8 text; convert it first...",
    ),
    "binary data": damaged("a.txt", b"\x00\x01\x02\x00" * 50, "looks like binary data ..., not UTF-8 text; ..."),
    "another character set, far inside": damaged(
        "a.txt", WORDS + b"caf\xe9 " + WORDS, f"not valid UTF-8 at byte {len(WORDS) + 3} (0xe9); ...iconv..."
    ),
    "half a character, at the end": damaged("a.txt", b"un caf\xc3", "not valid UTF-8 at byte 6 (0xc3); ..."),
    "a forged boundary": damaged(
        "a.txt", WORDS + b"<|endoftext|>", f"special token <|endoftext|> in the text at byte {len(WORDS)}; ..."
    ),
    "a bad record, far inside": damaged(
        "a.jsonl", "\n".join([*RECORDS, '{"text": 7}', *RECORDS]), "line 10001: field text is a number, not a string"
    ),
    "cut short by a byte": damaged("a.gz", MEMBERS[:-1], "the gzip data is cut short..."),
    "garbage at its end": damaged("a.gz", MEMBERS + b"garbage", "the gzip data is ..."),
}  # fmt: skip


@each_row(DAMAGED)
def test_a_text_that_cannot_be_read_withdraws_what_was_written(refusal: Refusal, call: Call) -> None:
    """However much that is sound comes before, it is one line that says where; the old output is intact."""
    check_refusal(call, refusal)


DRAWN = random.Random(13)  # noqa: S311 - texts, no secrets
UNCUT = {
    "minified": "".join(DRAWN.choices(["alpha", "be,", "(x)", "=>", "{}", "3.14", '"s"', "//", "_y", ";"], k=100_000)),
    "Chinese": "".join(map(chr, DRAWN.choices(range(0x4E00, 0x9FA5), k=17_000))),
}


@pytest.mark.parametrize("times", [1, pytest.param(10, marks=pytest.mark.slow)])
@pytest.mark.parametrize("what", UNCUT)
def test_text_without_a_place_to_cut_is_exact_and_takes_no_longer(what: str, times: int, call: Call) -> None:
    """Ids are tiktoken's of the whole text, and take at most a few times as long."""
    text = UNCUT[what] * times
    Path("a.txt").write_text(text, encoding="utf-8")
    begun = time.process_time()
    expected = encode(text)
    usual = time.process_time() - begun
    begun = time.process_time()
    assert call("tokenize", "a.txt", "-q").code == 0
    assert time.process_time() - begun < 5 * usual + 2
    assert read_pt(Path("a.tokens.pt")).tensors["token_ids"].tolist() == expected


ENDLESS = [
    ("endless.jsonl", "line 2: longer than 8388608 bytes..."),
    ("endless.txt", "... bytes from byte 0 on without a letter..."),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "reason"), ENDLESS)
def test_a_line_without_end_is_refused(name: str, reason: str, tmp_path: Path) -> None:
    """A pipe that delivers one line without end is an error at a cap, not the end of the memory."""
    os.mkfifo(tmp_path / name)
    with running("tokenize", name, "-o", "x.pt", cwd=tmp_path) as child:
        with pytest.raises(BrokenPipeError), (tmp_path / name).open("wb", buffering=0) as file:
            file.writelines(itertools.chain([b'{"text": "one"}\n{"text": "'], itertools.repeat(b"." * (1 << 20), 4096)))
        ended = finish(child)
    check_error(ended, 3, f"{name}: {reason}")
    assert names(tmp_path) == {name}
