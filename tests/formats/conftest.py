"""The sample story's ids, and a command that writes a file."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support import reference
from support.commands import Call


@pytest.fixture(scope="session")
def story_ids(story: Path) -> list[int]:
    """The story's ids, as tiktoken gives them for the whole."""
    return reference.encode(story.read_text(encoding="utf-8"))


@pytest.fixture
def make(call: Call, tmp_path: Path) -> Any:
    """Run a command that writes a file, which must go well; return what torch makes of the file."""

    def made(*arguments: str | Path, out: str = "x.pt") -> dict[str, Any]:
        ended = call(*arguments, "-o", out, "-q")
        assert ended.code == 0, ended.stderr
        loaded: dict[str, Any] = torch.load(out, weights_only=True)
        return loaded

    return made
