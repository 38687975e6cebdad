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
from hypothesis import given, settings
from hypothesis import strategies as st
from support.commands import SAMPLES, Call, Run
from support.strategies import adversarial_text

from llmprep.choices import Effort, TextOptions
from llmprep.documents.finding import find_sources
from llmprep.errors import DataError
from llmprep.tokens import estimate as estimates
from llmprep.tokens.estimate import Estimate, estimate_tokens
from llmprep.tokens.stream import stream_text
from llmprep.vocabulary.loading import Vocabulary, load_vocabulary

PLAIN = TextOptions()


@pytest.fixture(scope="module")
def gpt2() -> Vocabulary:
    return load_vocabulary("gpt2")


def estimate(
    paths: Sequence[Path], vocabulary: Vocabulary, options: TextOptions = PLAIN, backend: Any = "tiktoken"
) -> Estimate:
    """Estimate the tokens of some inputs."""
    return estimate_tokens(find_sources(list(map(str, paths))), vocabulary, options, Effort(backend))


def truth(paths: Sequence[Path], vocabulary: Vocabulary, options: TextOptions = PLAIN) -> int:
    """How many tokens the inputs really give."""
    stream = stream_text(find_sources(list(map(str, paths))), vocabulary, options, Effort("auto"))
    return sum(len(block) for block in stream)


# --- small inputs ---------------------------------------------------------------------------------

every_choice = pytest.mark.parametrize(
    "options",
    [PLAIN, TextOptions(separator="none"), TextOptions("keep", "eot", "text")],
    ids=["default", "no separator", "text"],
)


@every_choice
def test_the_samples_are_counted(options: TextOptions, tmp_path: Path, gpt2: Vocabulary) -> None:
    """One sample, all of them together, and a packed one have one number: what they give, separators included."""
    samples = sorted(SAMPLES.iterdir())
    packed = tmp_path / "records.jsonl.gz"
    packed.write_bytes(gzip.compress((SAMPLES / "records.jsonl").read_bytes()))

    for paths in [[packed], [packed, *samples], samples[:1]]:
        found = estimate(paths, gpt2, options)
        expected = truth(paths, gpt2, options)
        assert (found.low, found.tokens, found.high) == (expected, expected, expected)
        assert found.n_bytes == sum(path.stat().st_size for path in paths)
        assert found.n_unsized == 0
        assert found.seconds > 0


