"""Promises of building a store: the same bytes whoever builds it and whatever happens on the way."""

from __future__ import annotations

import errno
import fcntl
import gzip
import json
import os
import re
import shutil
import signal
import socket
import stat
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.commands import Call, Ended, Result, Run, clean_environment, run_llmprep
from support.reference import encode

from llmprep.choices import Effort, TextOptions
from llmprep.cli.merge import merge
from llmprep.documents.finding import find_sources
from llmprep.ptfile.reading import read_pt
from llmprep.store.content import sample
from llmprep.store.executors import InProcess
from llmprep.store.folder import read_plan
from llmprep.store.lock import locked
from llmprep.store.manifest import read_manifest, seal
from llmprep.store.merge import write_manifest
from llmprep.store.plan import make_plan
from llmprep.store.prepare import prepare
from llmprep.store.shards import build_shard, make_jobs, run_jobs
from llmprep.vocabulary.loading import load_vocabulary

EOT = 50256
SHARD_BYTES = "9000"
NOTES = [
    "llmprep: note: 1 empty input skipped: b_empty.txt",
    "llmprep: note: 1 input began with a byte order mark, which was dropped",
]
"""What every run that finishes the corpus's store says of it."""


@pytest.fixture(scope="module")
def corpus(story: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of texts of every sort: several spans, nothing, a mark, CRLF, records, gzip, no place to cut."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "sub").mkdir()
    text = story.read_bytes()
    (folder / "a_long.txt").write_bytes(text)
    (folder / "b_empty.txt").write_bytes(b"")
    (folder / "c_marked.txt").write_bytes(b"\xef\xbb\xbfmarked\r\nby Windows\r\n")
    shutil.copy(story.with_name("records.jsonl"), folder / "d_records.jsonl")
    (folder / "e_packed.txt.gz").write_bytes(gzip.compress(text[:4000], mtime=0))
    (folder / "sub" / "f_uncut.txt").write_text("\u2026\u2026\n" * 1200)
    return folder


@pytest.fixture(scope="module")
def built(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus's store, built by one process."""
    folder = tmp_path_factory.mktemp("built") / "store"
    ended = run_llmprep("tokenize", corpus, "-o", f"{folder}/", "--shard-bytes", SHARD_BYTES, "--jobs", "1")
    assert ended.returncode == 0, ended
    return folder


@pytest.fixture
def store(built: Path, tmp_path: Path) -> Path:
    """A copy of that store to work on, its files' times kept."""
    return Path(shutil.copytree(built, tmp_path / "store"))


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of a finished store's files."""
    assert (folder / "manifest.json").is_file()
    return {path.name: path.read_bytes() for path in sorted([*folder.glob("tokens-*.pt"), folder / "manifest.json"])}


def manifest_of(folder: Path) -> Any:
    """A store's manifest."""
    return json.loads((folder / "manifest.json").read_bytes())


def stream_of(folder: Path) -> list[int]:
    """The ids of all shards of a store, one after the other."""
    shards = [read_pt(path).tensors["token_ids"] for path in sorted(folder.glob("tokens-*.pt"))]
    ids: list[int] = np.concatenate(shards).tolist()
    return ids


def built_at(folder: Path) -> dict[str, tuple[int, int]]:
    """When each shard was written, and which file it is."""
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.glob("tokens-*.pt")}


def temporaries(folder: Path) -> list[Path]:
    """Temporary files in a store's folder."""
    return [*folder.rglob(".llmprep-*.tmp")]


def error_of(ended: Ended | Result) -> str:
    """The one line of an error; nothing else may have been printed."""
    (line,) = ended.stderr.decode().splitlines()
    assert line.startswith("llmprep: error: ")
    assert "internal error" not in line
    assert ended.stdout == b""
    return line.removeprefix("llmprep: error: ")


# --- the same bytes, whoever builds ---------------------------------------------------------------


def textbook(corpus: Path) -> list[int]:
    """The corpus's ids the plain way: each document encoded whole, the end-of-text id between them."""
    documents = []
    for path in sorted(path for path in corpus.rglob("*") if path.is_file()):
        data = path.read_bytes()
        if path.suffix == ".jsonl":
            documents += [json.loads(line)["text"] for line in data.splitlines()]
        elif data:
            text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
            documents.append(text.replace("\r\n", "\n"))
    ids = [token_id for text in documents for token_id in [*encode(text), EOT]]
    return ids[:-1]


def test_the_store_is_the_corpus_encoded_whole(built: Path, corpus: Path, call: Call) -> None:
    """The shards in order hold the ids of every document encoded whole, which are `tokenize`'s, by the same hash."""
    expected = textbook(corpus)

    ended = call("tokenize", corpus, "-o", "one.pt")

    one = read_pt(Path("one.pt"))
    manifest = manifest_of(built)
    assert ended.code == 0
    assert len(manifest["shards"]) >= 5
    assert stream_of(built) == expected == one.tensors["token_ids"].tolist()
    assert manifest["content_sha256"] == one.meta["content_sha256"]
    assert (manifest["n_tokens"], manifest["n_special"]) == (len(expected), 0)
    assert manifest["n_documents"] == sum(source["documents"] for source in one.meta["sources"])


def test_processes_write_the_same_bytes(built: Path, corpus: Path, llmprep: Run, tmp_path: Path) -> None:
    """Two worker processes, named by another path from another folder, write the same shards and manifest."""
    (tmp_path / "linked").symlink_to(corpus)

    ended = llmprep("tokenize", "linked", "-o", "s/", "--shard-bytes", SHARD_BYTES, "--jobs", "2")

    assert (ended.returncode, ended.stderr.decode().splitlines()) == (0, NOTES)
    assert contents(tmp_path / "s") == contents(built)
    assert not temporaries(tmp_path / "s")


def test_tasks_in_any_order_write_the_same_bytes(built: Path, corpus: Path, call: Call) -> None:
    """Seven tasks, run in any order, and a merge write the same shards and manifest."""
    order = [3, 7, 1, 6, 2, 5, 4]

    codes = [
        call("tokenize", corpus, "-o", "s/", "--shard-bytes", SHARD_BYTES, "--task", f"{number}/7").code
        for number in order
    ]
    unfinished = Path("s/manifest.json").exists()
    merged = call("merge", "s")

    assert (codes, unfinished, merged.code) == ([0] * 7, False, 0)
    assert contents(Path("s")) == contents(built)


class Backwards(InProcess):
    """Runs what was submitted when all of it is there, the last first."""

    def __init__(self, count: int) -> None:
        self._waiting: list[tuple[Future[Any], Callable[..., Any], Any]] = []
        self.slots = self._count = count

    def submit(self, fn: Callable[..., Any], /, *args: Any, **_: Any) -> Future[Any]:
        """Keep the call, or run all that were kept."""
        future: Future[Any] = Future()
        self._waiting.append((future, fn, args))
        if len(self._waiting) == self._count:
            for kept, function, arguments in reversed(self._waiting):
                kept.set_result(function(*arguments))
        return future


def test_the_order_of_completion_changes_nothing(built: Path, corpus: Path, tmp_path: Path) -> None:
    """Shards that are finished last first give the same store."""
    vocabulary, options = load_vocabulary("gpt2"), TextOptions()
    plan = make_plan(find_sources([str(corpus)]), vocabulary, options, int(SHARD_BYTES))
    folder = tmp_path / "s"
    with locked(folder):
        prepare(folder, plan, vocabulary, restart=False, val_fraction=None)
        jobs = make_jobs(plan, folder, vocabulary, options, Effort())
        seen: list[int] = []

        run_jobs(jobs, Backwards(len(jobs)), lambda job, _: seen.append(job.number))
        merge(folder)

    at = built_at(folder)
    assert sorted(at, key=lambda name: at[name]) == sorted(at, reverse=True)
    assert sorted(seen) == list(range(len(jobs)))
    assert contents(folder) == contents(built)


def test_other_vocabularies_travel_to_workers(tmp_path: Path, llmprep: Run, vocab_dir: Path, corpus: Path) -> None:
    """A vocabulary from a folder reaches the workers, and its ids, too many for 16 bits, get 32."""
    options = ["--encoding", "cl100k_base", "--vocab-dir", vocab_dir, "--jobs", "2"]
    inputs = [corpus / "a_long.txt", corpus / "c_marked.txt"]

    ended = llmprep("tokenize", *inputs, "-o", "s/", "--shard-bytes", "20000", *options)
    single = llmprep("tokenize", *inputs, "-o", "one.pt", *options)

    assert (ended.returncode, single.returncode) == (0, 0)
    shard = read_pt(tmp_path / "s" / "tokens-00000.pt")
    assert {*shard.dtypes.values(), manifest_of(tmp_path / "s")["dtype"]} == {"int32"}
    assert stream_of(tmp_path / "s") == read_pt(tmp_path / "one.pt").tensors["token_ids"].tolist()


def test_the_manifest_tells_all_and_nothing_of_the_machine(built: Path, corpus: Path) -> None:
    """The manifest has exactly these keys, ids of GPT-2 have 16 bits, and no path or process is named."""
    manifest = manifest_of(built)

    assert manifest.keys() == {
        "format", "llmprep_version", "encoding", "vocab_sha256", "n_vocab", "dtype", "options", "plan_sha256",
        "n_tokens", "n_documents", "n_special", "n_boms", "content_sha256", "sources", "empty", "shards", "splits",
        "seal_sha256",
    }  # fmt: skip
    assert (manifest["format"], manifest["encoding"], manifest["dtype"]) == ("llmprep-store/1", "gpt2", "uint16")
    names = sorted(str(path.relative_to(corpus)) for path in corpus.rglob("*") if path.is_file())
    assert manifest["sources"] == [[name, (corpus / name).stat().st_size] for name in names]
    assert [shard["file"] for shard in manifest["shards"]] == sorted(path.name for path in built.glob("*.pt"))
    assert str(corpus.parent) not in json.dumps(manifest)


def test_a_shard_is_the_file_that_tokenize_writes(built: Path, call: Call, corpus: Path) -> None:
    """A shard that holds whole files is, byte for byte, what `tokenize` writes for them alone."""
    shard = built / manifest_of(built)["shards"][-1]["file"]
    inputs = [corpus / "e_packed.txt.gz", corpus / "sub" / "f_uncut.txt"]
    meta = read_pt(shard).meta
    names = [source["name"] for source in meta["sources"]]

    call("tokenize", *inputs[-len(names) :], "-o", "one.pt", "--dtype", "uint16")

    assert names == ["sub/f_uncut.txt"]
    one = read_pt(Path("one.pt"))
    assert [EOT, *one.tensors["token_ids"].tolist()] == read_pt(shard).tensors["token_ids"].tolist()
    assert meta.keys() == one.meta.keys()


# --- resume ---------------------------------------------------------------------------------------


def again(call: Call, corpus: Path, *more: str) -> Ended:
    """Build the store again by the same command."""
    return call("tokenize", corpus, "-o", "store/", "--shard-bytes", SHARD_BYTES, "--jobs", "1", *more)


def flip(path: Path, place: int) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def receipt_without(key: str) -> Callable[[Path, Path], None]:
    def damage(_: Path, receipt: Path) -> None:
        values = json.loads(receipt.read_bytes())
        del values[key]
        receipt.write_text(json.dumps(values))

    return damage


def receipt_with(key: str, value: object) -> Callable[[Path, Path], None]:
    def damage(_: Path, receipt: Path) -> None:
        values = json.loads(receipt.read_bytes())
        assert values[key] != value
        receipt.write_text(json.dumps({**values, key: value}))

    return damage


DAMAGES: dict[str, Callable[[Path, Path], object]] = {
    "shard deleted": lambda shard, _: shard.unlink(),
    "shard cut short": lambda shard, _: os.truncate(shard, shard.stat().st_size - 1),
    "shard emptied": lambda shard, _: os.truncate(shard, 0),
    "one bit of a shard": lambda shard, _: flip(shard, shard.stat().st_size // 2),
    "another shard's bytes": lambda shard, _: shutil.copy(shard.with_name("tokens-00000.pt"), shard),
    "receipt deleted": lambda _, receipt: receipt.unlink(),
    "receipt emptied": lambda _, receipt: os.truncate(receipt, 0),
    "receipt cut short": lambda _, receipt: os.truncate(receipt, 100),
    "receipt no object": lambda _, receipt: receipt.write_text("[]"),
    "receipt not UTF-8": lambda _, receipt: receipt.write_bytes(b"\xff"),
    "receipt of another plan": receipt_with("plan_sha256", "0" * 64),
    "receipt without a figure": receipt_without("tokens"),
    "receipt with another figure": receipt_with("tokens", 7),
    "receipt with other documents": receipt_with("documents", 7),
    "receipt with other pieces": receipt_with("pieces", []),
}


@pytest.mark.parametrize("damage", list(DAMAGES.values()), ids=list(DAMAGES))
def test_only_what_is_missing_or_damaged_is_built_again(
    damage: Callable[[Path, Path], object], store: Path, built: Path, corpus: Path, call: Call
) -> None:
    """The same command rebuilds a shard whose file or receipt is gone or not as it was, and no other; it says so."""
    before = built_at(store)
    damage(store / "tokens-00002.pt", store / "receipts" / "00002.json")

    ended = again(call, corpus)

    after = built_at(store)
    n_shards = len(before)
    assert ended.code == 0, ended
    assert ended.notes == [f"llmprep: note: store: {n_shards - 1} of {n_shards} shards are done already", *NOTES]
    assert {name for name in after if after[name] != before.get(name)} == {"tokens-00002.pt"}
    assert contents(store) == contents(built)


def test_a_finished_store_is_left_as_it_is(store: Path, built: Path, corpus: Path, call: Call) -> None:
    """The same command on a finished store says that all is done, and writes no shard."""
    before = built_at(store)

    ended = again(call, corpus)

    n_shards = len(before)
    assert ended.notes == [f"llmprep: note: store: {n_shards} of {n_shards} shards are done already", *NOTES]
    assert built_at(store) == before
    assert contents(store) == contents(built)


def test_a_lost_manifest_is_written_again(store: Path, built: Path, corpus: Path, call: Call) -> None:
    """Without its manifest a store is not finished; the command, or a merge, writes it from the receipts."""
    before = built_at(store)
    for merging in (False, True):
        (store / "manifest.json").unlink()

        ended = call("merge", "store") if merging else again(call, corpus)

        assert ended.code == 0
        assert contents(store) == contents(built)
    assert built_at(store) == before


def kill_and_resume(corpus: Path, tmp_path: Path, seed: int, kills: int) -> tuple[int, Path]:
    """Build a store, killing the build at random moments; return how many kills met a running build."""
    moments = np.random.default_rng(seed)
    folder = tmp_path / "store"
    command = [
        sys.executable,
        "-m",
        "llmprep",
        "tokenize",
        str(corpus),
        "-o",
        f"{folder}/",
        "--shard-bytes",
        SHARD_BYTES,
    ]
    finished: dict[str, tuple[int, int]] = {}
    met = 0
    for number in range(kills + 1):
        process = subprocess.Popen(
            [*command, "--jobs", str(1 + number % 2)],
            env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        if number < kills:
            with suppress(subprocess.TimeoutExpired):
                process.wait(moments.uniform(0.05, 0.5))
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        _, stderr = process.communicate(timeout=60)
        met += process.returncode == -signal.SIGKILL
        assert process.returncode in (0, -signal.SIGKILL), stderr
        now = built_at(folder)
        assert {name: now.get(name) for name in finished} == finished
        receipts = {json.loads(path.read_bytes())["file"] for path in folder.glob("receipts/0*.json")}
        finished = {name: now[name] for name in receipts}
    return met, folder


@pytest.mark.parametrize(
    ("seed", "kills"), [(1, 3), pytest.param(2, 20, marks=pytest.mark.slow)], ids=["3 kills", "20 kills"]
)
def test_a_build_survives_kills_at_random_moments(
    built: Path, corpus: Path, tmp_path: Path, seed: int, kills: int
) -> None:
    """Killed at any moment, all its processes at once, the same command goes on and ends with the same bytes.

    What was finished before a kill is not written again, and no temporary file stays.
    """
    met, folder = kill_and_resume(corpus, tmp_path, seed, kills)

    assert met > 0
    assert contents(folder) == contents(built)
    assert not temporaries(folder)


def test_stale_temporaries_are_removed(store: Path, corpus: Path, call: Call) -> None:
    """What a killed run has left, in the folder or beside the receipts, goes with the next run or merge."""
    for merging in (False, True):
        (store / ".llmprep-0123456789abcdef.tmp").write_bytes(b"left")
        (store / "receipts" / ".llmprep-fedcba9876543210.tmp").write_bytes(b"left")

        ended = call("merge", "store") if merging else again(call, corpus)

        assert ended.code == 0
        assert not temporaries(store)


def test_a_run_killed_before_its_plan_was_written_can_be_repeated(built: Path, corpus: Path, call: Call) -> None:
    """A folder that holds only what a run leaves that was killed at its start is no foreign folder."""
    (Path("store") / "receipts").mkdir(parents=True)
    Path("store/.lock").write_text("process 1 on nowhere\n")
    Path("store/.llmprep-0123456789abcdef.tmp").write_bytes(b"the plan's first h")

    ended = again(call, corpus)

    assert ended.code == 0, ended
    assert contents(Path("store")) == contents(built)
    assert not temporaries(Path("store"))


# --- another corpus or other options --------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--newlines", "keep"], "newlines was universal, is keep"),
        (["--separator", "none"], "separator was eot, is none"),
        (["--special", "text"], "special was allow, is text"),
        (["--encoding", "r50k_base"], "encoding was gpt2, is r50k_base"),
        (["--shard-bytes", "9001"], "shard_bytes was 9000, is 9001"),
        (["--newlines", "keep", "--special", "text"], "newlines was universal, is keep; special was allow, is text"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_other_options_are_refused_and_named(
    options: list[str], told: str, store: Path, built: Path, corpus: Path, call: Call
) -> None:
    """A store that was begun with other options is refused with the list of them, and stays as it is."""
    ended = again(call, corpus, *options)

    assert ended.code == 6
    assert error_of(ended) == f"store: was begun differently: {told}; --restart starts over"
    assert contents(store) == contents(built)


def edit_keeping_size(path: Path) -> None:
    """Change a file but not its size, and see that its time has moved on."""
    before = path.stat().st_mtime_ns
    path.write_bytes(path.read_bytes().swapcase())
    if path.stat().st_mtime_ns == before:
        os.utime(path, ns=(before + 1, before + 1))


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "added": (lambda c: (c / "g.txt").write_text("new"), "g.txt is new"),
    "removed": (lambda c: (c / "c_marked.txt").unlink(), "c_marked.txt is gone"),
    "grown": (lambda c: (c / "a_long.txt").write_text("longer" * 9000), "a_long.txt has changed"),
    "same size": (lambda c: edit_keeping_size(c / "a_long.txt"), "a_long.txt has changed"),
    "renamed": (
        lambda c: (c / "sub" / "f_uncut.txt").rename(c / "sub" / "z.txt"),
        "sub/f_uncut.txt is gone; sub/z.txt is new",
    ),
}


@pytest.mark.parametrize(("change", "told"), list(CHANGES.values()), ids=list(CHANGES))
def test_a_changed_corpus_is_refused_and_named(
    change: Callable[[Path], object], told: str, store: Path, built: Path, corpus: Path, call: Call, tmp_path: Path
) -> None:
    """Files added, removed, renamed or edited since are named, and the store stays as it is."""
    mine = Path(shutil.copytree(corpus, tmp_path / "mine"))
    unchanged = again(call, mine)
    change(mine)

    refused = again(call, mine)

    assert (unchanged.code, refused.code) == (0, 6)
    assert error_of(refused) == f"store: was begun differently: {told}; --restart starts over"
    assert contents(store) == contents(built)


def test_a_restart_builds_what_a_new_folder_would_get(store: Path, corpus: Path, call: Call, tmp_path: Path) -> None:
    """--restart forgets the store that was begun, all of its shards, and builds the other corpus's."""
    mine = Path(shutil.copytree(corpus, tmp_path / "mine"))
    (mine / "a_long.txt").write_text("now one short text")
    before = built_at(store)

    restarted = again(call, mine, "--restart")

    fresh = call("tokenize", mine, "-o", "fresh/", "--shard-bytes", SHARD_BYTES, "--jobs", "1")
    assert (restarted.code, fresh.code) == (0, 0)
    assert contents(store) == contents(Path("fresh"))
    assert len(built_at(store)) < len(before)


@pytest.mark.parametrize("changed", ["one", "two"])
def test_files_of_the_same_name_are_told_apart(changed: str, call: Call) -> None:
    """Where several files have one name, a change of any of them, size kept, is seen."""
    for folder in ("one", "two"):
        Path(folder).mkdir()
        (Path(folder) / "x.txt").write_text(f"text of {folder}")
    command = ("tokenize", "one/x.txt", "two/x.txt", "-o", "s/", "--jobs", "1")
    first = call(*command)
    edit_keeping_size(Path(changed) / "x.txt")

    ended = call(*command)

    assert (first.code, ended.code) == (0, 6)
    assert "x.txt has changed" in error_of(ended)


def test_another_order_is_refused(call: Call) -> None:
    """The same files in another order are another corpus."""
    Path("a.txt").write_text("one")
    Path("b.txt").write_text("two")
    first = call("tokenize", "a.txt", "b.txt", "-o", "s/", "--jobs", "1")

    ended = call("tokenize", "b.txt", "a.txt", "-o", "s/", "--jobs", "1")

    assert (first.code, ended.code) == (0, 6)
    assert error_of(ended) == "s: was begun differently: the files come in another order; --restart starts over"


def test_a_file_that_changes_after_the_plan_is_named(corpus: Path, tmp_path: Path) -> None:
    """A worker that finds a file of another size than planned names it, and writes no shard."""
    mine = Path(shutil.copytree(corpus, tmp_path / "mine"))
    vocabulary, options = load_vocabulary("gpt2"), TextOptions()
    plan = make_plan(find_sources([str(mine)]), vocabulary, options, int(SHARD_BYTES))
    folder = tmp_path / "s"
    with locked(folder):
        prepare(folder, plan, vocabulary, restart=False, val_fraction=None)
    job = make_jobs(plan, folder, vocabulary, options, Effort())[0]
    (mine / "a_long.txt").write_text("shorter")

    with pytest.raises(Exception, match=r"a_long\.txt: changed since the store was planned; run the same"):
        build_shard(job)
    assert not built_at(folder)


# --- a corpus that was mended, or only copied ------------------------------------------------------


def build(call: Call, folder: str, *more: str) -> Ended:
    """Build a store of the files in ``in`` whose shards are small."""
    return call("tokenize", "in", "-o", f"{folder}/", "--shard-bytes", "100", "--jobs", "1", *more)


def packed(text: str) -> bytes:
    """A text as gzip has it, never shorter than its parts that stand for themselves."""
    return gzip.compress(text.encode(), compresslevel=0, mtime=0)


def lay_out(**files: bytes) -> None:
    """Write files into ``in``."""
    Path("in").mkdir(exist_ok=True)
    for name, data in files.items():
        Path("in", f"{name}.txt").write_bytes(data)


def receipts_of(folder: Path) -> dict[str, bytes]:
    """The bytes of a store's receipts."""
    return {path.name: path.read_bytes() for path in folder.glob("receipts/*.json")}


@pytest.mark.parametrize(("cut", "moves"), [(40, {1: 2, 2: 3, 3: 4}), (None, {0: 0, 2: 2, 3: 3, 4: 4})])
def test_a_mended_file_costs_its_own_shards(cut: int | None, moves: dict[int, int], call: Call) -> None:
    """A damaged file stops a build; put whole, the same command keeps each shard that holds none of it, as it is."""
    whole = packed("b " * 20)
    damaged = whole[:cut] if cut else whole[:-9] + bytes(9)
    lay_out(a=b"a " * 30, b=damaged, c=b"c " * 35, d=b"d " * 50, e=b"e " * 50)
    codes = [build(call, "s", "--task", f"{number}/5").code for number in (1, 2, 3, 4, 5)]
    before = built_at(Path("s"))
    lay_out(b=whole)

    ended = build(call, "s")

    after = built_at(Path("s"))
    assert sorted(codes) == [0, 0, 0, 0, 3]
    assert ended.code == 0, ended
    assert ended.notes == [
        "llmprep: note: s: b.txt has changed: shards made from it are built again",
        f"llmprep: note: s: {len(moves)} of 5 shards are done already",
    ]
    for old, new in moves.items():
        assert after[f"tokens-{new:05d}.pt"] == before[f"tokens-{old:05d}.pt"]
    assert build(call, "fresh").code == 0
    assert contents(Path("s")) == contents(Path("fresh"))
    assert call("inspect", "s", "--verify").code == 0


def test_a_file_of_another_time_is_the_same(store: Path, built: Path, corpus: Path, call: Call, tmp_path: Path) -> None:
    """A corpus that was copied without its times is read again once, and no shard of it is built again."""
    mine = Path(shutil.copytree(corpus, tmp_path / "mine", copy_function=shutil.copyfile))
    for number, path in enumerate(sorted(mine.rglob("*"))):
        os.utime(path, ns=(10**18 + number, 10**18 + number))
    before = built_at(store)

    ended = again(call, mine)
    noted = receipts_of(store)
    task = again(call, mine, "--task", "1/2")

    assert ended.notes == [f"llmprep: note: store: {len(before)} of {len(before)} shards are done already", *NOTES]
    assert task.code == 0
    assert built_at(store) == before
    assert contents(store) == contents(built)
    assert noted != receipts_of(built)
    assert receipts_of(store) == noted


@pytest.mark.parametrize("finished", [True, False])
def test_a_change_that_no_sample_shows_is_found_by_reading(finished: bool, call: Call) -> None:
    """Of a file of another time whose ends and middle are as they were, the parts that differ are built again.

    A finished store is refused, as with any other change.
    """
    text = b"word " * 20_000
    lay_out(a=text)
    options = ("--jobs", "1", "--shard-bytes", "20000")
    call("tokenize", "in", "-o", "s/", *options)
    before = built_at(Path("s"))
    if not finished:
        Path("s/manifest.json").unlink()
    # What follows the end of the first span moves its cut: both shards are others, though the second's text is not.
    lay_out(a=text[:20_001] + b"-" * 3 + text[20_004:])
    os.utime("in/a.txt", ns=(10**18, 10**18))

    ended = call("tokenize", "in", "-o", "s/", *options)

    after = built_at(Path("s"))
    fresh = call("tokenize", "in", "-o", "fresh/", *options)
    assert fresh.code == 0
    if finished:
        assert error_of(ended) == "s: was begun differently: a.txt has changed; --restart starts over"
        assert after == before
    else:
        assert ended.notes[0] == "llmprep: note: s: a.txt has changed: shards made from it are built again"
        assert {name for name in after if after[name] != before[name]} == {"tokens-00000.pt", "tokens-00001.pt"}
        assert contents(Path("s")) == contents(Path("fresh"))


def test_whatever_changes_the_store_is_a_fresh_ones(call: Call) -> None:
    """Files that grow, shrink, empty, or change anywhere: going on writes what a fresh build writes."""
    draw = np.random.default_rng(7)

    def data(name: str) -> bytes:
        words = " ".join(draw.choice(["one", "two\r\n", "three--", "\u4e2d\u6587\u3002"], int(draw.integers(0, 60))))
        return packed(words) if name == "c" else words.encode()

    lay_out(z=b"never empty", **{name: data(name) for name in "abcdef"})
    for number in range(12):
        for name in draw.choice([*"abcdef"], int(draw.integers(0, 3))):
            lay_out(**{name: data(name)})
        assert build(call, f"fresh{number}").code == 0
        assert build(call, "s").code == 0
        assert contents(Path("s")) == contents(Path(f"fresh{number}")), number
        for lost in draw.choice(sorted(Path("s").glob("tokens-*.pt")), 1):
            lost.unlink()
        Path("s/manifest.json").unlink()


def test_a_renumbering_that_was_stopped_is_gone_on_with(call: Call) -> None:
    """Killed between any two steps, the shards that were moved and those that were not are all kept."""
    lay_out(a=b"a " * 30, b=b"b " * 10, **{name: name.encode() * 90 for name in "cdefg"})
    build(call, "s")
    Path("s/manifest.json").unlink()
    lay_out(b=b"b " * 40)
    moved = [("tokens-00005.pt", "tokens-00006.pt"), ("receipts/00005.json", "receipts/00006.json")]
    shutil.copytree("s", "going")
    build(call, "going")
    for old, new in moved:  # as if it had been stopped after the last shard
        Path("s", old).unlink()
        shutil.copy2(Path("going", new), Path("s", new))
    before = built_at(Path("s"))

    ended = build(call, "s")

    assert ended.notes[-1] == "llmprep: note: s: 5 of 7 shards are done already"
    assert built_at(Path("s"))["tokens-00006.pt"] == before["tokens-00006.pt"]
    assert contents(Path("s")) == contents(Path("going"))


def test_a_task_does_not_change_the_plan_under_others(call: Call) -> None:
    """A task that finds a changed file goes on if no other is at work; else it is told to wait for them."""
    lay_out(a=b"a " * 50, b=b"b " * 50)
    build(call, "s", "--task", "1/2")
    lay_out(b=b"b " * 49)

    with locked(Path("s"), shared=True) as hold:
        hold.share()
        refused = build(call, "s", "--task", "2/2")
    ended = build(call, "s", "--task", "2/2")

    assert refused.code == 6
    assert error_of(refused) == (
        "s: was begun differently: b.txt has changed; other tasks are at work: run this one again when they are done"
    )
    assert (ended.code, call("merge", "s").code) == (0, 0)
    assert build(call, "fresh").code == 0
    assert contents(Path("s")) == contents(Path("fresh"))


def test_a_task_is_not_sent_in_a_circle(call: Call) -> None:
    """Where --restart is refused, as with tasks, no message sends there."""
    lay_out(a=b"a " * 50)
    build(call, "s")

    other = build(call, "s", "--task", "1/2", "--newlines", "keep")
    restart = build(call, "s", "--task", "1/2", "--restart")

    assert (other.code, restart.code) == (6, 2)
    assert error_of(other).endswith("newlines was universal, is keep; remove the folder to start over")
    assert error_of(restart).endswith("; remove the folder")


@pytest.mark.parametrize("text", [b"x " * 50, b"x " * 30], ids=["same size", "another size"])
def test_tasks_that_read_different_copies_are_not_merged(text: bytes, call: Call) -> None:
    """Where each node has its own copy of the corpus and one differs, the shards made from that one are named."""
    lay_out(a=b"a " * 50, b=b"b " * 50, c=b"c " * 50)
    build(call, "s", "--task", "1/2")
    lay_out(a=text)
    noted = build(call, "s", "--task", "2/2")

    merged = call("merge", "s")

    assert noted.notes[0] == "llmprep: note: s: a.txt has changed: shards made from it are built again"
    assert merged.code == 4
    assert "1 of 3 shards are missing or damaged (0)" in error_of(merged)


# --- the lock -------------------------------------------------------------------------------------


def test_a_folder_that_is_held_is_refused(store: Path, built: Path, corpus: Path, call: Call) -> None:
    """While one process builds, another build or merge is refused with the name of that process."""
    with locked(store):
        for ended in (again(call, corpus), again(call, corpus, "--task", "1/2"), call("merge", "store")):
            assert ended.code == 6
            assert error_of(ended).startswith(f"store: is being built by process {os.getpid()} on ")
        assert contents(store) == contents(built)

    assert again(call, corpus).code == 0


def test_tasks_share_the_folder(store: Path, built: Path, corpus: Path, call: Call) -> None:
    """Tasks build side by side; a whole build, or a merge, has to wait for them."""
    (store / "tokens-00001.pt").unlink()
    with locked(store, shared=True) as hold:
        hold.share()
        whole, merge = again(call, corpus), call("merge", "store")
        task = again(call, corpus, "--task", "2/2")

    assert [ended.code for ended in (whole, merge, task)] == [6, 6, 0]
    assert call("merge", "store").code == 0
    assert contents(store) == contents(built)


def test_a_lock_does_not_outlive_its_holder(store: Path, corpus: Path, call: Call) -> None:
    """A lock file that is merely there, as after a kill, holds nobody up."""
    (store / ".lock").write_text("process 1 on elsewhere\n")

    assert again(call, corpus).code == 0
    with (store / ".lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


# --- file systems, and users ----------------------------------------------------------------------


@pytest.fixture(params=["ENOSYS", "EOPNOTSUPP", "ENOLCK"])
def no_locks(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system whose files have no locks."""

    def refuse(*_: object) -> None:
        number = getattr(errno, request.param)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)


NO_LOCKS = (
    "llmprep: note: store: its file system has no locks; a file .lock-held or .lock-task-... is one while a run lasts"
)


def locks_of(folder: Path) -> list[str]:
    """The names of the files that are locks where there are no others."""
    return sorted(path.name for path in folder.glob(".lock-*"))


@pytest.mark.usefixtures("no_locks")
def test_without_locks_files_are_the_locks(store: Path, built: Path, corpus: Path, call: Call) -> None:
    """Where the file system has no locks, files keep others out, tasks share the folder, and a note says so."""
    (store / "tokens-00001.pt").unlink()
    with locked(store):
        held = [again(call, corpus), again(call, corpus, "--task", "1/2"), call("merge", "store")]
    with locked(store, shared=True) as hold:
        planning = [*locks_of(store)]
        hold.share()
        sharing = [*locks_of(store)]
        shared = [again(call, corpus), call("merge", "store")]

    assert [ended.code for ended in (*held, *shared)] == [6] * 5
    for ended in (*held, *shared):
        assert ended.notes[0] == NO_LOCKS
        assert f"store: is being built by process {os.getpid()} on {socket.gethostname()}, since 20" in ended.notes[1]
        assert "; if it was killed, remove store/.lock-" in ended.notes[1]
    assert planning == [".lock-held"]
    assert sharing == [f".lock-task-{socket.gethostname()}-{os.getpid()}"]
    assert [again(call, corpus, "--task", "2/2").code, call("merge", "store").code] == [0, 0]
    assert locks_of(store) == []
    assert contents(store) == contents(built)


@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize("options", [[], ["--task", "1/2"]], ids=["build", "task"])
def test_a_stale_lock_file_is_named(options: list[str], store: Path, corpus: Path, call: Call) -> None:
    """A lock file that a killed run has left is named with its process, and how to remove it; then the run goes on."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    (store / ".lock-held").write_text(f"process {gone.pid} on {socket.gethostname()}, since long\n")

    refused = again(call, corpus, *options)
    (store / ".lock-held").unlink()
    ended = again(call, corpus, *options)

    assert (refused.code, ended.code) == (6, 0)
    assert refused.notes[1] == (
        f"llmprep: error: store: is being built by process {gone.pid} on {socket.gethostname()}, since long; "
        "that has ended: remove store/.lock-held"
    )


@pytest.mark.usefixtures("no_locks")
def test_a_failed_run_leaves_no_lock_file(call: Call) -> None:
    """A build that ends in an error takes its lock file with it."""
    lay_out(a=b"well " * 10 + b"\x92")

    assert build(call, "s").code == 3

    assert locks_of(Path("s")) == []


@pytest.fixture
def group_folder() -> Iterator[Path]:
    """A folder that all may reach and a group may write in, with two texts in it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        for text in ("a", "b"):
            (folder / "in" / f"{text}.txt").write_text(f"{text} " * 50)
        os.chown(folder, -1, 5555)
        folder.chmod(0o2775)
        yield folder


@pytest.fixture
def as_user() -> Callable[..., Result]:
    """Run a task, or another command, as one of several users of a group."""
    caps = "+dac_read_search"  # so that this project is found where only root may look; it lends no right to write
    options = ("--regid", "5555", "--clear-groups", f"--inh-caps={caps}", f"--ambient-caps={caps}")
    able = os.geteuid() == 0 and shutil.which("setpriv")
    if not able or subprocess.run(["setpriv", *options, "true"], check=False).returncode:
        pytest.skip("needs root, and setpriv")

    def run(folder: Path, user: int, umask: str, *arguments: str) -> Result:
        masked = ("bash", "-c", f'umask {umask} && exec "$@"', "bash")
        command = (
            ("tokenize", "in", "-o", "s/", "--shard-bytes", "100", "--jobs", "1") if arguments[0] == "--task" else ()
        )
        prefix = ("setpriv", "--reuid", str(user), *options, *masked)
        return run_llmprep(*command, *arguments, cwd=folder, prefix=prefix)

    return run


@pytest.mark.parametrize(("umask", "made"), [("002", False), ("022", True)])
def test_users_of_a_group_share_a_store(
    umask: str, made: bool, as_user: Callable[..., Result], group_folder: Path, call: Call
) -> None:
    """Users whose umask or whose folder lets the group write run tasks of one store, and merge it."""
    if made:
        (group_folder / "s").mkdir()
        (group_folder / "s").chmod(0o2775)

    first = as_user(group_folder, 6001, umask, "--task", "1/2")
    second = as_user(group_folder, 6002, umask, "--task", "2/2")
    merged = as_user(group_folder, 6002, umask, "merge", "s")
    fresh = call("tokenize", group_folder / "in", "-o", "fresh/", "--shard-bytes", "100", "--jobs", "1")

    assert [(ended.returncode, ended.stderr) for ended in (first, second, merged)] == [(0, b"")] * 3
    assert fresh.code == 0
    assert contents(group_folder / "s") == contents(Path("fresh"))


def test_a_store_of_another_user_is_named_as_that(as_user: Callable[..., Result], group_folder: Path) -> None:
    """A folder that only its owner may write in is named, with the owner and what that one can do."""
    first = as_user(group_folder, 6001, "022", "--task", "1/2")
    second = as_user(group_folder, 6002, "022", "--task", "2/2")
    (group_folder / "s").chmod(0o2775)
    third = as_user(group_folder, 6002, "022", "--task", "2/2")
    (group_folder / "s/.lock").chmod(0o664)
    fourth = as_user(group_folder, 6002, "022", "--task", "2/2")

    assert [ended.returncode for ended in (first, second, third, fourth)] == [0, 1, 1, 1]
    said = "belongs to user 6001, and this one may not write there; its owner can allow it: chmod -R g+w s"
    assert second.stderr.decode() == f"llmprep: error: s: {said}\n"
    assert third.stderr.decode() == f"llmprep: error: s/receipts: {said}\n"
    assert fourth.stderr.decode() == f"llmprep: error: s/receipts: {said}\n"
    (group_folder / "s/receipts").chmod(0o2775)
    assert as_user(group_folder, 6002, "022", "--task", "2/2").returncode == 0


# --- split ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", ["0.1", "0.5", "0.999", "0.00001"])
def test_a_split_shares_no_token(fraction: str, store: Path, corpus: Path, call: Call) -> None:
    """The two parts are the stream, cut once: the last floor(n * f) tokens are for validation. No shard is written."""
    before = built_at(store)

    ended = again(call, corpus, "--val-fraction", fraction)

    manifest = manifest_of(store)
    n_tokens = manifest["n_tokens"]
    cut = n_tokens - int(n_tokens * float(fraction))
    assert ended.code == 0
    assert manifest["splits"] == {"train": [0, cut], "val": [cut, n_tokens]}
    assert built_at(store) == before
    assert any("split val is empty" in note for note in ended.notes) == (cut == n_tokens)


def test_a_split_is_not_moved_or_dropped_in_silence(store: Path, corpus: Path, call: Call) -> None:
    """Once there is a split, the command without it, or with another, is refused: val would get into train."""
    again(call, corpus, "--val-fraction", "0.25")
    before = contents(store)

    for options, now in (([], "None"), (["--val-fraction", "0.2"], "0.2"), (["--task", "1/2"], "None")):
        ended = again(call, corpus, *options)
        assert ended.code == 6
        assert error_of(ended).startswith(f"store: was begun differently: val_fraction was 0.25, is {now}; ")

    assert contents(store) == before
    assert again(call, corpus, "--val-fraction", "0.25").code == 0
    assert again(call, corpus, "--restart").code == 0
    assert manifest_of(store)["splits"] == {}


def test_tasks_must_agree_on_the_split(corpus: Path, call: Call) -> None:
    """A task that was told of another split than the others is refused, whichever comes first."""
    options = ["-o", "s/", "--shard-bytes", SHARD_BYTES, "--jobs", "1"]
    first = call("tokenize", corpus, *options, "--task", "1/3")
    second = call("tokenize", corpus, *options, "--task", "2/3", "--val-fraction", "0.2")

    assert (first.code, second.code) == (0, 6)
    assert error_of(second).startswith("s: was begun differently: val_fraction was None, is 0.2; ")


# --- what is not the store's ----------------------------------------------------------------------


def test_another_file_of_the_same_name_size_and_time_is_another(call: Call) -> None:
    """Files as an archive unpacks them, all of one time, are told apart by what they hold."""
    for folder, text in (("one", "aaaa one"), ("two", "bbbb two")):
        Path(folder).mkdir()
        Path(folder, "x.txt").write_text(text)
        os.utime(Path(folder, "x.txt"), (1_500_000_000, 1_500_000_000))
    call("tokenize", "one/x.txt", "-o", "s/", "--jobs", "1")
    call("tokenize", "one/x.txt", "two/x.txt", "-o", "both/", "--jobs", "1")

    other = call("tokenize", "two/x.txt", "-o", "s/", "--jobs", "1")
    turned = call("tokenize", "two/x.txt", "one/x.txt", "-o", "both/", "--jobs", "1")

    assert (other.code, turned.code) == (6, 6)
    assert error_of(other) == "s: was begun differently: x.txt has changed; --restart starts over"
    assert stream_of(Path("s")) == encode("aaaa one")


@pytest.mark.parametrize("place", [0, 2 * 4096, 50_000, 99_999])
def test_a_change_at_either_end_or_in_the_middle_is_seen(place: int, tmp_path: Path) -> None:
    """The sample of a long file holds its first, middle and last 4 KiB; the middle ones of it are not read."""
    path = tmp_path / "long.txt"
    path.write_bytes(b"a" * 100_000)
    before = sample(find_sources([str(path)])[0])

    flip(path, place)

    assert (sample(find_sources([str(path)])[0]) != before) == (place != 2 * 4096)


@pytest.mark.parametrize("name", ["tokens-00001.pt", "manifest.json", "receipts/00001.json", "plan.json", ".lock"])
def test_nothing_is_written_through_a_link(name: str, store: Path, corpus: Path, call: Call) -> None:
    """A link that stands for a file of the store's leads elsewhere; what lies there is left alone."""
    victim = Path("victim.txt")
    victim.write_text("precious")
    (store / name).unlink()
    (store / name).symlink_to(victim.resolve())

    ended = again(call, corpus)

    assert ended.code in (1, 4)
    assert ended.notes[-1].startswith(f"llmprep: error: store/{name}: ")
    assert victim.read_text() == "precious"


@pytest.mark.parametrize(
    "arguments",
    [
        ["tokenize", "CORPUS", "-o", "st/", "--jobs", "1"],
        ["tokenize", "CORPUS", "-o", "st/", "--jobs", "1", "--restart"],
        ["tokenize", "CORPUS", "-o", "st/", "--jobs", "1", "--task", "1/2"],
    ],
)
@pytest.mark.parametrize("begun", [False, True])
def test_receipts_are_the_stores_own(begun: bool, arguments: list[str], corpus: Path, call: Call) -> None:
    """A link in the place of the receipts' folder is refused before anything behind it is removed or written."""
    victim = Path("victim")
    victim.mkdir()
    for name in ("x.json", "00000.json", ".llmprep-a.tmp"):
        (victim / name).write_text("precious")
    Path("st").mkdir()
    if begun:
        assert call("tokenize", corpus, "-o", "st/", "--jobs", "1", "-q").code == 0
        shutil.rmtree("st/receipts")
    Path("st/receipts").symlink_to("../victim")
    before = {path: path.read_bytes() for path in sorted(Path("st").iterdir()) if path.is_file()}

    commands = [[str(corpus) if word == "CORPUS" else word for word in arguments]]
    for command in [*commands, *([["merge", "st"], ["inspect", "st", "--verify"]] if begun else [])]:
        ended = call(*command)

        assert ended.code == (4 if command[0] == "inspect" else 1)
        assert ended.notes[-1].startswith("llmprep: error: st/receipts: is a link")
        assert {path.name: path.read_text() for path in victim.iterdir()} == dict.fromkeys(
            ("x.json", "00000.json", ".llmprep-a.tmp"), "precious"
        )
        assert {path: path.read_bytes() for path in before} == before


def test_a_lock_of_another_program_is_left_alone(corpus: Path, call: Call) -> None:
    """A file named as the lock that llmprep did not write, a hard link to one elsewhere, keeps what it holds."""
    Path("victim.txt").write_text("precious")
    Path("st").mkdir()
    Path("st/.lock").hardlink_to("victim.txt")

    ended = call("tokenize", corpus, "-o", "st/", "--jobs", "1")

    assert ended.code == 1
    assert error_of(ended) == "st/.lock: llmprep did not write it; remove it, or name another folder"
    assert Path("victim.txt").read_text() == "precious"


def test_a_lock_that_cannot_be_written_is_named(corpus: Path, llmprep: Run) -> None:
    """Where no byte can be written, the lock is the first file to say so, by its name."""
    limited = ("bash", "-c", 'ulimit -f 0 && exec "$@"', "bash")

    ended = llmprep("tokenize", corpus, "-o", "st/", "--jobs", "1", prefix=limited)

    assert (ended.returncode, ended.stderr) == (1, b"llmprep: error: st/.lock: File too large\n")


@pytest.mark.parametrize("name", ["tokens-00001.pt", "manifest.json", "receipts/00001.json", "plan.json", ".lock"])
def test_a_pipe_in_the_stores_folder_hangs_nobody(name: str, store: Path, corpus: Path, llmprep: Run) -> None:
    """A named pipe in the place of a file is one line, not a wait for a writer."""
    (store / name).unlink(missing_ok=True)
    os.mkfifo(store / name)

    ended = llmprep("tokenize", corpus, "-o", f"{store}/", "--shard-bytes", SHARD_BYTES, "--jobs", "1", timeout=20)

    assert ended.returncode in (1, 4)
    assert b"is no regular file" in ended.stderr


OWN_FILES = [
    "tokens-00001.pt",
    "tokens-99999.pt",
    "manifest.json",
    "plan.json",
    ".lock",
    ".llmprep-0123456789abcdef.tmp",
    "receipts/00001.json",
    "receipts/99999.json",
    "receipts/.llmprep-0123456789abcdef.tmp",
]


def everything(folder: Path) -> dict[str, tuple[int, bytes]]:
    """What lies in a folder: of each thing its type and, of a regular file, its bytes. Nothing is followed."""
    found = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        found[str(path.relative_to(folder))] = mode, path.read_bytes() if stat.S_ISREG(mode) else b""
    return found


def put(kind: str, path: Path, victim: Path) -> None:
    """Put something that is not the store's in the place of a file or folder of it."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    match kind:
        case "a link to a file":
            path.symlink_to(victim / "x.json")
        case "a link to a folder":
            path.symlink_to(victim)
        case "a link to nothing":
            path.symlink_to(victim / "none")
        case "a folder":
            path.mkdir()
        case "a file":
            path.write_bytes(b"precious")
        case _:
            os.mkfifo(path)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder beside the store, with things in it that are named as a store's are."""
    folder = tmp_path / "victim"
    folder.mkdir()
    for name in ("x.json", "00001.json", ".llmprep-a.tmp", "tokens-00000.pt"):
        (folder / name).write_bytes(b"precious")
    return folder


def refuse_all(corpus: Path, call: Call, tmp_path: Path, path: str) -> None:
    """Every command that writes into the store names the path, and changes nothing anywhere."""
    before = everything(tmp_path)
    commands: list[list[str]] = [[], ["--restart"], ["--task", "1/2"], ["--dry-run"]]

    for ended in (*(again(call, corpus, *options) for options in commands), call("merge", "store")):
        assert ended.code in (1, 4)
        assert error_of(ended).startswith(f"store/{path}: is ")
        assert everything(tmp_path) == before


@pytest.mark.parametrize("kind", ["a link to a file", "a link to a folder", "a link to nothing", "a folder", "a pipe"])
@pytest.mark.parametrize("name", OWN_FILES)
def test_only_files_of_the_stores_own_are_written_or_removed(
    name: str, kind: str, store: Path, victim: Path, corpus: Path, tmp_path: Path, call: Call
) -> None:
    """What stands under a name of the store's and is no regular file is refused before anything is touched."""
    put(kind, store / name, victim)

    refuse_all(corpus, call, tmp_path, name)


@pytest.mark.parametrize("kind", ["a link to a folder", "a link to nothing", "a file", "a pipe"])
def test_receipts_lie_in_a_folder_of_the_stores_own(
    kind: str, store: Path, victim: Path, corpus: Path, tmp_path: Path, call: Call
) -> None:
    """The folder of the receipts is neither followed nor emptied if it is a link, and named if it is no folder."""
    put(kind, store / "receipts", victim)

    refuse_all(corpus, call, tmp_path, "receipts")


def test_a_link_to_receipts_in_a_new_store_is_not_followed(
    victim: Path, corpus: Path, tmp_path: Path, call: Call
) -> None:
    """In a folder that is no store yet a link may wait for one; nothing is removed or written where it leads."""
    Path("store").mkdir()
    Path("store/receipts").symlink_to(victim)

    refuse_all(corpus, call, tmp_path, "receipts")


def test_the_folder_itself_may_be_a_link(store: Path, built: Path, corpus: Path, tmp_path: Path, call: Call) -> None:
    """Whoever names a link as the store's folder means the folder it leads to."""
    store.rename(tmp_path / "elsewhere")
    store.symlink_to("elsewhere")
    (store / "tokens-00001.pt").unlink()

    assert again(call, corpus).code == 0

    assert store.is_symlink()
    assert contents(tmp_path / "elsewhere") == contents(built)


@pytest.mark.parametrize("link", ["receipts", "receipts/00000.json", "plan.json"])
def test_verifying_follows_no_link(link: str, store: Path, victim: Path, call: Call) -> None:
    """What is said of a store's history is not taken from where a link leads; the link is named."""
    put("a link to a folder" if link == "receipts" else "a link to a file", store / link, victim)

    ended = call("inspect", "store", "--verify")

    assert ended.code == 4
    kind = "a folder" if link == "receipts" else "a file"
    assert ended.notes[-1] == f"llmprep: error: store/{link}: is a link, not {kind} of the store's; remove it"


@pytest.mark.parametrize("beside", ["manifest.json", "receipts/a.txt", "plan.json"])
def test_a_corpus_with_names_like_a_stores_is_text(beside: str, call: Call) -> None:
    """A folder of texts with a manifest of another program, or with receipts, is no token store."""
    path = Path("texts", beside)
    path.parent.mkdir(parents=True)
    path.write_text('{"name": "an app"}')
    Path("texts/z.txt").write_text("some words")

    counted = call("tokenize", "texts", "--count")
    stored = call("tokenize", "texts", "-o", "s/", "--jobs", "1")

    assert (counted.code, stored.code) == (0, 0)
    assert manifest_of(Path("s"))["n_documents"] == 2


def test_a_pattern_that_finds_the_store_is_refused(call: Call) -> None:
    """Run again, a pattern over the folder that the store lies in finds its shards; they are no texts."""
    Path("in").mkdir()
    Path("in/a.txt").write_text("some words")
    first = call("tokenize", "in/*", "-o", "in/store/", "--jobs", "1")

    second = call("tokenize", "in/**", "-o", "in/store/", "--jobs", "1")

    assert (first.code, second.code) == (0, 2)
    assert "lies inside the store's folder in/store" in error_of(second)


@pytest.mark.parametrize("values", [{"a": 1}, {"plan_sha256": 1, "bytes": "many"}], ids=str)
def test_a_sealed_receipt_of_another_form_is_unsound(
    values: dict[str, Any], store: Path, built: Path, corpus: Path, call: Call
) -> None:
    """A receipt whose seal holds but whose form does not is as good as none: the shard is built again."""
    (store / "receipts" / "00001.json").write_bytes(seal(values))

    assert again(call, corpus).code == 0
    assert contents(store) == contents(built)


def test_a_sealed_plan_of_another_form_is_refused(store: Path, corpus: Path, call: Call) -> None:
    """A plan whose seal holds but which lacks what a plan has is named, and --restart is the way out."""
    (store / "plan.json").write_bytes(seal({"plan_sha256": "0"}))

    for ended in (again(call, corpus), call("merge", "store")):
        assert ended.code == 4
        assert error_of(ended) == (
            "store/plan.json: is not what llmprep writes; build the store with --restart, or, where "
            "tasks build it, remove the folder"
        )
    assert again(call, corpus, "--restart").code == 0


def each(place: tuple[Any, ...], *wrong: Any) -> list[tuple[tuple[Any, ...], Any]]:
    """One place of a file of JSON with each of the values that it shall get."""
    return [(place, value) for value in wrong]


FORGED_RECEIPTS = [
    *each(("pieces",), [], [[0, 0, 0, 0, 0]] * 9, [7], ["x"], [None], {"a": 1}, [[]]),
    *each(("pieces", 0), [0, 1], [5, 1, 1, 1, 1], [0, 1, -1, 1, 1], [0, 1, 2**70, 1, 1], [0.5] * 5),
    *each(("tokens",), -1, True, 2**70, 1, None, "9"),  # noqa: FBT003
    *each(("documents",), -1, 2**70, 99),
    *each(("special",), -1, 2**70),
    *each(("file",), "../x.pt"),
    *each(("plan_sha256",), "\ud800"),
]


def reseal(path: Path, place: tuple[Any, ...], to: Any) -> None:
    """Change one value of a sealed file, and seal it again."""
    values = json.loads(path.read_bytes())
    del values["seal_sha256"]
    held = values
    for key in place[:-1]:
        held = held[key]
    held[place[-1]] = to
    path.write_bytes(seal(values))


@pytest.mark.parametrize(("place", "to"), FORGED_RECEIPTS, ids=lambda value: ascii(value)[:40])
def test_a_forged_receipt_is_unsound_or_named(
    place: tuple[Any, ...], to: Any, store: Path, built: Path, corpus: Path, call: Call
) -> None:
    """A receipt that was changed and sealed again: its shard is built again, or one line says what does not fit."""
    reseal(store / "receipts" / "00001.json", place, to)
    (store / "manifest.json").unlink()

    for ended in (call("merge", "store"), again(call, corpus)):
        assert ended.code in (0, 4)
        assert "internal error" not in ended.stderr.decode()
        assert not ended.code or ended.notes[-1].startswith("llmprep: error: store")
        assert max(map(len, ["", *ended.notes])) < 500
    if ended.code:
        assert again(call, corpus, "--restart").code == 0
    assert contents(store) == contents(built)


FORGED_PLANS = [
    *each(("shards",), [], [[]], [7], [[7]], ["x"], [[[0, 0]]], {"a": 1}),
    *each(("shards", 0, 0), [99, 0, None], [-1, 0, None], [0, 5, 1], [0, -1, 1], [True, 0, 1], [0.0, 0, 1]),
    *each(("corpus",), [], [7], [[]], [["a", -1, 0, "x"]], [["a", 1, 0, "x"]]),
    *each(("n_vocab",), -1, 0, 2**70, True, 7),  # noqa: FBT003
    *each(("options",), {}, {"encoding": "gpt2"}),
    *each(("options", "encoding"), 7, "nonsense", "\x1b[2J"),
    *each(("options", "vocab_sha256"), "0"),
    *each(("options", "separator"), ["eot"]),
    *each(("val_fraction",), 7, -0.5, "x", [1], True),  # noqa: FBT003
    *each(("plan_sha256",), "0" * 64),
]


@pytest.mark.parametrize(("place", "to"), FORGED_PLANS, ids=lambda value: ascii(value)[:40])
def test_a_forged_plan_is_refused(
    place: tuple[Any, ...], to: Any, store: Path, built: Path, corpus: Path, call: Call
) -> None:
    """A plan that was changed and sealed again: one line says what does not fit, and nothing is changed."""
    reseal(store / "plan.json", place, to)
    (store / "manifest.json").unlink()
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file() and path.name != ".lock"}

    for ended in (again(call, corpus), call("merge", "store")):
        assert ended.code in (0, 4, 6)
        assert "internal error" not in ended.stderr.decode()
        if ended.code:
            assert ended.notes[-1].startswith("llmprep: error: store")
            assert before.items() <= {path: path.read_bytes() for path in before}.items()
    assert again(call, corpus, "--restart").code == 0
    assert contents(store) == contents(built)


# --- what is refused ------------------------------------------------------------------------------

REFUSED: dict[str, tuple[list[str], int, str]] = {
    "standard input": (["-", "-o", "s/"], 2, "-: "),
    "a file for a folder": (["t.txt", "-o", "t.txt", "--shard-bytes", "9"], 2, "t.txt: is a file"),
    "inside the input": (["in", "-o", "in/s/"], 2, "in/s: lies inside the input in"),
    "the input itself": (["in", "-o", "in/"], 1, "in/: has other things in it"),
    "a folder in use": (["t.txt", "-o", "in/"], 1, "in/: has other things in it"),
    "a folder, without a slash": (["t.txt", "-o", "in"], 2, "in: is a folder; name a file in it, or in/ for a"),
    "a link to nothing": (["t.txt", "-o", "link/"], 1, "link/: is a link to nothing"),
    "no name": (["t.txt", "--shard-bytes", "9"], 2, "--shard-bytes, --shard-tokens: name the store's folder"),
    "two sizes": (["t.txt", "-o", "s/", "--shard-bytes", "9", "--shard-tokens", "9"], 2, "--shard-bytes and"),
    "no size at all": (["t.txt", "-o", "s/", "--shard-bytes", "0"], 2, "Invalid value for '--shard-bytes'"),
    "an empty corpus": (["empty.txt", "-o", "s/"], 3, "empty.txt: empty: 0 tokens"),
    "a missing file": (["none.txt", "-o", "s/"], 1, "none.txt: no such file"),
    "task 0": (["t.txt", "-o", "s/", "--task", "0/3"], 2, "--task 0/3: must be i/N"),
    "task beyond": (["t.txt", "-o", "s/", "--task", "4/3"], 2, "--task 4/3: must be i/N"),
    "task of nothing": (["t.txt", "-o", "s/", "--task", "1"], 2, "--task 1: must be i/N"),
    "task in other digits": (["t.txt", "-o", "s/", "--task", "\u0661/3"], 2, "--task \u0661/3: must be i/N"),
    "all for validation": (["t.txt", "-o", "s/", "--val-fraction", "1"], 2, "--val-fraction 1.0: must be larger"),
    "nothing for validation": (["t.txt", "-o", "s/", "--val-fraction", "0"], 2, "--val-fraction 0.0: must be larger"),
    "address without Ray": (["t.txt", "-o", "s/", "--address", "auto"], 2, "--address: goes with --executor ray"),
    "task of a file": (["t.txt", "-o", "t.pt", "--task", "1/2"], 2, "--task: for a token store"),
    "a file in parts": (["t.txt", "--val-fraction", "0.5", "--restart"], 2, "--restart, --val-fraction: for a token"),
}


@pytest.mark.parametrize(("arguments", "code", "begins"), list(REFUSED.values()), ids=list(REFUSED))
def test_what_makes_no_store_is_refused_before_any_work(
    arguments: list[str], code: int, begins: str, call: Call, tmp_path: Path
) -> None:
    """Each gets one line and its exit code, and no folder is made."""
    Path("t.txt").write_text("some text")
    Path("empty.txt").write_text("")
    Path("in").mkdir()
    Path("in/a.txt").write_text("more text")
    Path("link").symlink_to("nothing")
    before = sorted(tmp_path.rglob("*"))

    ended = call("tokenize", *arguments)

    assert ended.code == code, ended
    assert error_of(ended).startswith(begins)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_bad_record_in_a_span_is_named_by_its_byte(jobs: str, call: Call) -> None:
    """How many lines stand before a span is not known, but where its line begins is."""
    good = b'{"text": "one two three"}\n'
    Path("r.jsonl").write_bytes(good * 70 + b'{"test": "one"}\n' + good * 30)

    ended = call("tokenize", "r.jsonl", "-o", "s/", "--shard-bytes", "500", "--jobs", jobs)

    assert ended.code == 3
    assert error_of(ended).startswith(
        f"r.jsonl: the line at byte {len(good) * 70}: has no field text; its fields: test"
    )


def test_merging_what_is_not_complete_names_what_is_missing(store: Path, corpus: Path, call: Call) -> None:
    """A merge lists the shards that are missing or damaged; one of no store says so."""
    (store / "manifest.json").unlink()
    (store / "tokens-00001.pt").unlink()
    flip(store / "tokens-00003.pt", 700)
    n_shards = len(list((store / "receipts").glob("*.json")))

    incomplete = call("merge", "store")
    Path("bare").mkdir()
    nothing = call("merge", "bare")
    absent = call("merge", "absent")
    file = call("merge", "store/tokens-00000.pt")

    assert [ended.code for ended in (incomplete, nothing, absent, file)] == [4, 4, 1, 4]
    assert error_of(incomplete).startswith(f"store: 2 of {n_shards} shards are missing or damaged (1, 3); ")
    assert error_of(nothing) == "bare: has no plan.json; it is no token store"
    assert error_of(file) == "store/tokens-00000.pt: is a file; a token store is a folder"
    assert not (store / "manifest.json").exists()
    assert not list(Path("bare").iterdir())
    assert not Path("absent").exists()


def test_a_store_that_lost_its_plan_is_known_by_its_manifest(store: Path, corpus: Path, call: Call) -> None:
    """The same command makes the plan again, and builds nothing that is there."""
    before, plan = built_at(store), (store / "plan.json").read_bytes()
    (store / "plan.json").unlink()

    ended = again(call, corpus)

    assert (ended.code, built_at(store), (store / "plan.json").read_bytes()) == (0, before, plan)


# --- faults ---------------------------------------------------------------------------------------


def test_a_full_disk_leaves_a_store_that_resumes(story: Path, llmprep: Run, tmp_path: Path) -> None:
    """A shard that finds no space ends the run with one line; what was finished is kept, and the rest follows."""
    (tmp_path / "a.txt").write_text("a short text " * 50)
    inputs = ["a.txt", story, "-o", "s/", "--shard-bytes", str(story.stat().st_size), "--jobs", "1"]
    limited = ("bash", "-c", 'ulimit -f 8 && exec "$@"', "bash")

    failed = llmprep("tokenize", *inputs, prefix=limited)

    assert failed.returncode == 1
    assert "tokens-00001.pt: the file-size limit is reached" in error_of(failed)
    assert [path.name for path in (tmp_path / "s").glob("*.pt")] == ["tokens-00000.pt"]
    assert not temporaries(tmp_path / "s")
    assert not (tmp_path / "s" / "manifest.json").exists()
    resumed = llmprep("tokenize", *inputs)
    assert resumed.stderr == b"llmprep: note: s: 1 of 2 shards are done already\n"
    assert stream_of(tmp_path / "s") == [
        *encode("a short text " * 50), EOT, *encode(story.read_text()),
    ]  # fmt: skip


def test_no_space_at_any_step_leaves_a_store_that_resumes(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever file cannot be put in place, the plan, a shard, a receipt or the manifest, the next run ends well."""
    Path("a.txt").write_text("one two three")
    command = ("tokenize", "a.txt", "--jobs", "1", "-o")
    call(*command, "expected/")
    replace, failed = os.replace, 0
    for step in range(4):
        calls = iter(range(100))

        def fail_once(source: Any, target: Any, step: int = step, calls: Iterator[int] = calls) -> None:
            if next(calls) == step:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            replace(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", fail_once)
            ended = call(*command, f"s{step}/")
        failed += ended.code == 1
        assert "no space left on the device" in error_of(ended)
        assert not temporaries(Path(f"s{step}"))
        assert call(*command, f"s{step}/").code == 0
        assert contents(Path(f"s{step}")) == contents(Path("expected"))
    assert failed == 4


@contextmanager
def running(*arguments: str | Path, cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A build in a session of its own, ended with all its processes at the latest when the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "llmprep", "tokenize", *arguments],
        cwd=cwd, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def workers_of(process: subprocess.Popen[bytes]) -> list[int]:
    """The worker processes of a build."""
    with suppress(OSError):
        lists = Path(f"/proc/{process.pid}/task").glob("*/children")
        pids = [pid for children in lists for pid in children.read_text().split()]
        return [int(pid) for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return []


def wait_until(holds: Callable[[], object], seconds: float = 30) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


def test_a_killed_workers_shard_is_tried_again(built: Path, corpus: Path, tmp_path: Path) -> None:
    """When a worker dies, the build takes up what it had in hand once more and ends with the same bytes."""
    with running(corpus, "-o", "s/", "--shard-bytes", SHARD_BYTES, "--jobs", "2", cwd=tmp_path) as process:
        wait_until(lambda: workers_of(process))
        os.kill(workers_of(process)[0], signal.SIGKILL)
        stdout, stderr = process.communicate(timeout=60)

    assert (process.returncode, stderr.decode().splitlines()) == (0, NOTES)
    assert stdout.startswith(f"{manifest_of(built)['n_tokens']:,} tokens".encode())
    assert contents(tmp_path / "s") == contents(built)
    assert not temporaries(tmp_path / "s")


def test_a_worker_that_dies_twice_is_named(built: Path, corpus: Path, tmp_path: Path, call: Call) -> None:
    """When the second try dies as well, one line names the shard, and the same command goes on later."""
    options = [str(corpus), "-o", "s/", "--shard-bytes", SHARD_BYTES]
    with running(*options, "--jobs", "2", cwd=tmp_path) as process:
        while process.poll() is None:
            for pid in workers_of(process):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)
        stdout, stderr = process.communicate(timeout=60)

    assert process.returncode == 1
    assert re.match(r"shard [01]: its worker died twice", error_of(Ended(1, stdout, stderr)))
    assert not (tmp_path / "s" / "manifest.json").exists()
    assert call("tokenize", *options, "--jobs", "1").code == 0
    assert contents(tmp_path / "s") == contents(built)
    assert not temporaries(tmp_path / "s")


def test_an_unusable_file_is_named_by_any_worker(corpus: Path, llmprep: Run, tmp_path: Path, call: Call) -> None:
    """Text that is not UTF-8 ends a parallel build with the line that any other command gives, the rest kept."""
    mine = Path(shutil.copytree(corpus, tmp_path / "mine"))
    (mine / "z_bad.txt").write_bytes(b"well " * 3000 + b"\x92" + b" well" * 3000)
    command = ["tokenize", "mine", "-o", "s/", "--shard-bytes", SHARD_BYTES]

    parallel = llmprep(*command, "--jobs", "2")
    single = call(*command, "--jobs", "1")

    assert (parallel.returncode, single.code) == (3, 3)
    assert error_of(parallel).startswith("mine/z_bad.txt: not valid UTF-8 at byte 15000 (0x92)")
    assert parallel.stderr.splitlines() == single.stderr.splitlines()[-1:]
    assert built_at(tmp_path / "s")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_stopped_build_ends_at_once_with_its_workers(number: signal.Signals, story: Path, tmp_path: Path) -> None:
    """Ctrl-C (to all its processes) and SIGTERM end a build within about a second: no word, worker or temporary."""
    (tmp_path / "long.txt").write_bytes(story.read_bytes() * 400)
    options = ["long.txt", "-o", "s/", "--shard-bytes", "1000000", "--backend", "tiktoken"]
    with running(*options, "--jobs", "2", cwd=tmp_path) as process:
        wait_until(lambda: list(tmp_path.glob("s/receipts/*.json")))
        started = time.monotonic()
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        stdout, stderr = process.communicate(timeout=60)
        took = time.monotonic() - started

        assert (process.returncode, stdout, stderr) == (128 + number, b"", b"")
        assert took < 3
        wait_until(lambda: not alive(process.pid), seconds=3)
    assert not temporaries(tmp_path / "s")
    assert not (tmp_path / "s" / "manifest.json").exists()
    assert built_at(tmp_path / "s")


def alive(session: int) -> list[str]:
    """Processes of a session that still run."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            if fields[0] != "Z" and int(fields[3]) == session:
                found.append(status.parent.name)
    return found


# --- what is said ---------------------------------------------------------------------------------


def test_json_has_stable_keys(corpus: Path, call: Call) -> None:
    """--json prints one object with these keys for a build, and the same for a merge."""
    again(call, corpus)
    keys = {
        "command", "output", "n_shards", "n_tokens", "n_documents", "n_special", "encoding", "dtype", "content_sha256",
    }  # fmt: skip

    for ended in (again(call, corpus, "--json"), call("merge", "store", "--json")):
        (line,) = ended.stdout.splitlines()
        assert json.loads(line).keys() == keys


def test_quiet_is_quiet(corpus: Path, call: Call) -> None:
    """-q prints nothing, for a new store and for one that is done already."""
    for _ in range(2):
        ended = again(call, corpus, "-q")
        assert (ended.code, ended.stdout, ended.stderr) == (0, b"", b"")


def test_shard_tokens_are_four_bytes_each(call: Call) -> None:
    """--shard-tokens N is --shard-bytes of four times N."""
    Path("t.txt").write_text("some words " * 10)
    call("tokenize", "t.txt", "-o", "bytes/", "--shard-bytes", "40", "--jobs", "1")
    call("tokenize", "t.txt", "-o", "tokens/", "--shard-tokens", "10", "--jobs", "1")

    assert contents(Path("bytes")) == contents(Path("tokens"))
    assert len(contents(Path("bytes"))) == 4


def test_many_documents_cost_little(call: Call, tmp_path: Path) -> None:
    """A manifest of 100,000 inputs costs little more than its JSON, under a second, and names each input once."""
    count = 100_000
    Path("a.txt").write_text("word")
    call("tokenize", "a.txt", "-o", "s/", "--jobs", "1")
    folder = Path("s")
    plan = read_plan(folder)
    (receipt,) = (json.loads(path.read_bytes()) for path in folder.glob("receipts/*.json"))
    names: Sequence[str] = [f"folder/document-{number:06d}.txt" for number in range(count)]
    told = {
        **plan,
        "corpus": [[name, 4, 0] for name in names],
        "shards": [[[number, 0, None] for number in range(count)]],
    }
    figures = {"tokens": 2 * count - 1, "documents": count, "pieces": [[0, 4, 1, 1, 4]] * count}
    receipts = {0: {**receipt, **figures}}

    ratios: list[float] = []
    for _ in range(3):
        started = time.process_time()
        write_manifest(folder, told, receipts, "0" * 64)
        values = read_manifest(folder).values
        took = time.process_time() - started
        started = time.process_time()
        json.loads(json.dumps(values))
        ratios.append(took / (time.process_time() - started))

    assert statistics.median(ratios) < 5, ratios
    assert len(values["shards"][0]["pieces"]) == count
    assert (folder / "manifest.json").stat().st_size < 80 * count


def test_a_store_says_what_a_person_should_know_of_its_inputs(call: Call) -> None:
    """Remarks come from the workers, each once, with of how many inputs it is true; no file keeps them."""
    for number in range(5):
        Path(f"part-{number}").write_text('{"text": "one two three"}\n' * 3)
    Path("p.gz").write_text("no gzip")

    ended = call("tokenize", *(f"part-{number}" for number in range(5)), "p.gz", "-o", "s/", "--shard-bytes", "100")

    told = [note for note in ended.notes if "part-" in note or "p.gz" in note]
    record = "begins with a JSON object and is read as plain text; --field NAME reads its records"
    assert told == [
        f"llmprep: note: part-0 (and 4 more): {record}",
        "llmprep: note: p.gz: is not compressed, though its name says so; read as it is",
    ]
    assert "remarks" not in "".join(path.read_text() for path in Path("s/receipts").iterdir())


def test_a_lock_that_is_not_signed_yet_is_waited_for(tmp_path: Path) -> None:
    """What a run of before has left in the lock file does not name who has the lock now."""
    folder = tmp_path / "s"
    with locked(folder):
        pass
    (folder / ".lock").write_text(f"process 99999999 on {socket.gethostname()}\n")
    with (folder / ".lock").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        threading.Timer(0.1, fcntl.flock, (held.fileno(), fcntl.LOCK_SH)).start()

        with locked(folder, shared=True) as hold:
            assert not hold.alone
