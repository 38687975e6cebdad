"""Promises of ``inspect``: a look inside, where it is from, and that all a store or a file states is true.

What it says, word by word, is in the golden sessions.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import re
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.commands import SAMPLES, Call
from support.reference import encode, tiktoken_encoding, window_rows
from support.refusals import check_error

from llmprep.errors import FileFormatError
from llmprep.store.verify import verify_store

EOT = 50256
MAKE = """
tokenize story.txt records.jsonl -o store/ --shard-bytes 9000 --jobs 1 --val-fraction 0.25
tokenize story.txt records.jsonl -o tokens.pt
window tokens.pt --max-length 16 --stride 8 -o windows.pt
window tokens.pt --max-length 16 --stride 8 --dense -o dense.pt
window tokens.pt --max-length 16 --stride 20 -o apart.pt
pairs story.txt -o pairs.pt
embed windows.pt --dim 4 --batches 2 -o embeddings.pt
"""
SHAPE = ("--max-length", "16", "--stride", "8")


@pytest.fixture
def made(call: Call, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two inputs, a store of them, and a file of each kind; made once."""
    folder = tmp_path_factory.getbasetemp() / "made"
    if not folder.exists():
        folder.mkdir()
        with contextlib.chdir(folder):
            for name in ("story.txt", "records.jsonl"):
                shutil.copy(SAMPLES / name, folder)
            for line in MAKE.strip().splitlines():
                assert call(*line.split()).code == 0, line
    return folder