@given(
    texts=st.lists(adversarial_text.filter(lambda text: text.encode().count(0) < 2), min_size=1, max_size=4).filter(any)
)
@settings(max_examples=15)
def test_any_small_texts_are_counted(
    texts: list[str], tmp_path_factory: pytest.TempPathFactory, gpt2: Vocabulary
) -> None:
    """Whatever small texts hold, empty ones among them, the estimate is the number."""
    folder = tmp_path_factory.getbasetemp()
    paths = [folder / f"small{k}.txt" for k in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_bytes(b"a" + text.encode() if text else b"")

    found = estimate(paths, gpt2)

    assert found.low == found.tokens == found.high == truth(paths, gpt2)


def test_an_error_in_a_small_text_is_said(tmp_path: Path, gpt2: Vocabulary) -> None:
    """What would end the run ends the estimate of a small text too."""
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")

    with pytest.raises(DataError, match="not valid UTF-8 at byte 3"):
        estimate([tmp_path / "latin.txt"], gpt2)


def test_pipes_are_not_touched(tmp_path: Path, story: Path, gpt2: Vocabulary) -> None:
    """A pipe has no size and is read once: it is counted as unknown and not opened; an empty file is no unknown."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()

    found = estimate([tmp_path / "pipe", story, tmp_path / "empty"], gpt2)

    assert (found.tokens, found.n_bytes, found.n_unsized) == (6259, 24_262, 1)
    assert estimate([tmp_path / "pipe"], gpt2).n_unsized == 1
    assert estimate([tmp_path / "pipe"], gpt2).tokens == 0


def test_sources_stay_as_they_were(story: Path, gpt2: Vocabulary) -> None:
    """An estimate leaves the sources unread: what follows starts with them afresh."""
    sources = find_sources([str(story)])
    before = replace(sources[0])

    estimate_tokens(sources, gpt2, PLAIN, Effort())

    assert sources == [before]
    assert sum(len(block) for block in stream_text(sources, gpt2)) == 6259


# --- large inputs ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """A megabyte of prose, code, many scripts and numbers, shuffled, that does not compress well."""
    draw = random.Random(5)  # noqa: S311 - a sample, no secret
    held = [
        line for path in sorted(SAMPLES.glob("*.*")) for line in path.read_text(encoding="utf-8").splitlines() if line
    ]
    made: list[str] = []
    size = 0
    while size < 1_200_000:
        made.append(f"{draw.choice(held)} {draw.randbytes(30).hex()}")
        size += len(made[-1].encode()) + 1
    return made


@pytest.fixture
def small_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of all sizes, so that a megabyte is much and tests are quick."""
    monkeypatch.setattr(estimates, "SAMPLE_BYTES", estimates.SAMPLE_BYTES // 4)
    monkeypatch.setattr(estimates, "BEGINNING_BYTES", estimates.BEGINNING_BYTES // 4)


def as_text(folder: Path, lines: list[str]) -> list[Path]:
    (folder / "large.txt").write_text("\n".join(lines), encoding="utf-8")
    return [folder / "large.txt"]


def as_gzip(folder: Path, lines: list[str]) -> list[Path]:
    (folder / "large.txt.gz").write_bytes(gzip.compress("\n".join(lines).encode(), 1))
    return [folder / "large.txt.gz"]


def as_gzip_without_its_name(folder: Path, lines: list[str]) -> list[Path]:
    return [as_gzip(folder, lines)[0].rename(folder / "large.txt")]


def as_records(folder: Path, lines: list[str]) -> list[Path]:
    data = "".join(json.dumps({"id": k, "title": "one more", "text": line}) + "\n" for k, line in enumerate(lines))
    (folder / "large.jsonl").write_text(data)
    return [folder / "large.jsonl"]


def as_packed_records(folder: Path, lines: list[str]) -> list[Path]:
    (plain,) = as_records(folder, lines)
    (folder / "large.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes(), 1))
    return [folder / "large.jsonl.gz"]


def as_table(folder: Path, lines: list[str]) -> list[Path]:
    table = pa.table({"id": list(range(len(lines))), "text": lines})
    pa.parquet.write_table(table, folder / "large.parquet")
    return [folder / "large.parquet"]


def as_small_files(folder: Path, lines: list[str]) -> list[Path]:
    for k in range(0, len(lines), 20):
        (folder / f"{k:06}.txt").write_text("\n".join(lines[k : k + 20]), encoding="utf-8")
    return sorted(folder.iterdir())


def as_a_mixture(folder: Path, lines: list[str]) -> list[Path]:
    third = len(lines) // 3
    for name in ("a", "b", "c"):
        (folder / name).mkdir()
    return [
        *as_text(folder / "a", lines[:third]),
        *as_small_files(folder / "b", lines[third : third + 1000]),
        *as_records(folder / "c", lines[third + 1000 :]),
    ]


KINDS = (
    as_text,
    as_gzip,
    as_gzip_without_its_name,
    as_records,
    as_packed_records,
    as_table,
    as_small_files,
    as_a_mixture,
)


@pytest.mark.usefixtures("small_samples")
@pytest.mark.parametrize(
    ("kind", "separator"),
    [*((kind, "eot") for kind in KINDS), *((kind, "none") for kind in (as_records, as_table, as_small_files))],
)
def test_a_large_input_is_estimated(
    kind: Callable[[Path, list[str]], list[Path]], separator: Any, lines: list[str], tmp_path: Path, gpt2: Vocabulary
) -> None:
    """The estimate is within a few per cent of the truth for texts, packed or not, records, tables and small files."""
    options = TextOptions(separator=separator)
    paths = kind(tmp_path, lines)
    n_bytes = sum(path.stat().st_size for path in paths)
    assert n_bytes > estimates.SAMPLES * estimates.SAMPLE_BYTES

    found = estimate(paths, gpt2, options)

    assert found.n_bytes == n_bytes
    assert found.low < found.tokens < found.high
    assert found.high - found.low < 0.2 * found.tokens
    assert abs(found.tokens / truth(paths, gpt2, options) - 1) < 0.05


def test_the_interval_holds_the_truth(
    lines: list[str], tmp_path: Path, gpt2: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bounds, of 95 %, hold the number of tokens of at least 18 of 20 texts, and are no wider than they need be."""
    monkeypatch.setattr(estimates, "SAMPLE_BYTES", 1 << 10)
    held, widths = 0, []
    for seed in range(20):
        paths = as_text(tmp_path, random.Random(seed).choices(lines, k=1000))  # noqa: S311 - a sample, no secret
        found, n_tokens = estimate(paths, gpt2), truth(paths, gpt2)
        held += found.low <= n_tokens <= found.high
        widths.append((found.high - found.low) / n_tokens)

    assert held >= 18
    assert 0.01 < min(widths) <= max(widths) < 0.2


@pytest.mark.usefixtures("small_samples")
def test_an_estimate_is_the_same_at_every_call(lines: list[str], tmp_path: Path, gpt2: Vocabulary) -> None:
    """The sample is seeded: neither the time, nor the folder, nor the backend changes the estimate."""
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    here = as_text(tmp_path / "here", lines)
    there = [Path(shutil.copy(here[0], tmp_path / "there" / "other name.txt"))]

    found = [
        replace(estimate(paths, gpt2, backend=backend), seconds=0)
        for paths in (here, here, there)
        for backend in ("tiktoken", "gigatoken")
    ]

    assert found == [found[0]] * 6


@pytest.mark.usefixtures("small_samples")
def test_a_bomb_is_estimated_in_little_memory(tmp_path: Path, gpt2: Vocabulary) -> None:
    """Of a file that unpacks to hundreds of times its size, only a few megabytes are unpacked."""
    path = tmp_path / "bomb.txt.gz"
    path.write_bytes(gzip.compress(b"word " * (1 << 20)) * 60)
    assert path.stat().st_size > estimates.SAMPLES * estimates.SAMPLE_BYTES

    tracemalloc.start()
    found = estimate([path], gpt2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert abs(found.tokens / (60 << 20) - 1) < 0.05
    assert peak < 60_000_000


def test_a_little_is_read_of_much(lines: list[str], tmp_path: Path, gpt2: Vocabulary) -> None:
    """An estimate reads a sample: a bad byte outside it does not matter, and the rest of a long file is not read."""
    (path,) = as_text(tmp_path, lines)
    with path.open("r+b") as file:
        file.truncate(40 << 30)  # a hole, which takes no room on the disk: no one could read it here in time

    found = estimate([path], gpt2)

    assert found.n_bytes == 40 << 30


# --- dry runs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["tokenize", "window"])
def test_a_dry_run_writes_nothing(command: str, call: Call, story: Path, tmp_path: Path) -> None:
    """``--dry-run`` names inputs and output, states sizes and tokens, and leaves the folder as it was."""
    (tmp_path / "small.txt").write_text("one two")
    (tmp_path / "old.pt").write_bytes(b"PK\x03\x04 old")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    for output in ("new.pt", "old.pt"):
        ended = call(command, story, "small.txt", "-o", output, "--dry-run")

        assert (ended.code, ended.stderr) == (0, b"")
        lines = ended.lines
        assert lines[:2] == [f"    24.3 kB {story}", "    7 bytes small.txt"]
        assert lines[2] == "would read 2 inputs, 24.3 kB"
        assert lines[3] == "would give about 6,262 tokens (95 % between 6,262 and 6,262)"
        assert lines[4].startswith(f"would write {output}, about ")
        assert lines[4].endswith("; nothing was written")
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    "options",
    [
        ["tokenize"],
        ["tokenize", "--dtype", "int32"],
        ["window", "--max-length", "64", "--stride", "64"],
        ["window", "--max-length", "64", "--stride", "1", "--dtype", "uint16"],
        ["window", "--max-length", "10", "--stride", "50"],
        ["window", "--max-length", "64", "--stride", "8", "--dense"],
    ],
    ids=" ".join,
)
def test_the_size_that_is_foretold_is_the_size(options: list[str], call: Call, story: Path, tmp_path: Path) -> None:
    """The bytes that a dry run foretells are those that are written, but for the small frame of the file."""
    foretold = call(*options, story, "-o", "x.pt", "--dry-run", "--json").value

    assert call(*options, story, "-o", "x.pt", "-q").code == 0

    size = (tmp_path / "x.pt").stat().st_size
    assert foretold["estimate"]["tokens"] == 6259
    assert abs(size - foretold["estimate"]["output_bytes"]) < 3000 + size * 0.02


def test_a_dry_run_as_json(call: Call, tmp_path: Path) -> None:
    """One object holds the inputs, the output and the estimate."""
    (tmp_path / "a.txt").write_text("one two")
    os.mkfifo(tmp_path / "pipe")

    ended = call("tokenize", "a.txt", "pipe", "-o", "x.pt", "--dry-run", "--json")

    assert (ended.code, ended.stderr) == (0, b"")
    value = ended.value
    assert value["command"] == "dry-run"
    assert value["inputs"] == [{"name": "a.txt", "bytes": 7}, {"name": "pipe", "bytes": None}]
    assert value["output"] == "x.pt"
    found = value["estimate"]
    assert {key: found[key] for key in ("n_bytes", "n_unsized", "tokens", "low", "high", "output_bytes")} == {
        "n_bytes": 7, "n_unsized": 1, "tokens": 2, "low": 2, "high": 2, "output_bytes": 16,
    }  # fmt: skip


def test_a_dry_run_says_what_it_cannot_know(call: Call, tmp_path: Path) -> None:
    """A pipe's size is unknown, and that is said."""
    (tmp_path / "a.txt").write_text("one two")
    os.mkfifo(tmp_path / "pipe")

    ended = call("tokenize", "a.txt", "pipe", "-o", "x.pt", "--dry-run")

    assert ended.code == 0
    assert "          ? pipe" in ended.lines
    assert "would read 2 inputs, 7 bytes, and 1 input of unknown size" in ended.lines


def test_a_dry_run_shows_names_inert(call: Call, tmp_path: Path) -> None:
    """Names that would act on a terminal are written out."""
    (tmp_path / "a\x1b[31m\n.txt").write_text("one two")

    ended = call("tokenize", "a\x1b[31m\n.txt", "-o", "\x1b[0m.pt", "--dry-run")

    assert ended.code == 0
    assert b"\x1b" not in ended.stdout
    assert rb" a\x1b[31m\n.txt" in ended.stdout
    assert rb"would write \x1b[0m.pt," in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["missing.txt", "-o", "x.pt"], 1, "missing.txt: no such file or directory"),
        (["a.txt", "-o", "none/x.pt"], 1, "none/x.pt: there is no folder none"),
        (["a.txt", "-o", "a.txt"], 2, "a.txt: is also an input"),
        (["a.txt", "-o", "b.txt"], 6, "b.txt: exists and is not a .pt file"),
        (["a.txt", "--encoding", "gpt22"], 5, "--encoding gpt22: unknown"),
    ],
)
def test_a_dry_run_finds_what_a_run_would(
    arguments: list[str], code: int, message: str, call: Call, tmp_path: Path
) -> None:
    """Mistakes in names and options are found by a dry run, with the exit code of the run."""
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("one two")

    for dry in (["--dry-run"], []):
        ended = call("tokenize", *arguments, *dry)
        assert (ended.code, ended.stdout) == (code, b"")
        (line,) = ended.notes
        assert line.startswith(f"llmprep: error: {message}")


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("tokenize a.txt --encoding o200k_base --dtype uint16", 2, "--dtype uint16: holds ids up to 65535, "),
        ("window a.txt --max-length 1 --encoding o200k_base --dtype uint16", 2, "--dtype uint16: holds ids up to "),
        ("window a.txt --max-length 100000", 3, "a.txt: 2 tokens give no window of max_length 100000; the largest "),
        ("window a.txt a.txt.gz -o x.pt --max-length 9", 3, "2 inputs: 5 tokens give no window of max_length 9; "),
        ("window a.txt --max-length 1 --val-fraction 0.5", 3, "a.txt (train): 1 tokens give no window of max_length 1"),
        ("window a.txt.gz --max-length 1 --val-fraction 0.4", 3, "a.txt.gz (val): 0 tokens give no window of "),
        ("tokenize empty.txt", 3, "empty.txt: empty: 0 tokens"),
        ("window empty.txt --max-length 1", 3, "empty.txt: empty: 0 tokens"),
        ("tokenize a.jsonl --field none", 3, "a.jsonl: line 1"),
    ],
)
def test_a_dry_run_refuses_what_needs_no_full_encoding(
    line: str, code: int, message: str, call: Call, tmp_path: Path, vocab_dir: Path
) -> None:
    """A dtype too small, windows longer than the text, an empty text: the dry run ends as the run does."""
    (tmp_path / "a.txt").write_text("one two")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"one two"))
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n')
    (tmp_path / "empty.txt").write_text("")

    dry, wet = (call(*line.split(), "--vocab-dir", vocab_dir, *more) for more in (["--dry-run"], []))

    assert (dry.code, dry.stdout, dry.notes) == (wet.code, wet.stdout, wet.notes)
    assert dry.code == code
    assert dry.notes[-1].startswith(f"llmprep: error: {message}")
    assert list(tmp_path.glob("*.pt")) == []


