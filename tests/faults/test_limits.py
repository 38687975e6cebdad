"""Little memory, few open files, very many files: it is enough, or one line names what to lower."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import torch
from support.commands import Run
from support.processes import ended_as, limited
from support.refusals import check_error, names

from llmprep.ptfile.reading import read_pt

OLD = b"PK\x03\x04 the old file"
FEW_THREADS = {"OPENBLAS_NUM_THREADS": "1"}
"""Numpy's threads would take address space of their own."""
OUT_OF_MEMORY = "out of memory; lower --jobs, --max-length, --dim ...(ulimit -v)"


def test_little_memory_is_enough_for_much_text(llmprep: Run, tmp_path: Path, story: Path) -> None:
    """Under a limit that the ids of the whole text would exceed, it is streamed."""
    (tmp_path / "text").write_bytes(story.read_bytes() * 2000)  # 12.5 million ids
    prefix = limited(memory_kilobytes=450_000)

    done = llmprep("tokenize", "text", "-o", "x.pt", "-q", "--backend", "gigatoken", prefix=prefix, env=FEW_THREADS)

    assert (done.returncode, done.stderr) == (0, b"")
    assert names(tmp_path) == {"text", "x.pt"}


@pytest.mark.parametrize(
    ("kilobytes", "backend", "packed"),
    [
        (250_000, "tiktoken", False),
        (350_000, "gigatoken", True),
        pytest.param(450_000, "tiktoken", True, marks=pytest.mark.slow),
        pytest.param(450_000, "gigatoken", False, marks=pytest.mark.slow),
    ],
)
def test_too_little_memory_for_text_that_cannot_be_cut_is_one_line(
    kilobytes: int, backend: str, packed: bool, llmprep: Run, tmp_path: Path
) -> None:
    """Where a limit forbids what such a text needs, the line names what to lower; the old output is intact."""
    text = b"." * 12_000_000
    (tmp_path / "text").write_bytes(gzip.compress(text, 1) if packed else text)
    (tmp_path / "x.pt").write_bytes(OLD)
    prefix = limited(memory_kilobytes=kilobytes)

    done = llmprep("tokenize", "text", "-o", "x.pt", "--backend", backend, prefix=prefix, env=FEW_THREADS)

    check_error(ended_as(done), 1, OUT_OF_MEMORY)
    assert (tmp_path / "x.pt").read_bytes() == OLD
    assert names(tmp_path) == {"text", "x.pt"}


def test_too_little_memory_for_a_window_is_one_line(llmprep: Run, tmp_path: Path) -> None:
    """A window that does not fit under the limit is one line that names --max-length, and no file is left."""
    n_tokens = 20_000_000
    torch.save({"token_ids": torch.zeros(n_tokens, dtype=torch.uint16)}, tmp_path / "ids.pt")
    window = ("window", "ids.pt", "--encoding", "gpt2", "--dense", "--max-length", str(n_tokens - 1), "-o", "o.pt")

    done = llmprep(*window, prefix=limited(memory_kilobytes=270_000), env=FEW_THREADS)

    check_error(ended_as(done), 1, OUT_OF_MEMORY, notes=1)
    assert names(tmp_path) == {"ids.pt"}


@pytest.mark.slow
def test_too_little_memory_for_tables_is_one_line(llmprep: Run, tmp_path: Path, story: Path) -> None:
    """Tables that do not fit beside torch are one line that names --dim, and no file is left."""
    prefix = limited(memory_kilobytes=3_000_000)

    done = llmprep("embed", story, "--dim", "16384", "-o", "o.pt", prefix=prefix, env=FEW_THREADS)

    check_error(ended_as(done), 1, OUT_OF_MEMORY, notes=1)
    assert names(tmp_path) == set()


@pytest.mark.parametrize("count", [1200, pytest.param(10_000, marks=pytest.mark.slow)])
def test_very_many_files_are_opened_one_at_a_time(count: int, llmprep: Run, tmp_path: Path) -> None:
    """Tiny files and a large one give the same bytes with any number of threads; they may be counted one by one."""
    (tmp_path / "texts").mkdir()
    texts = [f"This is file {k}." for k in range(count)]
    texts[count // 3] = "One large file. " * 100_000
    for k, text in enumerate(texts):
        (tmp_path / "texts" / f"{k:06}.txt").write_text(text)

    few = limited(open_files=64)
    written = []
    for jobs in ("1", "2"):
        done = llmprep("tokenize", "texts", "-o", "x.pt", "-q", "-j", jobs, prefix=few, timeout=600)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        written.append((tmp_path / "x.pt").read_bytes())
    counted = llmprep("tokenize", "--count", "texts", prefix=few, timeout=600).stdout.splitlines()

    made = read_pt(tmp_path / "x.pt")
    (source,) = made.meta["sources"]
    assert written[0] == written[1]
    assert (source["documents"], source["bytes"]) == (count, sum(map(len, texts)))
    assert (made.tensors["token_ids"] == 50256).sum() == count - 1
    assert len(counted) == count + 1
    assert int(counted[-1].split()[0]) == made.meta["n_tokens"] - (count - 1)
