"""A tokens file, which every command reads without a vocabulary."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmprep.cli.main import run


@pytest.fixture(scope="session")
def token_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A tokens file of 561 ids, made once."""
    folder = tmp_path_factory.mktemp("tokens")
    (folder / "text.txt").write_text("It was the best of times, it was the worst of times. " * 40)
    assert run(["tokenize", str(folder / "text.txt"), "-q", "-o", str(folder / "tokens.pt")]) == 0
    return (folder / "tokens.pt").read_bytes()


@pytest.fixture
def tokens(token_bytes: bytes, tmp_path: Path) -> Path:
    """That file, in the folder that commands run in."""
    path = tmp_path / "tokens.pt"
    path.write_bytes(token_bytes)
    return path
