"""Draw README's picture: what `llmprep tokenize` and `llmprep pairs` show on a terminal, as SVG.

Run it as ``python tests/support/picture.py``; a test compares the picture in the repository with a fresh one.
"""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from llmprep.preview.screen import pair_table, token_strip
from llmprep.tokens.decoding import decode_ids, token_table
from llmprep.tokens.encoding import encode_text
from llmprep.vocabulary.loading import load_vocabulary
from llmprep.windows.pairs import grow_pairs

FOLDER = Path(__file__).parents[1]
PICTURE = FOLDER / "golden" / "preview.svg"
COLUMNS = 92


def draw() -> str:
    """Return the picture as SVG text, the same at every call."""
    text = (FOLDER.parent / "sample_texts" / "story.txt").read_text(encoding="utf-8")
    ids = encode_text(text)
    table = token_table(load_vocabulary("gpt2"))
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(token_strip(ids[:40].tolist(), lambda some: decode_ids(some, table), COLUMNS))
    console.print(pair_table(grow_pairs(ids[18:23], 4), lambda some: decode_ids(some, table)))
    return console.export_svg(title="llmprep", unique_id="llmprep")


if __name__ == "__main__":
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(draw(), encoding="utf-8")
