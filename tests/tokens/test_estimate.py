"""Promises of estimates: exact for small inputs, close for large ones of any kind, the same at every call."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from support.commands import SAMPLES

from llmprep.choices import Effort, TextOptions
from llmprep.documents.finding import find_sources
from llmprep.errors import DataError
from llmprep.tokens import estimate as estimates
from llmprep.tokens.estimate import Estimate, estimate_tokens
from llmprep.tokens.stream import stream_text
from llmprep.vocabulary.loading import Vocabulary

PLAIN = TextOptions()


def estimate(
    paths: Sequence[Path], vocabulary: Vocabulary, options: TextOptions = PLAIN, backend: Any = "tiktoken"
) -> Estimate:
    """Estimate the tokens of some inputs."""
    return estimate_tokens(find_sources(list(map(str, paths))), vocabulary, options, Effort(backend))


def truth(paths: Sequence[Path], vocabulary: Vocabulary, options: TextOptions = PLAIN) -> int:
    """How many tokens the inputs really give."""
    return sum(map(len, stream_text(find_sources(list(map(str, paths))), vocabulary, options)))


@pytest.mark.parametrize("options", [PLAIN, TextOptions("keep", "none", "text")], ids=["default", "others"])
def test_small_inputs_are_counted(options: TextOptions, tmp_path: Path, gpt2: Vocabulary) -> None:
    """Samples, some of them packed, have one number: what they give, separators included."""
    packed = tmp_path / "records.jsonl.gz"
    packed.write_bytes(gzip.compress((SAMPLES / "records.jsonl").read_bytes()))
    paths = [packed, *sorted(SAMPLES.iterdir())]

    found = estimate(paths, gpt2, options)

    expected = truth(paths, gpt2, options)
    assert found.is_exact
    assert (found.low, found.tokens, found.high) == (expected, expected, expected)
    assert (found.n_bytes, found.n_unsized) == (sum(path.stat().st_size for path in paths), 0)
    assert found.seconds > 0


def test_a_small_input_is_read_as_the_run_reads_it(tmp_path: Path, story: Path, gpt2: Vocabulary) -> None:
    """What would end the run ends the estimate of a small text too; a pipe is counted as unknown, and not opened."""
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(DataError, match="not valid UTF-8 at byte 3"):
        estimate([tmp_path / "latin.txt"], gpt2)
    found, nothing = estimate([tmp_path / "pipe", story, tmp_path / "empty"], gpt2), estimate([tmp_path / "pipe"], gpt2)
    assert (found.tokens, found.n_bytes, found.n_unsized, found.is_exact) == (6259, 24_262, 1, False)
    assert (nothing.tokens, nothing.n_unsized) == (0, 1)


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """600 kB of prose, code, many scripts and numbers, shuffled, that do not compress well."""
    draw = random.Random(5)  # noqa: S311 - a sample, no secret
    held = [
        line for path in sorted(SAMPLES.glob("*.*")) for line in path.read_text(encoding="utf-8").splitlines() if line
    ]
    return [f"{draw.choice(held)} {draw.randbytes(30).hex()}" for _ in range(4000)]


@pytest.fixture
def small_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """An eighth of all sizes, so that half a megabyte is much and tests are quick."""
    monkeypatch.setattr(estimates, "SAMPLE_BYTES", estimates.SAMPLE_BYTES // 8)
    monkeypatch.setattr(estimates, "BEGINNING_BYTES", estimates.BEGINNING_BYTES // 8)


def put(path: Path, data: bytes) -> list[Path]:
    path.write_bytes(data)
    return [path]


def text(lines: list[str]) -> bytes:
    return "\n".join(lines).encode()


def records(lines: list[str]) -> bytes:
    return "".join(json.dumps({"id": k, "title": "more", "text": line}) + "\n" for k, line in enumerate(lines)).encode()


def small_files(folder: Path, lines: list[str]) -> list[Path]:
    starts = range(0, len(lines), 20)
    return [path for k in starts for path in put(folder / f"{k:06}.txt", text(lines[k : k + 20]))]


def table(folder: Path, lines: list[str]) -> list[Path]:
    pa.parquet.write_table(pa.table({"id": list(range(len(lines))), "text": lines}), folder / "large.parquet")
    return [folder / "large.parquet"]


MADE: dict[str, Callable[[Path, list[str]], list[Path]]] = {
    "text": lambda folder, lines: put(folder / "large.txt", text(lines)),
    "gzip without its ending": lambda folder, lines: put(folder / "large.txt", gzip.compress(text(lines), 1)),
    "records": lambda folder, lines: put(folder / "large.jsonl", records(lines)),
    "packed records": lambda folder, lines: put(folder / "large.jsonl.gz", gzip.compress(records(lines), 1)),
    "table": table,
    "small files": small_files,
    "a mixture": lambda folder, lines: [
        *put(folder / "a.txt", text(lines[:1500])),
        *small_files(folder, lines[1500:2500]),
        *put(folder / "c.jsonl", records(lines[2500:])),
    ],
}


@pytest.mark.usefixtures("small_samples")
@pytest.mark.parametrize(
    ("made", "separator"),
    [*((made, "eot") for made in MADE), *((made, "none") for made in ("records", "table", "small files"))],
)
def test_a_large_input_is_estimated(
    made: str, separator: Any, lines: list[str], tmp_path: Path, gpt2: Vocabulary
) -> None:
    """The estimate is within a few per cent of the truth for texts, packed or not, records, tables and small files."""
    options = TextOptions(separator=separator)
    paths = MADE[made](tmp_path, lines)
    n_bytes = sum(path.stat().st_size for path in paths)
    assert n_bytes > estimates.SAMPLES * estimates.SAMPLE_BYTES

    found = estimate(paths, gpt2, options)

    assert (found.n_bytes, found.is_exact) == (n_bytes, False)
    assert found.low < found.tokens < found.high
    assert found.high - found.low < 0.25 * found.tokens
    assert abs(found.tokens / truth(paths, gpt2, options) - 1) < 0.05


def test_the_interval_holds_the_truth(
    lines: list[str], tmp_path: Path, gpt2: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bounds, of 95 %, hold the number of tokens of at least 18 of 20 texts, and are no wider than they need be."""
    monkeypatch.setattr(estimates, "SAMPLE_BYTES", 1 << 10)
    held, widths = 0, []
    for seed in range(20):
        paths = put(tmp_path / "a.txt", text(random.Random(seed).choices(lines, k=1000)))  # noqa: S311 - no secret
        found, n_tokens = estimate(paths, gpt2), truth(paths, gpt2)
        held += found.low <= n_tokens <= found.high
        widths.append((found.high - found.low) / n_tokens)

    assert held >= 18
    assert 0.01 < min(widths) <= max(widths) < 0.2


