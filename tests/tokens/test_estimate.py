"""Promises of estimates: exact for small inputs, close for large ones of any kind, the same at every call."""

from __future__ import annotations

import gzip
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.commands import SAMPLES
from support.documents import json_lines, parquet, save
from support.refusals import frugal
from support.streams import stream_paths

from llmprep.choices import Effort, TextOptions
from llmprep.documents.finding import find_sources
from llmprep.errors import DataError
from llmprep.tokens import estimate as estimates
from llmprep.tokens.estimate import Estimate, estimate_tokens
from llmprep.vocabulary.loading import Vocabulary

PLAIN = TextOptions()


def estimate(
    paths: Sequence[Path], vocabulary: Vocabulary, options: TextOptions = PLAIN, backend: Any = "tiktoken"
) -> Estimate:
    return estimate_tokens(find_sources(list(map(str, paths))), vocabulary, options, Effort(backend))


def truth(paths: Sequence[Path], vocabulary: Vocabulary, options: TextOptions = PLAIN) -> int:
    return sum(map(len, stream_paths(paths, vocabulary, options)))


@pytest.mark.parametrize("options", [PLAIN, TextOptions("keep", "none", "text")], ids=["default", "others"])
def test_small_inputs_are_counted(options: TextOptions, tmp_path: Path, gpt2: Vocabulary) -> None:
    """Samples, some of them packed, have one number: what they give, separators included."""
    packed = tmp_path / "records.jsonl.gz"
    packed.write_bytes(gzip.compress((SAMPLES / "records.jsonl").read_bytes()))
    paths = [packed, *sorted(SAMPLES.iterdir())]
    found, expected = estimate(paths, gpt2, options), truth(paths, gpt2, options)
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
    held = "\n".join(path.read_text(encoding="utf-8") for path in sorted(SAMPLES.glob("*.*"))).splitlines()
    return [f"{draw.choice(held) or 'no words'} {draw.randbytes(30).hex()}" for _ in range(4000)]


@pytest.fixture
def small_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """An eighth of all sizes, so that half a megabyte is much and tests are quick."""
    monkeypatch.setattr(estimates, "SAMPLE_BYTES", estimates.SAMPLE_BYTES // 8)
    monkeypatch.setattr(estimates, "BEGINNING_BYTES", estimates.BEGINNING_BYTES // 8)


def text(lines: list[str]) -> bytes:
    return "\n".join(lines).encode()


def small_files(folder: Path, lines: list[str]) -> list[Path]:
    return [save(folder, text(lines[k : k + 20]), f"{k:06}.txt") for k in range(0, len(lines), 20)]


MADE: dict[str, Callable[[Path, list[str]], list[Path]]] = {
    "text": lambda folder, lines: [save(folder, text(lines))],
    "gzip without its ending": lambda folder, lines: [save(folder, gzip.compress(text(lines), 1))],
    "packed records": lambda folder, lines: [
        save(folder, gzip.compress(json_lines(folder / "b.jsonl", lines).read_bytes(), 1), "a.jsonl.gz")
    ],
    "table": lambda folder, lines: [parquet(folder / "a.parquet", lines)],
    "a mixture": lambda folder, lines: [
        save(folder, text(lines[:1500])), *small_files(folder, lines[1500:2500]),
        json_lines(folder / "b.jsonl", lines[2500:]),
    ],
}  # fmt: skip


@pytest.mark.usefixtures("small_samples")
@pytest.mark.parametrize(
    ("made", "separator"),
    [*((made, "eot") for made in MADE), ("table", "none"), ("packed records", "none")],
)
def test_much_is_estimated(made: str, separator: Any, lines: list[str], tmp_path: Path, gpt2: Vocabulary) -> None:
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
    """The bounds, of 95 %, hold the number of tokens of at least 9 of 10 texts, and are no wider than they need be."""
    monkeypatch.setattr(estimates, "SAMPLE_BYTES", 1 << 10)
    held, widths = 0, []
    for seed in range(10):
        paths = [save(tmp_path, text(random.Random(seed).choices(lines, k=700)))]  # noqa: S311 - no secret
        found, n_tokens = estimate(paths, gpt2), truth(paths, gpt2)
        held += found.low <= n_tokens <= found.high
        widths.append((found.high - found.low) / n_tokens)
    assert held >= 9
    assert 0.01 < min(widths) <= max(widths) < 0.2


@pytest.mark.usefixtures("small_samples")
def test_an_estimate_is_the_same_at_every_call(lines: list[str], tmp_path: Path, gpt2: Vocabulary) -> None:
    """The sample is seeded: neither the time, nor the name, nor the backend changes the estimate."""
    here, there = (save(tmp_path, text(lines), name) for name in ("here.txt", "another name.txt"))
    ways = [(here, "tiktoken"), (here, "tiktoken"), (here, "gigatoken"), (there, "tiktoken")]
    found = [replace(estimate([path], gpt2, backend=backend), seconds=0) for path, backend in ways]
    assert found == [found[0]] * 4


@pytest.mark.usefixtures("small_samples")
def test_a_bomb_is_estimated_in_little_memory(tmp_path: Path, gpt2: Vocabulary) -> None:
    """Of a file that unpacks to hundreds of times its size, only a little is unpacked."""
    path = save(tmp_path, gzip.compress(b"word " * (1 << 20)) * 40, "bomb.txt.gz")
    assert path.stat().st_size > estimates.SAMPLES * estimates.SAMPLE_BYTES
    with frugal(60_000_000):
        found = estimate([path], gpt2)
    assert abs(found.tokens / (40 << 20) - 1) < 0.05


def test_a_little_is_read_of_much(lines: list[str], tmp_path: Path, gpt2: Vocabulary) -> None:
    """An estimate reads a sample: a bad byte outside it does not matter, and the rest of a long file is not read."""
    path = save(tmp_path, text(lines))
    os.truncate(path, 40 << 30)  # a hole, which takes no room on the disk: no one could read it here in time
    assert estimate([path], gpt2).n_bytes == 40 << 30
