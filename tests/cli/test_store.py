"""Promises of `tokenize -o FOLDER/` and `merge`: what they say, what they refuse, and stores as inputs of commands."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.commands import SAMPLES, Call
from support.stores import contents, flip, make_corpus, make_store, put, write_files

from llmprep.store.manifest import read_manifest

SIZED = ("--shard-bytes", "9000", "--jobs", "1")
KEYS = {
    "command", "output", "n_shards", "n_tokens", "n_documents", "n_special", "encoding", "dtype", "content_sha256",
}  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of every kind of text."""
    return make_corpus(tmp_path_factory.mktemp("corpus"))


def test_a_store_says_what_it_holds(corpus: Path, call: Call) -> None:
    """In words, with notes on its inputs; as one object with stable keys; or not at all. A merge says the same."""
    words = call("tokenize", corpus, "-o", "s/", *SIZED)
    again = call("tokenize", corpus, "-o", "s/", *SIZED, "--json")
    merged, merged_json = call("merge", "s"), call("merge", "s", "--json")
    quiet = call("tokenize", corpus, "-o", "s/", *SIZED, "-q")
    manifest = read_manifest(Path("s"))
    assert [line.partition(" ")[2] for line in words.lines] == [
        "tokens (gpt2) of 16 documents",
        "in the text itself: 0",
        manifest.content_sha256,
        f"{len(manifest.shards)} shards, uint16, {sum(shard.bytes for shard in manifest.shards) / 1e3:.1f} kB",
    ]
    notes = [
        "llmprep: note: 1 empty input skipped: b_empty.txt",
        "llmprep: note: 1 input began with a byte order mark, which was dropped",
    ]
    n_shards = len(manifest.shards)
    assert words.notes == merged.notes == notes
    assert again.notes == [f"llmprep: note: s: {n_shards} of {n_shards} shards are done already", *notes]
    assert (merged.lines, merged_json.value) == (words.lines, again.value)
    assert again.value.keys() == KEYS
    assert {key: again.value[key] for key in ("command", "output", "n_tokens", "content_sha256")} == {
        "command": "tokenize",
        "output": "s",
        "n_tokens": manifest.n_tokens,
        "content_sha256": manifest.content_sha256,
    }
    assert (quiet.code, quiet.stdout, quiet.stderr) == (0, b"", b"")


def test_a_task_says_its_share(corpus: Path, call: Call) -> None:
    """How many of the shards it has built, and what comes next."""
    words = call("tokenize", corpus, "-o", "s/", *SIZED, "--task", "2/3")
    value = call("tokenize", corpus, "-o", "s/", *SIZED, "--task", "2/3", "--json").value
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


REFUSED: dict[str, tuple[str, int, str]] = {
    "standard input": ("- -o s/", 2, "-: a token store is planned from files that tell their size; copy it into one"),
    "a folder, without a slash": ("t.txt -o in", 2, "in: is a folder; name a file in it, or in/ for a token store"),
    "no name": ("t.txt --shard-bytes 9", 2, "--shard-bytes, --shard-tokens: name the store's folder with -o FOLDER/"),
    "two sizes": ("t.txt -o s/ --shard-bytes 9 --shard-tokens 9", 2, "--shard-bytes and --shard-tokens: choose one"),
    "a dtype": ("t.txt -o s/ --dtype int32", 2, "--dtype: a token store has the smallest that fits"),
    "no size at all": ("t.txt -o s/ --shard-bytes 0", 2, "Invalid value for '--shard-bytes'"),
    "an empty corpus": ("empty.txt -o s/", 3, "empty.txt: empty: 0 tokens"),
    "a missing file": ("none.txt -o s/", 1, "none.txt: no such file or directory"),
    "an input in the folder": ("in -o in/s/", 2, "in/s: lies inside the input in; name a folder elsewhere"),
    "task beyond": ("t.txt -o s/ --task 4/3", 2, "--task 4/3: must be i/N with i from 1 to N, as 3/7"),
    "task of nothing": ("t.txt -o s/ --task 1", 2, "--task 1: must be i/N"),
    "task in other digits": ("t.txt -o s/ --task \u0661/3", 2, "--task \u0661/3: must be i/N"),
    "all for validation": ("t.txt -o s/ --val-fraction 1", 2, "--val-fraction 1.0: must be larger than 0"),
    "address without Ray": ("t.txt -o s/ --address auto", 2, "--address: goes with --executor ray"),
    "a task's restart": ("t.txt -o s/ --task 1/2 --restart", 2, "--restart: not with --task"),
    "task of a file": ("t.txt -o t.pt --task 1/2", 2, "--task: for a token store; name a folder with -o FOLDER/"),
    "a file in parts": ("t.txt --val-fraction 0.5 --restart", 2, "--restart, --val-fraction: for a token store;"),
}


