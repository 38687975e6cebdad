"""Promises of ``inspect``: what a store or file is, a look inside, where it is from, and that all it states is true."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.commands import SAMPLES, Call
from support.making import make
from support.reference import encode, tiktoken_encoding, window_rows
from support.refusals import check_error, check_refused

from llmprep.errors import LlmprepError
from llmprep.formats.verify import verify_file
from llmprep.store.verify import verify_store

EOT = 50256
COMMON = {"command", "path", "kind", "encoding", "n_tokens", "options", "content_sha256", "n_sources"}
LOOK = {"n_windows", "max_length", "stride", "shown"}
KEYS = {
    "store": COMMON | LOOK | {"n_documents", "n_shards", "dtype", "splits"},
    "tokens.pt": COMMON | LOOK | {"token_ids"},
    "windows.pt": COMMON | LOOK | {"input_ids", "target_ids"},
    "dense.pt": COMMON | LOOK | {"input_ids", "target_ids"},
    "apart.pt": COMMON | {"input_ids", "target_ids"},
    "pairs.pt": COMMON | {"contexts", "lengths", "targets"},
    "embeddings.pt": COMMON | {"input_embeddings"},
    "weights.pt": {"command", "path", "kind", "token_embedding.weight", "pos_embedding.weight"},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two inputs, a store of them, and a file of each kind."""
    folder = tmp_path_factory.mktemp("made")
    for name in ("story.txt", "records.jsonl"):
        shutil.copy(SAMPLES / name, folder)
    make(
        folder,
        "tokenize story.txt records.jsonl -o store/ --shard-bytes 9000 --jobs 1 --val-fraction 0.25",
        "tokenize story.txt records.jsonl -o tokens.pt",
        "window tokens.pt --max-length 16 --stride 8 -o windows.pt",
        "window tokens.pt --max-length 16 --stride 8 --dense -o dense.pt",
        "window tokens.pt --max-length 16 --stride 20 -o apart.pt",
        "pairs story.txt -o pairs.pt",
        "embed windows.pt --dim 4 --batches 2 -o embeddings.pt --save-weights weights.pt",
    )
    return folder


