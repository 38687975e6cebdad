"""Promises of ``embed``, besides what the embeddings are: no disk is filled by mistake."""

from pathlib import Path

import pytest
from support.commands import Call
from support.refusals import check_refused

from llmprep.cli import embed

LARGE = "--max-length 256 --stride 1 --dim 2048"


@pytest.mark.parametrize("output", ["x.pt", "-", "/dev/null"])
def test_a_large_result_is_not_written_by_mistake(output: str, call: Call, story: Path) -> None:
    """Whatever takes more than 10 GB is refused wherever it goes, with its size and what to do, before any table."""
    size = "6,003 windows x 256 tokens x 2,048 numbers, float32: 12.6 GB"
    line = f"{output}: {size}; more than 10.0 GB needs --yes, or --batches N for only N batches of 4, or a smaller..."
    check_refused(call, "embed", story, *LARGE.split(), "--batch-size", "4", "-o", output, code=2, line=line)


def test_a_large_result_may_be_chosen(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--yes``, ``--batches`` and a smaller dtype write what would else be refused; the limit itself is allowed."""
    Path("a.txt").write_text("one two three four five six seven eight nine ten")
    line = ["embed", "a.txt", "--max-length", "2", "--stride", "2", "--dim", "8"]  # 4 windows of 64 bytes
    monkeypatch.setattr(embed, "LARGE_BYTES", 255)
    assert [call(*line, *more.split()).code for more in ("", "--yes", "--batches 1", "--dtype float16")] == [2, 0, 0, 0]
    monkeypatch.setattr(embed, "LARGE_BYTES", 256)
    assert call(*line).code == 0
