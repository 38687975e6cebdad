"""Promises of inspect: what a store or file is, a look inside, where it is from, and that all it states is true."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from support.commands import Call, run_llmprep
from support.reference import encode, tiktoken_encoding, window_rows

from llmprep.cli.inspect import BLOCK
from llmprep.errors import FileFormatError, LlmprepError
from llmprep.formats.meta import make_meta
from llmprep.formats.tokens import write_tokens
from llmprep.formats.verify import verify_file
from llmprep.ptfile.layout import TensorView
from llmprep.ptfile.writing import write_pt
from llmprep.pytorch.datasets import WindowDataset
from llmprep.store.manifest import seal
from llmprep.store.verify import verify_store
from llmprep.tokens.stream import TokenStream
from llmprep.vocabulary.loading import load_vocabulary

EOT = 50256


@pytest.fixture(scope="module")
def made(story: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two inputs, a store of them, and a file of each kind."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copy(story, folder)
    shutil.copy(story.with_name("records.jsonl"), folder)
    both = ["story.txt", "records.jsonl"]
    for command in (
        ["tokenize", *both, "-o", "store/", "--shard-bytes", "9000", "--jobs", "1", "--val-fraction", "0.25"],
        ["tokenize", *both, "-o", "tokens.pt"],
        ["window", "tokens.pt", "--max-length", "16", "--stride", "8", "-o", "windows.pt"],
        ["window", "tokens.pt", "--max-length", "16", "--stride", "8", "--dense", "-o", "dense.pt"],
        ["window", "tokens.pt", "--max-length", "16", "--stride", "20", "-o", "apart.pt"],
        ["pairs", "story.txt", "-o", "pairs.pt"],
        ["embed", "windows.pt", "--dim", "4", "--batches", "2", "-o", "embeddings.pt", "--save-weights", "weights.pt"],
    ):
        ended = run_llmprep(*command, cwd=folder)
        assert ended.returncode == 0, ended
    return folder


@pytest.fixture(scope="module")
def ids(made: Path) -> list[int]:
    """The corpus's ids: each document encoded whole, the end-of-text id between them."""
    lines = (made / "records.jsonl").read_text().splitlines()
    documents = [(made / "story.txt").read_text(), *(json.loads(line)["text"] for line in lines)]
    return [token_id for text in documents for token_id in [*encode(text), EOT]][:-1]


def error_of(ended: Any) -> str:
    """The one line of an error."""
    (line,) = ended.notes
    assert line.startswith("llmprep: error: ")
    assert "internal error" not in line
    return str(line.removeprefix("llmprep: error: "))


# --- what it is -----------------------------------------------------------------------------------


def test_a_store_is_described(made: Path, ids: list[int], call: Call) -> None:
    """One line for each fact: what it is, how it was encoded, how much it holds, its splits and windows."""
    manifest = json.loads((made / "store" / "manifest.json").read_bytes())
    cut = len(ids) - len(ids) // 4
    n_windows = len(window_rows(ids, 256, 256)[0])

    ended = call("inspect", made / "store")

    facts = dict(line.split(maxsplit=1) for line in ended.lines[:13])
    assert ended.code == 0
    assert facts == {
        "kind": "token store",
        "encoding": "gpt2",
        "tokens": f"{len(ids):,}",
        "options": "newlines universal, separator eot, special allow, text_field text, shard_bytes 9,000",
        "content_sha256": manifest["content_sha256"],
        "documents": "13",
        "sources": "2",
        "shards": str(len(manifest["shards"])),
        "dtype": "uint16",
        "splits": f"train 0 to {cut:,}, val {cut:,} to {len(ids):,}",
        "windows": str(n_windows),
        "max_length": "256",
        "stride": "256",
    }
    assert ended.lines[13] == "window 0: tokens 0 to 255"


COMMON = {"command", "path", "kind", "encoding", "n_tokens", "options", "content_sha256", "n_sources"}
WINDOWS = {"n_windows", "max_length", "stride", "shown"}
KEYS = {
    "store": COMMON | WINDOWS | {"n_documents", "n_shards", "dtype", "splits"},
    "tokens.pt": COMMON | WINDOWS | {"token_ids"},
    "windows.pt": COMMON | WINDOWS | {"input_ids", "target_ids"},
    "dense.pt": COMMON | WINDOWS | {"input_ids", "target_ids"},
    "apart.pt": COMMON | {"input_ids", "target_ids"},
    "pairs.pt": COMMON | {"contexts", "lengths", "targets"},
    "embeddings.pt": COMMON | {"input_embeddings"},
}


