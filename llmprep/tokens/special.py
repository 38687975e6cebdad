"""Special tokens that stand in the text itself."""

from __future__ import annotations

import re

from llmprep.documents.blocks import Block
from llmprep.errors import DataError
from llmprep.vocabulary.loading import END_OF_TEXT, Vocabulary


def special_pattern(vocabulary: Vocabulary) -> re.Pattern[bytes]:
    """Match any special token of a vocabulary in UTF-8 bytes."""
    return re.compile(b"|".join(re.escape(token.encode()) for token in vocabulary.special_tokens))


def count_special(block: Block, specials: re.Pattern[bytes], special: str) -> int:
    """Count end-of-text strings in the text; with ``error``, refuse any special token and say where it stands."""
    if b"|" not in block.data:
        return 0
    if special == "error":
        joints = block.seams and END_OF_TEXT.encode()
        found = next((f for f in specials.finditer(block.raw or block.data) if f.group() != joints), None)
        if found:
            where = block.place or f"byte {block.offset + found.start()}"
            raise DataError(
                f"{block.counts.source.path}: special token {found.group().decode()} in the text at {where}; "
                f"--special allow takes it as its id, --special text as plain text"
            )
    return block.data.count(END_OF_TEXT.encode()) - block.seams
