"""Promises of building a store: the same bytes whoever builds it, what it says on the way, and what it refuses.

Last, of a build that is stopped: what is finished is kept, nothing half done stays, the rest is built later.
"""

import json
import os
import signal
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

import numpy as np
import pytest
from support import stores
from support.commands import SAMPLES
from support.processes import finish, no_space, running, wait_for
from support.refusals import check_error
from support.stores import EOT, GPT2, SHARD_BYTES, build, contents, stream_of, written_at
from support.streams import ids_sha256
from support.working import runs, workers_of

from llmprep.choices import Building, Effort, Reading, Sharding, TextOptions
from llmprep.documents.finding import find_sources
from llmprep.errors import InputError, OutputError, UsageError
from llmprep.ptfile.reading import read_pt
from llmprep.store.build import Progress, build_store
from llmprep.store.lock import locked
from llmprep.store.manifest import read_manifest
from llmprep.store.merge import merge_store
from llmprep.store.plan import plan_corpus
from llmprep.store.prepare import prepare
from llmprep.store.shards import build_shard, make_jobs
from llmprep.tokens.stream import stream_text
from llmprep.vocabulary.loading import load_vocabulary

READING = Reading(effort=Effort(backend="tiktoken"))


def test_the_store_is_the_corpus_encoded_whole(built: Path, corpus: Path) -> None:
    """The shards hold the ids of every document encoded whole; the manifest tells all, each name once, no place."""
    ids, manifest, text = stores.ids_of_corpus(), read_manifest(built), (built / "manifest.json").read_text()
    assert stream_of(built) == ids
    assert len(manifest.shards) >= 5
    assert (manifest.n_tokens, manifest.n_special, manifest.n_documents) == (len(ids), 0, ids.count(EOT) + 1)
    assert manifest.content_sha256 == ids_sha256(ids)
    names = sorted(str(path.relative_to(corpus)) for path in corpus.rglob("*") if path.is_file())
    assert [*manifest.names] == names
    assert manifest.sizes.tolist() == [(corpus / name).stat().st_size for name in names]
    assert [names[number] for number in manifest.empty] == ["b_empty.txt"]
    assert (manifest.encoding, manifest.dtype) == ("gpt2", "uint16")
    assert text.startswith('{"format":"llmprep-store/2",')
    assert str(corpus.parent) not in text
    assert {text.count(name) for name in names} == {1}
    assert [*json.loads(text)] == [
        "format", "llmprep_version", "encoding", "vocab_sha256", "fingerprint", "n_vocab", "dtype", "options",
        "plan_sha256", "n_tokens", "n_documents", "n_special", "n_boms", "content_sha256", "names", "sizes", "empty",
        "shards", "pieces", "splits", "seal_sha256",
    ]  # fmt: skip


def test_whoever_builds_it_writes_the_same_bytes(built: Path, corpus: Path, here: Path) -> None:
    """Two processes, with the corpus by another path, and seven tasks in any order, with a merge, write one store."""
    Path("linked").symlink_to(corpus)
    done = build("linked", "s", jobs=2)
    assert (done.notes, done.built.n_done, contents("s")) == ([], done.built.n_shards, contents(built))
    shares = [build(corpus, "t", task=(number, 7)).built for number in (3, 7, 1, 6, 2, 5, 4)]
    assert (sum(each.n_done for each in shares), {each.manifest for each in shares}) == (shares[0].n_shards, {None})
    assert not Path("t/manifest.json").exists()
    assert merge_store("t", n_threads=2).to_json() == read_manifest(built).to_json()
    assert contents("s") == contents("t") == contents(built)


def test_other_vocabularies_travel_to_workers(corpus: Path, here: Path, vocab_dir: Path) -> None:
    """A vocabulary from a folder reaches the workers, and its ids, too many for 16 bits, get 32."""
    inputs = [str(corpus / name) for name in ("a_long.txt", "c_marked.txt")]
    build_store(inputs, "s", replace(READING, encoding="cl100k_base", vocab_dir=str(vocab_dir)), Sharding(20_000))
    assert {read_pt(Path("s/tokens-00000.pt")).dtypes["token_ids"], read_manifest(Path("s")).dtype} == {"uint32"}
    single = stream_text(find_sources(inputs), load_vocabulary("cl100k_base", vocab_dir), TextOptions(), READING.effort)
    assert stream_of("s") == [token_id for block in single for token_id in block.tolist()]