@pytest.mark.parametrize("name", list(KEYS))
def test_json_has_stable_keys(name: str, made: Path, call: Call) -> None:
    """--json prints one object with exactly these keys for each kind; --verify adds what was verified."""
    plain, verified = call("inspect", made / name, "--json"), call("inspect", made / name, "--json", "--verify")

    assert (plain.code, verified.code) == (0, 0)
    assert plain.value.keys() == KEYS[name]
    assert verified.value.keys() == KEYS[name] - {"shown"} | {"verified"}
    assert all(plain.value[key] == verified.value[key] for key in KEYS[name] - {"shown"})
    for window in plain.value.get("shown", []):
        assert window.keys() == {"window", "input_ids", "target_ids", "text", "places"}
        assert all(place.keys() == {"name", "document", "begin", "end", "exact"} for place in window["places"])


def test_quiet_is_quiet(made: Path, call: Call) -> None:
    """-q prints nothing, and the exit code is all that a check says."""
    ended = call("inspect", made / "store", "--verify", "-q")

    assert (ended.code, ended.stdout, ended.stderr) == (0, b"", b"")


# --- windows --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["store", "tokens.pt", "windows.pt", "dense.pt"])
def test_windows_are_the_textbook_loops(name: str, made: Path, ids: list[int], call: Call) -> None:
    """--window N shows the loop's window N, from a store and from any file that holds a stream."""
    inputs, targets = window_rows(ids, 16, 8)
    last = len(inputs) - 1
    wanted = [0, 7, 300, last]
    options = ["--max-length", "16", "--stride", "8", *(f"--window={number}" for number in wanted)]

    ended = call("inspect", made / name, "--json", *options)

    shown = ended.value["shown"]
    assert [window["window"] for window in shown] == wanted
    assert [window["input_ids"] for window in shown] == [inputs[number] for number in wanted]
    assert [window["target_ids"] for window in shown] == [targets[number] for number in wanted]


def test_boundaries_of_documents_are_marked(made: Path, ids: list[int], call: Call) -> None:
    """In words, a window shows its tokens' places, its ids and its text, each boundary of documents set off."""
    first = ids.index(EOT) - 5
    before, behind = (tiktoken_encoding("gpt2").decode(part) for part in (ids[first : first + 5], ids[first + 6 :][:4]))

    ended = call("inspect", made / "store", "--max-length", "10", "--stride", "1", "--window", str(first))

    at = ended.lines.index(f"window {first}: tokens {first} to {first + 9}")
    assert ended.lines[at + 1] == f"  ids   {' '.join(map(str, ids[first : first + 11]))}"
    shown = f"{before} =====| document |===== {behind}".replace("\n", "\\n")
    assert ended.lines[at + 2] == f"  text  {shown}"


def test_a_window_that_is_not_there_is_refused(made: Path, ids: list[int], call: Call) -> None:
    """A number beyond the last window is refused with how many there are."""
    count = len(window_rows(ids, 16, 16)[0])

    for option in ("--window", "--where"):
        ended = call("inspect", made / "store", "--max-length", "16", option, str(count))
        assert ended.code == 2
        assert error_of(ended) == f"window {count}: there are {count} windows of 16, stride 16"
        assert call("inspect", made / "store", "--max-length", "16", option, str(count - 1)).code == 0


def test_a_windows_file_keeps_its_sizes(made: Path, call: Call) -> None:
    """A windows file is shown as it was cut; other sizes are refused."""
    ended = call("inspect", made / "windows.pt", "--max-length", "16", "--stride", "16")

    assert ended.code == 2
    assert error_of(ended) == "--max-length, --stride: this file has windows of 16, stride 8"


