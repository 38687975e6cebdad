"""A tokens file, which every command reads without a vocabulary."""

from pathlib import Path

import pytest
from support.commands import Call


@pytest.fixture
def tokens(call: Call, tmp_path: Path) -> Path:
    """A tokens file of 561 ids, in the folder that commands run in."""
    (tmp_path / "text.txt").write_text("It was the best of times, it was the worst of times. " * 40)
    assert call("tokenize", "text.txt", "-q", "-o", "tokens.pt").code == 0
    (tmp_path / "text.txt").unlink()
    return tmp_path / "tokens.pt"