def test_progress_is_watched(corpus: Path, here: Path) -> None:
    """The watch sees the bytes to be done, then each shard; of shards that are done already it sees nothing."""
    first, again = list[Progress](), list[Progress]()
    for seen in (first, again):
        build_store(corpus, "s", READING, Sharding(SHARD_BYTES), watch=seen.append)
    manifest = read_manifest(Path("s"))
    n_bytes = manifest.sizes.sum()
    assert [each.file for each in first] == ["", *(shard.file for shard in manifest.shards)]
    assert [each.n_tokens for each in first] == np.cumsum([0, *(shard.tokens for shard in manifest.shards)]).tolist()
    assert (first[0].n_bytes, first[-1].n_bytes, {each.total_bytes for each in first}) == (0, n_bytes, {n_bytes})
    assert again == [Progress(0, 0, 0)]


def test_what_a_person_should_know_of_inputs_is_announced(here: Path) -> None:
    """Remarks come from the workers, each once, with of how many inputs it is true; no file keeps them."""
    files = {f"part-{number}": '{"text": "one two three"}\n' * 3 for number in range(5)} | {"p.gz": "no gzip"}
    assert build(stores.write_files(Path(), files), "s", 100).notes == [
        "part-0 (and 4 more): begins with a JSON object and is read as plain text; --field NAME reads its records",
        "p.gz: is not compressed, though its name says so; read as it is",
    ]
    assert b"remarks" not in b"".join(stores.receipts_of("s").values())


@pytest.mark.parametrize("fraction", [0.1, 0.999, 0.00001])
def test_a_split_shares_no_token(fraction: float, store: Path, corpus: Path) -> None:
    """The two parts are the stream, cut once: the last floor(n * f) tokens are for validation. No shard is written."""
    before, n_tokens = written_at(store), read_manifest(store).n_tokens
    build(corpus, store, val_fraction=fraction)
    cut = n_tokens - int(n_tokens * fraction)
    assert read_manifest(store).splits == {"train": (0, cut), "val": (cut, n_tokens)}
    assert written_at(store) == before


REFUSED: dict[str, tuple[Sharding | None, Building | None]] = {
    "--shard-bytes 0: must be at least 1": (Sharding(0), None),
    "--val-fraction 1.0: must be larger than 0 and smaller than 1": (Sharding(None, 1.0), None),
    "--val-fraction 0.0: must be ": (Sharding(None, 0.0), None),
    "--val-fraction nan: must be ": (Sharding(None, float("nan")), None),
    "--jobs 0: must be at least 1": (None, Building(jobs=0)),
    "--executor dask: must be local or ray": (None, Building(executor="dask")),  # type: ignore[arg-type]
    "--address: is only used with --executor ray": (None, Building(address="auto")),
    "--task 0/3: must be i/N with i from 1 to N, as 3/7": (None, Building(task=(0, 3))),
    "--task 4/3: must be ": (None, Building(task=(4, 3))),
    "--restart: not with --task": (None, Building(task=(1, 3), restart=True)),
}


@pytest.mark.parametrize("line", REFUSED)
def test_choices_are_checked_before_anything_is_read(line: str, here: Path) -> None:
    """Each choice that is out of range, or goes with none other, is refused, and nothing is made or read."""
    with pytest.raises(UsageError, match=f"^{line}"):
        build_store("no such file", "s", None, *REFUSED[line])
    assert not list(here.iterdir())


def test_each_process_expects_its_part(mine: Path) -> None:
    """Its backend is chosen by what one of ``jobs`` processes is to encode."""
    planned = plan_corpus(find_sources([str(mine)]), GPT2, TextOptions(), Sharding(SHARD_BYTES))
    n_bytes = sum(path.stat().st_size for path in mine.rglob("*.*"))
    for jobs in (1, 4):
        job, *_ = make_jobs(planned, Path("s"), GPT2, TextOptions(), replace(READING.effort, jobs=jobs))
        assert job.expected_bytes == n_bytes // jobs