def test_nothing_from_a_text_acts_on_a_terminal(call: Call) -> None:
    """Control characters and markup in a text and in its file's name are shown inert."""
    name = "a\x1b[31m[red]\n.txt"
    Path(name).write_text("\x1b]0;title\x07 [bold]words[/bold] \u202e and \x9b2J more words")
    call("tokenize", name, "-o", "s/", "--jobs", "1")

    for ended in (call("inspect", "s", "--max-length", "20"), call("inspect", "s", "--max-length", "20", "--json")):
        text = ended.stdout.decode()
        assert ended.code == 0
        assert all(char.isprintable() or char == "\n" for char in text)
        assert "[bold]words[/bold]" in text
        assert "[red]" in text


def test_another_vocabulary_is_taken_from_its_folder(call: Call, vocab_dir: Path) -> None:
    """The text of a store of another encoding is shown with the vocabulary that --vocab-dir names."""
    Path("a.txt").write_text("some words of text " * 3)
    options = ["--encoding", "cl100k_base", "--vocab-dir", vocab_dir]
    call("tokenize", "a.txt", "-o", "s/", "--jobs", "1", *options)

    ended = call("inspect", "s", "--max-length", "4", "--json", "--vocab-dir", vocab_dir)

    (shown,) = ended.value["shown"]
    assert shown["input_ids"] == encode("some words of text " * 3, "cl100k_base")[:4]
    assert shown["text"] == "some words of text"


# --- around ---------------------------------------------------------------------------------------


def write_stream(path: Path, ids: Sequence[int]) -> None:
    """Write ids as a tokens file."""
    gpt2 = load_vocabulary("gpt2")
    stream = TokenStream("made", "gpt2", gpt2.sha256, gpt2.n_vocab, {}, iter([np.array(ids, np.uint32)]))
    with path.open("wb") as sink:
        write_tokens(sink, stream, dtype="uint16")


def first_window(ids: Sequence[int], phrase: str, max_length: int, stride: int) -> int | None:
    """The first window whose input holds all tokens that a text lies in, by looking at each window."""
    encoding = tiktoken_encoding("gpt2")
    parts = [encoding.decode_single_token_bytes(token_id) for token_id in ids]
    ends = np.cumsum([len(part) for part in parts])
    at = b"".join(parts).find(phrase.encode())
    assert at >= 0
    first, last = (int(np.searchsorted(ends, byte, side="right")) for byte in (at, at + len(phrase.encode()) - 1))
    starts = range(0, len(ids) - max_length, stride)
    return next((k for k, start in enumerate(starts) if start <= first and last < start + max_length), None)


@pytest.mark.parametrize("shape", [(64, 64), (64, 5), (20, 30), (7, 1)], ids=str)
@pytest.mark.parametrize("phrase", ["The", "the little blue book", "ittle blu", "?", "\n\n", "said", "Kelpie"])
def test_around_finds_the_first_window_that_holds_a_text(
    phrase: str, shape: tuple[int, int], made: Path, ids: list[int], call: Call
) -> None:
    """--around shows the first window that holds the text, wherever its tokens begin and end."""
    max_length, stride = shape
    text = tiktoken_encoding("gpt2").decode(ids)
    expected = first_window(ids, phrase, max_length, stride) if phrase in text else None

    ended = call(
        "inspect", made / "store", "--json", "--around", phrase,
        "--max-length", str(max_length), "--stride", str(stride),
    )  # fmt: skip

    if phrase not in text:
        assert (ended.code, error_of(ended)) == (3, f"{made / 'store'}: holds no {phrase!r}")
    elif expected is None:
        (note,) = ended.notes
        assert note.startswith(f"llmprep: note: no window holds all of {phrase!r}: it is in tokens ")
    else:
        (shown,) = ended.value["shown"]
        assert (shown["window"], ended.stderr) == (expected, b"")
        assert phrase in shown["text"]


@pytest.mark.parametrize("place", [BLOCK - 4, BLOCK - 3, BLOCK - 2, BLOCK - 1, BLOCK, 2 * BLOCK - 2])
@pytest.mark.parametrize("phrase", [" zebra crossing", "bra cross", "\u4e2d\u6587", "z"])
def test_around_looks_across_blocks(place: int, phrase: str, call: Call) -> None:
    """A text is found where it goes over the end of what is looked through at once, also in the middle of a token."""
    held = encode(" zebra crossing \u4e2d\u6587.")
    filler = encode("a")
    write_stream(Path("t.pt"), [*filler * place, *held, *filler * 20])

    ended = call("inspect", "t.pt", "--json", "--max-length", "10", "--stride", "1", "--around", phrase)

    (shown,) = ended.value["shown"]
    spaced = [*filler * 12, *held, *filler * 20]
    near = first_window(spaced, phrase, 10, 1)
    assert near is not None
    assert shown["window"] == near + place - 12
    assert shown["input_ids"] == spaced[near : near + 10]


