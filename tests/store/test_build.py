"""Promises of building a store: the same bytes whoever builds it, what it says on the way, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import stores
from support.stores import EOT, SHARD_BYTES, build, contents, stream_of, written_at

from llmprep.choices import Building, Effort, Reading, Sharding, TextOptions
from llmprep.documents.finding import find_sources
from llmprep.errors import InputError, OutputError, UsageError
from llmprep.formats.tokens import write_tokens
from llmprep.ptfile.reading import read_pt
from llmprep.store.build import Progress, build_store
from llmprep.store.lock import locked
from llmprep.store.manifest import read_manifest, read_plan, read_receipt
from llmprep.store.merge import ContentHash, merge_store, write_manifest
from llmprep.store.plan import PlannedCorpus, plan_corpus
from llmprep.store.prepare import prepare
from llmprep.store.schema import Piece, Span, Stamp
from llmprep.store.shards import ShardJob, build_shard, make_jobs
from llmprep.tokens.stream import stream_text
from llmprep.vocabulary.loading import load_vocabulary

READING = Reading(effort=Effort(backend="tiktoken"))


def planned_jobs(corpus: Path, folder: Path) -> tuple[PlannedCorpus, list[ShardJob]]:
    """The corpus's plan, and its jobs."""
    vocabulary, options = load_vocabulary("gpt2"), TextOptions()
    planned = plan_corpus(find_sources([str(corpus)]), vocabulary, options, Sharding(SHARD_BYTES))
    return planned, make_jobs(planned, folder, vocabulary, options, READING.effort)


def test_the_store_is_the_corpus_encoded_whole(built: Path, corpus: Path) -> None:
    """The shards in order hold the ids of every document encoded whole, and the manifest tells all of them.

    Nothing in it is of the machine; ids of GPT-2 have 16 bits.
    """
    ids, manifest, stated = stores.ids_of_corpus(corpus), read_manifest(built), stores.stated(built / "manifest.json")

    assert stream_of(built) == ids
    assert len(manifest.shards) >= 5
    assert (manifest.n_tokens, manifest.n_special, manifest.n_documents) == (len(ids), 0, ids.count(EOT) + 1)
    assert manifest.content_sha256 == hashlib.sha256(np.array(ids, "<u4").tobytes()).hexdigest()
    names = sorted(str(path.relative_to(corpus)) for path in corpus.rglob("*") if path.is_file())
    assert manifest.sources == [(name, (corpus / name).stat().st_size) for name in names]
    assert [names[number] for number in manifest.empty] == ["b_empty.txt"]
    assert (stated["format"], manifest.encoding, manifest.dtype) == ("llmprep-store/1", "gpt2", "uint16")
    assert str(corpus.parent) not in json.dumps(stated)
    assert [*stated] == [
        "format", "llmprep_version", "encoding", "vocab_sha256", "n_vocab", "dtype", "options", "plan_sha256",
        "n_tokens", "n_documents", "n_special", "n_boms", "content_sha256", "sources", "empty", "shards", "splits",
        "seal_sha256",
    ]  # fmt: skip


def test_processes_write_the_same_bytes(built: Path, corpus: Path, here: Path) -> None:
    """Two worker processes, with the corpus named by another path, write the same shards and manifest."""
    Path("linked").symlink_to(corpus)
    done = build("linked", "s", jobs=2)
    assert (done.notes, done.built.n_done) == ([], done.built.n_shards)
    assert done.built.manifest == read_manifest(built)
    assert contents("s") == contents(built)


def test_tasks_in_any_order_write_the_same_bytes(built: Path, corpus: Path, here: Path) -> None:
    """Seven tasks, run in any order, and a merge write the same shards and manifest."""
    done = [build(corpus, "s", task=(number, 7)).built for number in (3, 7, 1, 6, 2, 5, 4)]
    assert (sum(each.n_done for each in done), {each.manifest for each in done}) == (done[0].n_shards, {None})
    assert not Path("s/manifest.json").exists()
    assert merge_store("s", n_threads=2) == read_manifest(built)
    assert contents("s") == contents(built)