def test_a_worker_finds_what_was_planned(mine: Path) -> None:
    """One that finds a file of another size names it, one without the folder names the machine; no shard is written."""
    planned = plan_corpus(find_sources([str(mine)]), GPT2, TextOptions(), Sharding(SHARD_BYTES))
    job, *_ = make_jobs(planned, Path("s"), GPT2, TextOptions(), READING.effort)
    with locked(Path("s")):
        prepare(Path("s"), planned)
    with pytest.raises(InputError, match=r"nowhere: No such file or directory on .*all nodes need the same file sys"):
        build_shard(replace(job, cwd="nowhere"))
    (mine / "a_long.txt").write_text("shorter")
    with pytest.raises(InputError, match=r"a_long\.txt: changed since the store was planned; run the same command"):
        build_shard(job)
    assert not written_at("s")


@pytest.mark.parametrize("step", range(6))
def test_no_space_at_any_step_harms_nothing(step: int, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever file cannot be put in place, the plan, a shard, a receipt or the manifest, the next run ends well."""
    paths = stores.write_files(here, {"a.txt": "one two three", "b.txt": "four"})
    build(paths, "expected", 10)
    answers: list[Any] = [*[os.replace] * step, no_space]

    def put(*names: Any) -> None:
        answers.pop(0)(*names)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", put)
        with pytest.raises(OutputError, match="no space left on the device"):
            build(paths, "s", 10)
    assert ([*Path("s").rglob("*.tmp")], answers) == ([], [])
    kept = dict(sorted(written_at("s").items())[: len(stores.receipts_of("s"))])
    build(paths, "s", 10)
    assert contents("s") == contents("expected")
    assert written_at("s").items() >= kept.items()


@pytest.mark.slow
def test_a_build_survives_kills_at_random_moments(built: Path, corpus: Path, here: Path) -> None:
    """Killed at any moment, the same command goes on, writes nothing twice, and ends with the same bytes."""
    draw, n_met = np.random.default_rng(2), 0
    finished: dict[str, tuple[int, int]] = {}
    for number in range(14):
        options = ("--shard-bytes", str(SHARD_BYTES), "--jobs", str(1 + number % 2))
        with running("tokenize", corpus, "-o", "s/", *options, cwd=here) as process:
            with suppress(TimeoutExpired):
                process.wait(draw.uniform(0.05, 0.5))
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            ended = finish(process)
        n_met += ended.code == -signal.SIGKILL
        assert ended.code in (0, -signal.SIGKILL), ended
        now = written_at("s")
        assert {name: now.get(name) for name in finished} == finished
        names = [json.loads(receipt)["file"] for receipt in stores.receipts_of("s").values()]
        finished = {name: now[name] for name in names}
    build(corpus, "s")
    assert n_met > 0
    assert (contents("s"), [*Path("s").rglob("*.tmp")]) == (contents(built), [])


@pytest.mark.slow
def test_a_worker_that_dies_twice_ends_the_build(built: Path, corpus: Path, here: Path) -> None:
    """One line names the shard, and the same command goes on later."""
    command = ("tokenize", corpus, "-o", "s/", "--shard-bytes", str(SHARD_BYTES), "--jobs", "2")
    with running(*command, cwd=here) as process:
        while process.poll() is None:
            with suppress(OSError):
                for pid in workers_of(process.pid):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)
        check_error(finish(process), 1, "shard ...: its worker died twice ...")
    build(corpus, "s")
    assert contents("s") == contents(built)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_build_ends_at_once_with_its_workers(number: signal.Signals, here: Path) -> None:
    """Ctrl-C (to all its processes), SIGTERM and SIGKILL end a build within seconds: no worker or temporary stays."""
    stores.write_files(here, {"long.txt": (SAMPLES / "story.txt").read_bytes() * 400})
    options = ("--shard-bytes", "1000000", "--backend", "tiktoken", "--jobs", "2")
    with running("tokenize", "long.txt", "-o", "s/", *options, cwd=here) as process:
        wait_for(lambda: stores.receipts_of("s"), process)
        workers = workers_of(process.pid)
        code = -number if number == signal.SIGKILL else 128 + number
        started = time.monotonic()
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        ended = finish(process)
        assert time.monotonic() < started + 3
        assert (ended.code, ended.stdout, len(workers)) == (code, b"", 2)
        assert ended.stderr == b"" or number == signal.SIGKILL  # then Python's tracker of semaphores has a word
        wait_for(lambda: not any(map(runs, workers)), seconds=3)
    assert ([*Path("s").rglob("*.tmp")], Path("s/manifest.json").exists()) == ([], False)
    assert written_at("s")
