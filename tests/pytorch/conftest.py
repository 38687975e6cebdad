"""The story as ids, windows and a store, made once."""

from pathlib import Path

import pytest

from llmprep import Building, build_store, open_tokens
from llmprep.formats.tokens import write_tokens
from llmprep.formats.windows import WindowOptions, write_windows
from llmprep.output.checking import check_output
from llmprep.output.writing import open_output


@pytest.fixture(scope="session")
def text(story: Path) -> str:
    """The sample short story, as a text."""
    return story.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def files(story: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the story's tokens and windows of 16 every 8, in each dtype and dense, apart, and as a store."""
    folder = tmp_path_factory.mktemp("files")
    shapes = {"apart": WindowOptions(16, 21)}
    for dtype in ("int64", "int32", "uint16"):
        with open_output(check_output(str(folder / f"{dtype}.tokens.pt"))) as sink:
            write_tokens(sink, open_tokens(story), dtype=dtype)
        shapes |= {dtype: WindowOptions(16, 8, dtype), f"{dtype}.dense": WindowOptions(16, 8, dtype, dense=True)}
    for name, options in shapes.items():
        with open_output(check_output(str(folder / f"{name}.windows.pt"))) as sink:
            write_windows(sink, open_tokens(story), options)
    build_store(story, folder / "store", building=Building(jobs=1))
    return folder