def test_around_what_is_not_there(made: Path, call: Call) -> None:
    """A text that no document holds is an error of the data; no text at all one of usage."""
    absent = call("inspect", made / "store", "--around", "no such words anywhere")
    empty = call("inspect", made / "store", "--around", "")

    assert (absent.code, empty.code) == (3, 2)
    assert error_of(absent) == f"{made / 'store'}: holds no 'no such words anywhere'"
    assert error_of(empty).startswith("--around: ")


def test_around_bytes_that_are_no_text(made: Path, call: Call) -> None:
    """A command line may hold bytes that are not UTF-8: they are looked for as they are."""
    ended = call("inspect", made / "store", "--around", os.fsdecode(b"\xff"))

    assert (ended.code, error_of(ended)) == (3, f"{made / 'store'}: holds no '\\udcff'")


@pytest.mark.parametrize("look", [("--around", "said"), ("--window", "0"), ("--where", "0")])
def test_a_look_into_what_has_no_window_names_the_largest_length(look: tuple[str, str], made: Path, call: Call) -> None:
    """As every command does that wants windows; a description alone says 0."""
    ended = call("inspect", made / "store", "--max-length", "99999999", *look)
    described = call("inspect", made / "store", "--max-length", "99999999", "--json")

    n_tokens = described.value["n_tokens"]
    expected = f"{made / 'store'}: {n_tokens} tokens give no window of max_length 99999999; the largest max_length"
    assert (ended.code, error_of(ended).startswith(expected)) == (3, True), ended
    assert (described.code, described.value["n_windows"], described.value["shown"]) == (0, 0, [])


# --- where ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["store", "tokens.pt", "windows.pt"])
def test_where_names_file_document_and_bytes(name: str, made: Path, ids: list[int], call: Call) -> None:
    """--where N tells the bytes of a text that window N, its last target included, is from."""
    data = (made / "story.txt").read_bytes()
    options = ["--max-length", "16", "--stride", "8", "--where", "57"]

    ended = call("inspect", made / name, "--json", *options)

    (place,) = ended.value["shown"][0]["places"]
    assert (place["name"], place["document"], place["exact"]) == ("story.txt", 1, True)
    shown = tiktoken_encoding("gpt2").decode(ids[57 * 8 : 57 * 8 + 17])
    assert data[place["begin"] : place["end"]].decode() == shown


def test_where_names_each_file_that_a_window_touches(made: Path, ids: list[int], call: Call) -> None:
    """A window over the seam of two files has a place in each; records are numbered within theirs."""
    seam = ids.index(EOT)
    size = (made / "story.txt").stat().st_size
    third = [at for at, token_id in enumerate(ids) if token_id == EOT][2]

    over, inside = (
        call("inspect", made / "store", "--json", "--max-length", "4", "--stride", "1", "--where", str(first))
        for first in (seam - 2, third + 1)
    )  # fmt: skip

    tail = len(tiktoken_encoding("gpt2").decode_bytes(ids[seam - 2 : seam]))
    head = len(tiktoken_encoding("gpt2").decode_bytes(ids[seam + 1 : seam + 3]))
    assert over.value["shown"][0]["places"] == [
        {"name": "story.txt", "document": 1, "begin": size - tail, "end": size, "exact": True},
        {"name": "records.jsonl", "document": 1, "begin": 0, "end": head, "exact": False},
    ]
    assert [place["document"] for place in inside.value["shown"][0]["places"]] == [3]
    words = call("inspect", made / "store", "--max-length", "4", "--stride", "1", "--where", str(seam - 2))
    assert words.lines[-2:] == [
        f"  from  story.txt, document 1, bytes {size - tail} to {size}",
        f"  from  records.jsonl, document 1, bytes of its text 0 to {head}",
    ]


