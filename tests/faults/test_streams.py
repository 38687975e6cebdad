"""Rows 9, 10, 14 to 16, 20, 22, 31, 35 and 46 to 48 of the table of hostile inputs: bad texts and streams."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.commands import SAMPLES, Call, Ended, Run, clean_environment
from support.reference import encode

from llmprep.choices import Effort, TextOptions
from llmprep.documents.blocks import Block
from llmprep.documents.finding import find_sources
from llmprep.documents.opening import HEAD_BYTES
from llmprep.documents.source import Source
from llmprep.errors import DataError, InputError
from llmprep.formats.tokens import write_tokens
from llmprep.output.checking import check_output
from llmprep.output.writing import open_output
from llmprep.ptfile.reading import read_pt
from llmprep.tokens.backends import Encoder
from llmprep.tokens.stream import stream_text
from llmprep.vocabulary.loading import Vocabulary, load_vocabulary

BACKENDS = ("tiktoken", "gigatoken")
LEAD = b"word " * (HEAD_BYTES // 5 + 1)
"""What stands before the first edge of a block: the first bytes are always read at once, to see what they are."""


@pytest.fixture(scope="module")
def gpt2() -> Vocabulary:
    return load_vocabulary("gpt2")


@pytest.fixture(scope="module")
def ids_at(gpt2: Vocabulary) -> Callable[..., tuple[list[int], int]]:
    """Read a file in blocks of some size; returns its ids and the end-of-text strings counted."""
    encoders = {special: Encoder(gpt2, special, "tiktoken") for special in ("allow", "text", "error")}

    def read(path: Path, block_bytes: int, options: TextOptions, jobs: int = 1) -> tuple[list[int], int]:
        effort = Effort("tiktoken", jobs, block_bytes)
        stream = stream_text(find_sources([str(path)]), gpt2, options, effort, encoders[options.special])
        ids = np.concatenate(list(stream)).tolist()
        return ids, stream.n_special

    return read


def names(folder: Path) -> set[str]:
    """What lies in a folder."""
    return {path.name for path in folder.iterdir()}


# --- 9: line ends ---------------------------------------------------------------------------------


@pytest.mark.parametrize("newlines", ["universal", "keep"])
@pytest.mark.parametrize("ends", [b"\r\n", b"\r", b"\n", b"\r\r\n\n\r"], ids=repr)
def test_09_line_ends_at_every_block_edge(
    ends: bytes, newlines: Any, tmp_path: Path, ids_at: Callable[..., Any]
) -> None:
    """CRLF and lone CR before, on and behind every edge of a block give the ids of the text that Python reads."""
    path = tmp_path / "text"
    path.write_bytes(LEAD + ends.join([b"one", b"two three", b"", b"4 ", b" five.", b"6"]) + ends)
    with path.open(encoding="utf-8", newline=None if newlines == "universal" else "") as file:
        expected = encode(file.read())

    for block_bytes in range(1, 25):
        assert ids_at(path, block_bytes, TextOptions(newlines)) == (expected, 0), block_bytes
    assert ids_at(path, 3, TextOptions(newlines), jobs=2) == (expected, 0)


# --- 10: what is no UTF-8 -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80", b"\xc0\xaf"], ids=repr
)
def test_10_a_bad_byte_at_every_block_edge(bad: bytes, tmp_path: Path, ids_at: Callable[..., Any]) -> None:
    """Wherever blocks are cut, the byte is named, and its place counts from the start of the file."""
    path = tmp_path / "text"
    start = len(LEAD) + 12
    path.write_bytes(LEAD + "caf\u00e9 \u4e2d\u6587".encode() + bad + b" and so on")

    for block_bytes, jobs in itertools.product(range(1, 20), (1, 2)):
        with pytest.raises(DataError) as raised:
            ids_at(path, block_bytes, TextOptions(), jobs)
        assert f"text: not valid UTF-8 at byte {start} (0x{bad[0]:02x});" in str(raised.value), block_bytes


@pytest.mark.parametrize("character", ["\u00e9", "\u4e2d", "\U0001f600"])
def test_10_a_cut_last_character(character: str, tmp_path: Path, ids_at: Callable[..., Any]) -> None:
    """A text that ends inside a character is an error at that character, for every block size."""
    path = tmp_path / "text"
    for kept in range(1, len(character.encode())):
        path.write_bytes(LEAD + b"and " + character.encode()[:kept])
        for block_bytes in range(1, 12):
            with pytest.raises(DataError, match=rf"at byte {len(LEAD) + 4} \(0x{character.encode()[0]:02x}\)"):
                ids_at(path, block_bytes, TextOptions())


@pytest.mark.parametrize("jobs", [1, 2])
def test_10_a_bad_byte_ends_a_run(jobs: int, call: Call, tmp_path: Path) -> None:
    """On the command line that is one line, exit code 3, the old output intact and no temporary file."""
    (tmp_path / "text").write_bytes(LEAD * 200 + b"caf\xe9 " + LEAD * 200)
    (tmp_path / "x.pt").write_bytes(b"PK\x03\x04 old")

    ended = call("tokenize", "text", "-o", "x.pt", "-j", str(jobs))

    assert (ended.code, ended.stdout) == (3, b"")
    (line,) = ended.notes
    assert line.startswith(f"llmprep: error: text: not valid UTF-8 at byte {200 * len(LEAD) + 3} (0xe9); convert it ")
    assert (tmp_path / "x.pt").read_bytes() == b"PK\x03\x04 old"
    assert names(tmp_path) == {"text", "x.pt"}


# --- 14: two million spaces -----------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["auto", *BACKENDS])
@pytest.mark.parametrize(("lead", "tail"), [("", ""), ("word", "x")], ids=["alone", "between"])
@pytest.mark.parametrize("white", [" ", "\n"], ids=["spaces", "newlines"])
def test_14_two_million_white_space_characters(
    white: str, lead: str, tail: str, backend: str, call: Call, tmp_path: Path
) -> None:
    """With gigatoken they are encoded; tiktoken alone does so too or says one line with the byte; nothing panics."""
    n = 2_000_000
    (tmp_path / "white.txt").write_text(lead + white * n + tail)
    few = encode(lead + white * 2000 + tail)
    width = 1 if white == " " else 2  # gpt2 has one id for a space, and one for two newlines

    ended = call("tokenize", "white.txt", "-o", "x.pt", "-q", "--backend", backend)

    if backend == "tiktoken" and ended.code == 3:
        assert tail, "without a tail tiktoken copes"
        assert (ended.stdout, names(tmp_path)) == (b"", {"white.txt"})
        (line,) = ended.notes
        assert line.startswith(
            f"llmprep: error: white.txt: tiktoken cannot encode the {n + 1} bytes from byte {len(lead)} on "
        )
        return
    assert ended == Ended(0, b"", b"")
    ids = read_pt(tmp_path / "x.pt").tensors["token_ids"].tolist()
    repeated = few[len(few) // 2]
    assert [i for i in ids if i != repeated] == [i for i in few if i != repeated]
    assert (len(ids) - len(few)) * width == n - 2000


# --- 15: end-of-text strings ----------------------------------------------------------------------

MARKED = (
    b"one<|endoftext|>two <|endoftext|> <|endoftext|><|endoftext|>\n<|endoftext|",
    b"<|endof text|> three <<|endoftext|>> |endoftext|> <|endoftext <|endoftext|>",
    b"<|endoftext|>",
)


@pytest.mark.parametrize("special", ["allow", "text"])
@pytest.mark.parametrize("marked", MARKED, ids=range(len(MARKED)))
def test_15_end_of_text_at_every_block_edge(
    marked: bytes, special: Any, tmp_path: Path, ids_at: Callable[..., Any]
) -> None:
    """The string, whole or in part, is taken as chosen and counted, on whichever edge of a block it stands."""
    path = tmp_path / "text"
    path.write_bytes(LEAD + marked)
    expected = encode((LEAD + marked).decode(), special=special)

    for block_bytes in range(1, 30):
        found = ids_at(path, block_bytes, TextOptions(special=special))
        assert found == (expected, marked.count(b"<|endoftext|>")), block_bytes
    assert ids_at(path, 7, TextOptions(special=special), jobs=2)[0] == expected


@pytest.mark.parametrize("jobs", [1, 2])
def test_15_special_error_at_every_block_edge(jobs: int, tmp_path: Path, ids_at: Callable[..., Any]) -> None:
    """With ``error`` the first such string is named by its byte, for every block size; parts of it pass."""
    path = tmp_path / "text"
    path.write_bytes(LEAD + b"<|endoftext| x |endoftext|> y<|endoftext|> z<|endoftext|>")
    place = len(LEAD) + 29

    for block_bytes in range(1, 20):
        with pytest.raises(DataError, match=rf"special token <\|endoftext\|> in the text at byte {place};"):
            ids_at(path, block_bytes, TextOptions(special="error"), jobs)


def test_15_the_count_is_said(call: Call, tmp_path: Path) -> None:
    """Every run says how many such strings stood in the text and what they became; ``error`` ends it with 3."""
    (tmp_path / "a.txt").write_text("one<|endoftext|>two<|endoftext|>")

    for special, n_tokens, taken in (("allow", 4, "taken as its id"), ("text", 16, "taken as plain text")):
        ended = call("tokenize", "a.txt", "--special", special)
        assert ended.code == 0
        assert ended.lines[0].startswith(f"{n_tokens} tokens (gpt2)")
        assert ended.lines[1] == "<|endoftext|> in the text itself: 2; encoded by tiktoken"
        assert ended.notes == [f"llmprep: note: <|endoftext|> stands 2 times in the text itself, {taken} (--special)"]
    ended = call("tokenize", "a.txt", "--special", "error")
    assert (ended.code, ended.stdout) == (3, b"")
    (line,) = ended.notes
    assert line.startswith("llmprep: error: a.txt: special token <|endoftext|> in the text at byte 3; ")


# --- 16: code points of Unicode 17 ----------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["gpt2", "cl100k_base", "o200k_base"])
def test_16_new_code_points(encoding: str, tmp_path: Path, vocab_dir: Path) -> None:
    """Beside letters, digits and ``'ve``, for any block size and backend, ids are tiktoken's of the whole text."""
    new = [chr(code) for code in (0x88F, 0x323B0, 0x1E6C0)]
    text = LEAD.decode() + "".join(f"a{c}b {c}A{c}1{c}2 x{c}'ve we'{c}ve {c} {c}{c}\n{c}.{c}\r\n" for c in new) + "end"
    path = tmp_path / "text"
    path.write_bytes(text.encode())
    vocabulary = load_vocabulary(encoding, str(vocab_dir))
    whole = text.replace("\r\n", "\n").encode()
    expected = Encoder(vocabulary, backend="tiktoken").encode(Block(Source("t", "t"), whole, whole, 0)).tolist()
    encoder = Encoder(vocabulary, backend="gigatoken")

    for block_bytes in (1, 10, 64, 1 << 18):
        effort = Effort("gigatoken", 2, block_bytes)
        stream = stream_text(find_sources([str(path)]), vocabulary, TextOptions(), effort, encoder)
        assert np.concatenate(list(stream)).tolist() == expected, block_bytes
    assert min(encoder.used["tiktoken"], encoder.used["gigatoken"]) > 10


# --- 20: pipes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["tokenize"], ["window", "--max-length", "64"], ["pairs"]], ids=lambda c: c[0])
@pytest.mark.parametrize("way", ['exec "$@" <(cat text)', 'cat text | "$@" /dev/stdin', 'cat text | "$@" -'])
def test_20_pipes_are_streamed(way: str, command: list[str], llmprep: Run, tmp_path: Path) -> None:
    """``<(command)``, ``/dev/stdin`` and ``-`` give the tokens of the file: nothing is sought, sized or mapped."""
    (tmp_path / "text").write_bytes((SAMPLES / "story.txt").read_bytes() * 20)
    arguments = [*command[:1], "-q", "-o", "x.pt", *command[1:]]

    done = llmprep(*arguments, prefix=("bash", "-c", way, "bash"))

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    meta = read_pt(tmp_path / "x.pt").meta
    assert meta["sources"][0]["bytes"] == (tmp_path / "text").stat().st_size
    assert meta["n_tokens"] == 125_180


def test_20_a_pipe_is_read_as_it_comes(tmp_path: Path, gpt2: Vocabulary) -> None:
    """Ids of what a pipe has delivered are there before its end."""
    os.mkfifo(tmp_path / "pipe")
    go_on = threading.Event()

    def feed() -> None:
        with (tmp_path / "pipe").open("wb", buffering=0) as file:
            file.write(LEAD * 3)
            go_on.wait(30)
            file.write(LEAD)

    writer = threading.Thread(target=feed)
    writer.start()
    stream = stream_text(find_sources([str(tmp_path / "pipe")]), gpt2, TextOptions(), Effort("tiktoken", 1, 4096))
    blocks = iter(stream)

    first = next(blocks)
    go_on.set()
    rest = np.concatenate(list(blocks))
    writer.join()

    assert len(first) > 100
    assert len(first) + len(rest) == stream.n_tokens == 4 * LEAD.count(b"word") + 1


# --- 22: files that change ------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("change", ["grow", "shrink", "rewrite"])
def test_22_a_file_that_changes_leaves_no_output(change: str, jobs: int, tmp_path: Path, gpt2: Vocabulary) -> None:
    """A text that changes while it is read is an error at its end: the old output stays, and no temporary file."""
    path = tmp_path / "text"
    path.write_bytes(LEAD * 500)
    os.utime(path, (0, 0))
    (tmp_path / "x.pt").write_bytes(b"PK\x03\x04 old")
    stream = stream_text(find_sources([str(path)]), gpt2, TextOptions(), Effort("tiktoken", jobs))
    honest = stream.blocks

    def disturbed() -> Iterator[Any]:
        yield next(honest)
        match change:
            case "grow":
                with path.open("ab") as file:
                    file.write(LEAD)
            case "shrink":
                os.truncate(path, 1_900_000)
            case "rewrite":
                path.write_bytes(b"other" * (100 * len(LEAD)))
        yield from honest

    stream.blocks = disturbed()
    with (
        pytest.raises(InputError, match="text: changed while it was read") as raised,
        open_output(check_output(str(tmp_path / "x.pt"))) as sink,
    ):
        write_tokens(sink, stream, dtype="int64")

    assert raised.value.exit_code == 1
    assert (tmp_path / "x.pt").read_bytes() == b"PK\x03\x04 old"
    assert names(tmp_path) == {"text", "x.pt"}


# --- 31: signals ----------------------------------------------------------------------------------


class Running:
    """A command that has begun its work, in a process group of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "llmprep", *arguments, "--jobs", "2"]
        pipe = subprocess.PIPE
        self.folder = folder
        self.process = subprocess.Popen(
            command, cwd=folder, env=clean_environment(), stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )

    def wait_for_output(self, n_bytes: int) -> None:
        """Wait until the temporary file of the output has so many bytes."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if any(path.stat().st_size >= n_bytes for path in self.folder.glob(".llmprep-*")):
                return
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.01)
        raise AssertionError(names(self.folder))

    def stop(self, *signals: signal.Signals) -> tuple[int, bytes, float]:
        """Send signals; returns the exit code, what was said, and the seconds it took."""
        begun = time.monotonic()
        for number in signals:
            self.process.send_signal(number)
        code = self.process.wait(20)
        seconds = time.monotonic() - begun
        assert self.process.stderr is not None
        said = self.process.stderr.read()
        for file in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert file is not None
            file.close()
        return code, said, seconds


STOPS = {
    "interrupt": ((signal.SIGINT,), 130),
    "terminate": ((signal.SIGTERM,), 143),
    "twice": ((signal.SIGINT, signal.SIGINT), 130),
    "all at once": ((signal.SIGTERM, signal.SIGINT, signal.SIGHUP), 129),
}


@pytest.mark.parametrize("stop", STOPS)
def test_31_stopped_while_it_waits_for_input(stop: str, tmp_path: Path) -> None:
    """Waiting for a pipe that says nothing, it ends within a second, silent, and leaves no temporary file."""
    signals, _ = STOPS[stop]
    running = Running(tmp_path, "tokenize", "-", "-o", "x.pt")
    assert running.process.stdin is not None
    running.process.stdin.write(LEAD * 200)
    running.process.stdin.flush()
    running.wait_for_output(0)

    code, said, seconds = running.stop(*signals)

    assert code in {128 + number for number in signals}  # of several at once, Python takes any first
    assert said == b""
    assert seconds < 1.5
    assert names(tmp_path) == set()


@pytest.mark.parametrize("command", ["tokenize", "window"])
@pytest.mark.parametrize("stop", ["interrupt", "terminate"])
def test_31_stopped_while_it_encodes(stop: str, command: str, tmp_path: Path) -> None:
    """In the midst of a long text it ends within a second; the old output is intact."""
    signals, expected = STOPS[stop]
    (tmp_path / "x.pt").write_bytes(b"PK\x03\x04 old")
    (tmp_path / "text").write_bytes((SAMPLES / "story.txt").read_bytes() * 2500)  # tiktoken takes many seconds
    running = Running(tmp_path, command, "text", "-o", "x.pt", "--backend", "tiktoken")
    running.wait_for_output(200_000)

    code, said, seconds = running.stop(*signals)

    assert (code, said) == (expected, b"")
    assert seconds < 1.5
    assert names(tmp_path) == {"text", "x.pt"}
    assert (tmp_path / "x.pt").read_bytes() == b"PK\x03\x04 old"


@pytest.mark.parametrize("stop", ["interrupt", "terminate"])
def test_31_stopped_while_it_writes(stop: str, tmp_path: Path) -> None:
    """Held up by a reader that has stopped reading, it ends within a second."""
    signals, expected = STOPS[stop]
    (tmp_path / "text").write_bytes(LEAD * 2000)
    running = Running(tmp_path, "tokenize", "text", "-o", "-", "-q")
    assert running.process.stdout is not None
    assert running.process.stdout.read(1000).startswith(b"PK")
    time.sleep(0.3)  # the pipe is full by now

    code, said, seconds = running.stop(*signals)

    assert (code, said) == (expected, b"")
    assert seconds < 1.5


# --- 35: little memory ----------------------------------------------------------------------------


def limited(kilobytes: int) -> tuple[str, ...]:
    """A shell that lets a command have so much address space."""
    return ("sh", "-c", f'ulimit -v {kilobytes} && exec "$@"', "sh")


@pytest.mark.parametrize("backend", BACKENDS)
def test_35_little_memory_is_enough_for_much_text(backend: str, llmprep: Run, tmp_path: Path, story: Path) -> None:
    """Under a limit that the whole text would exceed many times, it is streamed, with one thread."""
    (tmp_path / "text").write_bytes(story.read_bytes() * 400)

    done = llmprep(
        "tokenize", "text", "-o", "x.pt", "-q", "--backend", backend,
        prefix=limited(450_000), env={"OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, b"")
    assert names(tmp_path) == {"text", "x.pt"}


@pytest.mark.parametrize(
    ("kilobytes", "backend", "packed"),
    [
        (250_000, "tiktoken", False),
        (350_000, "gigatoken", True),
        (450_000, "tiktoken", True),
        (450_000, "gigatoken", False),
    ],
)
def test_35_too_little_memory_is_one_line(
    kilobytes: int, backend: str, packed: bool, llmprep: Run, tmp_path: Path
) -> None:
    """Text that cannot be cut needs memory; where a limit forbids it, one line names what to lower."""
    text = b"." * 12_000_000
    (tmp_path / "text").write_bytes(gzip.compress(text, 1) if packed else text)
    (tmp_path / "x.pt").write_bytes(b"PK\x03\x04 old")

    done = llmprep(
        "tokenize", "text", "-o", "x.pt", "--backend", backend,
        prefix=limited(kilobytes), env={"OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"llmprep: error: out of memory; lower --jobs, ")
    assert done.stderr.count(b"\n") == 1
    assert (tmp_path / "x.pt").read_bytes() == b"PK\x03\x04 old"
    assert names(tmp_path) == {"text", "x.pt"}


# --- 46: records ----------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, 2])
def test_46_a_bad_record_far_inside(jobs: int, call: Call, tmp_path: Path) -> None:
    """After thousands of good records a bad one is named by its line; nothing is written."""
    lines = [json.dumps({"text": f"record {k}"}) for k in range(40_000)]
    lines[33_332] = '{"text": 7}'
    (tmp_path / "many.jsonl").write_text("\n".join(lines))

    ended = call("tokenize", "many.jsonl", "-o", "x.pt", "-j", str(jobs))

    assert (ended.code, ended.stdout) == (3, b"")
    assert ended.notes == ["llmprep: error: many.jsonl: line 33333: field text is a int, not a string"]
    assert names(tmp_path) == {"many.jsonl"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["endless.jsonl", "endless.txt"])
def test_46_a_line_without_end(name: str, tmp_path: Path) -> None:
    """A pipe that delivers one line without end is an error at a cap, not the end of the memory."""
    os.mkfifo(tmp_path / name)
    command = [sys.executable, "-m", "llmprep", "tokenize", name, "-o", "x.pt"]
    child = subprocess.Popen(
        command, cwd=tmp_path, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    part = b"." * (1 << 20)
    with pytest.raises(BrokenPipeError), (tmp_path / name).open("wb", buffering=0) as file:
        file.writelines(itertools.chain([b'{"text": "one"}\n{"text": "'], itertools.repeat(part, 1 << 12)))

    out, err = child.communicate(timeout=30)

    assert (child.returncode, out) == (3, b"")
    where = (
        b"line 2: longer than 268435456 bytes" if name.endswith("jsonl") else b"bytes from byte 0 on without a letter"
    )
    assert err.startswith(b"llmprep: error: " + name.encode() + b": ")
    assert where in err
    assert err.count(b"\n") == 1
    assert names(tmp_path) == {name}


# --- 47: compressed -------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, 2])
def test_47_compressed_texts_whole_and_damaged(jobs: int, call: Call, tmp_path: Path) -> None:
    """All members are read, with exit code 0; truncation and garbage are one line with 3, and no output."""
    text = (SAMPLES / "story.txt").read_bytes()
    half = len(text) // 2
    members = gzip.compress(text[:half]) + gzip.compress(b"") + gzip.compress(text[half:])
    (tmp_path / "story").write_bytes(text)
    plain = call("tokenize", "--ids", "story")
    (tmp_path / "story").write_bytes(members)

    assert call("tokenize", "--ids", "story", "-j", str(jobs)) == plain
    for damaged in (members[:-1], members[: len(members) // 3], members + b"garbage"):
        (tmp_path / "story").write_bytes(damaged)
        ended = call("tokenize", "story", "-o", "x.pt", "-j", str(jobs))
        assert (ended.code, ended.stdout) == (3, b"")
        (line,) = ended.notes
        assert line.startswith("llmprep: error: story: the gzip data is ")
        assert names(tmp_path) == {"story"}


# --- 48: very many files --------------------------------------------------------------------------


def many(folder: Path, count: int) -> list[str]:
    """Make many tiny files and one large one among them; returns what they hold, in order."""
    folder.mkdir()
    texts = [f"This is file {k}." for k in range(count)]
    texts[count // 3] = "One large file. " * 312_500
    for k, text in enumerate(texts):
        (folder / f"{k:06}.txt").write_text(text)
    return texts


def tokenize_many(llmprep: Run, folder: Path, count: int) -> set[bytes]:
    """Tokenize them with one thread and with two, few files open at a time; returns the files written."""
    texts = many(folder / "texts", count)
    written = set()
    for jobs in ("1", "2"):
        few = ("sh", "-c", 'ulimit -n 64 && exec "$@"', "sh")
        done = llmprep("tokenize", "texts", "-o", "x.pt", "-q", "-j", jobs, prefix=few, timeout=600)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        written.add((folder / "x.pt").read_bytes())
    file = read_pt(folder / "x.pt")
    (source,) = file.meta["sources"]
    assert source["documents"] == len(texts) == count
    assert source["bytes"] == sum(map(len, texts))
    assert (file.tensors["token_ids"] == 50256).sum() == count - 1
    return written


def test_48_thousands_of_files(llmprep: Run, tmp_path: Path) -> None:
    """Three thousand tiny files and a large one: opened one at a time, the same bytes for any number of threads."""
    assert len(tokenize_many(llmprep, tmp_path, 3000)) == 1


@pytest.mark.slow
def test_48_a_hundred_thousand_files(llmprep: Run, tmp_path: Path) -> None:
    """A hundred thousand tiny files and a large one, as above."""
    assert len(tokenize_many(llmprep, tmp_path, 100_000)) == 1


def test_48_each_of_thousands_is_counted(llmprep: Run, tmp_path: Path) -> None:
    """Counts per file need few open files too."""
    texts = many(tmp_path / "texts", 500)

    few = ("sh", "-c", 'ulimit -n 64 && exec "$@"', "sh")
    done = llmprep("tokenize", "--count", "texts", prefix=few)

    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(lines) == len(texts) + 1
    assert int(lines[-1].split()[0]) == sum(int(line.split()[0]) for line in lines[:-1])
