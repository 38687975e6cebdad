"""Promises of estimates: exact for small inputs, close for large ones of any kind, the same at every call."""

import gzip
import os
import random
from collections.abc import Sequence
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
from llmprep.vocabulary.vocabulary import Vocabulary

PLAIN = TextOptions()


def estimate(
    paths: Sequence[Path], vocabulary: Vocabulary, options: TextOptions = PLAIN, backend: Any = "tiktoken"
) -> Estimate:
    return estimate_tokens(find_sources(list(map(str, paths))), vocabulary, options, Effort(backend))


def truth(paths: Sequence[Path], vocabulary: Vocabulary, options: TextOptions = PLAIN) -> int:
    return sum(map(len, stream_paths(paths, vocabulary, options)))


@pytest.mark.parametrize("options", [PLAIN, TextOptions("keep", "none", "text")], ids=["default", "others"])
def test_small_inputs_are_counted(options: TextOptions, tmp_path: Path, gpt2: Vocabulary) -> None:
    """Samples have one number, what they give; a pipe is not opened; what would end the run ends the estimate too."""
    packed = save(tmp_path, gzip.compress((SAMPLES / "records.jsonl").read_bytes()), "records.jsonl.gz")
    paths = [packed, *sorted(SAMPLES.iterdir()), save(tmp_path, b"", "empty")]
    os.mkfifo(tmp_path / "pipe")
    found, expected = estimate(paths, gpt2, options), truth(paths, gpt2, options)
    assert (found.low, found.tokens, found.high, found.is_exact) == (expected, expected, expected, True)
    assert (found.n_bytes, found.n_unsized) == (sum(path.stat().st_size for path in paths), 0)
    assert found.seconds > 0

    piped = estimate([*paths, tmp_path / "pipe"], gpt2, options)
    assert replace(piped, seconds=found.seconds) == replace(found, n_unsized=1)
    assert not piped.is_exact
    assert estimate([tmp_path / "pipe"], gpt2).tokens == 0
    with pytest.raises(DataError, match="not valid UTF-8 at byte 3"):
        estimate([save(tmp_path, b"caf\xe9")], gpt2)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Files of each kind with 600 kB of prose, code, many scripts and numbers, shuffled, that do not compress well."""
    folder, draw = tmp_path_factory.mktemp("made"), random.Random(5)  # noqa: S311 - a sample, no secret
    held = "\n".join(path.read_text(encoding="utf-8") for path in sorted(SAMPLES.glob("*.*"))).splitlines()
    lines = [f"{draw.choice(held) or 'no words'} {draw.randbytes(30).hex()}" for _ in range(4000)]
    text, records = save(folder, "\n".join(lines)), json_lines(folder / "b.jsonl", lines)
    return {
        "text": [text],
        "gzip without its ending": [save(folder, gzip.compress(text.read_bytes(), 1), "b.txt")],
        "packed records": [save(folder, gzip.compress(records.read_bytes(), 1), "a.jsonl.gz")],
        "table": [parquet(folder / "a.parquet", lines)],
        "a mixture": [
            text, *(save(folder, "\n".join(lines[k : k + 20]), f"{k:06}.txt") for k in range(0, 1000, 20)), records,
        ],
    }  # fmt: skip


@pytest.fixture
def small_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """An eighth of all sizes, so that half a megabyte is much and tests are quick."""
    monkeypatch.setattr(estimates, "SAMPLE_BYTES", estimates.SAMPLE_BYTES // 8)
    monkeypatch.setattr(estimates, "BEGINNING_BYTES", estimates.BEGINNING_BYTES // 8)


@pytest.mark.usefixtures("small_samples")
@pytest.mark.parametrize(
    ("kind", "separator"),
    [
        *((kind, "eot") for kind in ("text", "gzip without its ending", "packed records", "table", "a mixture")),
        *((kind, "none") for kind in ("packed records", "table")),
    ],
)
def test_much_is_estimated(kind: str, separator: Any, made: dict[str, list[Path]], gpt2: Vocabulary) -> None:
    """For any kind of file the estimate is within a few per cent of the truth, and the same at every call."""
    options = TextOptions(separator=separator)
    found = estimate(made[kind], gpt2, options)
    assert (found.n_bytes, found.is_exact) == (sum(path.stat().st_size for path in made[kind]), False)
    assert found.low < found.tokens < found.high < found.low + 0.25 * found.tokens
    assert abs(found.tokens / truth(made[kind], gpt2, options) - 1) < 0.05
    again = estimate(made[kind], gpt2, options, "gigatoken")
    assert replace(again, seconds=found.seconds) == found


def test_the_interval_holds_the_truth(
    made: dict[str, list[Path]], tmp_path: Path, gpt2: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bounds, of 95 %, hold the number of tokens of at least 9 of 10 texts, and are no wider than they need be."""
    monkeypatch.setattr(estimates, "SAMPLE_BYTES", 1 << 10)
    lines, held, widths = made["text"][0].read_text(encoding="utf-8").splitlines(), 0, []
    for seed in range(10):
        paths = [save(tmp_path, "\n".join(random.Random(seed).choices(lines, k=700)))]  # noqa: S311 - no secret
        found, n_tokens = estimate(paths, gpt2), truth(paths, gpt2)
        held += found.low <= n_tokens <= found.high
        widths.append((found.high - found.low) / n_tokens)
    assert held >= 9
    assert 0.01 < min(widths) <= max(widths) < 0.2


@pytest.mark.usefixtures("small_samples")
def test_a_little_is_read_of_much(made: dict[str, list[Path]], tmp_path: Path, gpt2: Vocabulary) -> None:
    """A long file is not read whole, and a bomb is not unpacked."""
    path = save(tmp_path, made["text"][0].read_bytes())
    os.truncate(path, 40 << 30)  # a hole, which takes no room on the disk: no one could read it here in time
    assert estimate([path], gpt2).n_bytes == 40 << 30
    bomb = save(tmp_path, gzip.compress(b"word " * (1 << 20)) * 40, "bomb.txt.gz")
    with frugal(60_000_000):
        assert abs(estimate([bomb], gpt2).tokens / (40 << 20) - 1) < 0.05
