"""Promises of `tokens/projection`: a run stays below what is projected, and within what it is allowed."""

import gzip
import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.byte_level import added, document
from support.commands import Call, clean_environment
from support.refusals import check_error

from llmprep.choices import Effort, TokenizerFile
from llmprep.documents.finding import find_sources
from llmprep.documents.zstandard import LARGE_WINDOW
from llmprep.tokens.projection import fit_effort, project_memory
from llmprep.vocabulary.loading import load_vocabulary
from llmprep.vocabulary.vocabulary import Vocabulary

MEGABYTE = 10**6
SIZES = (1 << 16, 1 << 20)
PEAK = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-m", "llmprep", *sys.argv[1:]])
_, status, usage = os.wait4(child.pid, 0)
print(usage.ru_maxrss * 1024)
sys.exit(status != 0)
"""
# In a small process between, as a child counts the memory of the process that started it.


def peak(arguments: list[str], folder: Path) -> int:
    """The most memory that a command line takes, in bytes, without what measures coverage."""
    kept = {key: value for key, value in clean_environment().items() if not key.startswith("COV")}
    command = [sys.executable, "-c", PEAK, *arguments]
    return int(subprocess.run(command, cwd=folder, env=kept, capture_output=True, check=True).stdout)


def words(n_bytes: int) -> str:
    """A text in which no word comes twice, which is the hardest on what remembers words."""
    rng = random.Random(7)  # noqa: S311 - it must be the same each time
    return " ".join(f"{rng.randrange(1 << 40):x}ly" for _ in range(n_bytes // 13))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text of 24 MB, and the same as records."""
    folder = tmp_path_factory.mktemp("inputs")
    text = words(24 * MEGABYTE)
    records = [text[k : k + 4000] for k in range(0, len(text), 4000)]
    lines = "".join(json.dumps({"text": record}) + "\n" for record in records)
    (folder / "a.txt").write_text(text)
    (folder / "a.jsonl").write_text(lines)
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode(), 1))
    (folder / "long.jsonl").write_text(
        json.dumps({"text": text[: 7 * MEGABYTE] + "\U0001f600"}, ensure_ascii=False) + "\n"
    )
    pq.write_table(pa.table({"text": records}), folder / "a.parquet", row_group_size=len(records))
    return folder


RUNS = [("tokenize -o o.pt", name) for name in ("a.txt", "a.jsonl.gz", "long.jsonl", "a.parquet")]
RUNS += [("tokenize -o o/", name) for name in ("a.txt", "long.jsonl", "a.parquet")]
RUNS += [("window -o o.pt --dense", "a.txt"), ("pairs -o o.pt --windows 900000", "a.parquet")]


@pytest.mark.slow
@pytest.mark.parametrize(("line", "name"), RUNS)
def test_a_run_stays_below_its_projection(line: str, name: str, inputs: Path, tmp_path: Path, call: Call) -> None:
    """The peak of memory of a command is not above what is projected for its inputs, nor above 250 MB a process."""
    command, *options = line.split()
    folder = ["-o", "o/"] if "o/" in options else []
    planned = call("tokenize", inputs / name, "--dry-run", "--json", "-j", 2, *folder).value["memory"]
    arguments = [command, str(inputs / name), "-q", "-j", "2", *options]
    assert peak(arguments, tmp_path) <= min(planned["bytes"], 250 * MEGABYTE)


@pytest.fixture(scope="module")
def chinese() -> str:
    """A text of clauses none of which comes twice."""
    rng = random.Random(7)  # noqa: S311 - it must be the same each time
    letters = list(map(chr, range(0x4E00, 0x9FA5)))
    return "\u3002".join("".join(rng.choices(letters, k=rng.randint(2, 12))) for _ in range(1_200_000))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["auto", "fastokens"])
def test_a_chinese_run_stays_below_its_projection(
    backend: str, chinese: str, vocab_dir: Path, tmp_path: Path, call: Call
) -> None:
    """Nor is the peak above either with fastokens, on a text of which nothing comes twice."""
    (tmp_path / "a.txt").write_text(chinese, encoding="utf-8")
    line = ["tokenize", "a.txt", "--encoding", "cl100k_base", "--vocab-dir", str(vocab_dir), "--backend", backend]
    planned = call(*line, "--dry-run", "--json", "-j", 2).value["memory"]
    arguments = [*line, "-o", "o.pt", "-q", "-j", "2"]
    assert peak(arguments, tmp_path) <= min(planned["bytes"], 250 * MEGABYTE)


