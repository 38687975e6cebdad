"""Little memory, few open files, very many files: it is enough, or one line names what to lower."""

import gzip
from pathlib import Path

import pytest
import torch
from support.commands import Run
from support.processes import ended_as, limited
from support.refusals import OLD, check_error, names

from llmprep.ptfile.reading import read_pt

FEW_THREADS = {"OPENBLAS_NUM_THREADS": "1"}
"""Numpy's threads would take address space of their own."""


@pytest.mark.slow
@pytest.mark.parametrize("text", ["It was the best of times. ", "alpha,be=(x)=>{3.14};"])
def test_little_memory_is_enough_for_much_text(text: str, llmprep: Run, tmp_path: Path) -> None:
    """Under a limit that the ids of the whole text would exceed, it is streamed, also where it has no white space."""
    (tmp_path / "text").write_text(text * (40_000_000 // len(text)))  # some 10 million ids
    arguments = ("tokenize", "text", "-o", "x.pt", "-q", "--backend", "gigatoken")
    done = llmprep(*arguments, prefix=limited("-v", 450_000), env=FEW_THREADS)
    assert (done.returncode, done.stderr) == (0, b"")
    assert names(tmp_path) == {"text", "x.pt"}


TOO_LITTLE = [
    ("window ids.pt --encoding gpt2 --dense --max-length 19999999", 270_000),
    pytest.param("embed ids.pt --encoding gpt2 --dim 16384 --batches 1", 3_000_000, marks=pytest.mark.slow),
    pytest.param("tokenize dots.gz --backend gigatoken", 350_000, marks=pytest.mark.slow),
    pytest.param("tokenize dots --backend tiktoken", 250_000, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("line", "kilobytes"), TOO_LITTLE)
def test_too_little_memory(line: str, kilobytes: int, llmprep: Run, tmp_path: Path) -> None:
    """Where a limit forbids a window, tables, or text that cannot be cut, the old output is intact; no file is left."""
    torch.save({"token_ids": torch.zeros(20_000_000, dtype=torch.uint16)}, tmp_path / "ids.pt")
    (tmp_path / "dots").write_bytes(b"." * 12_000_000)
    (tmp_path / "dots.gz").write_bytes(gzip.compress(b"." * 12_000_000, 1))
    (tmp_path / "o.pt").write_bytes(OLD)
    done = llmprep(*line.split(), "-o", "o.pt", prefix=limited("-v", kilobytes), env=FEW_THREADS)
    error = "out of memory; lower --jobs, --max-length, --dim ...(ulimit -v)"
    check_error(ended_as(done), 1, error, notes=int("ids.pt" in line))
    assert (tmp_path / "o.pt").read_bytes() == OLD
    assert names(tmp_path) == {"ids.pt", "dots", "dots.gz", "o.pt"}


@pytest.mark.slow
def test_very_many_files_are_opened_one_at_a_time(llmprep: Run, tmp_path: Path) -> None:
    """Tiny files and a large one give the same bytes with any number of threads; they may be counted one by one."""
    (tmp_path / "texts").mkdir()
    texts = [f"This is file {k}." for k in range(4000)]
    texts[1333] = "One large file. " * 100_000
    for k, text in enumerate(texts):
        (tmp_path / "texts" / f"{k:06}.txt").write_text(text)

    few = limited("-n", 64)
    for jobs in "12":
        done = llmprep("tokenize", "texts", "-o", f"{jobs}.pt", "-q", "-j", jobs, prefix=few)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    counted = llmprep("tokenize", "--count", "texts", prefix=few).stdout.splitlines()

    made = read_pt(tmp_path / "1.pt")
    (source,) = made.meta["sources"]
    assert (tmp_path / "1.pt").read_bytes() == (tmp_path / "2.pt").read_bytes()
    assert (source["documents"], source["bytes"]) == (len(texts), sum(map(len, texts)))
    assert (made.tensors["token_ids"] == 50256).sum() == len(texts) - 1
    assert len(counted) == len(texts) + 1
    assert int(counted[-1].split()[0]) == made.meta["n_tokens"] - (len(texts) - 1)
