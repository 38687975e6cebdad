"""Promises of `tokenize -o FOLDER/` and `merge`: what they say, what they refuse, and stores as inputs of commands."""

from pathlib import Path

import pytest
import torch
from support.commands import SAMPLES, Call, Ended
from support.refusals import Refusal, check_error, check_refusal, check_refused, each_row
from support.stores import contents, flip, make_corpus, make_store, write_files

from llmprep.store.manifest import read_manifest

SIZED = ("--shard-bytes", "9000", "--jobs", "1")


def test_a_store_says_what_it_holds(call: Call) -> None:
    """In words, with notes on its inputs; as one object with stable keys; or not at all. A merge says the same."""
    corpus = make_corpus(Path("corpus"))
    words = call("tokenize", corpus, "-o", "s/", *SIZED)
    again = call("tokenize", corpus, "-o", "s/", *SIZED, "--json")
    merged, merged_json = call("merge", "s"), call("merge", "s", "--json")
    manifest = read_manifest(Path("s"))
    n_shards = len(manifest.shards)
    assert [line.partition(" ")[2] for line in words.lines] == [
        "tokens (gpt2) of 16 documents",
        manifest.content_sha256,
        f"{n_shards} shards, uint16, {sum(shard.bytes for shard in manifest.shards) / 1e3:.1f} kB",
    ]
    notes = [
        "llmprep: note: 1 empty input skipped: b_empty.txt",
        "llmprep: note: 1 input began with a byte order mark, which was dropped",
    ]
    assert words.notes == merged.notes == notes
    assert again.notes == [f"llmprep: note: s: {n_shards} of {n_shards} shards are done already", *notes]
    unchanged = [*words.lines[:-1], words.lines[-1].replace("s: ", "s: unchanged, ")]
    assert (merged.lines, merged_json.value) == (unchanged, again.value)
    assert [*again.value] == [
        "command", "output", "unchanged", "n_shards", "n_tokens", "n_documents", "n_special", "encoding", "dtype",
        "content_sha256",
    ]  # fmt: skip
    stated = {"command": "tokenize", "output": "s", "n_tokens": manifest.n_tokens, "encoding": "gpt2"}
    assert again.value.items() >= stated.items()
    assert call("tokenize", corpus, "-o", "s/", *SIZED, "-q") == Ended(0, b"", b"")


def test_a_task_says_its_share(call: Call) -> None:
    """How many of the shards it has built, and what comes next."""
    task = ("tokenize", make_corpus(Path("corpus")), "-o", "s/", *SIZED, "--task", "2/3")
    words, value = call(*task), call(*task, "--json").value
    n_done, n_shards = value["n_done"], value["n_shards"]
    assert words.lines == [f"s: {n_done} of {n_shards} shards, task 2/3; when all tasks are done: llmprep merge"]
    assert value == {"command": "tokenize", "output": "s", "task": "2/3", "n_done": n_done, "n_shards": n_shards}
    assert 0 < n_done < n_shards


def test_options_of_a_store_are_the_librarys(call: Call) -> None:
    """--shard-tokens N is --shard-bytes of four times N; a part for validation may be empty, which is said."""
    write_files(Path(), {"t.txt": "some words " * 10})
    call("tokenize", "t.txt", "-o", "bytes/", "--shard-bytes", "40", "--jobs", "1")
    call("tokenize", "t.txt", "-o", "tokens/", "--shard-tokens", "10", "--jobs", "1")
    split = call("tokenize", "t.txt", "-o", "bytes/", "--shard-bytes", "40", "--jobs", "1", "--val-fraction", "0.01")
    assert contents("tokens").keys() == contents("bytes").keys()
    assert len(contents("tokens")) == 4
    assert split.notes[-1] == "llmprep: note: split val is empty: --val-fraction of 21 tokens is less than one"
    assert call("tokenize", "t.txt", "-o", "bytes/", "--val-fraction", "0.5", "--restart").code == 0
    assert read_manifest(Path("bytes")).splits == {"train": (0, 11), "val": (11, 21)}


TEXTS = {"t.txt": "some text", "empty.txt": "", "in/a.txt": "more text"}
REFUSED = {
    "- -o s/": "-: a token store is planned from files that tell their size; copy it into one",
    "t.txt -o in": "in: is a folder; name a file in it, or in/ for a token store",
    "t.txt --shard-bytes 9": "--shard-bytes, --shard-tokens: name the store's folder with -o FOLDER/",
    "t.txt -o s/ --shard-bytes 9 --shard-tokens 9": "--shard-bytes and --shard-tokens: cannot be combined",
    "t.txt -o s/ --dtype int32": "--dtype: a token store has the smallest that fits...",
    "t.txt -o s/ --shard-bytes 0": "Invalid value for '--shard-bytes'...",
    "in -o in/s/": "in/s: lies inside the input in; name a folder elsewhere",
    "t.txt -o s/ --task 1": "--task 1: must be i/N with i from 1 to N, as 3/7",
    "t.txt -o s/ --task \u0661/3": "--task \u0661/3: must be i/N...",
    "t.txt -o t.pt --task 1/2": "--task: for a token store; name a folder with -o FOLDER/",
    "t.txt --val-fraction 0.5 --restart": "--restart, --val-fraction: for a token store;...",
}
ROWS = {arguments: Refusal(TEXTS, arguments, 2, line) for arguments, line in REFUSED.items()}
ROWS["empty.txt -o s/"] = Refusal(TEXTS, "empty.txt -o s/", 3, "empty.txt: empty: 0 tokens")