# --- verify ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(KEYS))
def test_what_is_sound_is_verified(name: str, made: Path, call: Call) -> None:
    """--verify says line by line what it checked, and shows no window unless one is asked for."""
    ended = call("inspect", made / name, "--verify")
    with_window = call("inspect", made / name, "--verify", "--window", "0")

    assert ended.code == 0
    assert any(line.startswith("verified: ") for line in ended.lines)
    assert not any(line.startswith("window ") for line in ended.lines)
    assert any(line.startswith("window 0: ") for line in with_window.lines) == ("shown" in KEYS[name])


def test_every_flipped_bit_of_a_store_is_found_and_named(made: Path, tmp_path: Path) -> None:
    """Whichever bit of whichever file is another, verifying fails with that file's name."""
    store = Path(shutil.copytree(made / "store", tmp_path / "store"))
    files = [path for path in sorted(store.rglob("*")) if path.is_file() and path.name != ".lock"]
    assert {"manifest.json", "plan.json", "tokens-00000.pt", "00000.json"} <= {path.name for path in files}
    assert list(verify_store(store))
    random = np.random.default_rng(4)
    flipped = 0
    for path in files:
        sound = path.read_bytes()
        places = np.unique([0, len(sound) - 1, *random.integers(0, len(sound), 60)])
        for place in places.tolist():
            data = bytearray(sound)
            data[place] ^= 1 << int(random.integers(8))
            path.write_bytes(data)

            with pytest.raises(LlmprepError) as caught:
                list(verify_store(store))
            assert caught.value.exit_code == 4
            assert str(path) in str(caught.value)
            flipped += 1
        path.write_bytes(sound)
    assert list(verify_store(store))
    assert flipped > 300


@pytest.mark.parametrize("name", ["tokens.pt", "windows.pt", "dense.pt", "apart.pt", "pairs.pt", "embeddings.pt"])
def test_every_flipped_bit_of_a_files_content_is_found(name: str, made: Path, tmp_path: Path) -> None:
    """Whichever bit of a file's tensors or description is another, verifying fails with the file's name."""
    sound = (made / name).read_bytes()
    path = tmp_path / name
    random = np.random.default_rng(5)
    with zipfile.ZipFile(made / name) as archive:
        spans = [(entry.header_offset + 128, entry.file_size) for entry in archive.infolist()]
        starts = [sound.find(archive.read(entry)) for entry in archive.infolist()]
    for start, (_, size) in zip(starts, spans, strict=True):
        for place in np.unique(random.integers(start, start + size, 12)).tolist():
            data = bytearray(sound)
            data[place] ^= 1 << int(random.integers(8))
            path.write_bytes(data)
            with pytest.raises(LlmprepError) as caught:
                list(verify_file(path))
            assert caught.value.exit_code == 4
            assert str(path) in str(caught.value)


Tensors = dict[str, tuple[npt.NDArray[np.int64], tuple[int, ...]]]
"""Arrays with their strides, by key."""


def write_file(path: Path, tensors: Tensors, meta: Any) -> None:
    """Write a sound file whose content is as told: its checksums hold, whatever it states."""
    views = {
        key: TensorView(number, "int64", array.shape, strides)
        for number, (key, (array, strides)) in enumerate(tensors.items())
    }
    storages = [[np.ascontiguousarray(array).data] for array, _ in tensors.values()]
    with path.open("wb") as sink:
        write_pt(sink, storages, lambda _: {**views, "meta": meta})


def meta_of(kind: str, ids: Sequence[int], **options: object) -> dict[str, Any]:
    """The meta of a file of these ids, as llmprep writes it."""
    gpt2 = load_vocabulary("gpt2")
    stream = TokenStream("made", "gpt2", gpt2.sha256, gpt2.n_vocab, {}, iter([np.array(ids, np.uint32)]))
    list(stream)
    return make_meta(kind, stream, **options)


