"""Promises of joining: small files read at once and encoded together give what each gives alone, errors included."""

from pathlib import Path

import numpy as np
from support.stores import write_files

from llmprep.documents.finding import find_sources
from llmprep.documents.joining import read_sources
from llmprep.documents.source import Counts


def test_a_thousand_small_files_are_one_block(tmp_path: Path) -> None:
    """What is small and plain costs no block of its own; one that is neither stands between two, in its place."""
    paths = write_files(tmp_path, {f"{number:04}.txt": f"text {number}" for number in range(1000)})
    Path(paths[500]).write_bytes(b"<|endoftext|>")
    counted = [Counts(source) for source in find_sources(paths)]
    assert [block.seams for block in read_sources(counted)] == [499, 0, 498]
    assert np.array_equal([counts.n_text for counts in counted[:11]], [6] * 10 + [7])