@pytest.mark.slow
def test_a_run_of_the_definition_stays_below_its_projection(tmp_path: Path, call: Call) -> None:
    """Nor is the peak above where only the tokenizers library can encode, a text whose every byte is a token."""
    file = document({}, [], normalizer={"type": "Lowercase"}, added_tokens=[added("<|endoftext|>", 256)])
    (tmp_path / "t.json").write_text(json.dumps(file))
    (tmp_path / "a.txt").write_text("0123 456" * 500_000)
    line = ["tokenize", "a.txt", "--tokenizer", "t.json"]
    planned = call(*line, "--dry-run", "--json", "-j", 2).value["memory"]
    assert planned["bytes"] / 2 <= peak([*line, "-o", "o.pt", "-q", "-j", "2"], tmp_path) <= planned["bytes"]


def test_what_the_definition_encodes_takes_more(tmp_path: Path) -> None:
    """It encodes a sample beside the others, a block that they cannot normalise, or where it is alone whole texts."""
    (tmp_path / "a.txt").write_text("0123 456" * 500_000)
    sources = find_sources([str(tmp_path / "a.txt")])
    needed = []
    for normalizer in (None, {"type": "NFC"}, {"type": "Lowercase"}):
        (tmp_path / "t.json").write_text(json.dumps(document({}, [], normalizer=normalizer)))
        vocabulary = load_vocabulary(TokenizerFile(str(tmp_path / "t.json")))
        needed.append([project_memory(sources, vocabulary, Effort(block_bytes=size)).n_bytes for size in SIZES])
    for sample, block, whole in zip(*needed, strict=True):
        assert sample < block < whole
    growths = [large - small for small, large in needed]
    assert growths[1] > 2 * growths[0]
    assert growths[2] == growths[0]


def test_a_limit_makes_jobs_and_blocks_fewer(tmp_path: Path, gpt2: Vocabulary) -> None:
    """The effort that is chosen is within the limit; with a byte less, fewer jobs or smaller blocks are."""
    (tmp_path / "a.txt").write_text("some text " * 500_000)
    sources = find_sources([str(tmp_path / "a.txt")])
    for processes in (False, True):
        effort, chosen = Effort(jobs=5), []
        while effort.jobs > 1 or effort.block_bytes > 1 << 16:
            chosen.append((-effort.jobs, -effort.block_bytes))
            needed = project_memory(sources, gpt2, effort, processes=processes)
            allowed = replace(Effort(jobs=5), memory=needed.n_bytes)
            assert fit_effort(sources, gpt2, allowed, processes=processes) == replace(effort, memory=needed.n_bytes)
            effort = fit_effort(sources, gpt2, replace(allowed, memory=needed.n_bytes - 1), processes=processes)
        assert chosen == sorted(chosen)


def test_what_needs_most_is_named(call: Call, tmp_path: Path) -> None:
    """A limit that one job exceeds is refused before anything is read, with the input that needs most."""
    (tmp_path / "a.txt").write_text("some text " * 500_000)
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": "word " * 1_000_000}) + "\n")
    for line in ("tokenize -o o.pt", "tokenize -o o/", "window -o o.pt"):
        ended = call(*line.split(), "a.txt", "b.jsonl", "--memory", "100MB")
        check_error(ended, 2, "--memory 100000000: too little: b.jsonl takes up to ...")
    for dim, memory in ((4, "250MB"), (8192, "900MB")):
        ended = call("embed", "a.txt", "--dim", dim, "--batches", 1, "-o", "e.pt", "--memory", memory)
        check_error(ended, 2, f"--memory {memory[:3]}000000: too little: {'a.txt' if dim == 4 else 'torch'} ...")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.jsonl"]
    check_error(call("tokenize", "a.txt", "--memory", "1XB"), 2, "...1XB is not a size such as 500MB or 4GiB...")


def test_the_bytes_do_not_depend_on_the_limit(call: Call, tmp_path: Path) -> None:
    """With any limit that is enough the file is the same."""
    (tmp_path / "a.txt").write_text("some text " * 500_000)
    for number, memory in enumerate(("200MB", "160MB", "8GiB")):
        assert call("tokenize", "a.txt", "-o", f"{number}.pt", "--memory", memory, "-q").code == 0
    assert len({(tmp_path / f"{number}.pt").read_bytes() for number in range(3)}) == 1


def test_a_window_of_zstandard_counts(tmp_path: Path, gpt2: Vocabulary) -> None:
    """A frame states how far back it reaches, and that much memory is projected."""
    frame = b"\x28\xb5\x2f\xfd\x00" + bytes([(17 + 1) << 3]) + bytes(20)
    (tmp_path / "a.zst").write_bytes(frame)
    (tmp_path / "b.txt").write_bytes(b"text")
    projection = project_memory(find_sources([str(tmp_path / "b.txt"), str(tmp_path / "a.zst")]), gpt2, Effort())
    assert projection.needs_most.endswith("a.zst")
    assert projection.n_bytes > 2 * LARGE_WINDOW