@pytest.mark.parametrize("more", [(), ("--dry-run",)], ids=["run", "dry run"])
@pytest.mark.parametrize(("arguments", "code", "line"), list(REFUSED.values()), ids=list(REFUSED))
def test_what_makes_no_store_is_refused(
    arguments: str, code: int, line: str, more: tuple[str, ...], call: Call
) -> None:
    """With one line and its exit code, also by a dry run, and no folder is made."""
    write_files(Path(), {"t.txt": "some text", "empty.txt": "", "in/a.txt": "more text"})
    before = sorted(Path().rglob("*"))
    ended = call("tokenize", *arguments.split(), *more)
    (note,) = ended.notes
    assert (ended.code, ended.stdout) == (code, b"")
    assert note.startswith(f"llmprep: error: {line}")
    assert sorted(Path().rglob("*")) == before


def test_a_folder_begun_otherwise_is_refused(call: Call, tmp_path: Path) -> None:
    """With exit code 6 for a store that differs, 4 for one that cannot be merged, 1 for what is not the store's own."""
    write_files(Path(), {"t.txt": "some text"})
    call("tokenize", "t.txt", "-o", "s/", "--jobs", "1")
    flip(Path("s/tokens-00000.pt"), 700)
    other = call("tokenize", "t.txt", "-o", "s/", "--newlines", "keep")
    merged = call("merge", "s")
    put("a link to nothing", Path("s/receipts"), tmp_path)
    dry = call("tokenize", "t.txt", "-o", "s/", "--dry-run")
    assert [ended.code for ended in (other, merged, dry)] == [6, 4, 1]
    assert other.notes == [
        "llmprep: error: s: was begun differently: newlines was universal, is keep; --restart starts over"
    ]
    assert merged.notes[0].startswith("llmprep: error: s: 1 of 1 shards are missing or damaged (0); run the command")
    assert dry.notes == ["llmprep: error: s/receipts: is a link, where the store has a folder; remove it"]


# --- a store as an input --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ("window", "--max-length", "64", "--stride", "16"),
        ("window", "--max-length", "64", "--stride", "100", "--dtype", "int32"),
        ("window", "--max-length", "64", "--dense"),
        ("pairs", "--context-size", "5", "--start", "2600", "--windows", "40"),
        ("embed", "--max-length", "16", "--dim", "4", "--batches", "20"),
    ],
    ids=" ".join,
)
def test_commands_take_a_store_as_they_take_a_file(command: tuple[str, ...], call: Call) -> None:
    """`window`, `pairs` and `embed` write the same tensors from a store as from the tokens file of the same text."""
    call("tokenize", SAMPLES / "story.txt", "-o", "store/", *SIZED)
    call("tokenize", SAMPLES / "story.txt", "-o", "file.pt")
    for source, name in (("store", "store.out.pt"), ("file.pt", "file.out.pt")):
        ended = call(*command, source, "-o", name)
        assert ended.code == 0, ended
    from_store, from_file = (torch.load(f"{name}.out.pt", weights_only=True) for name in ("store", "file"))
    assert from_store.keys() == from_file.keys()
    assert all(torch.equal(from_store[key], from_file[key]) for key in from_store.keys() - {"meta"})
    for key in ("n_tokens", "content_sha256", "options", "encoding", "n_vocab", "vocab_sha256", "kind"):
        assert from_store["meta"][key] == from_file["meta"][key]


def test_a_stores_choices_are_made(call: Call, tmp_path: Path) -> None:
    """Options for text, and another encoding, are refused for a store; its windows are named after it."""
    make_store(tmp_path / "store", [range(20)])
    made = "its tokens are made already; options for text do not apply"
    for options, line in (("--newlines keep", made), ("--field body", made), ("--encoding cl100k_base", "with gpt2")):
        for command in ("window", "pairs", "embed"):
            ended = call(command, "store", *options.split(), "-o", "o.pt")
            assert (ended.code, len(ended.notes)) == (2, 1)
            assert line in ended.notes[0]
            assert not Path("o.pt").exists()
    assert call("window", "store/", "--max-length", "4").code == 0
    assert Path("store.windows.pt").is_file()


@pytest.mark.parametrize(
    "command",
    [
        "window --max-length 8 -o x.pt",
        "window --max-length 8 --val-fraction 0.1 -o x.pt",
        "pairs --start 40",
        "pairs -o x.pt",
        "embed --max-length 8 --dim 4 -o x.pt",
        "tokenize -o x.pt",
        "tokenize --count",
        "tokenize --ids",
        "inspect --max-length 8 --window 5",
        "inspect --max-length 8 --where 5",
        "inspect --max-length 8 --around of",
        "inspect --verify",
    ],
)
def test_a_damaged_shard_is_refused(command: str, call: Call, tmp_path: Path) -> None:
    """Each command that reads ids of a store finds a flipped bit, names the shard, and writes nothing."""
    make_store(tmp_path / "s", [range(k, k + 40) for k in (0, 40, 80)])
    name, *options = command.split()
    flip(Path("s/tokens-00001.pt"), Path("s/tokens-00001.pt").read_bytes().index(b"\x28\0\x29\0"))
    ended = call(name, "s", *options)
    assert ended.code == 4
    assert "tokens-00001.pt: checksum" in ended.notes[-1]
    assert not list(Path().glob("*x*.pt"))
