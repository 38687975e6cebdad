"""Texts that are hard to read: the same ids, or the same error, wherever the blocks they are read in end."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.commands import Call
from support.processes import finish, running, wait_for
from support.reference import encode
from support.refusals import check_error, check_refused, names

from llmprep.choices import Effort, TextOptions
from llmprep.documents.finding import find_sources
from llmprep.errors import DataError, InputError
from llmprep.ptfile.reading import read_pt
from llmprep.tokens.backends import Encoder
from llmprep.tokens.stream import TokenStream, stream_text
from llmprep.vocabulary.loading import Vocabulary, load_vocabulary

LEAD = b"A few words. "
LONG_LEAD = b"word " * 816 + b"a "
"""Up to just before byte 4096: so much of a file is looked at first, to see what it is."""
EDGES = [*((LEAD, size, 1) for size in (1, 2, 3, 4, 5, 7, 11, 12, 13, 16, 24)), (LEAD, 3, 2), (LONG_LEAD, 1 << 20, 1)]
"""What stands before, bytes of a block, threads: each place of a short text is at, before and after an edge."""
WORDS = b"word " * 2500
OLD = b"PK\x03\x04 the old file"
Open = Callable[..., TokenStream]


@pytest.fixture(scope="module")
def gpt2() -> Vocabulary:
    return load_vocabulary("gpt2")


@pytest.fixture(scope="module")
def opened(gpt2: Vocabulary) -> Open:
    """Open a text to be read in blocks of some size, by some threads."""
    encoders = {special: Encoder(gpt2, special, "tiktoken") for special in ("allow", "text", "error")}

    def open_text(path: Path, block_bytes: int, jobs: int = 1, **options: Any) -> TokenStream:
        chosen = TextOptions(**options)
        effort = Effort("tiktoken", jobs, block_bytes)
        return stream_text(find_sources([str(path)]), gpt2, chosen, effort, encoders[chosen.special])

    return open_text


def ids_of(stream: TokenStream) -> list[int]:
    """Every id of a stream."""
    ids: list[int] = np.concatenate(list(stream)).tolist()
    return ids


def written(path: Path) -> list[int]:
    """The ids of a tokens file."""
    ids: list[int] = read_pt(path).tensors["token_ids"].tolist()
    return ids


# --- edges of blocks ------------------------------------------------------------------------------


@pytest.mark.parametrize(("newlines", "newline"), [("universal", None), ("keep", "")])
def test_line_ends_are_pythons(newlines: str, newline: str | None, tmp_path: Path, opened: Open) -> None:
    """CRLF and lone CR before, on and after each edge of a block give the ids of the text that Python reads."""
    path = tmp_path / "text"
    for ends, (lead, *read) in itertools.product((b"\r\n", b"\r", b"\n", b"\r\r\n\n\r"), EDGES):
        path.write_bytes(lead + ends.join([b"one", b"two three", b"", b"4 ", b" five.", b"6"]) + ends)
        with path.open(encoding="utf-8", newline=newline) as file:
            expected = encode(file.read())

        assert ids_of(opened(path, *read, newlines=newlines)) == expected, (ends, read)


BAD = (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80", b"\xc0\xaf")
CUT = tuple(whole.encode()[:-1] for whole in ("\u00e9", "\u4e2d", "\U0001f600"))


@pytest.mark.parametrize("data", [*(bad + b" and so on" for bad in BAD), *CUT], ids=repr)
def test_a_bad_byte_is_named_by_its_place(data: bytes, tmp_path: Path, opened: Open) -> None:
    """Wherever blocks end, a byte that is not UTF-8 is named, and its place counts from the start of the file."""
    path = tmp_path / "text"
    for lead, *read in EDGES:
        path.write_bytes(lead + "caf\u00e9 \u4e2d\u6587".encode() + data)

        with pytest.raises(DataError) as raised:
            ids_of(opened(path, *read))

        place = f"text: not valid UTF-8 at byte {len(lead) + 12} (0x{data[0]:02x});"
        assert str(raised.value).startswith(f"{tmp_path}/{place}"), read


MARKED = (
    b"one<|endoftext|>two <|endoftext|> <|endoftext|><|endoftext|>\n<|endoftext|",
    b"<|endof text|> three <<|endoftext|>> |endoftext|> <|endofText|> <|fim_prefix|> <|endoftext <|endoftext|>",
)


@pytest.mark.parametrize("special", ["allow", "text"])
@pytest.mark.parametrize("marked", MARKED, ids=["whole", "in part"])
def test_an_end_of_text_string_is_taken_as_chosen(marked: bytes, special: Any, tmp_path: Path, opened: Open) -> None:
    """The string becomes its id or plain text, as tiktoken makes it, and is counted, whichever edge it stands on."""
    path = tmp_path / "text"
    for lead, *read in EDGES:
        path.write_bytes(lead + marked)

        stream = opened(path, *read, special=special)

        assert ids_of(stream) == encode((lead + marked).decode(), special=special), read
        assert stream.figures.n_special == marked.count(b"<|endoftext|>"), read


def test_an_end_of_text_string_is_refused_by_its_place(tmp_path: Path, opened: Open) -> None:
    """With ``error`` the first whole string is named by its byte, wherever blocks end; parts of it pass."""
    path = tmp_path / "text"
    for lead, *read in EDGES:
        path.write_bytes(lead + b"<|endoftext| x |endoftext|> y<|endoftext|> z<|endoftext|>")

        with pytest.raises(DataError, match=rf"special token <\|endoftext\|> in the text at byte {len(lead) + 29};"):
            ids_of(opened(path, *read, special="error"))


def test_the_count_of_end_of_text_strings_is_said(call: Call) -> None:
    """Every run says how many such strings stood in the text and what they became."""
    Path("a.txt").write_text("one<|endoftext|>two<|endoftext|>")

    for special, n_tokens, taken in (("allow", 4, "taken as its id"), ("text", 16, "taken as plain text")):
        ended = call("tokenize", "a.txt", "--special", special)
        assert ended.lines[0].startswith(f"{n_tokens} tokens (gpt2)")
        assert ended.lines[1] == "<|endoftext|> in the text itself: 2; encoded by tiktoken"
        assert ended.notes == [f"llmprep: note: <|endoftext|> stands 2 times in the text itself, {taken} (--special)"]
        assert call("tokenize", "a.txt", "--special", special, "--json").value["n_special"] == 2


def test_code_points_of_unicode_17_are_tiktokens(tmp_path: Path, gpt2: Vocabulary) -> None:
    """With gigatoken, letters that it knows better, beside others and ``'ve``, give tiktoken's ids in any blocks."""
    new = [chr(code) for code in (0x88F, 0x323B0, 0x1E6C0)]
    text = "".join(f"a{c}b {c}A{c}1{c}2 x{c}'ve we'{c}ve {c} {c}{c}\n{c}.{c}\nwords and words " for c in new) + "end"
    (tmp_path / "text").write_text(text, encoding="utf-8")
    encoder = Encoder(gpt2, backend="gigatoken")

    for block_bytes in (1, 10, 64):
        effort = Effort("gigatoken", 2, block_bytes)
        stream = stream_text(find_sources([str(tmp_path / "text")]), gpt2, TextOptions(), effort, encoder)
        assert ids_of(stream) == encode(text), block_bytes
    assert min(encoder.used["tiktoken"], encoder.used["gigatoken"]) > 10


# --- text without a place to cut ------------------------------------------------------------------


def minified(n_bytes: int) -> str:
    """One line of code without white space."""
    words = ["alpha", "be,", "(x)", "=>", "{}", "0", "3.14", '"s"', "fn", "//", "_y", ";", "zz"]
    return "".join(random.Random(13).choices(words, k=n_bytes // 2))[:n_bytes]  # noqa: S311 - a text, no secret


def chinese(n_bytes: int) -> str:
    """Chinese characters, three bytes each, without punctuation."""
    chosen = random.Random(13).choices(range(0x4E00, 0x9FA5), k=n_bytes // 3)  # noqa: S311 - a text, no secret
    return "".join(map(chr, chosen))


UNCUT: dict[str, tuple[Callable[[int], str], int]] = {
    "a line without white space": (minified, 10_000_000),
    "one letter": (lambda n_bytes: "a" * n_bytes, 5_000_000),
    "Chinese": (chinese, 1_000_000),
}


@pytest.mark.parametrize("what", UNCUT)
def test_text_without_a_place_to_cut_is_exact_and_takes_no_longer(call: Call, what: str) -> None:
    """Ids are tiktoken's of the whole text, and take a few times what tiktoken takes at most."""
    make, size = UNCUT[what]
    text = make(size // 20)
    Path("a.txt").write_text(text, encoding="utf-8")
    begun = time.process_time()
    expected = encode(text)
    usual = time.process_time() - begun

    begun = time.process_time()
    assert call("tokenize", "a.txt", "-q").code == 0

    assert time.process_time() - begun < 5 * usual + 2
    assert written(Path("a.tokens.pt")) == expected


@pytest.mark.parametrize(
    ("white", "lead", "tail", "backend"),
    [(" ", "word", "x", "auto"), ("\n", "", "", "auto"), (" ", "word", "x", "tiktoken"), (" ", "", "", "tiktoken"),
     ("\n", "word", "x", "gigatoken")],
)  # fmt: skip
def test_two_million_white_space_characters(white: str, lead: str, tail: str, backend: str, call: Call) -> None:
    """With gigatoken they are encoded; tiktoken alone does so too or says one line with the byte; nothing panics."""
    n = 2_000_000
    Path("white.txt").write_text(lead + white * n + tail)
    few = encode(lead + white * 2000 + tail)
    width = 1 if white == " " else 2  # gpt2 has one id for a space, and one for two newlines

    ended = call("tokenize", "white.txt", "-o", "x.pt", "-q", "--backend", backend)

    if backend == "tiktoken" and tail and ended.code:
        check_error(ended, 3, f"white.txt: tiktoken cannot encode the {n + 1} bytes from byte {len(lead)} on ...")
        assert names(Path()) == {"white.txt"}
        return
    assert (ended.code, ended.stdout, ended.stderr) == (0, b"", b"")
    ids = written(Path("x.pt"))
    repeated = few[len(few) // 2]
    assert [i for i in ids if i != repeated] == [i for i in few if i != repeated]
    assert (len(ids) - len(few)) * width == n - 2000


@pytest.mark.slow
@pytest.mark.parametrize("name", ["endless.jsonl", "endless.txt"])
def test_a_line_without_end_is_refused(name: str, tmp_path: Path) -> None:
    """A pipe that delivers one line without end is an error at a cap, not the end of the memory."""
    os.mkfifo(tmp_path / name)
    with running("tokenize", name, "-o", "x.pt", cwd=tmp_path) as child:
        with pytest.raises(BrokenPipeError), (tmp_path / name).open("wb", buffering=0) as file:
            file.writelines([b'{"text": "one"}\n{"text": "', *itertools.repeat(b"." * (1 << 20), 1 << 12)])
        ended = finish(child)

    reason = (
        "line 2: longer than 268435456 bytes" if name.endswith("jsonl") else "... bytes from byte 0 on without a letter"
    )
    check_error(ended, 3, f"{name}: {reason}...")
    assert names(tmp_path) == {name}


# --- far inside -----------------------------------------------------------------------------------


def bad_record(folder: Path) -> None:
    """Many records, one of which has a number for its text."""
    lines = [json.dumps({"text": f"record {k}"}) for k in range(40_000)]
    lines[33_332] = '{"text": 7}'
    (folder / "in.jsonl").write_text("\n".join(lines))


def bad_byte(folder: Path) -> None:
    """A long text with one byte that is no UTF-8."""
    (folder / "in.txt").write_bytes(WORDS * 600 + b"caf\xe9 " + WORDS * 600)


MEMBERS = (
    gzip.compress(b"It was the best of times. " * 900) + gzip.compress(b"") + gzip.compress(b"It was late. " * 900)
)
FAR_INSIDE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a byte that is not UTF-8": (bad_byte, f"in.txt: not valid UTF-8 at byte {600 * len(WORDS) + 3} (0xe9); ..."),
    "a bad record": (bad_record, "in.jsonl: line 33333: field text is a int, not a string"),
    "a byte short": (lambda to: (to / "in").write_bytes(MEMBERS[:-1]), "in: the gzip data is cut short..."),
    "cut short": (lambda to: (to / "in").write_bytes(MEMBERS[:90]), "in: the gzip data is cut short..."),
    "garbage at its end": (lambda to: (to / "in").write_bytes(MEMBERS + b"garbage"), "in: the gzip data is ..."),
}  # fmt: skip


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("what", FAR_INSIDE)
def test_a_fault_far_inside_withdraws_what_was_written(what: str, jobs: str, call: Call, tmp_path: Path) -> None:
    """After much that is sound it is one line that says where; the old output is intact, and no other file is left."""
    make, line = FAR_INSIDE[what]
    make(tmp_path)
    (given,) = names(tmp_path)
    (tmp_path / "x.pt").write_bytes(OLD)

    check_refused(call, "tokenize", given, "-o", "x.pt", "-j", jobs, code=3, line=line)


def test_every_member_of_compressed_text_is_read(call: Call) -> None:
    """A file of several gzip members, one of them empty, is their text, whatever its name, with any number of jobs."""
    Path("a.txt").write_bytes(MEMBERS)
    Path("plain.txt").write_bytes(gzip.decompress(MEMBERS))

    plain = call("tokenize", "--ids", "plain.txt")

    assert plain.code == 0
    for jobs in ("1", "2"):
        assert call("tokenize", "--ids", "a.txt", "-j", jobs) == plain


# --- files that change ----------------------------------------------------------------------------

CHANGES: dict[str, Callable[[Path], object]] = {
    "grows": lambda path: path.write_bytes(WORDS + b"more"),
    "shrinks": lambda path: os.truncate(path, 2 * len(WORDS) // 3),
    "is rewritten": lambda path: path.write_bytes(b"other" * (len(WORDS) // 5)),
    "is emptied": lambda path: os.truncate(path, 0),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_file_that_changes_while_it_is_read_is_refused(
    change: Callable[[Path], object], tmp_path: Path, opened: Open
) -> None:
    """A file that grows, shrinks or is rewritten meanwhile is an error, never a mixture."""
    path = tmp_path / "text"
    for jobs in (1, 2):
        path.write_bytes(WORDS)
        os.utime(path, (0, 0))
        blocks = iter(opened(path, 1000, jobs))
        next(blocks)

        change(path)

        with pytest.raises(InputError, match="text: changed while it was read; "):
            list(blocks)


def test_a_file_that_is_replaced_while_it_is_read_is_the_old_one(tmp_path: Path, opened: Open) -> None:
    """A file that another takes the place of is read to its end as it was when it was opened."""
    path = tmp_path / "text"
    path.write_bytes(WORDS)
    blocks = iter(opened(path, 1000))
    first = next(blocks)

    (tmp_path / "new").write_bytes(b"other")
    (tmp_path / "new").replace(path)

    assert [*first.tolist(), *np.concatenate(list(blocks)).tolist()] == encode(WORDS.decode())


def test_a_run_whose_input_changes_withdraws_its_output(call: Call, tmp_path: Path) -> None:
    """The command ends with one line; the old output stays, and no temporary file is left."""
    path = tmp_path / "a.txt"
    path.write_bytes(WORDS * 500)
    (tmp_path / "x.pt").write_bytes(OLD)

    def grow() -> None:
        wait_for(lambda: any(file.stat().st_size > 100_000 for file in tmp_path.glob(".llmprep-*")))
        with path.open("ab") as file:
            file.write(b"more")

    thread = threading.Thread(target=grow)
    thread.start()
    ended = call("tokenize", "a.txt", "-o", "x.pt", "--backend", "tiktoken")
    thread.join()

    check_error(ended, 1, "a.txt: changed while it was read; ...")
    assert names(tmp_path) == {"a.txt", "x.pt"}
    assert (tmp_path / "x.pt").read_bytes() == OLD