def test_statements_that_do_not_hold_are_named(tmp_path: Path, call: Call) -> None:
    """A file whose checksums hold but whose ids, counts, hash or windows are not what it states is refused."""
    ids = np.arange(100, 120)
    meta = meta_of("tokens", ids.tolist(), dtype="int64")
    inputs, targets = (np.array(rows) for rows in window_rows(ids.tolist(), 4, 2))
    windows = meta_of("windows", ids.tolist(), max_length=4, stride=2, dtype="int64", dense=True)
    unlike = targets.copy()
    unlike[3, 1] += 1
    both = inputs.copy(), targets.copy()
    both[0][5, 2:], both[1][5, 1:] = 7, 7
    wrong: dict[str, tuple[Tensors, dict[str, Any]]] = {
        "n_tokens is 20, meta says 21": ({"token_ids": (ids, (1,))}, {**meta, "n_tokens": 21}),
        "content_sha256 is ": ({"token_ids": (ids[::-1], (1,))}, meta),
        "id 50257 at [4] >= vocabulary 50257": ({"token_ids": (np.where(ids == 104, 50257, ids), (1,))}, meta),
        "id -1 at [4] is negative": ({"token_ids": (np.where(ids == 104, -1, ids), (1,))}, meta),
        "window 3: its targets are not its inputs moved by one": (
            {"input_ids": (inputs, (4, 1)), "target_ids": (unlike, (4, 1))}, windows,
        ),
        "it does not overlap with the next one": (
            {"input_ids": (both[0], (4, 1)), "target_ids": (both[1], (4, 1))}, windows,
        ),
        "windows is 7, meta says 8": (
            {"input_ids": (inputs[:-1], (4, 1)), "target_ids": (targets[:-1], (4, 1))}, windows,
        ),
        "max_length is 4, meta says 5": (
            {"input_ids": (inputs, (4, 1)), "target_ids": (targets, (4, 1))},
            {**windows, "options": {**windows["options"], "max_length": 5}},
        ),
    }  # fmt: skip
    for number, (told, (tensors, stated)) in enumerate(wrong.items()):
        path = tmp_path / f"{number}.pt"
        write_file(path, tensors, stated)

        ended = call("inspect", path, "--verify", "--json")

        assert ended.code == 4, told
        assert error_of(ended).startswith(f"{path}: ")
        assert told in error_of(ended)
        assert ended.stdout == b""


def changed(values: Any, *path: Any, to: Any) -> Any:
    """Values with one of them changed, which ``path`` leads to."""
    if not path:
        return to
    held = list(values) if isinstance(values, list) else dict(values)
    held[path[0]] = changed(held[path[0]], *path[1:], to=to)
    return held


IMPOSSIBLE: list[tuple[tuple[Any, ...], Any]] = [
    (("sources",), [1, 2]),
    (("sources",), []),
    (("sources", 0), [None, 1]),
    (("sources", 0, 1), -1),
    (("sources", 0, 0), 7),
    (("empty",), [99]),
    (("empty",), ["a"]),
    (("shards", 0, "pieces"), []),
    (("shards", 0, "pieces"), ["x"]),
    (("shards", 0, "pieces", 0), []),
    *((("shards", 0, "pieces", 0, 0), wrong) for wrong in (99, -1, "a", True)),
    *((("shards", 0, "pieces", 0, 1), wrong) for wrong in (10**9, -1, 1.5)),
    *((("shards", 0, "pieces", 0, 3), wrong) for wrong in (-5, 10**6, 2**63)),
    *((("shards", 0, "pieces", 0, 4), wrong) for wrong in (10**9, 0, None)),
    (("shards", 0, "pieces", 0, 5), -1),
    *((("shards", 0, "tokens"), wrong) for wrong in (-7, True, 2**63)),
    *((("shards", 0, "documents"), wrong) for wrong in (-1, 9)),
    *((("splits",), wrong) for wrong in ({"train": [0]}, {"train": ["a", "b"]}, {"train": 5}, {"train": [-9, 20]})),
    *((("splits",), wrong) for wrong in ({"train": [0, 10**9]}, {"train": [20, 10]}, {"a": [0, 20], "b": [10, 30]})),
    *((("n_tokens",), wrong) for wrong in (-1, 3)),
    *((("n_documents",), wrong) for wrong in (-5, 4)),
    (("n_special",), -1),
    (("n_boms",), -1),
    *((("n_vocab",), wrong) for wrong in (0, -1, 10**6, 10**30)),
    *((("dtype",), wrong) for wrong in ("float", "\x1b[2J", "int32")),
    *((("encoding",), wrong) for wrong in ("", "\x1b[2J", "\ud800", "a" * 99)),
    *(((key,), wrong) for key in ("vocab_sha256", "content_sha256", "plan_sha256") for wrong in ("0", "\ud800")),
    (("format",), "llmprep-store/" + "9" * 5000),
]