def test_the_order_of_completion_changes_nothing(built: Path, corpus: Path, tmp_path: Path) -> None:
    """Shards that are finished last first give the same store, and are hashed to the same content."""
    planned, jobs = planned_jobs(corpus, tmp_path)
    with locked(tmp_path):
        prepare(tmp_path, planned)
        content = ContentHash(tmp_path)
        for job in reversed(jobs):
            content.add(job.number, build_shard(job).receipt.tokens)
    assert content.hexdigest() == merge_store(tmp_path).content_sha256
    assert contents(tmp_path) == contents(built)


def test_other_vocabularies_travel_to_workers(corpus: Path, here: Path, vocab_dir: Path) -> None:
    """A vocabulary from a folder reaches the workers, and its ids, too many for 16 bits, get 32."""
    inputs = [str(corpus / name) for name in ("a_long.txt", "c_marked.txt")]
    reading = replace(READING, encoding="cl100k_base", vocab_dir=str(vocab_dir))
    build_store(inputs, "s", reading, Sharding(20_000))
    assert {*read_pt(Path("s/tokens-00000.pt")).dtypes.values()} == {read_manifest(Path("s")).dtype} == {"int32"}
    single = stream_text(find_sources(inputs), load_vocabulary("cl100k_base", vocab_dir), TextOptions(), READING.effort)
    assert stream_of("s") == [token_id for block in single for token_id in block.tolist()]


def test_a_shard_is_the_file_that_tokenize_writes(built: Path, corpus: Path, here: Path) -> None:
    """A shard of whole files is what `tokenize` writes for them, but for the separator before its first document."""
    shard = read_pt(built / read_manifest(built).shards[-1].file)
    sources = find_sources([str(corpus / "sub" / "f_uncut.txt")])
    with Path("one.pt").open("wb") as sink:
        write_tokens(sink, stream_text(sources, load_vocabulary("gpt2"), TextOptions(), READING.effort), dtype="uint16")
    one = read_pt(Path("one.pt"))
    assert [EOT, *one.tensors["token_ids"].tolist()] == shard.tensors["token_ids"].tolist()
    assert shard.meta.keys() == one.meta.keys()


def test_progress_is_watched(corpus: Path, here: Path) -> None:
    """The watch sees the bytes to be done, then each shard; of shards that are done already it sees nothing."""
    seen: list[Progress] = []
    manifest = build_store(corpus, "s", READING, Sharding(SHARD_BYTES), watch=seen.append).manifest
    assert manifest is not None
    n_bytes = sum(size for _, size in manifest.sources)
    tokens = np.cumsum([0, *(shard.tokens for shard in manifest.shards)]).tolist()
    assert [each.file for each in seen] == ["", *(shard.file for shard in manifest.shards)]
    assert [each.n_tokens for each in seen] == tokens
    assert (seen[0].n_bytes, seen[-1].n_bytes, {each.total_bytes for each in seen}) == (0, n_bytes, {n_bytes})
    seen.clear()
    build_store(corpus, "s", READING, Sharding(SHARD_BYTES), watch=seen.append)
    assert seen == [Progress(0, 0, 0)]


def test_what_a_person_should_know_of_inputs_is_announced(here: Path) -> None:
    """Remarks come from the workers, each once, with of how many inputs it is true; no file keeps them."""
    files = {f"part-{number}": '{"text": "one two three"}\n' * 3 for number in range(5)} | {"p.gz": "no gzip"}
    assert build(stores.write_files(Path(), files), "s", 100).notes == [
        "part-0 (and 4 more): begins with a JSON object and is read as plain text; --field NAME reads its records",
        "p.gz: is not compressed, though its name says so; read as it is",
    ]
    assert b"remarks" not in b"".join(stores.receipts_of("s").values())


