"""Little memory, few open files, very many files: it is enough, or one line names what to lower."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import torch
from support.commands import Ended, Run
from support.processes import ended_as, limited
from support.refusals import OLD, check_error, names

from llmprep.ptfile.reading import read_pt

FEW_THREADS = {"OPENBLAS_NUM_THREADS": "1"}
"""Numpy's threads would take address space of their own."""


def check_memory(ended: Ended, notes: int = 0) -> None:
    """Check that a run ended with the line that names what to lower."""
    check_error(ended, 1, "out of memory; lower --jobs, --max-length, --dim ...(ulimit -v)", notes)


@pytest.mark.parametrize(
    "text", ["It was the best of times. ", pytest.param("alpha,be=(x)=>{3.14};", marks=pytest.mark.slow)]
)
def test_little_memory_is_enough_for_much_text(text: str, llmprep: Run, tmp_path: Path) -> None:
    """Under a limit that the ids of the whole text would exceed, it is streamed, also where it has no white space."""
    (tmp_path / "text").write_text(text * (50_000_000 // len(text)))  # some 12 million ids
    prefix = limited(memory_kilobytes=450_000)

    done = llmprep("tokenize", "text", "-o", "x.pt", "-q", "--backend", "gigatoken", prefix=prefix, env=FEW_THREADS)

    assert (done.returncode, done.stderr) == (0, b"")
    assert names(tmp_path) == {"text", "x.pt"}


@pytest.mark.parametrize(
    ("kilobytes", "backend", "packed"),
    [
        (350_000, "gigatoken", True),
        pytest.param(250_000, "tiktoken", False, marks=pytest.mark.slow),
        pytest.param(450_000, "tiktoken", True, marks=pytest.mark.slow),
        pytest.param(450_000, "gigatoken", False, marks=pytest.mark.slow),
    ],
)
def test_too_little_memory_for_text_that_cannot_be_cut(
    kilobytes: int, backend: str, packed: bool, llmprep: Run, tmp_path: Path
) -> None:
    """Where a limit forbids what such a text needs, the old output is intact and no other file is left."""
    text = b"." * 12_000_000
    (tmp_path / "text").write_bytes(gzip.compress(text, 1) if packed else text)
    (tmp_path / "x.pt").write_bytes(OLD)
    prefix = limited(memory_kilobytes=kilobytes)

    check_memory(
        ended_as(llmprep("tokenize", "text", "-o", "x.pt", "--backend", backend, prefix=prefix, env=FEW_THREADS))
    )

    assert (tmp_path / "x.pt").read_bytes() == OLD
    assert names(tmp_path) == {"text", "x.pt"}


@pytest.mark.parametrize(
    ("line", "kilobytes"),
    [
        ("window ids.pt --encoding gpt2 --dense --max-length 19999999", 270_000),
        pytest.param("embed ids.pt --encoding gpt2 --dim 16384 --batches 1", 3_000_000, marks=pytest.mark.slow),
    ],
)
def test_too_little_memory_for_a_window_or_for_tables(line: str, kilobytes: int, llmprep: Run, tmp_path: Path) -> None:
    """What does not fit under the limit leaves no file."""
    torch.save({"token_ids": torch.zeros(20_000_000, dtype=torch.uint16)}, tmp_path / "ids.pt")
    prefix = limited(memory_kilobytes=kilobytes)

    check_memory(ended_as(llmprep(*line.split(), "-o", "o.pt", prefix=prefix, env=FEW_THREADS)), notes=1)

    assert names(tmp_path) == {"ids.pt"}


@pytest.mark.slow
def test_very_many_files_are_opened_one_at_a_time(llmprep: Run, tmp_path: Path) -> None:
    """Tiny files and a large one give the same bytes with any number of threads; they may be counted one by one."""
    (tmp_path / "texts").mkdir()
    texts = [f"This is file {k}." for k in range(10_000)]
    texts[3333] = "One large file. " * 100_000
    for k, text in enumerate(texts):
        (tmp_path / "texts" / f"{k:06}.txt").write_text(text)

    written = []
    for jobs in ("1", "2"):
        done = llmprep("tokenize", "texts", "-o", "x.pt", "-q", "-j", jobs, prefix=limited(open_files=64))
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        written.append((tmp_path / "x.pt").read_bytes())
    counted = llmprep("tokenize", "--count", "texts", prefix=limited(open_files=64)).stdout.splitlines()

    made = read_pt(tmp_path / "x.pt")
    (source,) = made.meta["sources"]
    assert written[0] == written[1]
    assert (source["documents"], source["bytes"]) == (len(texts), sum(map(len, texts)))
    assert (made.tensors["token_ids"] == 50256).sum() == len(texts) - 1
    assert len(counted) == len(texts) + 1
    assert int(counted[-1].split()[0]) == made.meta["n_tokens"] - (len(texts) - 1)
