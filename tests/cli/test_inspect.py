"""Promises of ``inspect``: a look inside, where it is from, and that all a store or a file states is true.

What it says, word by word, is in the golden sessions.
"""

import contextlib
import re
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.commands import SAMPLES, Call
from support.reference import encode, tiktoken_encoding, window_rows
from support.refusals import check_error
from support.small_vocabularies import write_vocabularies
from support.stores import flip, reseal

from llmprep.errors import FileFormatError
from llmprep.store.verify import verify_store

MAKE = """
tokenize story.txt -o store/ --shard-bytes 9000 --jobs 1 --val-fraction 0.25
tokenize story.txt -o tokens.pt
window tokens.pt --max-length 16 --stride 8 -o windows.pt
window tokens.pt --max-length 16 --stride 8 --dense -o dense.pt
window tokens.pt --max-length 16 --stride 20 -o apart.pt
pairs story.txt -o pairs.pt
embed windows.pt --dim 4 --batches 2 -o embeddings.pt
"""
SHAPE = ("--max-length", "16", "--stride", "8")


@pytest.fixture
def made(call: Call, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the story, a store of it, and a file of each kind; made once."""
    folder = tmp_path_factory.getbasetemp() / "made"
    if not folder.exists():
        folder.mkdir()
        with contextlib.chdir(folder):
            shutil.copy(SAMPLES / "story.txt", folder)
            for line in MAKE.strip().splitlines():
                assert call(*line.split()).code == 0, line
    return folder


def test_a_text_that_no_window_holds_is_said(made: Path, call: Call) -> None:
    """--around shows the window that such a text begins in, and a note names its tokens."""
    ended = call("inspect", made / "store", "--json", "--max-length", "1", "--around", "the little blue book")
    (shown,), (note,) = ended.value["shown"], ended.notes
    where = f"it is in tokens {shown['window']} to {shown['window'] + 3}"
    assert note == f"llmprep: note: no window holds all of 'the little blue book': {where}"


@pytest.mark.parametrize("name", ["store", "tokens.pt", "windows.pt", "dense.pt"])
def test_windows_are_the_textbook_loops(name: str, made: Path, call: Call) -> None:
    """--window N shows the loop's window N, from a store or a file with a stream; --where N names all of its bytes."""
    data = (made / "story.txt").read_bytes()
    ids = encode(data.decode())
    inputs, targets = window_rows(ids, 16, 8)
    wanted = [0, 7, 300, len(inputs) - 1]
    shown = call("inspect", made / name, "--json", *SHAPE, *(f"--window={k}" for k in wanted)).value["shown"]
    assert [window["window"] for window in shown] == wanted
    assert [window["input_ids"] for window in shown] == [inputs[k] for k in wanted]
    assert [window["target_ids"] for window in shown] == [targets[k] for k in wanted]
    (shown,) = call("inspect", made / name, "--json", *SHAPE, "--where", "57").value["shown"]
    (place,) = shown["places"]
    exact = name != "dense.pt"  # its windows do not hold the end of the text
    assert (place["name"], place["document"], place["exact"]) == ("story.txt", 1, exact)
    text = tiktoken_encoding("gpt2").decode_bytes(ids[57 * 8 : 57 * 8 + 17])
    assert data[place["begin"] : place["end"]] == text


def test_a_character_at_the_edge_of_a_window_is_named(call: Call) -> None:
    """A window that begins or ends within a character shows its bytes there, and says which character they are of."""
    call("tokenize", "--text", "one \u6587 two \u6587\u5b57 \u5b57 end", "-o", "t.pt")
    lines = call("inspect", "t.pt", "--max-length", "4", "--stride", "2", "--window", "1").lines
    assert lines[-3:-1] == [
        r"  text  \x96\x87 two \xe6",
        "  split \u2423\u6587 is 3 tokens: \u2423\\xe6 \\x96 \\x87",
    ]
    shown = call("inspect", "t.pt", "--max-length", "4", "--stride", "2", "--window", "1", "--json").value["shown"]
    assert shown[0]["text"] == "\ufffd\ufffd two \ufffd"


def test_another_vocabulary_is_taken_from_its_folder(call: Call, vocab_dir: Path) -> None:
    """The text of a store of another encoding is shown with the vocabulary that --vocab-dir names."""
    Path("a.txt").write_text("some words of text " * 3, encoding="utf-8")
    call("tokenize", "a.txt", "-o", "s/", "--jobs", "1", "--encoding", "cl100k_base", "--vocab-dir", vocab_dir)
    (shown,) = call("inspect", "s", "--max-length", "4", "--json", "--vocab-dir", vocab_dir).value["shown"]
    assert shown["text"] == "some words of text"


def test_a_vocabulary_that_nobody_here_encodes_with_says_so(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library that alone can encode, a file is described all the same, with what to install."""
    write_vocabularies()
    import_module("llmprep.tokens.verifying")  # and all that it takes, before a part is exchanged
    monkeypatch.setattr("llmprep.tokens.tokenizers.has_tokenizers", lambda: False)
    shown = call("inspect", "unigram.json")
    assert shown.lines[-1] == "encoded_by       nobody before pip install 'llmprep[hf]': the model is Unigram, not BPE"
    assert call("inspect", "unigram.json", "--json").value["encoded_by"] is None
    for module, words, code in (
        ("verifying", ("inspect", "bytes.json", "--verify"), 5),
        ("backends", ("tokenize", "bytes.json", "--tokenizer", "bytes.json", "--backend", "tokenizers"), 2),
    ):
        monkeypatch.setattr(f"llmprep.tokens.{module}.has_tokenizers", lambda: False)
        ended = call(*words)
        assert (ended.code, ended.notes[-1].endswith("pip install 'llmprep[hf]'")) == (code, True)


def test_every_flipped_bit_of_a_store_is_found_and_named(made: Path, tmp_path: Path) -> None:
    """Whichever bit of whichever file is another, verifying fails with that file's name."""
    store = Path(shutil.copytree(made / "store", tmp_path / "store"))
    files = [path for path in sorted(store.rglob("*")) if path.is_file() and path.name != ".lock"]
    assert {"manifest.json", "plan.json", "tokens-00000.pt", "00000.json"} <= {path.name for path in files}
    random = np.random.default_rng(4)
    for path in files:
        sound = path.read_bytes()
        for place in (0, len(sound) - 1, *random.integers(0, len(sound), 8).tolist()):
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
    path = Path(shutil.copy(made / f"{name}.pt", "a.pt"))
    flip(path, path.stat().st_size // 2)
    check_error(call("inspect", "a.pt", "--verify", "--json"), 4, "a.pt: ...")


def test_statements_that_do_not_hold_are_named(made: Path, call: Call) -> None:
    """A file whose checksums hold but whose ids, counts, hash, windows or meta are not as they should is refused."""
    tokens, dense = (torch.load(made / name, weights_only=True) for name in ("tokens.pt", "dense.pt"))
    ids, inputs, targets = tokens["token_ids"], dense["input_ids"], dense["target_ids"]
    count = len(inputs)

    def other(tensor: torch.Tensor, where: Any, value: int) -> torch.Tensor:
        copied = tensor.clone()
        copied[where] = value
        return copied

    options = {**dense["meta"]["options"], "max_length": 5}
    apart = {"input_ids": other(inputs, (5, slice(8, 16)), 7), "target_ids": other(targets, (5, slice(7, 16)), 7)}
    fewer = {"input_ids": inputs[:-1].clone(), "target_ids": targets[:-1].clone()}
    wrong = {
        f"n_tokens is {len(ids)}, meta says 21": {**tokens, "meta": {**tokens["meta"], "n_tokens": 21}},
        "content_sha256 is ": {**tokens, "token_ids": ids.flip(0)},
        "id 50257 at [4] >= vocabulary 50257": {**tokens, "token_ids": other(ids, 4, 50257)},
        "window 3: its targets are not its inputs moved by one": {**dense, "target_ids": other(targets, (3, 1), 7)},
        "window 5: it does not overlap with the next one": {**dense, **apart},
        f"windows is {count - 1}, meta says {count}": {**dense, **fewer},
        "max_length is 16, meta says 5": {**dense, "meta": {**dense["meta"], "options": options}},
    }
    for line, values in wrong.items():
        torch.save(values, "wrong.pt")
        check_error(call("inspect", "wrong.pt", "--verify", "--json"), 4, f"wrong.pt: {line}...")
    for meta in ({}, {"kind": 3, "options": 4}, "text", {**tokens["meta"], "sources": [1]}):
        torch.save({"token_ids": ids, "meta": meta}, "other.pt")
        check_error(call("inspect", "other.pt"), 4, "other.pt: ...")


def test_history_of_another_store_is_found(made: Path, call: Call) -> None:
    """A receipt of another shard, or a plan of another store, has a sound seal and is still not this store's."""
    shutil.copytree(made / "store", "store")
    call("tokenize", made / "story.txt", "-o", "other/", "--jobs", "1")
    for source, target in (("store/receipts/00001.json", "receipts/00000.json"), ("other/plan.json", "plan.json")):
        shutil.copy(source, f"store/{target}")
        check_error(call("inspect", "store", "--verify", "--json"), 4, f"store/{target}: is ...")
        shutil.copy(made / "store" / target, f"store/{target}")
    reseal(Path("store/manifest.json"), ["n_tokens"], -1)  # what it states must be possible, sealed or not
    for command in ("inspect store", "window store --max-length 8 -o w.pt"):
        check_error(call(*command.split()), 4, "store/manifest.json: n_tokens is out of range...")