@functools.cache
def corpus() -> list[int]:
    """The ids of the two inputs: each document encoded whole, the end-of-text id between them."""
    lines = (SAMPLES / "records.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [(SAMPLES / "story.txt").read_text(encoding="utf-8"), *(json.loads(line)["text"] for line in lines)]
    return [token_id for text in texts for token_id in [*encode(text), EOT]][:-1]


# --- a look inside --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["store", "tokens.pt", "windows.pt", "dense.pt"])
def test_windows_are_the_textbook_loops(name: str, made: Path, call: Call) -> None:
    """--window N shows the loop's window N, from a store and from any file that holds a stream."""
    inputs, targets = window_rows(corpus(), 16, 8)
    wanted = [0, 7, 300, len(inputs) - 1]

    shown = call("inspect", made / name, "--json", *SHAPE, *(f"--window={k}" for k in wanted)).value["shown"]

    assert [window["window"] for window in shown] == wanted
    assert [window["input_ids"] for window in shown] == [inputs[k] for k in wanted]
    assert [window["target_ids"] for window in shown] == [targets[k] for k in wanted]


@pytest.mark.parametrize("name", ["store", "tokens.pt", "windows.pt"])
def test_where_names_file_document_and_bytes(name: str, made: Path, call: Call) -> None:
    """--where N names the bytes of a text that window N, its last target included, is from."""
    (shown,) = call("inspect", made / name, "--json", *SHAPE, "--where", "57").value["shown"]

    (place,) = shown["places"]
    assert (place["name"], place["document"], place["exact"]) == ("story.txt", 1, True)
    data = (made / "story.txt").read_bytes()[place["begin"] : place["end"]]
    assert data == tiktoken_encoding("gpt2").decode_bytes(corpus()[57 * 8 : 57 * 8 + 17])


def test_nothing_from_a_text_acts_on_a_terminal(call: Call) -> None:
    """Control characters and markup in a text and in its file's name are shown inert."""
    name = "a\x1b[31m[red]\n.txt"
    Path(name).write_text("\x1b]0;title\x07 [bold]words[/bold] \u202e and \x9b2J more words", encoding="utf-8")
    call("tokenize", name, "-o", "s/", "--jobs", "1")

    for options in ([], ["--json"]):
        text = call("inspect", "s", "--max-length", "20", *options).stdout.decode()

        assert all(char.isprintable() or char == "\n" for char in text)
        assert "[bold]words[/bold]" in text
        assert "[red]" in text


def test_another_vocabulary_is_taken_from_its_folder(call: Call, vocab_dir: Path) -> None:
    """The text of a store of another encoding is shown with the vocabulary that --vocab-dir names."""
    Path("a.txt").write_text("some words of text " * 3, encoding="utf-8")
    call("tokenize", "a.txt", "-o", "s/", "--jobs", "1", "--encoding", "cl100k_base", "--vocab-dir", vocab_dir)

    (shown,) = call("inspect", "s", "--max-length", "4", "--json", "--vocab-dir", vocab_dir).value["shown"]

    assert shown["text"] == "some words of text"


def first_window(ids: Sequence[int], phrase: str, max_length: int, stride: int) -> int | None:
    """The first window whose input holds all tokens that a text lies in, by looking at each window."""
    ends = np.cumsum([len(tiktoken_encoding("gpt2").decode_single_token_bytes(token_id)) for token_id in ids])
    at = tiktoken_encoding("gpt2").decode_bytes(ids).find(phrase.encode())
    assert at >= 0
    first, last = (int(np.searchsorted(ends, byte, side="right")) for byte in (at, at + len(phrase.encode()) - 1))
    starts = range(0, len(ids) - max_length, stride)
    return next((k for k, start in enumerate(starts) if start <= first and last < start + max_length), None)


@pytest.mark.parametrize(("max_length", "stride"), [(64, 5), (20, 57), (7, 1)])
def test_around_finds_the_first_window_that_holds_a_text(max_length: int, stride: int, made: Path, call: Call) -> None:
    """--around shows the first window that holds the text, wherever its tokens begin and end, or says there is none."""
    missed = 0
    for phrase in ("The", "the little blue book", "ittle blu", "?", "\n\n"):
        expected = first_window(corpus(), phrase, max_length, stride)
        options = ["--max-length", str(max_length), "--stride", str(stride), "--around", phrase]

        ended = call("inspect", made / "store", "--json", *options)

        (shown,) = ended.value["shown"]
        if expected is None:
            missed += 1
            (note,) = ended.notes
            assert note.startswith(f"llmprep: note: no window holds all of {phrase!r}: it is in tokens ")
        else:
            assert (shown["window"], ended.notes) == (expected, [])
            assert phrase in shown["text"]
    assert (missed > 0) == (stride > max_length)  # where windows have gaps a text may lie in one


PLACE = 1 << 18
"""Any power of two up to this one, as a number of ids that are looked through at once, has a boundary here."""


@pytest.mark.parametrize("place", [PLACE - 3, PLACE - 1, PLACE, 2 * PLACE - 2])
def test_around_looks_across_blocks(place: int, call: Call) -> None:
    """A text is found where it goes over the end of what is looked through at once, also in the middle of a token."""
    held = f" zebra crossing \u4e2d\u6587.{' a' * 20}"
    Path("t.txt").write_text(" a" * place + held, encoding="utf-8")
    call("tokenize", "t.txt", "-o", "t.pt", "--dtype", "uint16")
    near = encode(" a" * 12 + held)

    for phrase in ("bra crossing \u4e2d", "z"):
        ended = call("inspect", "t.pt", "--json", "--max-length", "10", "--stride", "1", "--around", phrase)

        (shown,) = ended.value["shown"]
        number = first_window(near, phrase, 10, 1) or 0
        assert (shown["window"], shown["input_ids"]) == (number + place - 12, near[number : number + 10])


# --- verify ---------------------------------------------------------------------------------------


def test_every_flipped_bit_of_a_store_is_found_and_named(made: Path, tmp_path: Path) -> None:
    """Whichever bit of whichever file is another, verifying fails with that file's name."""
    store = Path(shutil.copytree(made / "store", tmp_path / "store"))
    files = [path for path in sorted(store.rglob("*")) if path.is_file() and path.name != ".lock"]
    assert {"manifest.json", "plan.json", "tokens-00000.pt", "00000.json"} <= {path.name for path in files}
    random = np.random.default_rng(4)

    for path in files:
        sound = path.read_bytes()
        for place in np.unique([0, len(sound) - 1, *random.integers(0, len(sound), 16)]).tolist():
            data = bytearray(sound)
            data[place] ^= 1 << int(random.integers(8))
            path.write_bytes(data)

            with pytest.raises(FileFormatError, match=re.escape(str(path))):
                list(verify_store(store))
        path.write_bytes(sound)
    assert list(verify_store(store))


@pytest.mark.parametrize("name", ["tokens", "windows", "dense", "apart", "pairs", "embeddings"])
def test_a_flipped_bit_of_a_files_content_is_found(name: str, made: Path, call: Call) -> None:
    """Where one bit of a file's tensors is another, verifying fails with the file's name."""
    data = bytearray((made / f"{name}.pt").read_bytes())
    with zipfile.ZipFile(made / f"{name}.pt") as archive:
        largest = max(map(archive.read, archive.namelist()), key=len)
    data[data.find(largest) + len(largest) // 2] ^= 1
    Path("a.pt").write_bytes(data)

    check_error(call("inspect", "a.pt", "--verify", "--json"), 4, "a.pt: ...")


def test_statements_that_do_not_hold_are_named(made: Path, call: Call) -> None:
    """A file whose checksums hold but whose ids, counts, hash or windows are not what it states is refused."""
    tokens, dense = (torch.load(made / name, weights_only=True) for name in ("tokens.pt", "dense.pt"))
    ids, inputs, targets = tokens["token_ids"], dense["input_ids"], dense["target_ids"]

    def other(tensor: torch.Tensor, where: Any, value: int) -> torch.Tensor:
        copied = tensor.clone()
        copied[where] = value
        return copied

    options = {**dense["meta"]["options"], "max_length": 5}
    apart = {"input_ids": other(inputs, (5, slice(8, 16)), 7), "target_ids": other(targets, (5, slice(7, 16)), 7)}
    wrong = {
        f"n_tokens is {len(ids)}, meta says 21": {**tokens, "meta": {**tokens["meta"], "n_tokens": 21}},
        "content_sha256 is ": {**tokens, "token_ids": ids.flip(0)},
        "id 50257 at [4] >= vocabulary 50257": {**tokens, "token_ids": other(ids, 4, 50257)},
        "id -1 at [4] is negative": {**tokens, "token_ids": other(ids, 4, -1)},
        "window 3: its targets are not its inputs moved by one": {**dense, "target_ids": other(targets, (3, 1), 7)},
        "window 5: it does not overlap with the next one": {**dense, **apart},
        f"windows is {len(inputs) - 1}, meta says {len(inputs)}": {
            **dense, "input_ids": inputs[:-1].clone(), "target_ids": targets[:-1].clone(),
        },
        "max_length is 16, meta says 5": {**dense, "meta": {**dense["meta"], "options": options}},
    }  # fmt: skip
    for line, values in wrong.items():
        torch.save(values, "wrong.pt")

        check_error(call("inspect", "wrong.pt", "--verify", "--json"), 4, f"wrong.pt: {line}...")


def test_files_of_others_are_refused(made: Path, call: Call) -> None:
    """A .pt file without meta is none of llmprep's, and one whose meta is not what llmprep writes is refused."""
    tokens = torch.load(made / "tokens.pt", weights_only=True)
    for meta in ({}, {"kind": "tokens"}, {"kind": 3, "options": 4}, "text", {**tokens["meta"], "sources": [1]}):
        torch.save({"token_ids": tokens["token_ids"], "meta": meta}, "other.pt")

        check_error(call("inspect", "other.pt"), 4, "other.pt: ...")


def test_history_of_another_store_is_found(made: Path, call: Call) -> None:
    """A receipt of another shard, or a plan of another store, has a sound seal and is still not this store's."""
    shutil.copytree(made / "store", "store")
    call("tokenize", made / "story.txt", "-o", "other/", "--jobs", "1")
    for source, target in (("store/receipts/00001.json", "receipts/00000.json"), ("other/plan.json", "plan.json")):
        shutil.copy(source, f"store/{target}")

        check_error(call("inspect", "store", "--verify", "--json"), 4, f"store/{target}: is ...")
        shutil.copy(made / "store" / target, f"store/{target}")


# --- manifests that cannot be ---------------------------------------------------------------------

PIECE = ("shards", 0, "pieces", 0)
IMPOSSIBLE: dict[tuple[Any, ...], list[Any]] = {
    ("sources",): [[1, 2], []],
    ("sources", 0): [[None, 1]],
    ("sources", 0, 1): [-1],
    ("sources", 0, 0): [7],
    ("empty",): [[99], ["a"]],
    ("shards", 0, "pieces"): [[], ["x"]],
    PIECE: [[]],
    (*PIECE, 0): [99, -1, "a", True],
    (*PIECE, 1): [10**9, -1, 1.5],
    (*PIECE, 3): [-5, 10**6, 2**63],
    (*PIECE, 4): [10**9, 0, None],
    (*PIECE, 5): [-1],
    ("shards", 0, "tokens"): [-7, True, 2**63],
    ("shards", 0, "documents"): [-1, 9],
    ("splits",): [
        {"train": [0]}, {"train": ["a", "b"]}, {"train": 5}, {"train": [-9, 20]}, {"train": [0, 10**9]},
        {"train": [20, 10]}, {"a": [0, 20], "b": [10, 30]},
    ],
    ("n_tokens",): [-1, 3],
    ("n_documents",): [-5, 4],
    ("n_special",): [-1],
    ("n_boms",): [-1],
    ("n_vocab",): [0, -1, 10**6, 10**30],
    ("dtype",): ["float", "\x1b[2J", "int32"],
    ("encoding",): ["", "\x1b[2J", "\ud800", "a" * 99],
    ("vocab_sha256",): ["0", "\ud800"],
    ("content_sha256",): ["0", "\ud800"],
    ("plan_sha256",): ["0", "\ud800"],
    ("format",): ["llmprep-store/" + "9" * 5000],
}  # fmt: skip


def sealed(values: dict[str, Any]) -> bytes:
    """A manifest as a build writes it: compact JSON that ends with the sha256 of all before it."""
    begun = json.dumps(values, separators=(",", ":"))[:-1]
    return f'{begun},"seal_sha256":"{hashlib.sha256(begun.encode()).hexdigest()}"}}\n'.encode()


@pytest.mark.parametrize("path", IMPOSSIBLE, ids=lambda path: ".".join(map(str, path)))
def test_a_sealed_manifest_that_cannot_be_is_refused(path: tuple[Any, ...], made: Path, call: Call) -> None:
    """Sealed or not, what a manifest states must be possible: each command that reads it says what is not."""
    shutil.copytree(made / "store", "store")
    manifest = Path("store", "manifest.json")
    values = json.loads(manifest.read_bytes())
    del values["seal_sha256"]
    assert sealed(values) == manifest.read_bytes()
    holder = functools.reduce(lambda held, key: held[key], path[:-1], values)
    for wrong in IMPOSSIBLE[path]:
        holder[path[-1]] = wrong
        manifest.write_bytes(sealed(values))

        for command in (["inspect", "store"], ["window", "store", "--max-length", "8", "-o", "w.pt"]):
            assert len(check_error(call(*command), 4, "store/manifest.json: ...")) < 1000
