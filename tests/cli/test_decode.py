"""Promises of ``decode``: a text comes back from its ids, byte for byte, however they are given."""

import contextlib
import io
import shutil
import tracemalloc
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, assume, example, given, settings
from support.commands import SAMPLES, Call, Run
from support.reference import encode, tiktoken_encoding
from support.refusals import Refusal, check_refusal, each_row
from support.strategies import adversarial_text
from support.terminal import Terminal

from llmprep.errors import DataError
from llmprep.tokens.written import parse_ids

KEEP = ("--newlines", "keep")


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=adversarial_text.filter(lambda text: text.strip("\ufeff")))
@example(text="\x1b[31m \x00\r\n\u202e <|endoftext|> \U0001f468\u200d\U0001f469")
def test_a_text_comes_back(text: str, call: Call) -> None:
    """What `tokenize --ids` prints, and any form in which Python prints it, decodes to the very bytes of the text."""
    Path("a.txt").write_bytes(text.encode())
    printed = call("tokenize", "--ids", "a.txt", *KEEP)
    assume(printed.code == 0 or text.count("\0") < 2)  # a text of many NULs is taken for none
    ids = printed.stdout.decode()
    numbers = list(map(int, ids.split()))
    for form in (ids, f"{numbers}", f"{torch.tensor([numbers])!r}" if len(numbers) < 900 else ids):
        Path("ids.txt").write_text(form)
        ended = call("decode", "ids.txt")
        assert (ended.code, ended.stdout) == (0, text.removeprefix("\ufeff").encode())


def test_a_pipe_and_arguments_are_decoded(call: Call, llmprep: Run, story: Path) -> None:
    """Ids come through a pipe or as arguments, with commas or not; a .pt file through a pipe, too."""
    data = story.read_bytes()
    ids = encode(data.decode())
    assert llmprep("decode", "-", stdin=" ".join(map(str, ids)).encode()).stdout == data
    call("tokenize", story, "-o", "t.pt")
    assert (
        llmprep("decode", "-", "--count", "9", stdin=Path("t.pt").read_bytes()).stdout
        == b"The Eleventh Wheel\n\nThe tables said"
    )
    for arguments in (["464", "15987"], ["464,", "15987"], ["[464, 15987]"], ["--", "464", "15987"]):
        assert call("decode", *arguments).stdout == b"The Ele"
    value = call("decode", "464", "244", "--json").value
    assert value == {"command": "decode", "encoding": "gpt2", "text": "The\ufffd"}
    assert (call("decode", "464", "-q").stdout, call("decode", "244").stdout) == (b"", b"\x96")


@pytest.fixture
def made(call: Call, tmp_path_factory: pytest.TempPathFactory) -> list[int]:
    """The ids of a file of each kind and a store of several shards in the current folder; made once."""
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(SAMPLES.glob("*.txt")))[:9000]
    kept = tmp_path_factory.getbasetemp() / "decoded"
    if kept.exists():
        shutil.copytree(kept, Path(), dirs_exist_ok=True)
        return encode(text)
    Path("a.txt").write_text(text, encoding="utf-8")
    for line in (
        "tokenize a.txt -o tokens.pt", "window tokens.pt --max-length 8 --stride 3 -o windows.pt --dtype uint16",
        "window tokens.pt --max-length 8 --stride 9 -o apart.pt", "tokenize a.txt -o store/ --shard-bytes 900 -j1",
    ):  # fmt: skip
        assert call(*line.split()).code == 0
    shutil.copytree(Path(), kept)
    return encode(text)


@pytest.mark.parametrize("name", ["tokens.pt", "windows.pt", "store"])
def test_any_span_of_a_file_is_decoded(name: str, call: Call, made: list[int]) -> None:
    """--start and --count choose tokens as a slice does, over the shards of a store too, to the last one."""
    last = len(made) - (len(made) - 9) % 3 if name == "windows.pt" else len(made)
    for start, count in ((0, None), (0, 1), (700, 1900), (last - 3, 3), (last - 3, None)):
        options = ["--start", start, *(["--count", count] if count else [])]
        end = start + count if count else last
        assert call("decode", name, *options).stdout == tiktoken_encoding("gpt2").decode_bytes(made[start:end])


def test_on_a_terminal_nothing_acts(call: Call, made: list[int]) -> None:
    """On a terminal control characters and parts of characters are seen, lines end, and the last one does."""
    for text, shown in (("a\tb\x1b[2J\ncaf\u00e9", "a\\tb\\x1b[2J\ncaf\u00e9\n"), ("one\n", "one\n")):
        with Terminal() as terminal, terminal.instead_of("stdout"):
            assert call("decode", *map(str, [*encode(text), *([23877] if text[-1:] != "\n" else [])])).code == 0
        assert terminal.words().replace("\r", "") == shown.replace("\u00e9\n", "\u00e9\\xe6\\x96\n")


def test_ids_are_read_in_parts() -> None:
    """Ids of any length of text take little memory, and a number is whole wherever a part ends."""
    numbers = list(range(50_000)) * 3

    class Trickle(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 0, 7001))

    assert [i for part in parse_ids(Trickle(str(numbers).encode()).read, "x") for i in part] == numbers
    data = b"123 " * 600_000
    stream = io.BytesIO(data)
    tracemalloc.start()
    assert sum(map(len, parse_ids(stream.read, "x"))) == 600_000
    assert tracemalloc.get_traced_memory()[1] < 12_000_000
    tracemalloc.stop()
    with contextlib.closing(io.BytesIO(b"1" * 10_000_000)) as long, pytest.raises(DataError, match="x: token 0: 11"):
        list(parse_ids(long.read, "x"))


RANGE = "is not in gpt2, whose ids go from 0 to 50256"
FILES = {"no.txt": "464 15987\nabc 5", "big.txt": "1 2 50257", "less.txt": "[1, -7]", "e.txt": "  \n", "a.jsonl": "[]"}
WRONG = {
    "nothing": (2, "", "Missing argument 'ID...'; give ids, a file or a store, or - for standard input"),
    "word": (
        3,
        "no.txt",
        "no.txt: token 2: abc is not an id; give whole numbers with white space or commas between them",
    ),
    "too large": (3, "big.txt", f"big.txt: token 2: id 50257 {RANGE}"),
    "too large argument": (3, "464 50257", f"ids: token 1: id 50257 {RANGE}"),
    "negative": (3, "less.txt", "less.txt: token 1: id -7 is negative"),
    "negative argument": (3, "-- -7", "ids: token 0: id -7 is negative"),
    "empty": (3, "e.txt", "e.txt: empty: 0 tokens"),
    "records": (3, "a.jsonl", "a.jsonl: is not a text of ids; ..."),
    "both": (2, "464 tokens.pt", "tokens.pt: is not an id; give ids alone, or one file or store alone"),
    "beyond": (3, "tokens.pt --start 99999", "tokens.pt: tokens from 99999 on were asked for, and its last is ..."),
    "too many": (3, "store --start 9 --count 99999", "store: tokens 9 to 100007 were asked for, and its last is ..."),
    "gaps": (3, "apart.pt", "apart.pt: its windows leave gaps..."),
    "encoding": (2, "tokens.pt --encoding cl100k_base", "--encoding cl100k_base: tokens.pt was made with gpt2"),
}


@each_row({name: Refusal(FILES, f"decode {arguments}", code, line) for name, (code, arguments, line) in WRONG.items()})
def test_what_is_no_id_is_refused(refusal: Refusal, call: Call, made: list[int]) -> None:
    """Words that are no ids, ids of no token, spans that there are not: one line, with the place, and no text."""
    check_refusal(call, refusal)