@pytest.mark.parametrize(
    ("path", "to"), IMPOSSIBLE, ids=lambda value: str(value)[:40].encode("ascii", "replace").decode()
)
def test_a_sealed_manifest_that_cannot_be_is_refused(
    path: tuple[Any, ...], to: Any, made: Path, tmp_path: Path, call: Call
) -> None:
    """Sealed or not, what a manifest states must be possible: each way to read it gives one line and exit code 4."""
    store = Path(shutil.copytree(made / "store", tmp_path / "store"))
    values = json.loads((store / "manifest.json").read_bytes())
    del values["seal_sha256"]
    (store / "manifest.json").write_bytes(seal(changed(values, *path, to=to)))

    for command in (["inspect"], ["inspect", "--verify"], ["window", "--max-length", "8", "-o", "w.pt"]):
        ended = call(command[0], "store", *command[1:])
        assert ended.code == 4
        assert error_of(ended).startswith("store/manifest.json: ")
        assert len(error_of(ended)) < 1000
    with pytest.raises(FileFormatError):
        WindowDataset(store, 8, 8, split="train")


def test_history_of_another_store_is_found(made: Path, tmp_path: Path, call: Call) -> None:
    """A receipt of another shard, or a plan of another store, has a sound seal and is still not this store's."""
    store = Path(shutil.copytree(made / "store", tmp_path / "store"))
    call("tokenize", made / "story.txt", "-o", "other/", "--jobs", "1")
    for source, target in (("store/receipts/00001.json", "receipts/00000.json"), ("other/plan.json", "plan.json")):
        kept = (store / target).read_bytes()
        shutil.copy(tmp_path / source, store / target)

        ended = call("inspect", "store", "--verify")

        assert ended.code == 4
        assert error_of(ended).startswith(f"store/{target}: is ")
        (store / target).write_bytes(kept)
    assert call("inspect", "store", "--verify").code == 0


def test_a_weights_file_is_described(made: Path, call: Call) -> None:
    """What ``embed --save-weights`` writes is known by its two tables, and sound; there are no windows in it."""
    ended = call("inspect", made / "weights.pt")
    verified = call("inspect", made / "weights.pt", "--verify", "--json")

    assert (ended.code, ended.notes) == (0, [])
    assert dict(line.split(maxsplit=1) for line in ended.lines) == {
        "kind": "weights",
        "token_embedding.weight": "[50257, 4] float32",
        "pos_embedding.weight": "[1024, 4] float32",
    }
    assert verified.value["verified"] == [
        "checksums of 2 tensors hold",
        "token table [50257, 4], positional table [1024, 4]",
    ]


@pytest.mark.parametrize("name", ["weights", "pairs", "embeddings", "apart"])
@pytest.mark.parametrize("look", [["--window", "0"], ["--where", "0"], ["--around", "the"]], ids=lambda look: look[0])
def test_a_look_into_what_has_no_stream_is_refused(look: list[str], name: str, made: Path, call: Call) -> None:
    """What holds no continuous ids shows nothing, which is said instead of passed over."""
    ended = call("inspect", made / f"{name}.pt", *look)

    assert (ended.code, ended.stdout) == (2, b"")
    assert "holds no continuous token ids to look into; leave out --window" in error_of(ended)


def test_files_of_others_are_told(tmp_path: Path, call: Call) -> None:
    """A .pt file without meta is none of llmprep's, and one whose meta is not what llmprep writes is refused."""
    ids = np.arange(20)
    for meta in ({}, {"kind": "tokens"}, {"kind": 3, "options": 4}, "text", {**meta_of("tokens", [1]), "sources": [1]}):
        write_file(tmp_path / "other.pt", {"token_ids": (ids, (1,))}, meta)
        for options in ([], ["--verify"], ["--window", "0", "--max-length", "4"]):
            ended = call("inspect", "other.pt", *options)

            assert ended.code == 4, (meta, options)
            assert error_of(ended).startswith("other.pt: ")


@pytest.mark.parametrize(("path", "code"), [("none", 1), ("story.txt", 4), (".", 4)])
def test_what_is_neither_is_refused(path: str, code: int, made: Path, call: Call) -> None:
    """A missing path, a text and a folder that is no store each get one line."""
    target = made / path if path != "." else made

    ended = call("inspect", target)

    assert ended.code == code
    assert str(target) in error_of(ended)