@pytest.fixture(scope="module")
def ids(made: Path) -> list[int]:
    """The corpus's ids: each document encoded whole, the end-of-text id between them."""
    lines = (made / "records.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [(made / "story.txt").read_text(encoding="utf-8"), *(json.loads(line)["text"] for line in lines)]
    return [token_id for text in texts for token_id in [*encode(text), EOT]][:-1]


def text_of(ids: Sequence[int]) -> str:
    """Ids as text."""
    return tiktoken_encoding("gpt2").decode(list(ids))


# --- what it is -----------------------------------------------------------------------------------


def test_a_store_is_described(made: Path, ids: list[int], call: Call) -> None:
    """One line for each fact: what it is, how it was encoded, how much it holds, its splits and windows."""
    manifest = json.loads((made / "store" / "manifest.json").read_bytes())
    cut = len(ids) - len(ids) // 4

    ended = call("inspect", made / "store")

    assert ended.code == 0
    assert dict(line.split(maxsplit=1) for line in ended.lines[:13]) == {
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
        "windows": str(len(window_rows(ids, 256, 256)[0])),
        "max_length": "256",
        "stride": "256",
    }
    assert ended.lines[13] == "window 0: tokens 0 to 255"


@pytest.mark.parametrize("name", KEYS)
def test_json_has_stable_keys_and_what_is_sound_is_verified(name: str, made: Path, call: Call) -> None:
    """--json prints one object with these keys for each kind; --verify adds what was verified, and shows no window."""
    plain, verified = call("inspect", made / name, "--json"), call("inspect", made / name, "--json", "--verify")

    assert (plain.code, verified.code) == (0, 0)
    assert plain.value.keys() == KEYS[name]
    assert verified.value.keys() == KEYS[name] - {"shown"} | {"verified"}
    assert verified.value["verified"]
    assert all(plain.value[key] == verified.value[key] for key in KEYS[name] - {"shown"})
    for window in plain.value.get("shown", []):
        assert window.keys() == {"window", "input_ids", "target_ids", "text", "places"}
        assert all(place.keys() == {"name", "document", "begin", "end", "exact"} for place in window["places"])


def test_verified_in_words(made: Path, call: Call) -> None:
    """--verify says line by line what it checked, with a window only where one is asked for; -q says nothing."""
    lines = call("inspect", made / "weights.pt", "--verify").lines
    looked = call("inspect", made / "store", "--verify", "--window", "0").lines
    quiet = call("inspect", made / "store", "--verify", "-q")

    assert [line.split(maxsplit=1) for line in lines] == [
        ["kind", "weights"],
        ["token_embedding.weight", "[50257, 4] float32"],
        ["pos_embedding.weight", "[1024, 4] float32"],
        ["verified:", "checksums of 2 tensors hold"],
        ["verified:", "token table [50257, 4], positional table [1024, 4]"],
    ]
    assert sum(line.startswith("verified: ") for line in looked) > 2
    assert "window 0: tokens 0 to 255" in looked
    assert (quiet.code, quiet.stdout, quiet.stderr) == (0, b"", b"")


# --- windows --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["store", "tokens.pt", "windows.pt", "dense.pt"])
def test_windows_are_the_textbook_loops(name: str, made: Path, ids: list[int], call: Call) -> None:
    """--window N shows the loop's window N, from a store and from any file that holds a stream."""
    inputs, targets = window_rows(ids, 16, 8)
    wanted = [0, 7, 300, len(inputs) - 1]
    options = ["--max-length", "16", "--stride", "8", *(f"--window={number}" for number in wanted)]

    shown = call("inspect", made / name, "--json", *options).value["shown"]

    assert [window["window"] for window in shown] == wanted
    assert [window["input_ids"] for window in shown] == [inputs[number] for number in wanted]
    assert [window["target_ids"] for window in shown] == [targets[number] for number in wanted]


def test_boundaries_of_documents_are_marked(made: Path, ids: list[int], call: Call) -> None:
    """In words, a window shows its tokens' places, its ids and its text, each boundary of documents set off."""
    first = ids.index(EOT) - 5

    ended = call("inspect", made / "store", "--max-length", "10", "--stride", "1", "--window", str(first))

    at = ended.lines.index(f"window {first}: tokens {first} to {first + 9}")
    assert ended.lines[at + 1] == f"  ids   {' '.join(map(str, ids[first : first + 11]))}"
    before, after = (text_of(ids[part : part + size]) for part, size in ((first, 5), (first + 6, 4)))
    assert ended.lines[at + 2] == f"  text  {before} =====| document |===== {after}".replace("\n", "\\n")


def test_nothing_from_a_text_acts_on_a_terminal(call: Call) -> None:
    """Control characters and markup in a text and in its file's name are shown inert."""
    name = "a\x1b[31m[red]\n.txt"
    Path(name).write_text("\x1b]0;title\x07 [bold]words[/bold] \u202e and \x9b2J more words", encoding="utf-8")
    call("tokenize", name, "-o", "s/", "--jobs", "1")

    for ended in (call("inspect", "s", "--max-length", "20"), call("inspect", "s", "--max-length", "20", "--json")):
        text = ended.stdout.decode()
        assert ended.code == 0
        assert all(char.isprintable() or char == "\n" for char in text)
        assert "[bold]words[/bold]" in text
        assert "[red]" in text


def test_another_vocabulary_is_taken_from_its_folder(call: Call, vocab_dir: Path) -> None:
    """The text of a store of another encoding is shown with the vocabulary that --vocab-dir names."""
    Path("a.txt").write_text("some words of text " * 3, encoding="utf-8")
    call("tokenize", "a.txt", "-o", "s/", "--jobs", "1", "--encoding", "cl100k_base", "--vocab-dir", vocab_dir)

    (shown,) = call("inspect", "s", "--max-length", "4", "--json", "--vocab-dir", vocab_dir).value["shown"]

    assert shown["text"] == "some words of text"


# --- around ---------------------------------------------------------------------------------------


def first_window(ids: Sequence[int], phrase: str, max_length: int, stride: int) -> int | None:
    """The first window whose input holds all tokens that a text lies in, by looking at each window."""
    ends = np.cumsum([len(tiktoken_encoding("gpt2").decode_single_token_bytes(token_id)) for token_id in ids])
    at = tiktoken_encoding("gpt2").decode_bytes(ids).find(phrase.encode())
    assert at >= 0
    first, last = (int(np.searchsorted(ends, byte, side="right")) for byte in (at, at + len(phrase.encode()) - 1))
    starts = range(0, len(ids) - max_length, stride)
    return next((k for k, start in enumerate(starts) if start <= first and last < start + max_length), None)


PHRASES = ["The", "the little blue book", "ittle blu", "?", "\n\n"]


@pytest.mark.parametrize(("max_length", "stride"), [(64, 5), (20, 57), (7, 1)])
def test_around_finds_the_first_window_that_holds_a_text(
    max_length: int, stride: int, made: Path, ids: list[int], call: Call
) -> None:
    """--around shows the first window that holds the text, wherever its tokens begin and end."""
    found = 0
    for phrase in PHRASES:
        expected = first_window(ids, phrase, max_length, stride)

        options = ["--max-length", str(max_length), "--stride", str(stride)]
        ended = call("inspect", made / "store", "--json", "--around", phrase, *options)

        (shown,) = ended.value["shown"]
        if expected is None:
            (note,) = ended.notes
            assert note.startswith(f"llmprep: note: no window holds all of {phrase!r}: it is in tokens ")
        else:
            found += 1
            assert (shown["window"], ended.notes) == (expected, [])
            assert phrase in shown["text"]
    assert (found < len(PHRASES)) == (stride > max_length)  # where windows have gaps a text may lie in one


PLACE = 1 << 18
"""Any power of two up to this one, as a number of ids that are looked through at once, has a boundary here."""


@pytest.mark.parametrize("place", [PLACE - 3, PLACE - 1, PLACE, 2 * PLACE - 2])
def test_around_looks_across_blocks(place: int, call: Call) -> None:
    """A text is found where it goes over the end of what is looked through at once, also in the middle of a token."""
    held, end = " zebra crossing \u4e2d\u6587.", " a" * 20
    Path("t.txt").write_text(" a" * place + held + end, encoding="utf-8")
    call("tokenize", "t.txt", "-o", "t.pt", "--dtype", "uint16")
    near = encode(" a" * 12 + held + end)

    for phrase in ("bra crossing \u4e2d", "z"):
        (shown,) = call("inspect", "t.pt", "--json", "--max-length", "10", "--stride", "1", "--around", phrase).value[
            "shown"
        ]

        number = first_window(near, phrase, 10, 1)
        assert number is not None
        assert shown["window"] == number + place - 12
        assert shown["input_ids"] == near[number : number + 10]


# --- where ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["store", "tokens.pt", "windows.pt"])
def test_where_names_file_document_and_bytes(name: str, made: Path, ids: list[int], call: Call) -> None:
    """--where N names the bytes of a text that window N, its last target included, is from."""
    data = (made / "story.txt").read_bytes()

    ended = call("inspect", made / name, "--json", "--max-length", "16", "--stride", "8", "--where", "57")

    (place,) = ended.value["shown"][0]["places"]
    assert (place["name"], place["document"], place["exact"]) == ("story.txt", 1, True)
    assert data[place["begin"] : place["end"]].decode() == text_of(ids[57 * 8 : 57 * 8 + 17])


def test_where_names_each_file_that_a_window_touches(made: Path, ids: list[int], call: Call) -> None:
    """A window over the seam of two files has a place in each; records are numbered within theirs."""
    seam, _, third = [at for at, token_id in enumerate(ids) if token_id == EOT][:3]
    size = (made / "story.txt").stat().st_size
    look = ["inspect", made / "store", "--max-length", "4", "--stride", "1", "--where"]

    over, inside, words = call(*look, seam - 2, "--json"), call(*look, third + 1, "--json"), call(*look, seam - 2)

    tail, head = len(text_of(ids[seam - 2 : seam]).encode()), len(text_of(ids[seam + 1 : seam + 3]).encode())
    assert over.value["shown"][0]["places"] == [
        {"name": "story.txt", "document": 1, "begin": size - tail, "end": size, "exact": True},
        {"name": "records.jsonl", "document": 1, "begin": 0, "end": head, "exact": False},
    ]
    assert [place["document"] for place in inside.value["shown"][0]["places"]] == [3]
    assert words.lines[-2:] == [
        f"  from  story.txt, document 1, bytes {size - tail} to {size}",
        f"  from  records.jsonl, document 1, bytes of its text 0 to {head}",
    ]


# --- what is refused ------------------------------------------------------------------------------

N = "{n}"
BEYOND = "window {n}: there are {n} windows of 16, stride 16"
NO_STREAM = "{path}: holds no continuous token ids to look into; leave out --window, --around and --where"
NO_WINDOW = "{path}: ... tokens give no window of max_length 99999999; the largest max_length that works is ..."
REFUSED = {
    "a window after the last": ("store", "--max-length 16 --window {n}", 2, BEYOND),
    "the place of one": ("store", "--max-length 16 --where {n}", 2, BEYOND),
    "other sizes": (
        "windows.pt", "--max-length 16 --stride 16", 2, "--max-length, --stride: this file has windows of 16, stride 8",
    ),
    "a text that is not there": ("store", "--around nowhere", 3, "{path}: holds no 'nowhere'"),
    "bytes that are no text": ("store", "--around \udcff", 3, "{path}: holds no '\\udcff'"),
    "no text": ("store", "--around=", 2, "--around: needs a text to look for"),
    "a window of too many": ("store", "--max-length 99999999 --window 0", 3, NO_WINDOW),
    "a place in too many": ("store", "--max-length 99999999 --where 0", 3, NO_WINDOW),
    "a text in too many": ("store", "--max-length 99999999 --around said", 3, NO_WINDOW),
    **{
        f"{look} in {name}": (f"{name}.pt", look, 2, NO_STREAM)
        for name in ("weights", "pairs", "embeddings", "apart")
        for look in ("--window 0", "--where 0", "--around the")
    },
    "a text file": ("story.txt", "", 4, "{path}: not a .pt file..."),
    "a folder of texts": (".", "", 4, "{path}: has no manifest.json...")
}  # fmt: skip


@pytest.mark.parametrize("row", REFUSED)
def test_a_look_at_what_is_not_there_is_refused(row: str, made: Path, ids: list[int], call: Call) -> None:
    """A window, text or place that there is not, and what is neither a store nor a .pt file, is one line."""
    name, options, code, line = REFUSED[row]
    path, n = made / name, len(window_rows(ids, 16, 16)[0])

    arguments = ["inspect", "--json", path, *options.format(n=n).split()]
    check_refused(call, *arguments, code=code, line=line.format(path=path, n=n))


def test_sizes_that_give_no_window_are_described(made: Path, ids: list[int], call: Call) -> None:
    """A description alone says that there are 0 windows; the last window is there."""
    value = call("inspect", made / "store", "--max-length", "99999999", "--json").value
    last = len(window_rows(ids, 16, 16)[0]) - 1

    assert (value["n_windows"], value["shown"]) == (0, [])
    assert call("inspect", made / "store", "--max-length", "16", "--window", last).code == 0


# --- verify ---------------------------------------------------------------------------------------


def check_flips(path: Path, places: Sequence[int], verify: Callable[[], object]) -> int:
    """Flip a bit at each place of a file, one at a time; verifying must fail and name the file."""
    sound, random = path.read_bytes(), np.random.default_rng(4)
    for place in places:
        data = bytearray(sound)
        data[place] ^= 1 << int(random.integers(8))
        path.write_bytes(data)
        with pytest.raises(LlmprepError) as caught:
            verify()
        assert caught.value.exit_code == 4
        assert str(path) in str(caught.value)
    path.write_bytes(sound)
    return len(places)


def test_every_flipped_bit_of_a_store_is_found_and_named(made: Path, tmp_path: Path) -> None:
    """Whichever bit of whichever file is another, verifying fails with that file's name."""
    store = Path(shutil.copytree(made / "store", tmp_path / "store"))
    files = [path for path in sorted(store.rglob("*")) if path.is_file() and path.name != ".lock"]
    random = np.random.default_rng(5)

    flipped = 0
    for path in files:
        size = path.stat().st_size
        places = np.unique([0, size - 1, *random.integers(0, size, 16)]).tolist()
        flipped += check_flips(path, places, lambda: list(verify_store(store)))

    assert {"manifest.json", "plan.json", "tokens-00000.pt", "00000.json"} <= {path.name for path in files}
    assert flipped > 150
    assert list(verify_store(store))


@pytest.mark.parametrize("name", ["tokens.pt", "windows.pt", "dense.pt", "apart.pt", "pairs.pt", "embeddings.pt"])
def test_every_flipped_bit_of_a_files_content_is_found(name: str, made: Path, tmp_path: Path) -> None:
    """Whichever bit of a file's tensors or description is another, verifying fails with the file's name."""
    path = Path(shutil.copy(made / name, tmp_path))
    with zipfile.ZipFile(path) as archive:
        records = [archive.read(entry) for entry in archive.infolist()]
    random, data = np.random.default_rng(6), path.read_bytes()
    places = [data.find(record) + int(at) for record in records for at in random.integers(0, len(record), 8)]

    assert check_flips(path, places, lambda: list(verify_file(path))) >= 16


def test_statements_that_do_not_hold_are_named(made: Path, call: Call) -> None:
    """A file whose checksums hold but whose ids, counts, hash or windows are not what it states is refused."""
    tokens, dense = (torch.load(made / name, weights_only=True) for name in ("tokens.pt", "dense.pt"))
    ids, meta, stated = tokens["token_ids"], tokens["meta"], dense["meta"]
    moved, apart = dense["target_ids"].clone(), [dense[key].clone() for key in ("input_ids", "target_ids")]
    moved[3, 1] += 1
    apart[0][5, 8:], apart[1][5, 7:] = 7, 7

    def other(place: int, token_id: int) -> torch.Tensor:
        return torch.cat([ids[:place], torch.tensor([token_id]), ids[place + 1 :]])

    wrong = {
        f"n_tokens is {len(ids)}, meta says 21": {**tokens, "meta": {**meta, "n_tokens": 21}},
        "content_sha256 is ": {**tokens, "token_ids": ids.flip(0)},
        "id 50257 at [4] >= vocabulary 50257": {**tokens, "token_ids": other(4, 50257)},
        "id -1 at [4] is negative": {**tokens, "token_ids": other(4, -1)},
        "window 3: its targets are not its inputs moved by one": {**dense, "target_ids": moved},
        "it does not overlap with the next one": {**dense, "input_ids": apart[0], "target_ids": apart[1]},
        f"windows is {len(moved) - 1}, meta says {len(moved)}": {
            **dense, "input_ids": dense["input_ids"][:-1].clone(), "target_ids": dense["target_ids"][:-1].clone(),
        },
        "max_length is 16, meta says 5": {
            **dense, "meta": {**stated, "options": {**stated["options"], "max_length": 5}},
        },
    }  # fmt: skip
    for line, values in wrong.items():
        torch.save(values, "wrong.pt")

        check_error(call("inspect", "wrong.pt", "--verify", "--json"), 4, f"wrong.pt: ...{line}...")


def test_files_of_others_are_refused(made: Path, call: Call) -> None:
    """A .pt file without meta is none of llmprep's, and one whose meta is not what llmprep writes is refused."""
    tokens = torch.load(made / "tokens.pt", weights_only=True)
    for meta in ({}, {"kind": "tokens"}, {"kind": 3, "options": 4}, "text", {**tokens["meta"], "sources": [1]}):
        torch.save({"token_ids": tokens["token_ids"], "meta": meta}, "other.pt")

        check_error(call("inspect", "other.pt"), 4, "other.pt: ...")


def test_history_of_another_store_is_found(made: Path, call: Call) -> None:
    """A receipt of another shard, or a plan of another store, has a sound seal and is still not this store's."""
    store = Path(shutil.copytree(made / "store", "store"))
    call("tokenize", made / "story.txt", "-o", "other/", "--jobs", "1")
    for source, target in (("store/receipts/00001.json", "receipts/00000.json"), ("other/plan.json", "plan.json")):
        kept = (store / target).read_bytes()
        shutil.copy(source, store / target)

        check_error(call("inspect", "store", "--verify", "--json"), 4, f"store/{target}: is ...")
        (store / target).write_bytes(kept)


# --- manifests that cannot be ---------------------------------------------------------------------


def sealed(values: dict[str, Any]) -> bytes:
    """A manifest as a build writes it: compact JSON that ends with the sha256 of all before it."""
    begun = json.dumps(values, separators=(",", ":"))[:-1]
    return f'{begun},"seal_sha256":"{hashlib.sha256(begun.encode()).hexdigest()}"}}\n'.encode()


def changed(values: Any, *path: Any, to: Any) -> Any:
    """Values with one of them changed, which ``path`` leads to."""
    if not path:
        return to
    held = list(values) if isinstance(values, list) else dict(values)
    held[path[0]] = changed(held[path[0]], *path[1:], to=to)
    return held


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


@pytest.mark.parametrize("path", IMPOSSIBLE, ids=lambda path: ".".join(map(str, path)))
def test_a_sealed_manifest_that_cannot_be_is_refused(path: tuple[Any, ...], made: Path, call: Call) -> None:
    """Sealed or not, what a manifest states must be possible: each command that reads it says what is not."""
    store = Path(shutil.copytree(made / "store", "store"))
    values = json.loads((store / "manifest.json").read_bytes())
    assert (
        sealed({key: value for key, value in values.items() if key != "seal_sha256"})
        == (store / "manifest.json").read_bytes()
    )
    del values["seal_sha256"]
    for to in IMPOSSIBLE[path]:
        (store / "manifest.json").write_bytes(sealed(changed(values, *path, to=to)))

        for command in (["inspect", "store"], ["window", "store", "--max-length", "8", "-o", "w.pt"]):
            error = check_error(call(*command), 4, "store/manifest.json: ...")
            assert len(error) < 1000