@each_row(ROWS)
def test_what_makes_no_store_is_refused(refusal: Refusal, call: Call) -> None:
    """With one line and its exit code, also by a dry run, and no folder is made."""
    check_refusal(call, refusal, ("tokenize", "tokenize --dry-run"))


def test_a_folder_begun_otherwise_is_refused(call: Call) -> None:
    """With exit code 6 for a store that differs, 4 for one that cannot be merged, 1 for what is not the store's own."""
    write_files(Path(), {"t.txt": "some text"})
    call("tokenize", "t.txt", "-o", "s/", "--jobs", "1")
    flip(Path("s/tokens-00000.pt"), 700)
    other = call("tokenize", "t.txt", "-o", "s/", "--newlines", "keep")
    merged = call("merge", "s")
    Path("s/receipts").rename("receipts")
    Path("s/receipts").symlink_to("nothing")
    dry = call("tokenize", "t.txt", "-o", "s/", "--dry-run")
    check_error(
        other, 6, "s: was built from other inputs or options: newlines was universal, is keep; --restart starts over"
    )
    check_error(merged, 4, "s: 1 of 1 shards are missing or damaged (0); run the command...")
    check_error(dry, 1, "s/receipts: is a link, where the store has a folder; remove it")


@pytest.mark.parametrize(
    "command",
    ["window --max-length 64 --dense", "pairs --start 2600 --windows 40", "embed --max-length 16 --dim 4 --batches 20"],
)
def test_commands_take_a_store_as_they_take_a_file(command: str, call: Call) -> None:
    """`window`, `pairs` and `embed` write the same tensors from a store as from the tokens file of the same text."""
    call("tokenize", SAMPLES / "story.txt", "-o", "store/", *SIZED)
    call("tokenize", SAMPLES / "story.txt", "-o", "file.pt")
    for source, name in (("store", "store.out.pt"), ("file.pt", "file.out.pt")):
        assert call(*command.split(), source, "-o", name).code == 0
    from_store, from_file = (torch.load(f"{name}.out.pt", weights_only=True) for name in ("store", "file"))
    assert from_store.keys() == from_file.keys()
    assert all(torch.equal(from_store[key], from_file[key]) for key in from_store.keys() - {"meta"})
    for key in ("n_tokens", "content_sha256", "options", "encoding", "n_vocab", "vocab_sha256", "kind"):
        assert from_store["meta"][key] == from_file["meta"][key]
    assert call("window", "store/tokens-00001.pt", "--max-length", "64").code == 0  # a shard is a tokens file


def test_a_stores_choices_are_made(call: Call, tmp_path: Path) -> None:
    """Options for text, and another encoding, are refused for a store; its windows are named after it."""
    make_store(tmp_path / "store", [range(20)])
    lines = {"--newlines keep": "...options for text do not apply...", "--encoding cl100k_base": "...with gpt2..."}
    for options, line in lines.items():
        for command in ("window", "pairs", "embed"):
            check_refused(call, command, "store", *options.split(), "-o", "o.pt", code=2, line=line)
    assert call("window", "store/", "--max-length", "4").code == 0
    assert Path("store.windows.pt").is_file()


@pytest.mark.parametrize(
    "command",
    [
        "window --max-length 8 --val-fraction 0.1 -o x.pt", "pairs --start 40", "embed --max-length 8 --dim 4 -o x.pt",
        "tokenize -o x.pt", "tokenize --count", "tokenize --ids", "inspect --max-length 8 --window 5",
        "inspect --max-length 8 --where 5", "inspect --max-length 8 --around of", "inspect --verify",
    ],
)  # fmt: skip
def test_a_damaged_shard_is_refused(command: str, call: Call, tmp_path: Path) -> None:
    """Each command that reads ids of a store finds a flipped bit, names the shard, and writes nothing."""
    make_store(tmp_path / "s", [range(k, k + 40) for k in (0, 40, 80)])
    flip(Path("s/tokens-00001.pt"), Path("s/tokens-00001.pt").read_bytes().index(b"\x28\0\x29\0"))
    name, *options = command.split()
    ended = call(name, "s", *options)
    assert ended.code == 4
    assert "tokens-00001.pt: checksum" in ended.notes[-1]
    assert not list(Path().glob("*x*.pt"))