def test_many_documents_cost_little(here: Path) -> None:
    """A manifest of 20,000 inputs costs little more than its JSON, and names each input once."""
    count, folder = 20_000, Path("s")
    build(stores.write_files(Path(), {"a.txt": "word"}), folder)
    plan, receipt = read_plan(folder), read_receipt(folder, 0)
    assert receipt is not None
    spans = [Span(number, 0, None) for number in range(count)]
    names = [f"folder/document-{number:06d}.txt" for number in range(count)]
    plan = replace(plan, names=names, stamps=[Stamp(4, 0, "")] * count, shards=[spans])
    receipt = replace(receipt, tokens=2 * count - 1, documents=count, pieces=[Piece(0, 0, 4, 1, 1, 4)] * count)

    ratios: list[float] = []
    for _ in range(3):
        times = [time.process_time()]
        write_manifest(folder, plan, {0: receipt}, "0" * 64)
        manifest = read_manifest(folder)
        times.append(time.process_time())
        json.loads(json.dumps(manifest.to_json()))
        times.append(time.process_time())
        ratios.append((times[1] - times[0]) / (times[2] - times[1]))

    assert min(ratios) < 5, ratios
    assert [piece.source for piece in manifest.shards[0].pieces] == list(range(count))
    assert (folder / "manifest.json").stat().st_size < 80 * count


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.999, 0.00001])
def test_a_split_shares_no_token(fraction: float, store: Path, corpus: Path) -> None:
    """The two parts are the stream, cut once: the last floor(n * f) tokens are for validation. No shard is written."""
    before = written_at(store)
    manifest = build(corpus, store, val_fraction=fraction).built.manifest
    assert manifest is not None
    cut = manifest.n_tokens - int(manifest.n_tokens * fraction)
    assert manifest.splits == {"train": (0, cut), "val": (cut, manifest.n_tokens)}
    assert written_at(store) == before


REFUSED: dict[str, Sharding | Building] = {
    "--shard-bytes 0: must be at least 1": Sharding(0),
    "--shard-bytes -5: must be at least 1": Sharding(-5),
    "--val-fraction 1.0: must be larger than 0 and smaller than 1": Sharding(None, 1.0),
    "--val-fraction 0.0: must be larger than 0 and smaller than 1": Sharding(None, 0.0),
    "--val-fraction nan: must be larger than 0 and smaller than 1": Sharding(None, float("nan")),
    "--jobs 0: must be at least 1": Building(jobs=0),
    "--executor dask: must be local or ray": Building(executor="dask"),  # type: ignore[arg-type]
    "--address: goes with --executor ray": Building(address="auto"),
    "--task 0/3: must be i/N with i from 1 to N, as 3/7": Building(task=(0, 3)),
    "--task 4/3: must be i/N with i from 1 to N, as 3/7": Building(task=(4, 3)),
    "--restart: not with --task": Building(task=(1, 3), restart=True),
}


@pytest.mark.parametrize("line", REFUSED)
def test_choices_are_checked_before_anything_is_read(line: str, here: Path) -> None:
    """Each choice that is out of range, or goes with none other, is refused, and nothing is made or read."""
    chosen: dict[str, Any] = {"sharding" if isinstance(REFUSED[line], Sharding) else "building": REFUSED[line]}
    with pytest.raises(UsageError, match=f"^{line}"):
        build_store("no such file", "s", **chosen)
    assert not list(here.iterdir())


def test_inputs_may_be_one_path_or_many(here: Path) -> None:
    """A str, a Path and a list of either name the same inputs; a folder that no system can name is refused."""
    (name,) = stores.write_files(Path(), {"a.txt": "one two"})
    named: list[Any] = [name, Path(name), [name], (Path(name),)]
    for number, paths in enumerate(named):
        build(paths, Path(f"s{number}"))
        assert contents(f"s{number}") == contents("s0")
    with pytest.raises(OutputError, match="no name holds a NUL character"):
        build(name, "s\0")


def test_a_worker_finds_what_was_planned(mine: Path) -> None:
    """One that finds a file of another size names it, one without the folder names the machine; no shard is written."""
    planned, (job, *_) = planned_jobs(mine, Path("s"))
    with locked(Path("s")):
        prepare(Path("s"), planned)
    with pytest.raises(InputError, match=r"nowhere: No such file or directory on .*all nodes need the same file sys"):
        build_shard(replace(job, cwd="nowhere"))
    (mine / "a_long.txt").write_text("shorter")
    with pytest.raises(InputError, match=r"a_long\.txt: changed since the store was planned; run the same command"):
        build_shard(job)
    assert not written_at("s")