def test_a_dry_run_of_a_large_text_refuses_what_is_certain(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are no more tokens than bytes; within that, and where text is packed, it is left to the run."""
    monkeypatch.setattr(estimates, "SAMPLE_BYTES", 8)
    text = random.Random(0).randbytes(10_000).hex().encode()  # noqa: S311 - no secret
    (tmp_path / "a.txt").write_bytes(text)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(text))

    certain = call("window", "a.txt", "--max-length", "20001", "--dry-run")
    open_ended = [
        call("window", name, "--max-length", length, "--dry-run").code
        for name, length in (("a.txt", "20000"), ("a.txt.gz", "20001"))
    ]

    assert certain.code == 3
    assert certain.notes == ["llmprep: error: a.txt: at most 20001 tokens, which give no window of max_length 20001"]
    assert open_ended == [0, 0]


def test_a_dry_run_does_not_wait_for_standard_input(llmprep: Run, tmp_path: Path) -> None:
    """Standard input is not read, so a dry run ends although nothing comes."""
    os.mkfifo(tmp_path / "pipe")
    never_ending = ("sh", "-c", 'exec "$@" <>pipe', "sh")

    done = llmprep("tokenize", "-", "-o", "x.pt", "--dry-run", prefix=never_ending)

    assert (done.returncode, done.stderr) == (0, b"")
    assert b"1 input of unknown size" in done.stdout