@pytest.mark.usefixtures("small_samples")
def test_an_estimate_is_the_same_at_every_call(lines: list[str], tmp_path: Path, gpt2: Vocabulary) -> None:
    """The sample is seeded: neither the time, nor the name, nor the backend changes the estimate."""
    here = put(tmp_path / "here.txt", text(lines))
    there = [Path(shutil.copy(here[0], tmp_path / "another name.txt"))]

    ways = [(here, "tiktoken"), (here, "tiktoken"), (here, "gigatoken"), (there, "tiktoken")]
    found = [replace(estimate(paths, gpt2, backend=backend), seconds=0) for paths, backend in ways]

    assert found == [found[0]] * 4


@pytest.mark.usefixtures("small_samples")
def test_a_bomb_is_estimated_in_little_memory(tmp_path: Path, gpt2: Vocabulary) -> None:
    """Of a file that unpacks to hundreds of times its size, only a little is unpacked."""
    paths = put(tmp_path / "bomb.txt.gz", gzip.compress(b"word " * (1 << 20)) * 40)
    assert paths[0].stat().st_size > estimates.SAMPLES * estimates.SAMPLE_BYTES

    tracemalloc.start()
    found = estimate(paths, gpt2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert abs(found.tokens / (40 << 20) - 1) < 0.05
    assert peak < 60_000_000


def test_a_little_is_read_of_much(lines: list[str], tmp_path: Path, gpt2: Vocabulary) -> None:
    """An estimate reads a sample: a bad byte outside it does not matter, and the rest of a long file is not read."""
    (path,) = put(tmp_path / "a.txt", text(lines))
    with path.open("r+b") as file:
        file.truncate(40 << 30)  # a hole, which takes no room on the disk: no one could read it here in time

    found = estimate([path], gpt2)

    assert found.n_bytes == 40 << 30
